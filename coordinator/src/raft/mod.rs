//! Raft between coordinators: openraft over tonic.
//!
//! This folder, `handle` and the crate `quorate-store` are the only places that name an openraft
//! type. Reading order: [`peers`] (who is where, one channel per lane), [`envelope`] (who speaks to
//! whom, in which log), [`network`] (what we send), `heartbeat` (on one open stream), [`server`]
//! (what we accept), [`clock_door`] (entries from the future are lost messages), [`membership`] (the
//! charter is the only source), [`rollback`] (what is asked before the first message).

pub mod clock_door;
pub mod envelope;
mod heartbeat;
pub mod membership;
pub mod network;
pub mod peers;
pub mod rollback;
pub mod server;
mod snapshot;
pub mod view;

use std::sync::Arc;

use metrics::counter;
use openraft::{ConfigError, SnapshotPolicy, async_runtime::WatchReceiver};
use quorate_store::{Fault, FaultCell, StateMachine, TypeConfig};
use tokio_util::sync::CancellationToken;

use crate::config::RaftConfig;

/// The replica.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// What openraft is run with.
pub fn config(network: &str, raft: &RaftConfig) -> Result<Arc<openraft::Config>, ConfigError> {
    openraft::Config {
        cluster_name: network.to_owned(),
        heartbeat_interval: raft.heartbeat_ms,
        election_timeout_min: raft.election_min_ms,
        election_timeout_max: raft.election_max_ms,
        // A returning node must not depose the leader.
        enable_pre_vote: Some(true),
        // A leader that reaches one member of a healthy majority must not block its election.
        quorum_loss_probe_interval: Some((raft.election_max_ms * 2).max(1_000)),
        max_payload_entries: 300,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(raft.snapshot_entries),
        max_in_snapshot_log_to_keep: raft.snapshot_entries / 5,
        // Larger than the snapshot distance, or snapshots never cure the lag.
        replication_lag_threshold: raft.snapshot_entries * 2,
        install_snapshot_timeout: 10_000,
        allow_log_reversion: Some(false),
        // Left out it means yes. A leader sends entries while its own disk still writes them: one that
        // came back as the leader of the same term, without what its disk had lost, would give the
        // same term and index to another entry (*log-append-only*).
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    }
    .validate()
    .map(Arc::new)
}

/// A Raft core that ended is a fault: otherwise a process without Raft would go on answering.
pub async fn watch_core(raft: Raft, fault: FaultCell, stop: CancellationToken) {
    let mut metrics = raft.metrics();
    let mut leader = None;
    let ended = async {
        loop {
            let (state, now_leads) = {
                let metrics = metrics.borrow_and_update();
                (metrics.running_state.clone(), metrics.current_leader)
            };
            if now_leads.is_some() && now_leads != leader {
                if leader.is_some() {
                    counter!("quorate_raft_leader_changes_total").increment(1);
                }
                leader = now_leads;
            }
            if let Err(fatal) = state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "its core has gone".to_owned();
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        reason = ended => {
            fault.raise(Fault::Raft { reason });
        }
    }
}
