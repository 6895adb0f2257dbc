//! `snapshot` in `raft.redb`: row number (u32) to at most [`ROW_BYTES`] of the machine's state.
//!
//! One snapshot at a time; its header is the row `snapshot` of `meta`, written in the same
//! transaction. Rows keep a state of any size out of one huge value.

use redb::{Table, TableDefinition};

use crate::disk::StoreFile;
use crate::fault::Fault;

pub(crate) const SNAPSHOT: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("snapshot");

/// The size of every row but the last: 1 MiB. Also the size of a chunk on the wire.
pub const ROW_BYTES: usize = 1 << 20;

/// The number of rows a state of `bytes` takes.
pub(crate) fn rows(bytes: u64) -> u64 {
    bytes.div_ceil(ROW_BYTES as u64)
}

/// Replaces the stored state by `state`.
pub(crate) fn replace(table: &mut Table<'_, u32, &[u8]>, state: &[u8]) -> Result<(), Fault> {
    let write = |source| Fault::write(StoreFile::Raft, source);
    table.retain(|_, _| false).map_err(write)?;
    for (number, row) in (0u32..).zip(state.chunks(ROW_BYTES)) {
        table.insert(number, row).map_err(write)?;
    }
    Ok(())
}
