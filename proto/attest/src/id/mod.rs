//! Names of things: what a text may call a cluster, a member, a key, a decision.
//!
//! Each kind of name is its own type, validated once when it is made, so that a member is never
//! passed for a cluster and no text with a line break or a blank in a name can be built.
//!
//! * label: `[a-z0-9][a-z0-9._-]{0,62}`, what operators choose;
//! * name: `[a-z0-9./:_-]{1,200}`, of keys and networks;
//! * word and sentence: printable ASCII without and with blanks;
//! * [`Digest`]: what a text commits to; [`Nonce`], [`JournalInstance`]: 16 random bytes;
//! * [`Origin`]: the name of one life of one decision log.

mod digest;
mod origin;
mod random;
mod text_id;

pub use digest::{CharterId, Digest, ProposalId};
pub use origin::Origin;
pub use random::{JournalInstance, Nonce};
pub use text_id::{
    AdapterName, ClusterId, Domain, FactKey, IncidentId, KeyName, MemberId, NetworkName, ParamKey,
    PlaybookId, RuleName, Sentence, Word,
};

use thiserror::Error;

use crate::number::NumberError;

/// Why a name, digest or origin was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing at all.
    #[error("{what} is empty")]
    Empty {
        /// The kind of name.
        what: &'static str,
    },
    /// More bytes than the type allows.
    #[error("{what} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character outside the alphabet of the type, or not allowed where it stands.
    #[error("{what} may not have {character:?} at byte {at}")]
    BadCharacter {
        /// The kind of name.
        what: &'static str,
        /// The character.
        character: char,
        /// Its byte offset.
        at: usize,
    },
    /// Not the one hexadecimal spelling of the right number of bytes.
    #[error("{what} must be {prefix}{digits} lower-case hexadecimal digits")]
    BadHex {
        /// The kind of value.
        what: &'static str,
        /// What stands before the digits.
        prefix: &'static str,
        /// How many digits there must be.
        digits: usize,
    },
    /// Not `<network>/<counter>-<32 hex>`.
    #[error("an origin is <network>/<counter>-<32 lower-case hexadecimal digits>, not {text:?}")]
    OriginShape {
        /// What was given, cut at 256 characters.
        text: String,
    },
    /// The counter of an origin is no incarnation.
    #[error("the counter of an origin is no incarnation")]
    OriginCounter(#[source] NumberError),
}
