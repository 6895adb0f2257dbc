//! Receiving a snapshot: leaves to `incoming`, state to memory, everything compared at the end.

use std::sync::Arc;

use quorate_attest::merkle::{Frontier, Hash, Head, leaf_hash};
use quorate_core::Machine;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{LeafSource, SnapshotChunk, SnapshotData, SnapshotHeader, StateSource, digest};
use crate::fault::{Fault, FaultCell};
use crate::leaves::{Leaves, LeavesError};
use crate::leaves_file::LeafOperation;
use crate::owner::head_of;
use crate::writer::WriterHandle;

/// Why a snapshot from another coordinator was refused. The sender is wrong, not this disk, except
/// for [`SnapshotRefused::Local`].
#[derive(Debug, thiserror::Error)]
pub enum SnapshotRefused {
    /// Another transfer is under way.
    #[error("another snapshot is being received")]
    Busy,
    /// A chunk does not continue what was received.
    #[error("a chunk starts with leaf {found} where leaf {expected} belongs")]
    OutOfOrder {
        /// The leaf that follows what was received.
        expected: u64,
        /// The leaf the chunk starts with.
        found: u64,
    },
    /// More was sent than the header announced.
    #[error("the snapshot is longer than its header says")]
    TooLong,
    /// Less was sent than the header announced.
    #[error(
        "the snapshot ends early: {state_bytes} of {state_bytes_announced} bytes of state, \
         {leaves} of {leaves_announced} leaves"
    )]
    TooShort {
        /// Bytes of state received.
        state_bytes: u64,
        /// Bytes of state announced.
        state_bytes_announced: u64,
        /// Leaves held after the transfer.
        leaves: u64,
        /// Leaves announced.
        leaves_announced: u64,
    },
    /// The state is not the one the header announced.
    #[error("the state of the snapshot has another digest than its header")]
    StateDiffers,
    /// The state machine cannot be restored from the state.
    #[error("the state of the snapshot cannot be restored: {reason}")]
    StateUnusable {
        /// What the state machine said.
        reason: String,
    },
    /// The leaves, ours and the received ones together, do not have the announced root.
    #[error(
        "{size} leaves have the root {found}, the header says {announced_size} and {announced}"
    )]
    RootDiffers {
        /// The tree size found here.
        size: u64,
        /// The root computed here.
        found: Hash,
        /// The tree size in the header.
        announced_size: u64,
        /// The root in the header.
        announced: Hash,
    },
    /// This replica cannot receive anything.
    #[error(transparent)]
    Local(#[from] LeavesError),
}

impl From<Arc<Fault>> for SnapshotRefused {
    fn from(fault: Arc<Fault>) -> Self {
        SnapshotRefused::Local(fault.into())
    }
}

/// Accepts snapshots, one at a time. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotReceiver {
    turn: Arc<Semaphore>,
    leaves: Leaves,
    writer: WriterHandle<LeafOperation>,
    fault: FaultCell,
}

impl SnapshotReceiver {
    pub(crate) fn new(
        leaves: Leaves,
        writer: WriterHandle<LeafOperation>,
        fault: FaultCell,
    ) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), leaves, writer, fault }
    }

    /// Starts to receive the snapshot that `header` announces.
    ///
    /// # Errors
    /// [`SnapshotRefused::Busy`] while another transfer is received or installed.
    pub async fn begin(&self, header: SnapshotHeader) -> Result<Incoming, SnapshotRefused> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| SnapshotRefused::Busy)?;
        self.writer.run(|ack| LeafOperation::Discard { ack }).await?;
        let frontier = self.leaves.frontier()?;
        let have = frontier.size().get();
        Ok(Incoming {
            header,
            have,
            frontier,
            state: Vec::new(),
            turn,
            leaves: self.leaves.clone(),
            writer: self.writer.clone(),
            fault: self.fault.clone(),
        })
    }
}

/// A snapshot that is being received. Dropping it forgets what came so far.
pub struct Incoming {
    header: SnapshotHeader,
    have: u64,
    frontier: Frontier,
    state: Vec<u8>,
    turn: OwnedSemaphorePermit,
    leaves: Leaves,
    writer: WriterHandle<LeafOperation>,
    fault: FaultCell,
}

impl Incoming {
    /// The number of leaves this replica holds: the sender starts with this index.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// Refuses whatever does not continue what was received, or exceeds the header.
    pub async fn accept(&mut self, chunk: SnapshotChunk) -> Result<(), SnapshotRefused> {
        match chunk {
            SnapshotChunk::State(row) => {
                let length = self.state.len() as u64 + row.len() as u64;
                if length > self.header.state_bytes {
                    return Err(SnapshotRefused::TooLong);
                }
                self.state.extend_from_slice(&row);
                Ok(())
            }
            SnapshotChunk::Leaves { first, leaves } => {
                let expected = self.frontier.size().get();
                if first != expected {
                    return Err(SnapshotRefused::OutOfOrder { expected, found: first });
                }
                if expected.saturating_add(leaves.len() as u64) > self.header.leaves {
                    return Err(SnapshotRefused::TooLong);
                }
                for leaf in &leaves {
                    self.frontier.append(leaf_hash(leaf));
                }
                self.writer.run(|ack| LeafOperation::Receive { first, leaves, ack }).await?;
                Ok(())
            }
        }
    }

    /// Compares everything with the header. Only what passes can be installed.
    ///
    /// # Errors
    /// Names the first thing that differs.
    pub fn finish(self) -> Result<SnapshotData, SnapshotRefused> {
        let leaves = self.frontier.size().get();
        let state_bytes = self.state.len() as u64;
        if leaves < self.header.leaves || state_bytes < self.header.state_bytes {
            return Err(SnapshotRefused::TooShort {
                state_bytes,
                state_bytes_announced: self.header.state_bytes,
                leaves,
                leaves_announced: self.header.leaves,
            });
        }
        if digest(&self.state) != self.header.state_digest {
            return Err(SnapshotRefused::StateDiffers);
        }
        let machine = Machine::restore(&self.state)
            .map_err(|refused| SnapshotRefused::StateUnusable { reason: refused.to_string() })?;
        self.compare(head_of(&machine))?;
        let found = if leaves == self.header.leaves {
            self.frontier.head()
        } else {
            // This replica holds more: it had written them before a restart and has not applied
            // them again yet.
            self.leaves.view_of(self.header.leaves)?.head()?
        };
        self.compare(found)?;
        Ok(SnapshotData {
            header: self.header,
            state: StateSource::Memory(Arc::new(self.state)),
            leaves: LeafSource::Received { _turn: self.turn },
            fault: self.fault,
        })
    }

    fn compare(&self, found: Head) -> Result<(), SnapshotRefused> {
        if found.size.get() == self.header.leaves && found.root == self.header.root {
            return Ok(());
        }
        Err(SnapshotRefused::RootDiffers {
            size: found.size.get(),
            found: found.root,
            announced_size: self.header.leaves,
            announced: self.header.root,
        })
    }
}
