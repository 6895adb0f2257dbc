//! The Raft log: all of it in memory, every change queued for `raft.redb`.
//!
//! openraft's contract: entries are readable when `append` returns, and durable when the callback
//! is told. So memory changes first and the writer follows; votes go the other way round, because
//! a vote counts only once it is durable. The log stays small (the snapshot policy purges it), and
//! a cache that drops entries would have to survive truncation racing with replication.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, entry::RaftEntry};
use tokio::sync::watch;

use crate::codec::{APPEND_BYTES_BUDGET, entry_bytes};
use crate::fault::{FaultCell, to_io};
use crate::raft_file::RaftOperation;
use crate::type_config::{Entry, LogId, TypeConfig, Vote};
use crate::writer::WriterHandle;

/// What Raft may ask for at any moment, without touching the disk.
#[derive(Debug, Default)]
pub(crate) struct LogMemory {
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) purged: Option<LogId>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    /// Encoded bytes of `entries`.
    bytes: u64,
}

impl LogMemory {
    fn insert(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry) as u64;
        if let Some(replaced) = self.entries.insert(entry.log_id.index, entry) {
            self.bytes -= entry_bytes(&replaced) as u64;
        }
    }

    /// Splits the log in front of `index` and keeps one side of it.
    fn keep(&mut self, side: Side, index: u64) {
        let after = self.entries.split_off(&index);
        let gone = match side {
            Side::Before => after,
            Side::From => std::mem::replace(&mut self.entries, after),
        };
        self.bytes -= gone.values().map(|entry| entry_bytes(entry) as u64).sum::<u64>();
    }

    /// The last entry's id, or the purged id if there is no entry.
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.purged)
    }

    /// Neither voted nor holding anything: Raft may be initialised here.
    pub(crate) fn is_pristine(&self) -> bool {
        self.vote.is_none() && self.last_log_id().is_none()
    }

    /// Entries of `range`, in order. Holes are impossible: `append` refuses them.
    fn range(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let empty = match bounds {
            (Bound::Included(start), Bound::Excluded(end))
            | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Excluded(start), Bound::Excluded(end)) => start.saturating_add(1) >= end,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        let entries = (!empty).then(|| self.entries.range(bounds));
        entries.into_iter().flatten().map(|(_, entry)| entry)
    }
}

/// Which part of the log stays.
enum Side {
    Before,
    From,
}

/// Tells how much memory the log takes, for whoever triggers snapshots. Cheap to clone.
#[derive(Clone)]
pub struct LogSize {
    memory: watch::Receiver<LogMemory>,
}

impl LogSize {
    /// Encoded bytes of all entries in memory; about what they take there.
    pub fn bytes(&self) -> u64 {
        self.memory.borrow().bytes
    }

    /// The number of entries in memory.
    pub fn entries(&self) -> u64 {
        self.memory.borrow().entries.len() as u64
    }
}

/// openraft's log storage.
pub struct LogStore {
    memory: watch::Sender<LogMemory>,
    writer: WriterHandle<RaftOperation>,
    fault: FaultCell,
}

impl LogStore {
    pub(crate) fn new(
        memory: LogMemory,
        writer: WriterHandle<RaftOperation>,
        fault: FaultCell,
    ) -> Self {
        Self { memory: watch::Sender::new(memory), writer, fault }
    }

    pub(crate) fn size(&self) -> LogSize {
        LogSize { memory: self.memory.subscribe() }
    }

    fn check(&self) -> io::Result<()> {
        self.fault.check().map_err(|fault| to_io(&fault))
    }
}

/// Reads the log while others append.
#[derive(Clone)]
pub struct LogReader {
    memory: watch::Receiver<LogMemory>,
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.memory.borrow().range(range).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.memory.borrow().vote)
    }

    /// At most [`APPEND_BYTES_BUDGET`] bytes, but always one entry: a message that is too large
    /// for the follower would be sent again for ever.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0_usize;
        for entry in self.memory.borrow().range(start..end) {
            bytes = bytes.saturating_add(entry_bytes(entry));
            if !entries.is_empty() && bytes > APPEND_BYTES_BUDGET {
                break;
            }
            entries.push(entry.clone());
        }
        if entries.is_empty() && start < end {
            return Err(io::Error::other(format!("the log holds no entry in {start}..{end}")));
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let memory = self.memory.borrow();
        let last_log_id = memory.last_log_id();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        LogReader { memory: self.memory.subscribe() }
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.writer
            .run(|ack| RaftOperation::Vote { vote, ack })
            .await
            .map_err(|fault| to_io(&fault))?;
        self.memory.send_modify(|memory| memory.vote = Some(vote));
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.check()?;
        self.memory.send_modify(|memory| memory.committed = committed);
        self.writer.submit(RaftOperation::Committed { id: committed });
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.memory.borrow().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.check()?;
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut gap = None;
        self.memory.send_modify(|memory| {
            for entry in &entries {
                let last = memory.entries.last_key_value().map(|(index, _)| *index);
                if last.is_some_and(|last| entry.index() > last + 1) {
                    gap = Some(entry.index());
                    return;
                }
                memory.insert(entry.clone());
            }
        });
        if let Some(index) = gap {
            return Err(io::Error::other(format!("entry {index} would leave a hole in the log")));
        }
        self.writer.submit(RaftOperation::Append { entries, flushed });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.check()?;
        let first = last.map_or(0, |id| id.index + 1);
        self.memory.send_modify(|memory| memory.keep(Side::Before, first));
        self.writer.submit(RaftOperation::Truncate { first });
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.check()?;
        self.memory.send_modify(|memory| {
            memory.keep(Side::From, upto.index + 1);
            memory.purged = Some(upto);
        });
        self.writer.submit(RaftOperation::Purge { upto });
        Ok(())
    }
}

/// Puts the rows of `raft.redb` together again.
///
/// `committed` may name an entry that the disk never got: openraft reads every entry below it, so
/// the hint is cut back to what is there.
pub(crate) fn recover(
    entries: Vec<Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
) -> LogMemory {
    let mut memory = LogMemory { purged, vote, ..LogMemory::default() };
    entries.into_iter().for_each(|entry| memory.insert(entry));
    memory.committed = committed.min(memory.last_log_id());
    memory
}
