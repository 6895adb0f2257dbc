//! Every number is a type: epochs, incarnations, decision numbers, positions in the log.
//!
//! All of them are **u63**: the largest is 2^63 - 1, so that a signed 64-bit reader agrees with an
//! unsigned one. Those that count from one refuse zero, because zero is what an unset field says.
//! Text form: decimal without sign, blank or leading zero; one number has one spelling.

use std::fmt;
use std::io::{Error, ErrorKind, Read, Result as IoResult};
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error as ThisError;

/// The largest number any text or state may hold.
pub const U63_MAX: u64 = (1 << 63) - 1;

/// Why a number was refused.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum NumberError {
    /// Zero, where counting starts at one: an unset field.
    #[error("{what} is 0, but counting starts at 1")]
    Zero {
        /// The kind of number.
        what: &'static str,
    },
    /// Below the floor of its type: most likely seconds given as milliseconds.
    #[error("{what} is {value}, below its floor {floor}")]
    TooSmall {
        /// The kind of number.
        what: &'static str,
        /// What was given.
        value: u64,
        /// The smallest value allowed.
        floor: u64,
    },
    /// Above 2^63 - 1.
    #[error("{what} is {value}, above 2^63 - 1")]
    TooLarge {
        /// The kind of number.
        what: &'static str,
        /// What was given.
        value: u64,
    },
    /// Not the one decimal spelling of a u63.
    #[error("{what} is no canonical decimal number up to 2^63 - 1: {text:?}")]
    NotCanonical {
        /// The kind of number.
        what: &'static str,
        /// What was given, cut at 32 characters.
        text: String,
    },
}

/// Reads the one decimal spelling of a u63.
pub(crate) fn parse_u63(what: &'static str, text: &str) -> Result<u64, NumberError> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.len() <= 19;
    let value = if canonical { text.parse::<u64>().ok() } else { None };
    value
        .filter(|value| *value <= U63_MAX)
        .ok_or_else(|| NumberError::NotCanonical { what, text: text.chars().take(32).collect() })
}

/// Checks the bounds of a u63 type.
pub(crate) fn check_u63(what: &'static str, value: u64, floor: u64) -> Result<(), NumberError> {
    if value == 0 && floor == 1 {
        return Err(NumberError::Zero { what });
    }
    if value < floor {
        return Err(NumberError::TooSmall { what, value, floor });
    }
    if value > U63_MAX {
        return Err(NumberError::TooLarge { what, value });
    }
    Ok(())
}

/// Defines a u63 newtype with a smallest value, its text form and its borsh form.
macro_rules! u63_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $least:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
        pub struct $name(u64);

        impl $name {
            /// The smallest value of this type.
            pub const MIN: Self = Self($least);
            /// The largest value of this type, 2^63 - 1.
            pub const MAX: Self = Self($crate::number::U63_MAX);

            /// Checks the bounds of the type.
            ///
            /// # Errors
            /// Below [`Self::MIN`] or above [`Self::MAX`].
            pub fn new(value: u64) -> Result<Self, NumberError> {
                $crate::number::check_u63($what, value, $least)?;
                Ok(Self(value))
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                Self::new($crate::number::parse_u63($what, text)?)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = NumberError;

            fn try_from(value: u64) -> Result<Self, NumberError> {
                Self::new(value)
            }
        }

        impl borsh::BorshDeserialize for $name {
            fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
                let value = u64::deserialize_reader(reader)?;
                Self::new(value)
                    .map_err(|refused| std::io::Error::new(std::io::ErrorKind::InvalidData, refused))
            }
        }
    };
}
pub(crate) use u63_type;

/// Adds the successor to a counter.
macro_rules! counts {
    ($($name:ident),+) => {$(
        impl $name {
            /// The number after this one; `None` at 2^63 - 1, which no honest history reaches.
            #[must_use]
            pub fn next(self) -> Option<Self> {
                Self::new(self.0.checked_add(1)?).ok()
            }
        }
    )+};
}

