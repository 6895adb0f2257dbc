//! The charter is the only source of Raft's membership.
//!
//! A loop on the leader compares the coordinators of the charter in force with Raft's membership
//! and takes the next step: new ones as learners, then, once they have caught up, one joint change
//! to exactly that set, then the removal of those who left. Nothing waits for a coordinator that
//! does not answer: the loop looks again when the charter or Raft's own state changes. What a crash
//! interrupts the next leader finishes.
//!
//! A leader takes no step before it has applied an entry of its own term, and with it everything
//! that earlier leaders committed, and the membership it computes the step from. The step itself
//! has that leadership and that membership as its precondition, so two leaders cannot interleave
//! and no leader returns to a charter that was replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers, Membership, Precondition, RaftMetrics, ServerState,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, InitializeError, RaftError},
    type_config::alias::CommittedLeaderIdOf,
};
use quorate_attest::charter::Charter;
use quorate_store::{LogId, PeerNode, StoredMembership, TypeConfig};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::Raft;
use crate::handle::Handle;

/// Between two looks when nothing announces a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a step that failed or has to be repeated.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// A learner that trails the leader's log by no more than this holds up no commit as a voter.
const TRAILS_MAX: u64 = 100;

/// The coordinators of the charter in force: Raft node id → key name.
pub type Roster = BTreeMap<u64, String>;

/// Starts a new quorum with exactly `roster`. On a replica that has a membership already this is a
/// success: only the first start of a network does anything.
pub async fn initialize(
    raft: &Raft,
    roster: &Roster,
) -> Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>> {
    match raft.initialize(nodes(roster)).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(error),
    }
}

fn nodes(roster: &Roster) -> BTreeMap<u64, PeerNode> {
    roster.iter().map(|(id, name)| (*id, PeerNode { name: name.clone() })).collect()
}

/// Raft node id → key name of every coordinator of a charter.
pub fn roster(charter: &Charter) -> Roster {
    let ids = charter.coordinator.iter().map(|key| (charter.node_id(key.name()), key.name()));
    ids.filter_map(|(id, name)| Some((id?, name.to_string()))).collect()
}

/// Follows the charter until `stop`; does nothing while this replica does not lead. `charters`
/// tells that another one may be in force.
pub async fn reconcile(
    handle: Handle,
    mut charters: watch::Receiver<u64>,
    stop: CancellationToken,
) {
    let raft = handle.raft().clone();
    loop {
        charters.borrow_and_update();
        let sight = Sight::of(&raft.metrics().borrow_watched());
        let stepped = tokio::select! {
            () = stop.cancelled() => return,
            stepped = step(&handle, &sight) => stepped,
        };
        let pause = match stepped {
            Progress::Done => LOOK_EVERY,
            Progress::Again => RETRY_AFTER,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = charters.changed() => if changed.is_err() { return },
            () = changes(&raft, &sight) => {}
            () = sleep(pause) => {}
        }
    }
}

/// What the next step is computed from, besides the charter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    /// As whom this replica leads, once it has applied everything that earlier leaders committed.
    leads: Option<CommittedLeaderId>,
    membership: Arc<StoredMembership>,
    /// Who holds the leader's log but for a few entries.
    caught_up: BTreeSet<u64>,
}

impl Sight {
    /// Copies no membership: it is asked at every change of Raft's metrics, each heartbeat's too.
    fn of(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let membership = Arc::clone(&metrics.membership_config);
        let leads = metrics.last_applied.filter(|applied| {
            metrics.state == ServerState::Leader
                && applied.leader_id.term == metrics.current_term
                && Some(*applied) >= *membership.log_id()
        });
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = metrics.replication.iter().flatten();
        let caught_up = matched.filter(|(_, matched)| is_caught_up(**matched, last));
        Self {
            leads: leads.map(|applied| applied.leader_id),
            caught_up: caught_up.map(|(id, _)| *id).collect(),
            membership,
        }
    }
}

/// Whoever never answered has matched nothing and is not caught up, however short the log is.
fn is_caught_up(matched: Option<LogId>, last_index: u64) -> bool {
    matched.is_some_and(|log_id| log_id.index.saturating_add(TRAILS_MAX) >= last_index)
}

