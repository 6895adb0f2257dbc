//! The three hashes of RFC 6962. Leaves and nodes are hashed apart, so that none passes for another.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::encoding::{base64, from_base64, hex};

/// A hash must be 32 bytes of canonical base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HashLength {
    /// Another number of bytes.
    #[error("a hash has 32 bytes, not {len}")]
    WrongLength {
        /// Bytes given.
        len: usize,
    },
    /// No canonical base64.
    #[error("a hash is written as canonical base64")]
    BadBase64,
}

/// A SHA-256 hash of the tree, written as base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Hash([u8; 32]);

impl Hash {
    /// A hash that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Exactly 32 bytes.
    ///
    /// # Errors
    /// Any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, HashLength> {
        bytes.try_into().map(Self).map_err(|_| HashLength::WrongLength { len: bytes.len() })
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", hex(&self.0))
    }
}

impl FromStr for Hash {
    type Err = HashLength;

    fn from_str(text: &str) -> Result<Self, HashLength> {
        Self::from_slice(&from_base64(text).ok_or(HashLength::BadBase64)?)
    }
}

/// The root of the log without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// The hash of a leaf with this entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(entry);
    Hash(hash.finalize().into())
}

/// The hash of an inner node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x01]);
    hash.update(left.0);
    hash.update(right.0);
    Hash(hash.finalize().into())
}
