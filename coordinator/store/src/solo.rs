//! One replica without Raft: it agrees with itself, in the order in which Raft would drive it.
//!
//! For making a data directory whose history is known (benchmarks, tests of long logs). Append and
//! fsync, then `committed`, then apply, then now and then a snapshot and a purge: the files that
//! are left look as if this coordinator had followed one leader all the time. Compiled only with
//! the feature `solo`: a running coordinator has no business here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::StorageHelper;
use openraft::storage::{
    IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::type_config::TypeConfigExt;

use crate::fault::to_io;
use crate::log_store::LogStore;
use crate::snapshot::SnapshotHeader;
use crate::state_machine::StateMachine;
use crate::type_config::{
    Entry, EntryPayload, LogId, Membership, NodeId, PeerNode, Proposed, Reply, TypeConfig, Vote,
};

/// The only term: nobody else ever leads.
const TERM: u64 = 1;

/// A replica that was pristine and has no peers.
pub struct Solo {
    log: LogStore,
    state_machine: StateMachine,
    last: LogId,
}

impl Solo {
    /// Takes the log and the state machine of a pristine store and writes what a quorum of `roster`
    /// begins with: its membership, the vote for the coordinator with the smallest id, and the
    /// blank entry of that leader.
    ///
    /// # Errors
    /// The store is not pristine, the roster is empty, or the disk failed.
    pub async fn begin(
        mut log: LogStore,
        state_machine: StateMachine,
        roster: BTreeMap<NodeId, PeerNode>,
    ) -> io::Result<Self> {
        let voted = log.get_log_reader().await.read_vote().await?;
        if voted.is_some() || log.get_log_state().await?.last_log_id.is_some() {
            return Err(io::Error::other("the store has a past already"));
        }
        let ids: BTreeSet<NodeId> = roster.keys().copied().collect();
        let leader = *ids.first().ok_or_else(|| io::Error::other("the roster is empty"))?;
        let membership = Membership::new(vec![ids], roster).map_err(io::Error::other)?;
        // As `Raft::initialize` writes it: term 0, index 0.
        let first = LogId::new_term_index(0, 0);
        let mut solo = Self { log, state_machine, last: first };
        solo.log.save_vote(&Vote::new_committed(TERM, leader)).await?;
        solo.commit_entries(vec![Entry {
            log_id: first,
            payload: EntryPayload::Membership(membership),
        }])
        .await?;
        let blank = Entry { log_id: solo.next(1), payload: EntryPayload::Blank };
        solo.commit_entries(vec![blank]).await?;
        Ok(solo)
    }

    /// Takes a store that has a past: its snapshot is installed and its log applied again, as Raft
    /// does at every start. Nobody else decides what is committed, so all of it is.
    ///
    /// # Errors
    /// The store is pristine, or what is stored cannot be applied.
    pub async fn resume(
        mut log: LogStore,
        mut state_machine: StateMachine,
        id: NodeId,
    ) -> io::Result<Self> {
        let state = log.get_log_state().await?;
        let last = state.last_log_id.ok_or_else(|| io::Error::other("the store is pristine"))?;
        StorageHelper::new(&mut log, &mut state_machine).with_id(id).get_initial_state().await?;
        let applied = state_machine.handle.applied_state().await.map_err(|fault| to_io(&fault))?.0;
        let next = applied.map_or(0, |applied| applied.index + 1);
        let rest = log.get_log_reader().await.try_get_log_entries(next..=last.index).await?;
        state_machine.handle.apply(rest).await.map_err(|fault| to_io(&fault))?;
        Ok(Self { log, state_machine, last })
    }

    /// Appends and applies commands as one group: one fsync, then one batch for the machine.
    ///
    /// # Errors
    /// The fault that stops this replica. A rejection is no error: it is a reply.
    pub async fn commit(&mut self, commands: Vec<Proposed>) -> io::Result<Vec<Reply>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let entries = (1..).zip(commands).map(|(offset, proposed)| Entry {
            log_id: self.next(offset),
            payload: EntryPayload::Normal(proposed),
        });
        let entries = entries.collect();
        self.commit_entries(entries).await
    }

    /// Builds a snapshot of everything applied, makes it durable, and purges the log up to `keep`
    /// entries before it.
    ///
    /// # Errors
    /// The fault that stops this replica.
    pub async fn snapshot(&mut self, keep: u64) -> io::Result<SnapshotHeader> {
        let builder = self.state_machine.try_create_snapshot_builder(true).await;
        let mut builder = builder.ok_or_else(|| io::Error::other("no snapshot can be built"))?;
        let built = builder.build_snapshot().await?;
        let upto = self.last.index.saturating_sub(keep);
        let purged = self.log.get_log_state().await?.last_purged_log_id;
        if upto > purged.map_or(0, |id| id.index) {
            self.log.purge(LogId::new_term_index(TERM, upto)).await?;
        }
        Ok(built.snapshot.header().clone())
    }

    /// The index of the last entry.
    pub fn last_index(&self) -> u64 {
        self.last.index
    }

    fn next(&self, offset: u64) -> LogId {
        LogId::new_term_index(TERM, self.last.index + offset)
    }

    async fn commit_entries(&mut self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(Vec::new()) };
        let (tell, flushed) = TypeConfig::oneshot();
        self.log.append(entries.clone(), IOFlushed::signal(tell)).await?;
        flushed.await.map_err(io::Error::other)??;
        self.log.save_committed(Some(last)).await?;
        self.last = last;
        self.state_machine.handle.apply(entries).await.map_err(|fault| to_io(&fault))
    }
}
