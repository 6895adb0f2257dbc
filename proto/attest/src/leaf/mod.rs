//! Leaves: what the coordinators append to the log.
//!
//! Charter, override, pause, act and incarnation leaves are the signed note itself, byte for byte.
//! The others are records: a header block by the coordinators, then statements verbatim. Blocks are
//! separated by exactly one empty line and contain none. Parsing judges nothing but the form;
//! [`History`](crate::history::History) is the only code that judges a leaf.

mod block;
mod decision;
mod outcome;
mod void;

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

pub(crate) use block::Blocks;
pub use decision::Decision;
pub use outcome::Outcome;
pub use void::{Void, VoidCause};

use crate::charter::Charter;
use crate::evidence::Evidence;
use crate::id::{ClusterId, Origin};
use crate::log_time::LogTime;
use crate::merkle::{Hash, leaf_hash};
use crate::note::NoteError;
use crate::number::Epoch;
use crate::operator_statement::{Act, IncarnationStatement, Override, Pause, Scope};
use crate::proof::MAX_ENTRY_BYTES;
use crate::signed::{Signed, SignedError};
use crate::text::{Statement, TextError};

/// One leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "leaves are read one at a time, never kept in bulk")]
pub enum Leaf {
    /// Leaf 0, and every amendment.
    Charter(Signed<Charter>),
    /// A proposal that may be carried out, with its votes.
    Decision(Decision),
    /// A proposal that ended without effect.
    Void(Void),
    /// What an executor did.
    Outcome(Outcome),
    /// Two conflicting signatures of one key.
    Evidence(Evidence),
    /// A rule lifted for one proposal.
    Override(Signed<Override>),
    /// Automation paused or running.
    Pause(Signed<Pause>),
    /// Something one operator did alone.
    Act(Signed<Act>),
    /// The log goes on under a new origin.
    Incarnation(Signed<IncarnationStatement>),
}

/// The kind of a leaf: its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[allow(missing_docs, reason = "the variants of Leaf")]
pub enum LeafKind {
    Charter,
    Decision,
    Void,
    Outcome,
    Evidence,
    Override,
    Pause,
    Act,
    Incarnation,
}

impl LeafKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Charter,
        Self::Decision,
        Self::Void,
        Self::Outcome,
        Self::Evidence,
        Self::Override,
        Self::Pause,
        Self::Act,
        Self::Incarnation,
    ];

    /// The first line of a leaf of this kind.
    pub const fn first_line(self) -> &'static str {
        match self {
            Self::Charter => Charter::FIRST_LINE,
            Self::Decision => Decision::FIRST_LINE,
            Self::Void => Void::FIRST_LINE,
            Self::Outcome => Outcome::FIRST_LINE,
            Self::Evidence => Evidence::FIRST_LINE,
            Self::Override => Override::FIRST_LINE,
            Self::Pause => Pause::FIRST_LINE,
            Self::Act => Act::FIRST_LINE,
            Self::Incarnation => IncarnationStatement::FIRST_LINE,
        }
    }
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeafError {
    /// Over 48,000 bytes.
    #[error("the leaf has {length} bytes, more than {MAX_ENTRY_BYTES}")]
    TooLong {
        /// Bytes of the leaf.
        length: usize,
    },
    /// Not UTF-8.
    #[error("the leaf is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        at: usize,
    },
    /// A first line that begins no leaf.
    #[error("no leaf begins with {found:?}")]
    UnknownKind {
        /// The line found, cut to 64 characters.
        found: String,
    },
    /// No line feed at the end.
    #[error("the leaf does not end in a line feed")]
    NoFinalLineFeed,
    /// An empty line that separates nothing.
    #[error("block {block} of the leaf is empty")]
    EmptyBlock {
        /// Which block, from 1.
        block: usize,
    },
    /// A block too few.
    #[error("the leaf ends where {expected} belongs")]
    MissingBlock {
        /// What the grammar wants.
        expected: &'static str,
    },
    /// A block too many, or one out of place.
    #[error("the leaf holds {found:?} where nothing, or something else, belongs")]
    ExtraBlock {
        /// Its first line, cut to 64 characters.
        found: String,
    },
    /// An outcome is reported by one agent.
    #[error("the report in an outcome has {lines} lines, it must have one")]
    ReportLines {
        /// Lines found.
        lines: usize,
    },
    /// The header or a statement.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The same meaning, spelt differently.
    #[error("the leaf is not in its canonical form")]
    NotCanonical,
}

impl From<SignedError> for LeafError {
    fn from(error: SignedError) -> Self {
        match error {
            SignedError::Note(error) => Self::Note(error),
            SignedError::Text(error) => Self::Text(error),
        }
    }
}

