//! The coordinator as its services see it: propose, read, watch.
//!
//! `propose`: a write goes to the leader, once. `read`: a read that must be current asks the
//! leader first. Here is what both stand on, and what services may know of Raft.

mod propose;
mod read;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use openraft::async_runtime::WatchReceiver;
use quorate_attest::{charter::Charter, id::NetworkName};
use quorate_core::Machine;
use quorate_store::{FaultWatch, Leaves, LogId, MachineHandle, Raised, Vote};
use tokio::{
    sync::{Semaphore, broadcast, watch},
    time::Instant,
};

pub use self::{
    propose::{Asked, ProposeError, Written},
    read::ReadError,
};
use crate::{
    clock::Clock,
    raft::{Raft, peers::Peers},
    service::verify::InForce,
};

/// Everything a service needs. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    machine: MachineHandle,
    leaves: Leaves,
    peers: Peers,
    clock: Clock,
    fault: FaultWatch,
    network: NetworkName,
    clients: BTreeMap<u64, String>,
    in_force: watch::Sender<Option<Arc<InForce>>>,
    /// Who led when this replica last took a message of a leader, and when that was.
    heard: watch::Sender<Option<(u64, Instant)>>,
    queue: Semaphore,
    queue_max: usize,
}

/// What a [`Handle`] is made of.
pub struct Parts {
    /// The replica.
    pub raft: Raft,
    /// The machine it applies to.
    pub machine: MachineHandle,
    /// The decision log.
    pub leaves: Leaves,
    /// The other coordinators.
    pub peers: Peers,
    /// The local clock.
    pub clock: Clock,
    /// Resolves when this replica has to stop.
    pub fault: FaultWatch,
    /// The network: the name part of the origin.
    pub network: NetworkName,
    /// Public addresses by id.
    pub clients: BTreeMap<u64, String>,
    /// Writes that may wait at once.
    pub queue_max: usize,
}

impl Handle {
    /// A handle over `parts`.
    pub fn new(parts: Parts) -> Self {
        let Parts { raft, machine, leaves, peers, clock, fault, network, clients, queue_max } =
            parts;
        let queue = Semaphore::new(queue_max);
        let in_force = watch::Sender::new(None);
        Self {
            inner: Arc::new(Inner {
                raft,
                machine,
                leaves,
                peers,
                clock,
                fault,
                network,
                clients,
                in_force,
                heard: watch::Sender::new(None),
                queue,
                queue_max,
            }),
        }
    }

    /// The replica.
    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// The other coordinators.
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// The decision log.
    pub fn leaves(&self) -> &Leaves {
        &self.inner.leaves
    }

    /// The local clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The network's name.
    pub fn network(&self) -> &NetworkName {
        &self.inner.network
    }

    /// This coordinator's id.
    pub fn own(&self) -> u64 {
        self.inner.peers.desk().own()
    }

    /// Public addresses by id.
    pub fn clients(&self) -> &BTreeMap<u64, String> {
        &self.inner.clients
    }

    /// The charter in force with its keys; `None` before the first.
    pub fn in_force(&self) -> Option<Arc<InForce>> {
        self.inner.in_force.borrow().clone()
    }

    /// A charter has come into force.
    pub(crate) fn set_in_force(&self, charter: Charter) {
        let known = self.in_force().is_some_and(|known| known.charter == charter);
        if !known {
            self.inner.in_force.send_replace(Some(Arc::new(InForce::new(charter))));
        }
    }

    /// How long ago this replica last knew itself to be current: on the leader since a quorum
    /// confirmed it, elsewhere since the leader was last heard. As long as nothing is known, the
    /// longest there is.
    pub fn age(&self) -> Duration {
        let heard = self.inner.heard.borrow().map(|(_, at)| at.elapsed());
        self.raft_view().quorum_age.or(heard).unwrap_or(Duration::MAX)
    }

    /// A message of `leader` has passed every check.
    pub(crate) fn hear(&self, leader: u64) {
        self.inner.heard.send_replace(Some((leader, Instant::now())));
    }

    /// Whether this is the vote by which this replica is led: not that of a leader deposed since.
    pub(crate) fn follows(&self, vote: &Vote) -> bool {
        self.inner.raft.metrics().borrow_watched().vote == *vote
    }

