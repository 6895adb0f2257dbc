//! The rows of the journal on disk: one redb table each, keys ordered, values checked.
//!
//! A value is followed by the SHA-256 of table, key and value, and the `meta` row `sum` is the
//! exclusive or of all of them: a row that was changed, lost or brought back is found when the
//! journal is opened, whatever redb itself makes of the file.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, Digest};
use quorate_attest::number::FencingToken;
use redb::TableDefinition;

/// Bytes of the check behind each value.
const CHECK_BYTES: usize = 32;

/// The tables. Their names are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Who, which instance, which sequence, what is pinned.
    Meta,
    /// Decision by cluster and token.
    Entry,
    /// Highest token by cluster.
    Fence,
    /// Used proposal ids.
    Used,
    /// Members and identities that must not start.
    Tombstone,
    /// Armed undos.
    Undo,
    /// Evidence leaves this agent verified.
    Evidence,
    /// Permissions to start alone that were taken.
    Permit,
}

impl Table {
    pub(super) const ALL: [Self; 8] = [
        Self::Meta,
        Self::Entry,
        Self::Fence,
        Self::Used,
        Self::Tombstone,
        Self::Undo,
        Self::Evidence,
        Self::Permit,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Entry => "entry",
            Self::Fence => "fence",
            Self::Used => "used",
            Self::Tombstone => "tombstone",
            Self::Undo => "undo",
            Self::Evidence => "evidence",
            Self::Permit => "permit",
        }
    }

    pub(super) const fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// A row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowDamaged {
    pub(super) table: &'static str,
}

/// The check of one row.
pub(super) fn check_of(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    let mut bytes = Vec::with_capacity(16 + key.len() + value.len());
    bytes.extend(table.name().as_bytes());
    bytes.push(0);
    bytes.extend((key.len() as u64).to_be_bytes());
    bytes.extend(key);
    bytes.extend(value);
    *Digest::of(&bytes).as_bytes()
}

/// A value as it is stored.
pub(super) fn seal(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = value.to_vec();
    stored.extend(check_of(table, key, value));
    stored
}

/// The value of a stored row, if it is what was written.
pub(super) fn open<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], RowDamaged> {
    let damaged = RowDamaged { table: table.name() };
    let Some(at) = stored.len().checked_sub(CHECK_BYTES) else { return Err(damaged) };
    let (value, check) = stored.split_at(at);
    if check == check_of(table, key, value) { Ok(value) } else { Err(damaged) }
}

/// Decodes a value; trailing bytes are damage too.
pub(super) fn decode<T: BorshDeserialize>(table: Table, value: &[u8]) -> Result<T, RowDamaged> {
    borsh::from_slice(value).map_err(|_| RowDamaged { table: table.name() })
}

/// Encodes a value. Writing into memory cannot fail.
pub(super) fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    borsh::to_vec(value).unwrap_or_default()
}

/// The key of an entry: cluster, a zero byte no label holds, incarnation, number; both big-endian,
/// so that the order of the rows is the order of the tokens.
pub(super) fn entry_key(cluster: &ClusterId, token: FencingToken) -> Vec<u8> {
    let mut key = cluster.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend(token.incarnation.get().to_be_bytes());
    key.extend(token.number.get().to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_moved_to_another_key_or_table_is_damaged() {
        let stored = seal(Table::Entry, b"key", b"value");
        assert_eq!(open(Table::Entry, b"key", &stored), Ok(&b"value"[..]));
        assert!(open(Table::Entry, b"kex", &stored).is_err());
        assert!(open(Table::Used, b"key", &stored).is_err());
        assert!(open(Table::Entry, b"key", &stored[..20]).is_err());
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert!(open(Table::Entry, b"key", &flipped).is_err(), "byte {at}");
        }
    }
}
