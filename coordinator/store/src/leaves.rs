//! Reading the decision log: leaves, Merkle nodes, and the size that was applied.
//!
//! The file may hold more leaves than this replica has applied again since its start; readers see
//! only what was applied. Reads never block the writer: each sees one consistent moment.

use std::ops::Range;
use std::sync::{Arc, Weak};

use quorate_attest::merkle::{Frontier, Hash, HashReader, Head, root_at};
use quorate_attest::number::TreeSize;
use redb::{Database, ReadOnlyTable, ReadableDatabase};
use tokio::sync::watch;

use crate::disk::StoreFile;
use crate::fault::{Fault, FaultCell};
use crate::leaves_file::decode_frontier;
use crate::table::leaf::{HASH, LEAF};
use crate::table::meta::{self, META};

/// A handle for reading leaves. Cheap to clone; does not keep the file open.
#[derive(Debug, Clone)]
pub struct Leaves {
    database: Weak<Database>,
    applied: watch::Receiver<u64>,
    fault: FaultCell,
}

/// Why leaves cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeavesError {
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// This replica stopped.
    #[error(transparent)]
    Fault(#[from] Arc<Fault>),
}

impl LeavesError {
    /// Inside the store a closed file is a fault: whoever still writes has been forgotten.
    pub(crate) fn into_fault(self, cell: &FaultCell) -> Arc<Fault> {
        match self {
            LeavesError::Closed => cell.raise(Fault::WriterEnded { file: StoreFile::Leaves }),
            LeavesError::Fault(fault) => fault,
        }
    }
}

impl Leaves {
    pub(crate) fn new(
        database: Weak<Database>,
        applied: watch::Receiver<u64>,
        fault: FaultCell,
    ) -> Self {
        Self { database, applied, fault }
    }

    /// The number of leaves this replica has applied.
    pub fn size(&self) -> TreeSize {
        TreeSize::new(*self.applied.borrow()).unwrap_or(TreeSize::MAX)
    }

    /// Changes whenever leaves were applied. They are readable before the value changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// One consistent view of everything applied so far.
    ///
    /// # Errors
    /// [`LeavesError::Closed`] after the store was closed, the fault if the disk failed.
    pub fn view(&self) -> Result<LeavesView, LeavesError> {
        // The size first: the view may then hold more leaves, never fewer.
        let size = *self.applied.borrow();
        self.view_of(size)
    }

    /// A view of everything stored, applied again since the start or not.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub fn stored(&self) -> Result<LeavesView, LeavesError> {
        self.view_of(self.frontier()?.size().get())
    }

    /// The bytes of one leaf; `None` if it is not applied yet.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub fn get(&self, index: u64) -> Result<Option<Vec<u8>>, LeavesError> {
        self.view()?.get(index)
    }

    /// The frontier over everything stored, applied again or not.
    pub(crate) fn frontier(&self) -> Result<Frontier, LeavesError> {
        self.fault.check()?;
        let database = self.database.upgrade().ok_or(LeavesError::Closed)?;
        read_frontier(&database).map_err(|fault| self.fault.raise(fault).into())
    }

    pub(crate) fn view_of(&self, size: u64) -> Result<LeavesView, LeavesError> {
        self.fault.check()?;
        let database = self.database.upgrade().ok_or(LeavesError::Closed)?;
        let open = || -> Result<LeavesView, redb::Error> {
            let transaction = database.begin_read()?;
            let leaf = transaction.open_table(LEAF)?;
            let hash = transaction.open_table(HASH)?;
            Ok(LeavesView { size, leaf, hash, fault: self.fault.clone() })
        };
        open().map_err(|source| self.fault.raise(Fault::read(StoreFile::Leaves, source)).into())
    }
}

