//! The charter is the only source of Raft's membership.
//!
//! A loop on the leader compares the coordinators of the charter in force with Raft's membership
//! and takes the next step: new ones as learners, then one joint change to exactly that set, then
//! the removal of those who left. What a crash interrupts the next leader finishes. Each step has
//! the membership it was computed from as its precondition, so two leaders cannot interleave.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, Membership, Precondition,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, InitializeError, RaftError},
};
use quorate_store::{PeerNode, TypeConfig};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::Raft;

/// Between two looks when nothing announces a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a step that failed or has to be repeated.
const RETRY_AFTER: Duration = Duration::from_millis(500);

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

/// Follows `roster` until `stop`; does nothing while this replica does not lead.
pub async fn reconcile(raft: Raft, mut roster: watch::Receiver<Roster>, stop: CancellationToken) {
    loop {
        let wanted = roster.borrow_and_update().clone();
        let pause = match step(&raft, &wanted).await {
            Progress::Done => LOOK_EVERY,
            Progress::More => Duration::ZERO,
            Progress::Again => RETRY_AFTER,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = roster.changed(), if pause > Duration::ZERO => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

enum Progress {
    Done,
    More,
    Again,
}

async fn step(raft: &Raft, wanted: &Roster) -> Progress {
    if !raft.is_leader() || wanted.is_empty() {
        return Progress::Done;
    }
    let stored = raft.metrics().borrow_watched().membership_config.clone();
    let Some(change) = next_change(stored.membership(), wanted) else {
        return Progress::Done;
    };
    tracing::info!(change = ?change, "the charter's coordinators differ from Raft's membership");
    let result = match change {
        Change::Learn(id, node) => raft.add_learner(id, node, true).await,
        Change::Voters(ids) => conditional(raft, ids, *stored.log_id()).await,
        Change::Forget(ids) => {
            conditional(raft, ChangeMembers::RemoveNodes(ids), *stored.log_id()).await
        }
    };
    match result {
        Ok(_) => Progress::More,
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Progress::Done,
        Err(error) => {
            tracing::warn!(%error, "a membership step has to be repeated");
            Progress::Again
        }
    }
}

type Changed = Result<
    openraft::raft::ClientWriteResponse<TypeConfig>,
    RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
>;

async fn conditional(
    raft: &Raft,
    members: impl Into<ChangeMembers<u64, PeerNode>>,
    last_membership_log_id: Option<quorate_store::LogId>,
) -> Changed {
    let unchanged = Precondition::LastMembershipLogId { last_membership_log_id };
    raft.change_membership_if(members, false, [unchanged]).await
}

/// One step towards the charter.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Learn(u64, PeerNode),
    Voters(BTreeSet<u64>),
    Forget(BTreeSet<u64>),
}

fn next_change(now: &Membership<u64, PeerNode>, wanted: &Roster) -> Option<Change> {
    let missing = wanted.iter().find(|(id, _)| now.get_node(id).is_none());
    if let Some((id, name)) = missing {
        return Some(Change::Learn(*id, PeerNode { name: name.clone() }));
    }
    let ids: BTreeSet<u64> = wanted.keys().copied().collect();
    if now.get_joint_config().as_slice() != [ids.clone()] {
        return Some(Change::Voters(ids));
    }
    let left: BTreeSet<u64> =
        now.nodes().map(|(id, _)| *id).filter(|id| !ids.contains(id)).collect();
    (!left.is_empty()).then_some(Change::Forget(left))
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
        let learn = next_change(&membership(&[&[1, 2, 3]], &[1, 2, 3]), &wanted);
        assert!(matches!(learn, Some(Change::Learn(4, _))));
        let change = next_change(&membership(&[&[1, 2, 3]], &[1, 2, 3, 4]), &wanted);
        assert_eq!(change, Some(Change::Voters(BTreeSet::from([2, 3, 4]))));
        let forget = next_change(&membership(&[&[2, 3, 4]], &[1, 2, 3, 4]), &wanted);
        assert_eq!(forget, Some(Change::Forget(BTreeSet::from([1]))));
        assert_eq!(next_change(&membership(&[&[2, 3, 4]], &[2, 3, 4]), &wanted), None);
    }

    #[test]
    fn an_interrupted_joint_change_is_finished() {
        let joint = membership(&[&[1, 2, 3], &[2, 3, 4]], &[1, 2, 3, 4]);
        let change = next_change(&joint, &roster(&[2, 3, 4]));
        assert_eq!(change, Some(Change::Voters(BTreeSet::from([2, 3, 4]))));
    }
}
