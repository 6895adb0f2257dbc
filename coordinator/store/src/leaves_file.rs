//! The jobs of `leaves.redb`: leaves as they are applied, and those of an incoming snapshot.
//!
//! Applied leaves are written without an fsync (the log can produce them again) and are made
//! durable before a snapshot is reported, because then the log is purged.

use std::sync::Arc;

use quorate_attest::merkle::Frontier;
use redb::{ReadableTable, WriteTransaction};

use crate::codec::CodecError;
use crate::disk::StoreFile;
use crate::fault::Fault;
use crate::table::leaf::{HASH, INCOMING, LEAF, LeafTables};
use crate::table::meta::{self, META};
use crate::writer::{Ack, Operation};

/// A write to `leaves.redb`.
pub(crate) enum LeafOperation {
    /// Leaves the state machine produced, from `first` on.
    Append { first: u64, leaves: Vec<Vec<u8>>, ack: Ack },
    /// Makes everything before it durable.
    Sync { ack: Ack },
    /// Forgets the leaves of a snapshot that was never finished.
    Discard { ack: Ack },
    /// Keeps leaves of a snapshot that is being received, from `first` on.
    Receive { first: u64, leaves: Vec<Vec<u8>>, ack: Ack },
    /// Moves received leaves below `end` to the log of leaves, at most `batch` of them.
    Promote { end: u64, batch: usize, ack: Ack },
}

impl Operation for LeafOperation {
    const FILE: StoreFile = StoreFile::Leaves;
    // This file grows for ever: without the saved allocator state every start would scan it.
    const QUICK_REPAIR: bool = true;
    type State = Frontier;

    fn is_durable(&self) -> bool {
        match self {
            Self::Sync { .. } => true,
            Self::Append { .. }
            | Self::Discard { .. }
            | Self::Receive { .. }
            | Self::Promote { .. } => false,
        }
    }

    fn run(
        group: &mut [Self],
        transaction: &WriteTransaction,
        frontier: &mut Frontier,
    ) -> Result<(), Fault> {
        let write = |source| Fault::write(StoreFile::Leaves, source);
        let mut tables = LeafTables {
            leaf: transaction.open_table(LEAF).map_err(write)?,
            hash: transaction.open_table(HASH).map_err(write)?,
        };
        let mut incoming = transaction.open_table(INCOMING).map_err(write)?;
        let size = frontier.size();
        for operation in group {
            match operation {
                Self::Append { first, leaves, .. } => {
                    for (index, leaf) in (*first..).zip(leaves) {
                        tables.append(frontier, index, leaf)?;
                    }
                }
                Self::Sync { .. } => {}
                Self::Discard { .. } => {
                    incoming
                        .retain(|_, _| false)
                        .map_err(|source| Fault::write(StoreFile::Leaves, source))?;
                }
                Self::Receive { first, leaves, .. } => {
                    for (index, leaf) in (*first..).zip(leaves) {
                        incoming
                            .insert(index, leaf.as_slice())
                            .map_err(|source| Fault::write(StoreFile::Leaves, source))?;
                    }
                }
                Self::Promote { end, batch, .. } => {
                    let taken = take(&mut incoming, *end, *batch)?;
                    for (index, leaf) in taken {
                        tables.append(frontier, index, &leaf)?;
                    }
                }
            }
        }
        if frontier.size() != size {
            save_frontier(transaction, frontier)?;
        }
        Ok(())
    }

    fn complete(self, result: Result<(), Arc<Fault>>) {
        match self {
            Self::Append { ack, .. }
            | Self::Sync { ack }
            | Self::Discard { ack }
            | Self::Receive { ack, .. }
            | Self::Promote { ack, .. } => drop(ack.send(result)),
        }
    }
}

/// Removes and returns the first `batch` received leaves below `end`.
fn take(
    incoming: &mut redb::Table<'_, u64, &'static [u8]>,
    end: u64,
    batch: usize,
) -> Result<Vec<(u64, Vec<u8>)>, Fault> {
    let read = |source| Fault::read(StoreFile::Leaves, source);
    let mut taken = Vec::new();
    for row in incoming.range(..end).map_err(read)?.take(batch) {
        let (index, leaf) = row.map_err(read)?;
        taken.push((index.value(), leaf.value().to_vec()));
    }
    if let Some((last, _)) = taken.last() {
        incoming
            .retain_in(..=*last, |_, _| false)
            .map_err(|source| Fault::write(StoreFile::Leaves, source))?;
    }
    Ok(taken)
}

fn save_frontier(transaction: &WriteTransaction, frontier: &Frontier) -> Result<(), Fault> {
    let mut table =
        transaction.open_table(META).map_err(|source| Fault::write(StoreFile::Leaves, source))?;
    let bytes = encode_frontier(frontier);
    meta::put(&mut table, StoreFile::Leaves, meta::KEY_FRONTIER, &bytes)
}

/// The bytes of the row `frontier`.
pub(crate) fn encode_frontier(frontier: &Frontier) -> Vec<u8> {
    borsh::to_vec(frontier).expect("writing to memory does not fail")
}

/// Reads the row `frontier` back.
pub(crate) fn decode_frontier(bytes: &[u8]) -> Result<Frontier, Fault> {
    borsh::from_slice(bytes).map_err(|refused| {
        let source = CodecError::Part { part: "frontier", reason: refused.to_string() };
        meta::undecodable(StoreFile::Leaves, meta::KEY_FRONTIER, source)
    })
}
