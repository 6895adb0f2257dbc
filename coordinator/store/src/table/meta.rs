//! `meta` in every file: one row per fact, under a short name.
//!
//! Each file names its format, its origin and its coordinator, so that files of two coordinators,
//! or of a recovered log and the one before it, cannot be mixed up unnoticed.

use redb::{ReadableTable, Table, TableDefinition};

use crate::codec::{self, CodecError, Record};
use crate::disk::StoreFile;
use crate::fault::Fault;

pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The format of all three files. Raised only together with a reader for every older one.
pub const FORMAT: u32 = 1;

/// All files: `FORMAT`, u32 big-endian.
pub(crate) const KEY_FORMAT: &str = "format";
/// All files: the origin's text.
pub(crate) const KEY_ORIGIN: &str = "origin";
/// All files: the coordinator's id, u64 big-endian.
pub(crate) const KEY_NODE: &str = "node";
/// `raft.redb`: Raft's vote. Correctness depends on it.
pub(crate) const KEY_VOTE: &str = "vote";
/// `raft.redb`: the committed log id. A hint: it may be older than the truth.
pub(crate) const KEY_COMMITTED: &str = "committed";
/// `raft.redb`: the last purged log id. Correctness depends on it.
pub(crate) const KEY_PURGED: &str = "purged";
/// `raft.redb`: the header of the stored snapshot.
pub(crate) const KEY_SNAPSHOT: &str = "snapshot";
/// `leaves.redb`: the frontier over all stored leaves.
pub(crate) const KEY_FRONTIER: &str = "frontier";
/// `sign_once.redb`: the text of the verifier key this file belongs to.
pub(crate) const KEY_SIGNER: &str = "signer";

/// The bytes of one row, if it exists.
pub(crate) fn get(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    file: StoreFile,
    key: &'static str,
) -> Result<Option<Vec<u8>>, Fault> {
    let row = table.get(key).map_err(|source| Fault::read(file, source))?;
    Ok(row.map(|row| row.value().to_vec()))
}

/// One decoded row, if it exists.
pub(crate) fn get_record<T: Record>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    file: StoreFile,
    key: &'static str,
) -> Result<Option<T>, Fault> {
    let Some(bytes) = get(table, file, key)? else { return Ok(None) };
    codec::decode(&bytes).map(Some).map_err(|source| undecodable(file, key, source))
}

/// Writes one row.
pub(crate) fn put(
    table: &mut Table<'_, &str, &[u8]>,
    file: StoreFile,
    key: &'static str,
    value: &[u8],
) -> Result<(), Fault> {
    table.insert(key, value).map(drop).map_err(|source| Fault::write(file, source))
}

/// Writes one encoded row.
pub(crate) fn put_record<T: Record>(
    table: &mut Table<'_, &str, &[u8]>,
    file: StoreFile,
    key: &'static str,
    value: &T,
) -> Result<(), Fault> {
    put(table, file, key, &codec::encode(value))
}

/// Removes one row.
pub(crate) fn remove(
    table: &mut Table<'_, &str, &[u8]>,
    file: StoreFile,
    key: &'static str,
) -> Result<(), Fault> {
    table.remove(key).map(drop).map_err(|source| Fault::write(file, source))
}

pub(crate) fn undecodable(file: StoreFile, key: &'static str, source: CodecError) -> Fault {
    Fault::Undecodable { file, row: key.to_owned(), source }
}
