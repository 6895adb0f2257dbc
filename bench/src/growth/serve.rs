//! What running coordinators need while they serve proofs and the whole log.

use anyhow::Result;
use serde::Serialize;

use super::operator::Operator;
use super::proof::{self, ProofTimes};
use crate::deployment::{Deployment, Memory};

/// One coordinator's memory at the points where it was read.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MemoryPoints {
    /// Ready, everything judged, and quiet again.
    pub idle: Memory,
    /// After the proofs were served.
    pub proofs: Memory,
    /// After the whole log was exported.
    pub export: Memory,
}

/// What serving showed.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// The leader's memory. Nobody asked it anything.
    pub leader: MemoryPoints,
    /// Memory of the follower that served the proofs and the export.
    pub follower: MemoryPoints,
    /// Proofs over gRPC with mutual TLS, one caller, one after the other.
    pub proofs: ProofTimes,
    /// Seconds of `quorate log export` from that follower.
    pub export_s: f64,
    /// Bytes of the export.
    pub export_bytes: u64,
    /// Seconds of `quorate log verify` on it, every signature included.
    pub verify_s: f64,
}

/// Measures the running coordinators of `deployment`.
pub(super) async fn measure(deployment: &Deployment, operator: &Operator) -> Result<Served> {
    let leader = operator.leader().await?;
    let follower = deployment.ids().find(|id| *id != leader).unwrap_or(leader);
    let idle = (deployment.memory(leader).await?, deployment.memory(follower).await?);

    let size = operator.certified(follower, 1).await?;
    let times = proof::by_rpc(&deployment.client([follower])?, size).await?;
    let proofs = (deployment.memory(leader).await?, deployment.memory(follower).await?);

    let file = deployment.root().join("log.export");
    let name = file.display().to_string();
    let export = deployment.export(follower, &file).await?;
    let memory = (deployment.memory(leader).await?, deployment.memory(follower).await?);
    let charter = deployment.root().join("charter.leaf").display().to_string();
    let seen = deployment.root().join("log.verify");
    let verify =
        deployment.quorate(&["log", "verify", &name, "--charter", &charter], &seen).await?;
    Ok(Served {
        leader: MemoryPoints { idle: idle.0, proofs: proofs.0, export: memory.0 },
        follower: MemoryPoints { idle: idle.1, proofs: proofs.1, export: memory.1 },
        proofs: times,
        export_s: export.as_secs_f64(),
        export_bytes: std::fs::metadata(&file)?.len(),
        verify_s: verify.as_secs_f64(),
    })
}
