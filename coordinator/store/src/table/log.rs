//! `log` in `raft.redb`: log index (u64) to encoded entry. Consecutive, no holes.

use redb::{ReadableTable, Table, TableDefinition};

use crate::codec::{self, CodecError};
use crate::disk::StoreFile;
use crate::fault::Fault;
use crate::type_config::Entry;

pub(crate) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Stores entries under their indexes, replacing what was there.
pub(crate) fn append(table: &mut Table<'_, u64, &[u8]>, entries: &[Entry]) -> Result<(), Fault> {
    for entry in entries {
        table
            .insert(entry.log_id.index, codec::encode(entry).as_slice())
            .map_err(|source| Fault::write(StoreFile::Raft, source))?;
    }
    Ok(())
}

/// Removes the entries from `first` on.
pub(crate) fn truncate(table: &mut Table<'_, u64, &[u8]>, first: u64) -> Result<(), Fault> {
    table.retain_in(first.., |_, _| false).map_err(|source| Fault::write(StoreFile::Raft, source))
}

/// Removes the entries up to and including `last`.
pub(crate) fn purge(table: &mut Table<'_, u64, &[u8]>, last: u64) -> Result<(), Fault> {
    table.retain_in(..=last, |_, _| false).map_err(|source| Fault::write(StoreFile::Raft, source))
}

/// Every stored entry in order. Refuses rows that do not decode, carry another index than their
/// key, or leave a hole.
pub(crate) fn load(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Vec<Entry>, Fault> {
    let read = |source| Fault::read(StoreFile::Raft, source);
    let mut entries: Vec<Entry> = Vec::new();
    for row in table.iter().map_err(read)? {
        let (key, value) = row.map_err(read)?;
        let index = key.value();
        let undecodable = |source| Fault::Undecodable {
            file: StoreFile::Raft,
            row: format!("log entry {index}"),
            source,
        };
        let entry: Entry = codec::decode(value.value()).map_err(undecodable)?;
        if entry.log_id.index != index {
            return Err(undecodable(CodecError::Inconsistent {
                field: "index",
                reason: "an entry is stored under its own index",
            }));
        }
        if let Some(last) = entries.last()
            && last.log_id.index + 1 != index
        {
            let row = format!("log entry {}", last.log_id.index + 1);
            return Err(Fault::Missing { file: StoreFile::Raft, row });
        }
        entries.push(entry);
    }
    Ok(entries)
}
