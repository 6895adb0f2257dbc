//! The jobs of `raft.redb`: entries, votes, log bounds and the snapshot, in one stream.

use openraft::storage::IOFlushed;
use redb::{Table, WriteTransaction};
use std::sync::Arc;

use crate::codec;
use crate::disk::StoreFile;
use crate::fault::{Fault, to_io};
use crate::snapshot::SnapshotHeader;
use crate::table::{log, meta, snapshot};
use crate::type_config::{Entry, LogId, TypeConfig, Vote};
use crate::writer::{Ack, Operation};

/// A write to `raft.redb`.
pub(crate) enum RaftOperation {
    /// Durable before `flushed` is told.
    Append { entries: Vec<Entry>, flushed: IOFlushed<TypeConfig> },
    /// Durable before `ack`: a vote that is forgotten makes two leaders in one term.
    Vote { vote: Vote, ack: Ack },
    /// Removes entries from `first` on. Rides on the next group: repeated after a crash.
    Truncate { first: u64 },
    /// Removes entries up to `upto`. Rides on the next group: repeated after a crash.
    Purge { upto: LogId },
    /// A hint for the next start. Rides on the next group.
    Committed { id: Option<LogId> },
    /// Durable before `ack`: the log is purged right after. Skipped if a newer one is stored.
    Snapshot { header: Box<SnapshotHeader>, state: Arc<Vec<u8>>, ack: Ack },
}

impl Operation for RaftOperation {
    const FILE: StoreFile = StoreFile::Raft;
    // The file stays small, opening it is fast, and quick repair costs a second fsync per commit.
    const QUICK_REPAIR: bool = false;
    type State = ();

    fn is_durable(&self) -> bool {
        match self {
            Self::Append { .. } | Self::Vote { .. } | Self::Snapshot { .. } => true,
            Self::Truncate { .. } | Self::Purge { .. } | Self::Committed { .. } => false,
        }
    }

    fn run(
        group: &mut [Self],
        transaction: &WriteTransaction,
        (): &mut Self::State,
    ) -> Result<(), Fault> {
        let write = |source| Fault::write(StoreFile::Raft, source);
        let mut log = transaction.open_table(log::LOG).map_err(write)?;
        let mut meta = transaction.open_table(meta::META).map_err(write)?;
        for operation in group {
            match operation {
                Self::Append { entries, .. } => log::append(&mut log, entries)?,
                Self::Vote { vote, .. } => {
                    meta::put_record(&mut meta, StoreFile::Raft, meta::KEY_VOTE, vote)?;
                }
                Self::Truncate { first } => log::truncate(&mut log, *first)?,
                Self::Purge { upto } => {
                    log::purge(&mut log, upto.index)?;
                    meta::put_record(&mut meta, StoreFile::Raft, meta::KEY_PURGED, upto)?;
                }
                Self::Committed { id } => write_committed(&mut meta, id.as_ref())?,
                Self::Snapshot { header, state, .. } => {
                    if is_newer_than_stored(header, &meta)? {
                        let mut rows = transaction.open_table(snapshot::SNAPSHOT).map_err(write)?;
                        snapshot::replace(&mut rows, state)?;
                        let header = codec::encode(&**header);
                        meta::put(&mut meta, StoreFile::Raft, meta::KEY_SNAPSHOT, &header)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn complete(self, result: Result<(), Arc<Fault>>) {
        match self {
            Self::Append { flushed, .. } => {
                flushed.io_completed(result.map_err(|fault| to_io(&fault)));
            }
            // A caller that no longer waits has been dropped with its Raft core.
            Self::Vote { ack, .. } | Self::Snapshot { ack, .. } => drop(ack.send(result)),
            Self::Truncate { .. } | Self::Purge { .. } | Self::Committed { .. } => {}
        }
    }
}

fn write_committed(table: &mut Table<'_, &str, &[u8]>, id: Option<&LogId>) -> Result<(), Fault> {
    match id {
        Some(id) => meta::put_record(table, StoreFile::Raft, meta::KEY_COMMITTED, id),
        None => meta::remove(table, StoreFile::Raft, meta::KEY_COMMITTED),
    }
}

/// A build that was overtaken by an installed snapshot must not put the older state back: the log
/// between the two may be purged already.
fn is_newer_than_stored(
    header: &SnapshotHeader,
    table: &Table<'_, &'static str, &'static [u8]>,
) -> Result<bool, Fault> {
    let stored: Option<SnapshotHeader> =
        meta::get_record(table, StoreFile::Raft, meta::KEY_SNAPSHOT)?;
    Ok(stored.is_none_or(|stored| stored.meta.last_log_id <= header.meta.last_log_id))
}