impl Leaf {
    /// Parses a canonical leaf; any other spelling is refused.
    ///
    /// # Errors
    /// The first thing that is not of the grammar.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(LeafError::TooLong { length: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| LeafError::NotUtf8 { at: error.valid_up_to() })?;
        let first = text.split('\n').next().unwrap_or_default();
        let kind = LeafKind::ALL.into_iter().find(|kind| kind.first_line() == first);
        let Some(kind) = kind else {
            return Err(LeafError::UnknownKind { found: first.chars().take(64).collect() });
        };
        let leaf = match kind {
            LeafKind::Charter => Self::Charter(Signed::parse(bytes)?),
            LeafKind::Decision => Self::Decision(Decision::parse(text)?),
            LeafKind::Void => Self::Void(Void::parse(text)?),
            LeafKind::Outcome => Self::Outcome(Outcome::parse(text)?),
            LeafKind::Evidence => Self::Evidence(Evidence::parse(text)?),
            LeafKind::Override => Self::Override(Signed::parse(bytes)?),
            LeafKind::Pause => Self::Pause(Signed::parse(bytes)?),
            LeafKind::Act => Self::Act(Signed::parse(bytes)?),
            LeafKind::Incarnation => Self::Incarnation(Signed::parse(bytes)?),
        };
        if leaf.to_bytes() != bytes {
            return Err(LeafError::NotCanonical);
        }
        Ok(leaf)
    }

    /// The canonical bytes, which the log hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Charter(signed) => signed.to_bytes(),
            Self::Decision(decision) => decision.to_text().into_bytes(),
            Self::Void(void) => void.to_text().into_bytes(),
            Self::Outcome(outcome) => outcome.to_text().into_bytes(),
            Self::Evidence(evidence) => evidence.to_text().into_bytes(),
            Self::Override(signed) => signed.to_bytes(),
            Self::Pause(signed) => signed.to_bytes(),
            Self::Act(signed) => signed.to_bytes(),
            Self::Incarnation(signed) => signed.to_bytes(),
        }
    }

    /// Its hash in the log.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.to_bytes())
    }

    /// The kind.
    pub const fn kind(&self) -> LeafKind {
        match self {
            Self::Charter(_) => LeafKind::Charter,
            Self::Decision(_) => LeafKind::Decision,
            Self::Void(_) => LeafKind::Void,
            Self::Outcome(_) => LeafKind::Outcome,
            Self::Evidence(_) => LeafKind::Evidence,
            Self::Override(_) => LeafKind::Override,
            Self::Pause(_) => LeafKind::Pause,
            Self::Act(_) => LeafKind::Act,
            Self::Incarnation(_) => LeafKind::Incarnation,
        }
    }

    /// The origin it names.
    pub const fn origin(&self) -> &Origin {
        match self {
            Self::Charter(signed) => &signed.statement.origin,
            Self::Decision(decision) => &decision.origin,
            Self::Void(void) => &void.origin,
            Self::Outcome(outcome) => &outcome.origin,
            Self::Evidence(evidence) => &evidence.origin,
            Self::Override(signed) => &signed.statement.origin,
            Self::Pause(signed) => &signed.statement.origin,
            Self::Act(signed) => &signed.statement.origin,
            Self::Incarnation(signed) => &signed.statement.origin,
        }
    }

    /// The epoch it names.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Charter(signed) => signed.statement.epoch,
            Self::Decision(decision) => decision.epoch,
            Self::Void(void) => void.epoch,
            Self::Outcome(outcome) => outcome.epoch,
            Self::Evidence(evidence) => evidence.epoch,
            Self::Override(signed) => signed.statement.epoch,
            Self::Pause(signed) => signed.statement.epoch,
            Self::Act(signed) => signed.statement.epoch,
            Self::Incarnation(signed) => signed.statement.epoch,
        }
    }

    /// The log time it carries. Leaves that are a signed note carry none.
    pub const fn time(&self) -> Option<LogTime> {
        match self {
            Self::Decision(decision) => Some(decision.time),
            Self::Void(void) => Some(void.time),
            Self::Outcome(outcome) => Some(outcome.time),
            Self::Evidence(evidence) => Some(evidence.time),
            Self::Charter(_)
            | Self::Override(_)
            | Self::Pause(_)
            | Self::Act(_)
            | Self::Incarnation(_) => None,
        }
    }

    /// The one cluster it is about, if it is about one.
    pub const fn cluster(&self) -> Option<&ClusterId> {
        match self {
            Self::Decision(decision) => Some(&decision.cluster),
            Self::Void(void) => Some(&void.cluster),
            Self::Outcome(outcome) => Some(&outcome.cluster),
            Self::Override(signed) => Some(&signed.statement.cluster),
            Self::Act(signed) => Some(&signed.statement.cluster),
            Self::Pause(signed) => match &signed.statement.cluster {
                Scope::All => None,
                Scope::Cluster(cluster) => Some(cluster),
            },
            Self::Charter(_) | Self::Evidence(_) | Self::Incarnation(_) => None,
        }
    }
}

impl BorshSerialize for Leaf {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        BorshSerialize::serialize(&self.to_bytes(), writer)
    }
}

impl BorshDeserialize for Leaf {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let bytes = Vec::<u8>::deserialize_reader(reader)?;
        Self::parse(&bytes)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
    }
}
