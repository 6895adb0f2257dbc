//! How long proofs take, at random places of the log.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use quorate_attest::merkle::{prove_consistency, prove_inclusion};
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_proto::client::Client;
use quorate_proto::pb::v1::{Consistency, GetConsistencyProofRequest, GetInclusionProofRequest};
use quorate_store::Leaves;
use serde::Serialize;

use crate::report::{Spread, Times};

/// Proofs of each kind.
const SAMPLES: u64 = 2_000;

/// Both kinds of proofs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ProofTimes {
    /// A leaf in a head.
    pub inclusion: Spread,
    /// A head in a later one.
    pub consistency: Spread,
}

/// Numbers that look random and are the same in every run (splitmix64).
fn scattered(at: u64, below: u64) -> u64 {
    let mut z = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below.max(1)
}

/// Proofs straight from the store, each over a view of its own as a request makes one.
///
/// # Errors
/// The disk failed, or a node is missing.
pub fn direct(leaves: &Leaves) -> Result<ProofTimes> {
    let size = leaves.size();
    let (mut inclusion, mut consistency) = (Times::new(), Times::new());
    for at in 0..SAMPLES {
        let index = LeafIndex::new(scattered(at, size.get()))?;
        let begun = Instant::now();
        let view = leaves.view()?;
        prove_inclusion(&view, index, size)?;
        inclusion.record(begun.elapsed());
        let from = TreeSize::new(1 + scattered(at + SAMPLES, size.get()))?;
        let begun = Instant::now();
        let view = leaves.view()?;
        prove_consistency(&view, from, size)?;
        consistency.record(begun.elapsed());
    }
    Ok(ProofTimes { inclusion: inclusion.spread(), consistency: consistency.spread() })
}

/// Proofs over gRPC for a head of `size`, one after the other. Answers are not verified here: that
/// is the caller's work, not the coordinator's.
///
/// # Errors
/// A call failed, or answered no proof.
pub async fn by_rpc(client: &Client, size: u64) -> Result<ProofTimes> {
    let stale = Consistency::Stale.into();
    let (mut inclusion, mut consistency) = (Times::new(), Times::new());
    for at in 0..SAMPLES {
        let index = scattered(at, size);
        let request = GetInclusionProofRequest { index, size, consistency: stale };
        let begun = Instant::now();
        let answer = client.get_inclusion_proof(request).await.context("an inclusion proof")?;
        inclusion.record(begun.elapsed());
        ensure!(answer.size == size && answer.index == index, "a proof of something else");
        let from_size = 1 + scattered(at + SAMPLES, size);
        let request = GetConsistencyProofRequest { from_size, to_size: size, consistency: stale };
        let begun = Instant::now();
        let answer = client.get_consistency_proof(request).await.context("a consistency proof")?;
        consistency.record(begun.elapsed());
        ensure!(answer.to_size == size, "a proof of something else");
    }
    Ok(ProofTimes { inclusion: inclusion.spread(), consistency: consistency.spread() })
}
