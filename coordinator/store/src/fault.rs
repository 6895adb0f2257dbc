//! Why this replica stops.
//!
//! A **fault** is local: a disk that failed, a file that contradicts itself, a Raft core that
//! ended. It is never part of the replicated state (that is a `Rejection`) and never healed in
//! place: after a failed fsync nobody knows what the disk holds, and a second fsync that succeeds
//! would lie about it. So the first fault wins, everything that waits for the disk gets it as an
//! error, nothing is acknowledged afterwards, and the process exits 1 for its supervisor.
//!
//! Serves *acknowledged-never-lost* and *sign-once*: an answer given after a fault could be about
//! bytes that were never written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use quorate_attest::merkle::Hash;
use tokio::sync::watch;

use crate::codec::CodecError;
use crate::disk::StoreFile;

/// What a replica was doing when the disk refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Beginning, filling or committing a write transaction.
    Write,
    /// Reading rows that must be there.
    Read,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Action::Write => "written",
            Action::Read => "read",
        })
    }
}

/// The reason for which this replica stops. The text is what the operator reads last.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The first error of any read, write or fsync.
    #[error("{file} could not be {action}: {source}")]
    Disk {
        /// The file that failed.
        file: StoreFile,
        /// What was being done to it.
        action: Action,
        /// What redb or the operating system said.
        source: redb::Error,
    },
    /// A commit that neither succeeded nor failed in time: acknowledgements would wait for ever.
    #[error("{file} made no progress for {} s in one commit", waited.as_secs())]
    Stalled {
        /// The file whose writer hangs.
        file: StoreFile,
        /// How long the commit has been running when it was given up.
        waited: Duration,
    },
    /// A row of our own that does not decode.
    #[error("{file} holds a {row} that does not decode: {source}")]
    Undecodable {
        /// The file that holds the row.
        file: StoreFile,
        /// Which row.
        row: String,
        /// Why the bytes were refused.
        source: CodecError,
    },
    /// A row of our own that must be there and is not.
    #[error("{file} misses {row}")]
    Missing {
        /// The file that should hold the row.
        file: StoreFile,
        /// Which row.
        row: String,
    },
    /// A leaf was produced a second time with other bytes: this replica diverged from its past.
    #[error("leaf {index} was stored with other bytes than the state machine produced now")]
    LeafChanged {
        /// The index of the leaf.
        index: u64,
    },
    /// A leaf was produced out of order.
    #[error("leaf {index} was produced while the log of leaves ends at {size}")]
    LeafGap {
        /// The index that was produced.
        index: u64,
        /// The number of leaves stored so far.
        size: u64,
    },
    /// The stored leaves do not have the root which the state machine computed.
    #[error("the {size} stored leaves have the root {stored}, the state machine has {machine}")]
    RootDiffers {
        /// The tree size at which both were computed.
        size: u64,
        /// The root over the stored leaves.
        stored: Hash,
        /// The root in the machine's state.
        machine: Hash,
    },
    /// A committed entry needs a newer binary. Going on would fork the state.
    #[error("entry {index} needs machine version {needed}, this binary has {supported}")]
    MachineVersion {
        /// The log index of the entry.
        index: u64,
        /// The version the entry asks for.
        needed: u32,
        /// The highest version this binary can apply.
        supported: u32,
    },
    /// The state in a snapshot cannot be restored.
    #[error("the snapshot at log index {index} cannot be restored: {reason}")]
    Snapshot {
        /// The log index the snapshot covers.
        index: u64,
        /// What the state machine said.
        reason: String,
    },
    /// The task that owns the state machine ended by a panic.
    #[error("the task that owns the state machine ended")]
    MachineEnded,
    /// A writer thread ended by a panic.
    #[error("the thread that writes {file} ended")]
    WriterEnded {
        /// The file it wrote.
        file: StoreFile,
    },
    /// openraft's core ended or reported a fatal condition; raised by the coordinator.
    #[error("Raft stopped: {reason}")]
    Raft {
        /// What openraft said.
        reason: String,
    },
}

impl Fault {
    pub(crate) fn write(file: StoreFile, source: impl Into<redb::Error>) -> Self {
        Fault::Disk { file, action: Action::Write, source: source.into() }
    }

    pub(crate) fn read(file: StoreFile, source: impl Into<redb::Error>) -> Self {
        Fault::Disk { file, action: Action::Read, source: source.into() }
    }
}

/// Where the parts of a store report their first fault. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FaultCell {
    first: watch::Sender<Option<Arc<Fault>>>,
}

impl FaultCell {
    /// A cell without a fault.
    pub fn new() -> Self {
        Self { first: watch::Sender::new(None) }
    }

    /// Reports a fault and returns the one that counts: the first. Later ones are usually echoes.
    pub fn raise(&self, fault: Fault) -> Arc<Fault> {
        let fault = Arc::new(fault);
        let mut first = Arc::clone(&fault);
        let raised = self.first.send_if_modified(|slot| match slot {
            Some(earlier) => {
                first = Arc::clone(earlier);
                false
            }
            None => {
                *slot = Some(Arc::clone(&fault));
                true
            }
        });
        if raised {
            tracing::error!(fault = %first, "this replica stops");
        }
        first
    }

    /// The fault, if there is one.
    pub fn get(&self) -> Option<Arc<Fault>> {
        self.first.borrow().clone()
    }

    /// Succeeds as long as nothing failed: the guard in front of every acknowledgement.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), Arc<Fault>> {
        self.get().map_or(Ok(()), Err)
    }

    /// A view that resolves when the first fault is raised.
    pub fn watch(&self) -> FaultWatch {
        FaultWatch { first: self.first.subscribe() }
    }
}

impl Default for FaultCell {
    fn default() -> Self {
        Self::new()
    }
}

/// Resolves when this replica has to stop.
#[derive(Debug, Clone)]
pub struct FaultWatch {
    first: watch::Receiver<Option<Arc<Fault>>>,
}

impl FaultWatch {
    /// Waits for the first fault. Never resolves if the store is closed in order.
    pub async fn wait(&mut self) -> Arc<Fault> {
        match self.first.wait_for(Option::is_some).await {
            Ok(slot) => match slot.as_ref() {
                Some(fault) => Arc::clone(fault),
                None => unreachable!("wait_for returned a value its predicate refuses"),
            },
            // Every cell is gone: the store was closed and nothing can fail any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// The fault, if there is one already.
    pub fn get(&self) -> Option<Arc<Fault>> {
        self.first.borrow().clone()
    }
}

/// openraft wants `io::Error`; the fault stays reachable as its source.
pub(crate) fn to_io(fault: &Arc<Fault>) -> io::Error {
    io::Error::other(Arc::clone(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_fault_wins_and_wakes_every_watch() {
        let cell = FaultCell::new();
        let mut watch = cell.watch();
        assert!(cell.check().is_ok());
        cell.raise(Fault::LeafChanged { index: 7 });
        let counted = cell.raise(Fault::MachineEnded);
        assert!(matches!(*counted, Fault::LeafChanged { index: 7 }));
        assert!(matches!(*watch.wait().await, Fault::LeafChanged { index: 7 }));
        assert!(cell.check().is_err());
    }
}
