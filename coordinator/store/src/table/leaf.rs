//! `leaf`, `hash` and `incoming` in `leaves.redb`.
//!
//! * `leaf`: leaf index (u64) to the leaf's exact bytes.
//! * `hash`: (level u8, index u64) to the root of that *full* subtree. Level 0 holds leaf hashes.
//! * `incoming`: like `leaf`, for the leaves of a snapshot that is still being received. Nobody
//!   reads them before the whole snapshot's root was compared.

use quorate_attest::merkle::{Frontier, leaf_hash};
use redb::{ReadableTable, Table, TableDefinition};

use crate::disk::StoreFile;
use crate::fault::Fault;

pub(crate) const LEAF: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("leaf");
pub(crate) const HASH: TableDefinition<'_, (u8, u64), &[u8; 32]> = TableDefinition::new("hash");
pub(crate) const INCOMING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("incoming");

/// The largest leaf in bytes; a certificate with it still fits its own limit.
pub const LEAF_BYTES_MAX: usize = 48_000;

/// The tables of one write transaction, and the frontier that follows them.
pub(crate) struct LeafTables<'txn> {
    pub(crate) leaf: Table<'txn, u64, &'static [u8]>,
    pub(crate) hash: Table<'txn, (u8, u64), &'static [u8; 32]>,
}

impl LeafTables<'_> {
    /// Stores `bytes` as leaf `index`, with the nodes it completes.
    ///
    /// A leaf that is already there must be the same, byte for byte: entries are applied again
    /// after every restart. Anything else means that this replica's past changed.
    pub(crate) fn append(
        &mut self,
        frontier: &mut Frontier,
        index: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let size = frontier.size().get();
        if index > size {
            return Err(Fault::LeafGap { index, size });
        }
        if index < size {
            let stored = self.leaf.get(index).map_err(read)?;
            return match stored {
                Some(stored) if stored.value() == bytes => Ok(()),
                Some(_) => Err(Fault::LeafChanged { index }),
                None => {
                    Err(Fault::Missing { file: StoreFile::Leaves, row: format!("leaf {index}") })
                }
            };
        }
        self.leaf.insert(index, bytes).map_err(write)?;
        for node in frontier.append(leaf_hash(bytes)) {
            let key = (node.level, node.index);
            self.hash.insert(key, node.hash.as_bytes()).map_err(write)?;
        }
        Ok(())
    }
}

fn read(source: redb::StorageError) -> Fault {
    Fault::read(StoreFile::Leaves, source)
}

fn write(source: redb::StorageError) -> Fault {
    Fault::write(StoreFile::Leaves, source)
}