/// The stored frontier; that of the empty log if no leaf was ever stored.
pub(crate) fn read_frontier(database: &Database) -> Result<Frontier, Fault> {
    let read = |source: redb::Error| Fault::read(StoreFile::Leaves, source);
    let transaction = database.begin_read().map_err(|source| read(source.into()))?;
    let table = transaction.open_table(META).map_err(|source| read(source.into()))?;
    match meta::get(&table, StoreFile::Leaves, meta::KEY_FRONTIER)? {
        Some(bytes) => decode_frontier(&bytes),
        None => Ok(Frontier::new()),
    }
}

/// The decision log at one moment: its first `size` leaves and their nodes.
pub struct LeavesView {
    size: u64,
    leaf: ReadOnlyTable<u64, &'static [u8]>,
    hash: ReadOnlyTable<(u8, u64), &'static [u8; 32]>,
    fault: FaultCell,
}

impl std::fmt::Debug for LeavesView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeavesView").field("size", &self.size).finish_non_exhaustive()
    }
}

impl LeavesView {
    /// The number of leaves in this view.
    pub fn size(&self) -> TreeSize {
        TreeSize::new(self.size).unwrap_or(TreeSize::MAX)
    }

    /// The bytes of one leaf; `None` at or beyond the size.
    ///
    /// # Errors
    /// The fault if the disk failed or the leaf is missing.
    pub fn get(&self, index: u64) -> Result<Option<Vec<u8>>, LeavesError> {
        if index >= self.size {
            return Ok(None);
        }
        match self.leaf.get(index) {
            Ok(Some(leaf)) => Ok(Some(leaf.value().to_vec())),
            Ok(None) => Err(self.missing(index)),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The leaves of `range` from its start, until `bytes_max` bytes are reached; at least one
    /// unless the range is empty or beyond the size.
    ///
    /// # Errors
    /// The fault if the disk failed or a leaf is missing.
    pub fn range(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, LeavesError> {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut leaves: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes = 0_usize;
        let mut rows = self.leaf.range(range.clone()).map_err(|source| self.failed(source))?;
        for expected in range {
            let row = rows.next().ok_or_else(|| self.missing(expected))?;
            let (index, leaf) = row.map_err(|source| self.failed(source))?;
            if index.value() != expected {
                return Err(self.missing(expected));
            }
            bytes = bytes.saturating_add(leaf.value().len());
            if !leaves.is_empty() && bytes > bytes_max {
                break;
            }
            leaves.push((expected, leaf.value().to_vec()));
        }
        Ok(leaves)
    }

    /// Size and root of this view, from the stored nodes.
    ///
    /// # Errors
    /// The fault if a node is missing or cannot be read.
    pub fn head(&self) -> Result<Head, LeavesError> {
        let size = self.size();
        let root = root_at(self, size).map_err(|missing| {
            let row = format!("a node of the tree ({missing})");
            self.fault.raise(Fault::Missing { file: StoreFile::Leaves, row })
        })?;
        Ok(Head { size, root })
    }

    fn missing(&self, index: u64) -> LeavesError {
        let row = format!("leaf {index}");
        self.fault.raise(Fault::Missing { file: StoreFile::Leaves, row }).into()
    }

    fn failed(&self, source: redb::StorageError) -> LeavesError {
        self.fault.raise(Fault::read(StoreFile::Leaves, source)).into()
    }
}

/// The roots of full subtrees, as `attest` needs them for proofs. A node that is missing or cannot
/// be read is `None`: no proof is made from it; a failing disk also raises the fault.
impl HashReader for LeavesView {
    fn hash(&self, level: u8, index: u64) -> Option<Hash> {
        let end = index.checked_add(1)?.checked_shl(u32::from(level))?;
        if end >> level != index + 1 || end > self.size {
            return None;
        }
        match self.hash.get((level, index)) {
            Ok(node) => node.map(|node| Hash::from_bytes(*node.value())),
            Err(source) => {
                // The caller sees an absent node; whoever watches the fault stops the replica.
                drop(self.failed(source));
                None
            }
        }
    }
}