    /// The fault that stopped this replica, if one did.
    pub fn faulted(&self) -> Option<String> {
        self.inner.fault.get().map(|fault| fault.to_string())
    }

    /// Reads the machine as it is now on this replica.
    pub async fn machine<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Machine) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let read = self.inner.machine.read(read).await;
        read.map_err(|error| ReadError::Faulted { fault: error.to_string() })
    }

    /// The leader this replica knows, itself included. With pre-votes Raft goes on naming one that has
    /// died until another is elected, so who is silent for two election timeouts leads nobody here.
    pub fn leader(&self) -> Option<u64> {
        let known = self.inner.raft.metrics().borrow_watched().current_leader?;
        let silence = Duration::from_millis(self.inner.raft.config().election_timeout_max) * 2;
        let heard = *self.inner.heard.borrow();
        let is_heard = heard.is_some_and(|(from, at)| from == known && at.elapsed() <= silence);
        (known == self.own() || is_heard).then_some(known)
    }

    /// Whether this replica leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.leader() == Some(self.own())
    }

    /// How often the machine came from a snapshot.
    pub(crate) fn restored(&self) -> watch::Receiver<u64> {
        self.inner.machine.restored()
    }

    /// What a person should look at, raised from now on.
    pub(crate) fn alarms(&self) -> broadcast::Receiver<Raised> {
        self.inner.machine.alarms()
    }

    /// The last applied entry; changes after its leaves can be read.
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.inner.machine.applied()
    }

    /// Index of the last applied entry; 0 if there is none.
    pub fn applied_index(&self) -> u64 {
        self.inner.machine.applied().borrow().map_or(0, |log_id| log_id.index)
    }

    /// Whether this disk holds every entry that was applied. `committed` may run ahead of the local
    /// fsync; what is signed must not.
    pub fn is_flushed(&self) -> bool {
        let applied = *self.inner.machine.applied().borrow();
        let flushed = self.inner.raft.watch_log_progress().get();
        match flushed.and_then(|point| point.last_log_id) {
            // Nothing was appended since the start: what was applied came from the disk.
            None => true,
            Some(flushed) => applied.is_none_or(|applied| applied <= flushed),
        }
    }

    /// Entries that are committed and not applied here yet.
    pub fn trails_commit(&self) -> u64 {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let committed = metrics.cluster_committed.map_or(0, |log_id| log_id.index);
        committed.saturating_sub(metrics.last_applied.map_or(0, |log_id| log_id.index))
    }

    /// Waits until this replica has at least what it had before it was stopped; false if Raft
    /// ended.
    pub async fn recovered(&self) -> bool {
        self.inner.raft.wait_for_recovery(None).await.is_ok()
    }

    /// The follower that trails least.
    pub fn most_current_follower(&self) -> Option<u64> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let replication = metrics.replication.as_ref()?;
        let others = replication.iter().filter(|(id, _)| **id != self.own() && voters.contains(id));
        others.max_by_key(|(_, matched)| matched.map(|log_id| log_id.index)).map(|(id, _)| *id)
    }

    /// What this replica knows that `peer` has made durable: the highest committed entry it has
    /// acknowledged to us as the leader, and the highest term in which it voted for us. 0 if
    /// nothing is known. Only committed entries count: an uncommitted one may have been truncated
    /// rightly.
    pub(crate) fn acknowledged_by(&self, peer: u64) -> (u64, u64) {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let committed = metrics.cluster_committed.map_or(0, |log_id| log_id.index);
        let matched =
            metrics.replication.as_ref().and_then(|all| all.get(&peer).copied().flatten());
        let acknowledged = matched.map_or(0, |log_id| log_id.index.min(committed));
        (acknowledged, self.inner.peers.voted_term(peer))
    }

    /// Orders leadership to be handed to `to`; does not wait for it.
    ///
    /// # Errors
    /// This replica has stopped.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), ReadError> {
        let ordered = self.inner.raft.trigger().transfer_leader(to).await;
        ordered.map_err(|fatal| ReadError::Faulted { fault: fatal.to_string() })
    }
}
