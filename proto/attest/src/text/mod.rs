//! The line grammar of everything that is signed (or named by a digest).
//!
//! A statement is `quorate-<kind>/v1`, then lines `key value`. There is exactly one way to write a
//! statement: [`Statement::parse`] reads the fields in their fixed order, and refuses the text
//! unless encoding the result gives the same bytes. So an id, which is the digest of a text, has
//! one pre-image of each meaning (*authority*), and a parser that differs from ours in a detail
//! cannot be made to see another decision.

mod reader;
mod writer;

use std::fmt::Display;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

pub use reader::{Repeat, TextReader};
pub use writer::TextWriter;

use crate::id::Digest;

/// Longest line of a statement, without its line feed.
pub const LINE_BYTES_MAX: usize = 1_024;
/// Longest statement other than a charter.
pub const STATEMENT_BYTES_MAX: usize = 8_192;

/// Something a person or an agent signs, or whose digest names it.
pub trait Statement: Sized {
    /// The first line, without its line feed. No first line serves two purposes.
    const FIRST_LINE: &'static str;
    /// Longest text of this kind, in bytes.
    const BYTES_MAX: usize = STATEMENT_BYTES_MAX;

    /// Writes the lines after the first one, in the order of the grammar.
    fn write(&self, writer: &mut TextWriter);

    /// Reads the lines after the first one, in the order of the grammar.
    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError>;

    /// The canonical text, through its last line feed. Repeated lines come out sorted and once.
    fn text(&self) -> String {
        let mut writer = TextWriter::start(Self::FIRST_LINE);
        self.write(&mut writer);
        writer.finish()
    }

    /// Parses a canonical text; any other spelling of the same meaning is refused.
    fn parse(text: &str) -> Result<Self, TextError> {
        if text.len() > Self::BYTES_MAX {
            return Err(TextError::TooLong { length: text.len(), max: Self::BYTES_MAX });
        }
        let mut reader = TextReader::start(text, Self::FIRST_LINE)?;
        let statement = Self::read(&mut reader)?;
        reader.finish()?;
        if statement.text() != text {
            return Err(TextError::NotCanonical { first_line: Self::FIRST_LINE });
        }
        Ok(statement)
    }

    /// Checks a statement built by hand: its text must parse to the same text.
    fn check(&self) -> Result<(), TextError> {
        Self::parse(&self.text()).map(drop)
    }

    /// SHA-256 of the text, never of a signature: signatures are not unique.
    fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }
}