u63_type! {
    /// Version of the charter, from 1; an amendment adds one. Never a Raft term.
    Epoch, "epoch", 1
}
u63_type! {
    /// Which life of the log this is, from 1; `recover` adds one. Also the `counter` of an origin.
    Incarnation, "incarnation", 1
}
u63_type! {
    /// Number of a decision within one guarded cluster, from 1, through epochs and incarnations.
    DecisionNumber, "decision number", 1
}
u63_type! {
    /// Position of a leaf in the decision log, from 0.
    LeafIndex, "leaf index", 0
}
u63_type! {
    /// Number of leaves of a decision log.
    TreeSize, "tree size", 0
}
u63_type! {
    /// Position in an agent's own sequence of observations or journal entries, from 0.
    Sequence, "sequence", 0
}
counts!(Epoch, Incarnation, DecisionNumber, LeafIndex, TreeSize, Sequence);

impl LeafIndex {
    /// Whether a log of `size` leaves has this one.
    #[must_use]
    pub fn is_below(self, size: TreeSize) -> bool {
        self.0 < size.0
    }
}

impl TreeSize {
    /// The index that the next leaf gets.
    #[must_use]
    pub const fn next_index(self) -> LeafIndex {
        LeafIndex(self.0)
    }

    /// The index of the last leaf, or `None` for the empty log.
    #[must_use]
    pub fn last_index(self) -> Option<LeafIndex> {
        self.0.checked_sub(1).map(LeafIndex)
    }
}

/// What the target of a remediation compares: strictly increasing over a cluster's decisions.
///
/// Guarantee *token-monotone*: ordered by incarnation first, so that every decision of a recovered
/// log is above every decision of the lost one. Written `counter.number`, such as `1.7`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct FencingToken {
    /// The life of the log that decided.
    pub incarnation: Incarnation,
    /// The decision within its cluster.
    pub number: DecisionNumber,
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.number)
    }
}

impl FromStr for FencingToken {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (incarnation, number) = text.split_once('.').ok_or_else(|| {
            let text = text.chars().take(32).collect();
            NumberError::NotCanonical { what: "fencing token", text }
        })?;
        Ok(Self { incarnation: incarnation.parse()?, number: number.parse()? })
    }
}

/// Turns a refusal into what borsh reports for bytes that hold no such value.
pub(crate) fn invalid_data<E: Into<Box<dyn std::error::Error + Send + Sync>>>(refused: E) -> Error {
    Error::new(ErrorKind::InvalidData, refused)
}

/// Reads a borsh string and validates it by parsing.
pub(crate) fn read_parsed<T, R>(reader: &mut R) -> IoResult<T>
where
    T: FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>,
    R: Read,
{
    String::deserialize_reader(reader)?.parse().map_err(invalid_data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling_and_a_bound() {
        assert_eq!("7".parse::<Epoch>().unwrap().get(), 7);
        assert_eq!("9223372036854775807".parse::<TreeSize>(), Ok(TreeSize::MAX));
        for text in ["", "+7", "-7", " 7", "7 ", "07", "00", "0x7", "٣", "9223372036854775808"] {
            assert!(text.parse::<TreeSize>().is_err(), "{text:?}");
        }
        assert_eq!("0".parse::<Epoch>(), Err(NumberError::Zero { what: "epoch" }));
        assert_eq!("0".parse::<LeafIndex>(), Ok(LeafIndex::MIN));
        assert!(matches!(DecisionNumber::new(1 << 63), Err(NumberError::TooLarge { .. })));
        assert_eq!(Sequence::MAX.next(), None);
    }

    #[test]
    fn a_token_of_a_later_incarnation_is_above_all_earlier_ones() {
        let token = |text: &str| text.parse::<FencingToken>().unwrap();
        assert!(token("1.7") < token("1.8"));
        assert!(token("1.900") < token("2.1"));
        assert_eq!(token("12.34").to_string(), "12.34");
        for text in ["1", "1.", ".1", "1.0", "0.1", "01.1", "1.1.1", "1,1"] {
            assert!(text.parse::<FencingToken>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn stored_bytes_are_validated_like_text() {
        let bytes = borsh::to_vec(&Epoch::new(3).unwrap()).unwrap();
        assert_eq!(borsh::from_slice::<Epoch>(&bytes).unwrap().get(), 3);
        assert!(borsh::from_slice::<Epoch>(&0_u64.to_le_bytes()).is_err());
        assert!(borsh::from_slice::<TreeSize>(&u64::MAX.to_le_bytes()).is_err());
    }
}