/// Resolves once the replica sees something else than `sight`, or Raft has ended.
async fn changes(raft: &Raft, sight: &Sight) {
    let mut metrics = raft.metrics();
    while Sight::of(&metrics.borrow_watched()) == *sight {
        if metrics.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

type CommittedLeaderId = CommittedLeaderIdOf<TypeConfig>;

enum Progress {
    /// Nothing to do until something changes.
    Done,
    /// A step failed and has to be repeated.
    Again,
}

async fn step(handle: &Handle, sight: &Sight) -> Progress {
    let Some(leader) = sight.leads else { return Progress::Done };
    // Read after the sight: the machine has applied at least what the sight says.
    let charter = handle.machine(|machine| Some(roster(machine.state().ledger()?.charter())));
    let Ok(Some(wanted)) = charter.await else { return Progress::Again };
    let Some(change) = next_change(sight.membership.membership(), &wanted, &sight.caught_up) else {
        return Progress::Done;
    };
    tracing::info!(change = ?change, "the charter's coordinators differ from Raft's membership");
    let members = match change {
        Change::Learn(id, node) => ChangeMembers::AddNodes(BTreeMap::from([(id, node)])),
        Change::Voters(ids) => ChangeMembers::ReplaceAllVoters(ids),
        Change::Forget(ids) => ChangeMembers::RemoveNodes(ids),
    };
    let unchanged = [
        Precondition::CommittedLeaderId { committed_leader_id: leader },
        Precondition::LastMembershipLogId { last_membership_log_id: *sight.membership.log_id() },
    ];
    match handle.raft().change_membership_if(members, false, unchanged).await {
        Ok(_) | Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Progress::Done,
        Err(error) => {
            tracing::warn!(%error, "a membership step has to be repeated");
            Progress::Again
        }
    }
}

/// One step towards the charter.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Learn(u64, PeerNode),
    Voters(BTreeSet<u64>),
    Forget(BTreeSet<u64>),
}

fn next_change(
    now: &Membership<u64, PeerNode>,
    wanted: &Roster,
    caught_up: &BTreeSet<u64>,
) -> Option<Change> {
    let missing = wanted.iter().find(|(id, _)| now.get_node(id).is_none());
    if let Some((id, name)) = missing {
        return Some(Change::Learn(*id, PeerNode { name: name.clone() }));
    }
    let ids: BTreeSet<u64> = wanted.keys().copied().collect();
    let left: BTreeSet<u64> =
        now.nodes().map(|(id, _)| *id).filter(|id| !ids.contains(id)).collect();
    if now.get_joint_config().as_slice() == [ids.clone()] {
        return (!left.is_empty()).then_some(Change::Forget(left));
    }
    // A voter that does not hold the log could stop every commit. One that votes already, in a
    // joint change that was interrupted, is needed to finish it.
    let votes: BTreeSet<u64> = now.voter_ids().collect();
    let may_vote = |id: &u64| votes.contains(id) || caught_up.contains(id);
    ids.iter().all(may_vote).then_some(Change::Voters(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(ids: &[u64]) -> Roster {
        ids.iter().map(|id| (*id, format!("t/coordinator/{id}"))).collect()
    }

    fn membership(sets: &[&[u64]], all: &[u64]) -> Membership<u64, PeerNode> {
        let sets = sets.iter().map(|set| set.iter().copied().collect()).collect();
        Membership::new(sets, nodes(&roster(all))).unwrap()
    }

    #[test]
    fn new_coordinators_learn_first_then_one_change_then_the_rest_is_forgotten() {
        let wanted = roster(&[2, 3, 4]);
        let all = BTreeSet::from([1, 2, 3, 4]);
        let next =
            |sets: &[&[u64]], nodes: &[u64]| next_change(&membership(sets, nodes), &wanted, &all);
        assert!(matches!(next(&[&[1, 2, 3]], &[1, 2, 3]), Some(Change::Learn(4, _))));
        let change = next(&[&[1, 2, 3]], &[1, 2, 3, 4]);
        assert_eq!(change, Some(Change::Voters(BTreeSet::from([2, 3, 4]))));
        let forget = next(&[&[2, 3, 4]], &[1, 2, 3, 4]);
        assert_eq!(forget, Some(Change::Forget(BTreeSet::from([1]))));
        assert_eq!(next(&[&[2, 3, 4]], &[2, 3, 4]), None);
    }

    #[test]
    fn a_learner_that_does_not_hold_the_log_gets_no_vote_and_may_be_forgotten() {
        let now = membership(&[&[1, 2, 3]], &[1, 2, 3, 4]);
        let caught_up = BTreeSet::from([1, 2, 3]);
        assert_eq!(next_change(&now, &roster(&[1, 2, 3, 4]), &caught_up), None);
        let forget = next_change(&now, &roster(&[1, 2, 3]), &caught_up);
        assert_eq!(forget, Some(Change::Forget(BTreeSet::from([4]))));
        assert!(!is_caught_up(None, 3), "it never answered");
    }

    #[test]
    fn an_interrupted_joint_change_is_finished() {
        let joint = membership(&[&[1, 2, 3], &[2, 3, 4]], &[1, 2, 3, 4]);
        let change = next_change(&joint, &roster(&[2, 3, 4]), &BTreeSet::new());
        assert_eq!(change, Some(Change::Voters(BTreeSet::from([2, 3, 4]))));
    }
}