/// Why a text is refused. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// Over the limit of its kind.
    #[error("the text has {length} bytes, more than {max}")]
    TooLong {
        /// Bytes of the text.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Another kind of statement, or none.
    #[error("the first line is {found:?}, not {expected:?}")]
    FirstLine {
        /// The line of the kind asked for.
        expected: &'static str,
        /// The line found, cut to 64 characters.
        found: String,
    },
    /// A line without an end, or a text without lines.
    #[error("the text does not end in a line feed")]
    NoFinalLineFeed,
    /// A line over [`LINE_BYTES_MAX`].
    #[error("line {line} has {length} bytes, more than 1024")]
    LineTooLong {
        /// Which line.
        line: usize,
        /// Its bytes.
        length: usize,
    },
    /// A byte outside `0x20..=0x7e`.
    #[error("line {line} holds the byte {byte:#04x}, which no statement may hold")]
    ForeignByte {
        /// Which line.
        line: usize,
        /// The byte.
        byte: u8,
    },
    /// The next line has another key: a line is missing, unknown or out of order.
    #[error("line {line} has the key {found:?} where {expected:?} belongs")]
    WrongKey {
        /// Which line.
        line: usize,
        /// The key the grammar wants.
        expected: &'static str,
        /// The key found.
        found: String,
    },
    /// The text ends too early.
    #[error("the line {expected:?} is missing at the end")]
    MissingLine {
        /// The key the grammar wants.
        expected: &'static str,
    },
    /// More lines than the grammar has.
    #[error("line {line} follows the last line of the grammar")]
    ExtraLine {
        /// The first line too many.
        line: usize,
    },
    /// A value that is not of its type.
    #[error("line {line}: {value:?} is no valid value of {key:?}")]
    BadValue {
        /// Which line.
        line: usize,
        /// Its key.
        key: &'static str,
        /// The value refused.
        value: String,
    },
    /// Repeated lines out of order, or one of them twice.
    #[error("line {line}: the values of {key:?} do not rise strictly")]
    NotAscending {
        /// Which line.
        line: usize,
        /// Its key.
        key: &'static str,
    },
    /// More repeated lines than allowed.
    #[error("line {line}: more than {max} lines {key:?}")]
    TooMany {
        /// The first line too many.
        line: usize,
        /// Its key.
        key: &'static str,
        /// Lines allowed.
        max: usize,
    },
    /// Each line is good and the whole is not.
    #[error("the text says {found:?} in {key:?}, which does not fit the rest: {why}")]
    Contradiction {
        /// The key at fault.
        key: &'static str,
        /// Its value.
        found: String,
        /// What does not fit.
        why: &'static str,
    },
    /// A charter that nobody may trust.
    #[error(transparent)]
    Charter(#[from] crate::charter::CharterError),
    /// The same meaning, spelt differently.
    #[error("the text of {first_line:?} is not in its canonical form")]
    NotCanonical {
        /// The kind of the text.
        first_line: &'static str,
    },
}

/// Reads `0` as "none", anything else as a value: `continues 0`, `until 0`, `started 0`.
pub(crate) fn zero_or<V: FromStr>(value: &str) -> Option<Option<V>> {
    if value == "0" { Some(None) } else { value.parse().ok().map(Some) }
}

/// Reads `word` as "none", anything else as a value: `-`, `none`, `*`.
pub(crate) fn unless<V: FromStr>(word: &str, value: &str) -> Option<Option<V>> {
    if value == word { Some(None) } else { value.parse().ok().map(Some) }
}

/// Writes an absent value as `word`.
pub(crate) fn or_word<V: Display>(value: Option<&V>, word: &str) -> String {
    value.map_or_else(|| word.to_owned(), ToString::to_string)
}

/// A decimal number of at most `2^63 - 1` without leading zeros.
pub(crate) fn decimal(value: &str) -> Option<u64> {
    let canonical = value == "0"
        || (!value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit()));
    let number = value.parse::<u64>().ok().filter(|_| canonical)?;
    i64::try_from(number).ok().map(|_| number)
}

/// Borsh of a canonical text is the text: decoding validates, so replicated state holds no
/// statement that could not be signed.
pub(crate) fn borsh_text<W: borsh::io::Write>(text: &str, writer: &mut W) -> borsh::io::Result<()> {
    BorshSerialize::serialize(text, writer)
}

/// The counterpart of [`borsh_text`].
pub(crate) fn unborsh_text<S: Statement, R: borsh::io::Read>(
    reader: &mut R,
) -> borsh::io::Result<S> {
    let text = String::deserialize_reader(reader)?;
    S::parse(&text).map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
}

/// Implements borsh for a [`Statement`] as its canonical text.
macro_rules! borsh_as_text {
    ($statement:ty) => {
        impl borsh::BorshSerialize for $statement {
            fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
                $crate::text::borsh_text(&$crate::text::Statement::text(self), writer)
            }
        }

        impl borsh::BorshDeserialize for $statement {
            fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
                $crate::text::unborsh_text(reader)
            }
        }
    };
}
pub(crate) use borsh_as_text;

/// Implements `Display` and `FromStr` for an enum of fixed words.
macro_rules! words {
    ($name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every value, in the order of the grammar.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of the grammar.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::text::UnknownWord {
                        kind: stringify!($name),
                        word: other.chars().take(64).collect(),
                    }),
                }
            }
        }
    };
}
pub(crate) use words;

/// A word that the grammar does not know in this place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{word:?} is no {kind}")]
pub struct UnknownWord {
    /// What was asked for.
    pub kind: &'static str,
    /// The word, cut to 64 characters.
    pub word: String,
}
