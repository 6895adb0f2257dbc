//! Snapshots: the machine's state, and the range of leaves it has produced.
//!
//! The state is small and goes whole; the leaves grow for ever and stay in `leaves.redb`. So a
//! snapshot *names* its leaves by size and root, and a transfer carries only those which the
//! receiver misses:
//!
//! ```text
//! sender    header { what it covers, bytes and digest of the state, size and root of the leaves }
//! receiver  have   { how many leaves it holds }
//! sender    state rows in order, then leaves from `have` on, each chunk about 1 MiB
//! receiver  compares the digest of the state and the root over all leaves, then installs
//! ```
//!
//! A sender can lie about everything else in the state. What leaves determine of it (the ledger) is
//! compared with a fold of the leaves by whoever judges them, before anything is cosigned
//! ([`MachineHandle::restored`](crate::MachineHandle::restored)): here it would take as long as the
//! log is. The rest says nothing that its readers do not verify again.
//!
//! Nothing of a snapshot is visible before digest and root were compared. A crash during the transfer leaves
//! rows in `incoming`, which the next transfer discards.

mod build;
mod header;
mod incoming;

use std::sync::Arc;

use redb::ReadOnlyTable;
use tokio::sync::OwnedSemaphorePermit;

pub use build::SnapshotBuilder;
pub(crate) use build::{Frozen, read_stored_header, stored};
pub(crate) use header::digest;
pub use header::{STATE_BYTES_MAX, SnapshotChunk, SnapshotHeader};
pub use incoming::{Incoming, SnapshotReceiver, SnapshotRefused};

use crate::disk::StoreFile;
use crate::fault::{Fault, FaultCell};
use crate::leaves::{LeavesError, LeavesView};
use crate::table::snapshot::{ROW_BYTES, rows};
use crate::type_config::Snapshot;

/// The data of one snapshot, wherever it comes from. Stays valid while newer ones are written.
pub struct SnapshotData {
    header: SnapshotHeader,
    state: StateSource,
    leaves: LeafSource,
    fault: FaultCell,
}

/// Where the state's bytes are.
enum StateSource {
    /// In `raft.redb`, as of the moment the handle was made.
    Stored(ReadOnlyTable<u32, &'static [u8]>),
    /// In memory: just built, or just received.
    Memory(Arc<Vec<u8>>),
}

/// Where the leaves are.
pub(crate) enum LeafSource {
    /// In a log of leaves.
    Applied(Box<LeavesView>),
    /// In `incoming`, from this replica's own size on. The permit keeps other transfers out.
    Received {
        /// Held, never read.
        _turn: OwnedSemaphorePermit,
    },
}

impl std::fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotData").field("header", &self.header).finish_non_exhaustive()
    }
}

impl SnapshotData {
    /// What a transfer starts with.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// openraft's form of it.
    pub fn into_snapshot(self) -> Snapshot {
        Snapshot { meta: self.header.meta.clone(), snapshot: self }
    }

    /// One row of the state, at most [`ROW_BYTES`]; `None` behind the last.
    ///
    /// # Errors
    /// The fault if the disk failed or the row is missing.
    pub fn state_row(&self, row: u64) -> Result<Option<Vec<u8>>, Arc<Fault>> {
        if row >= rows(self.header.state_bytes) {
            return Ok(None);
        }
        let missing =
            || Fault::Missing { file: StoreFile::Raft, row: format!("row {row} of the snapshot") };
        let bytes = match &self.state {
            StateSource::Memory(state) => {
                let row = usize::try_from(row).ok();
                row.and_then(|row| state.chunks(ROW_BYTES).nth(row)).map(<[u8]>::to_vec)
            }
            StateSource::Stored(table) => {
                let key = u32::try_from(row).map_err(|_| self.fault.raise(missing()))?;
                let row = table
                    .get(key)
                    .map_err(|source| self.fault.raise(Fault::read(StoreFile::Raft, source)))?;
                row.map(|row| row.value().to_vec())
            }
        };
        bytes.map(Some).ok_or_else(|| self.fault.raise(missing()))
    }

    /// The chunks for a receiver that holds `have` leaves, in order. Read as they are asked for:
    /// no more than one is in memory.
    pub fn outgoing(self, have: u64) -> Outgoing {
        Outgoing { next_row: 0, next_leaf: have, data: self }
    }

    /// The whole state; compared with the header's length and digest.
    pub(crate) fn read_state(&self) -> Result<Vec<u8>, Arc<Fault>> {
        let mut state = Vec::new();
        for row in 0..rows(self.header.state_bytes) {
            state.extend(self.state_row(row)?.unwrap_or_default());
        }
        if state.len() as u64 != self.header.state_bytes
            || digest(&state) != self.header.state_digest
        {
            let row = "a state with the digest in its header".to_owned();
            return Err(self.fault.raise(Fault::Missing { file: StoreFile::Raft, row }));
        }
        Ok(state)
    }

    pub(crate) fn leaves(&self) -> &LeafSource {
        &self.leaves
    }
}

/// A snapshot on its way to another coordinator.
#[derive(Debug)]
pub struct Outgoing {
    data: SnapshotData,
    next_row: u64,
    next_leaf: u64,
}

impl Outgoing {
    /// The next chunk; `None` when everything was taken.
    ///
    /// # Errors
    /// The fault if the disk failed, or the store was closed meanwhile.
    pub fn next_chunk(&mut self) -> Result<Option<SnapshotChunk>, LeavesError> {
        if let Some(row) = self.data.state_row(self.next_row)? {
            self.next_row += 1;
            return Ok(Some(SnapshotChunk::State(row)));
        }
        let LeafSource::Applied(view) = &self.data.leaves else {
            // Received and not installed yet: not ours to pass on.
            return Ok(None);
        };
        let leaves = view.range(self.next_leaf..self.data.header.leaves, ROW_BYTES)?;
        let Some((first, _)) = leaves.first() else { return Ok(None) };
        let first = *first;
        let leaves: Vec<Vec<u8>> = leaves.into_iter().map(|(_, leaf)| leaf).collect();
        self.next_leaf = first + leaves.len() as u64;
        Ok(Some(SnapshotChunk::Leaves { first, leaves }))
    }
}
