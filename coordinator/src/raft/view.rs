//! Raft's state in words that the services use: no type of openraft leaves this folder.

use std::{collections::BTreeMap, time::Duration};

use metrics::gauge;
use openraft::{Instant, ServerState, async_runtime::WatchReceiver};

use crate::handle::Handle;

/// What a coordinator is to Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRole {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It stands for election.
    Candidate,
    /// It receives the log without a vote.
    Learner,
}

/// Raft as this replica sees it.
#[derive(Debug, Clone)]
pub struct RaftView {
    /// What this replica is.
    pub role: RaftRole,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<u64>,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry it applied.
    pub applied_index: u64,
    /// Entries up to this one are gone: only snapshots still tell of them.
    pub purged_index: u64,
    /// Voters of the membership in effect; two sets while it changes.
    pub voters: Vec<Vec<u64>>,
    /// Everybody in it.
    pub nodes: BTreeMap<u64, String>,
    /// On the leader: up to where each peer holds the log, and how long ago it last answered.
    pub matched: BTreeMap<u64, (Option<u64>, Option<Duration>)>,
    /// On the leader: how long ago a quorum last confirmed it.
    pub quorum_age: Option<Duration>,
}

impl Handle {
    /// Raft as this replica sees it now.
    pub fn raft_view(&self) -> RaftView {
        // Before the metrics are borrowed: it borrows them too.
        let leader = self.leader();
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.clone().unwrap_or_default();
        let heartbeats = metrics.heartbeat.clone().unwrap_or_default();
        let matched = replication.into_iter().map(|(id, log_id)| {
            let age = heartbeats.get(&id).copied().flatten().map(|at| at.elapsed());
            (id, (log_id.map(|log_id| log_id.index), age))
        });
        let membership = &metrics.membership_config;
        RaftView {
            role: match metrics.state {
                ServerState::Leader => RaftRole::Leader,
                ServerState::Candidate => RaftRole::Candidate,
                ServerState::Learner => RaftRole::Learner,
                ServerState::Follower | ServerState::Shutdown => RaftRole::Follower,
            },
            term: metrics.current_term,
            leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |log_id| log_id.index),
            purged_index: metrics.purged.map_or(0, |log_id| log_id.index),
            voters: membership
                .get_joint_config()
                .iter()
                .map(|set| set.iter().copied().collect())
                .collect(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.name.clone())).collect(),
            matched: matched.collect(),
            quorum_age: metrics.last_quorum_acked.map(|at| at.elapsed()),
        }
    }

    /// Sets the gauges that are read from Raft.
    pub(crate) fn record_raft(&self) {
        let view = self.raft_view();
        let float = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        gauge!("quorate_raft_term").set(float(view.term));
        gauge!("quorate_raft_applied_index").set(float(view.applied_index));
        gauge!("quorate_raft_has_leader").set(if view.leader.is_some() { 1.0 } else { 0.0 });
        let leads = view.leader == Some(self.own());
        gauge!("quorate_raft_is_leader").set(if leads { 1.0 } else { 0.0 });
        for (peer, (matched, _)) in view.matched.iter().filter(|(peer, _)| **peer != self.own()) {
            let trails = view.last_index.saturating_sub(matched.unwrap_or(0));
            gauge!("quorate_raft_trails_leader_entries", "peer" => peer.to_string())
                .set(float(trails));
        }
    }
}
