//! One encoding of entries, votes, memberships and messages, for disk and wire.
//!
//! openraft's structs change between its releases, and a derived positional encoding would break
//! silently with one new field. So each record here is written by hand: a version byte, a kind
//! byte, then plain fields, big-endian, lengths before contents. Decoding is strict: every number
//! is bounded before openraft sees it (openraft panics on input that cannot be), nothing may be
//! left over, and the decoded value must encode to the very same bytes.
//!
//! `design.md` has the layout; `tests/upgrade.rs` freezes the bytes of every released version.

mod bytes;
mod message;
mod raft;

pub use bytes::{Reader, Writer};
pub use message::{ReadLogId, StreamAppendAnswer, TransferLeaderAnswer};
pub(crate) use raft::entry_bytes;
pub use raft::{MEMBERSHIP_NODES_MAX, NODE_NAME_BYTES_MAX};

/// The version this binary writes. It reads every version from [`VERSION_MIN`] on.
pub const VERSION: u8 = 1;
/// The oldest version this binary still reads.
pub const VERSION_MIN: u8 = 1;

/// The largest term, index or node id: 2^63 - 1, so that `+ 1` can never overflow.
pub const NUMBER_MAX: u64 = i64::MAX as u64;
/// The largest encoded command in bytes. Larger proposals are refused at the door.
pub const COMMAND_BYTES_MAX: usize = 256 << 10;
/// The budget of one AppendEntries in bytes of entries; one larger entry still travels alone.
pub const APPEND_BYTES_BUDGET: usize = 1 << 20;
/// The largest message between coordinators in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The largest number of entries in one AppendEntries.
pub const APPEND_ENTRIES_MAX: usize = 4096;

const _: () = assert!(COMMAND_BYTES_MAX < APPEND_BYTES_BUDGET);
const _: () = assert!(APPEND_BYTES_BUDGET + COMMAND_BYTES_MAX < MESSAGE_BYTES_MAX);

/// What a record is. Ids are persisted and sent: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A log id.
    LogId = 1,
    /// Raft's vote.
    Vote = 2,
    /// A log entry.
    Entry = 3,
    /// What a snapshot covers.
    SnapshotMeta = 4,
    /// AppendEntries.
    AppendEntries = 5,
    /// The answer to one AppendEntries of a stream.
    StreamAppendAnswer = 6,
    /// A request for a vote, also as pre-vote.
    VoteRequest = 7,
    /// The answer to it.
    VoteResponse = 8,
    /// The order to take over leadership.
    TransferLeader = 9,
    /// The answer to it.
    TransferLeaderResponse = 10,
    /// The answer to a snapshot.
    SnapshotResponse = 11,
    /// The log id a linearizable read has to wait for.
    ReadLogId = 12,
    /// What a snapshot stream starts with.
    SnapshotHeader = 13,
    /// A part of a snapshot stream.
    SnapshotChunk = 14,
    /// Where a stored snapshot is.
    StoredSnapshot = 15,
    /// The head this coordinator signed last.
    SignedHead = 16,
    /// A decision this coordinator refused to cosign.
    RefusedLeaf = 17,
    /// Two roots at one size, kept as evidence.
    ForkEvidence = 18,
}

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The input ended inside a field.
    #[error("{field} ends after {have} of {need} bytes")]
    Short {
        /// The field being read.
        field: &'static str,
        /// Bytes the field needs.
        need: usize,
        /// Bytes that were left.
        have: usize,
    },
    /// Bytes follow the last field.
    #[error("{extra} bytes follow the last field")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// The version is not one this binary reads.
    #[error("version {found} is not among {VERSION_MIN}..={VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// The record is of another kind.
    #[error("kind {found} where kind {expected} belongs")]
    Kind {
        /// The kind byte found.
        found: u8,
        /// The kind asked for.
        expected: u8,
    },
    /// A tag byte has no meaning.
    #[error("{field} has the unknown tag {found}")]
    Tag {
        /// The field being read.
        field: &'static str,
        /// The tag.
        found: u8,
    },
    /// A number or length is outside its bounds.
    #[error("{field} is {found}, outside {min}..={max}")]
    Bounds {
        /// The field being read.
        field: &'static str,
        /// What was found.
        found: u64,
        /// The smallest allowed value.
        min: u64,
        /// The largest allowed value.
        max: u64,
    },
    /// Parts of one record contradict each other.
    #[error("{field} contradicts the rest: {reason}")]
    Inconsistent {
        /// The field.
        field: &'static str,
        /// The rule that is broken.
        reason: &'static str,
    },
    /// A part with an encoding of its own was refused by its decoder.
    #[error("the {part} does not decode: {reason}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What its decoder said.
        reason: String,
    },
    /// The command inside an entry is for a newer machine: this replica must stop, not guess.
    #[error("the command needs machine version {needed}, this binary has {supported}")]
    TooNew {
        /// The version the command asks for.
        needed: u32,
        /// The highest version this binary applies.
        supported: u32,
    },
    /// The value decodes, but not from its own canonical bytes.
    #[error("the bytes are not the canonical encoding of what they decode to")]
    NotCanonical,
}

/// A value with one encoding.
pub trait Record: Sized {
    /// What it is, on disk and wire.
    const KIND: Kind;

    /// Writes the fields.
    fn write(&self, to: &mut Writer);

    /// Reads the fields back, bounds included.
    ///
    /// # Errors
    /// The first field that is short, unknown or out of bounds.
    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError>;
}

/// The bytes of a record: version, kind, fields.
pub fn encode<T: Record>(record: &T) -> Vec<u8> {
    let mut to = Writer::new();
    to.u8(VERSION);
    to.u8(T::KIND as u8);
    record.write(&mut to);
    to.into_bytes()
}

/// Reads one record that fills `bytes` exactly and canonically.
///
/// # Errors
/// Names the first field that is wrong; [`CodecError::NotCanonical`] if the value would encode to
/// other bytes.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut from = Reader::new(bytes);
    from.length("message", bytes.len(), MESSAGE_BYTES_MAX)?;
    let version = from.u8("version")?;
    if !(VERSION_MIN..=VERSION).contains(&version) {
        return Err(CodecError::Version { found: version });
    }
    let kind = from.u8("kind")?;
    if kind != T::KIND as u8 {
        return Err(CodecError::Kind { found: kind, expected: T::KIND as u8 });
    }
    let record = T::read(&mut from)?;
    from.finish()?;
    if version == VERSION && encode(&record) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(record)
}
