//! Sixteen random bytes that make two otherwise equal things different. The crate makes none: the
//! caller draws them.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};

use super::IdError;
use crate::encoding::{from_hex, hex};

macro_rules! random_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From bytes the caller drew at random.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                from_hex(text).map(Self).ok_or(IdError::BadHex {
                    what: $what,
                    prefix: "",
                    digits: 32,
                })
            }
        }
    };
}

random_type! {
    /// Makes two statements of equal content two statements.
    Nonce, "nonce"
}
random_type! {
    /// Which life of an agent's journal this is: drawn at enrolment, renewed only by an operator's
    /// `enrol` act. Guarantee *no-double-execution*: a cloned or restored disk cannot claim.
    JournalInstance, "journal instance"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_are_thirty_two_lower_case_digits() {
        let text = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(text.parse::<Nonce>().unwrap().to_string(), text);
        for bad in ["", &text[..30], &text.to_uppercase(), &format!("{text}00")] {
            assert!(bad.parse::<JournalInstance>().is_err(), "{bad:?}");
        }
    }
}
