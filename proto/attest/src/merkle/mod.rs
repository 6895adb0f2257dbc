//! The decision log as an RFC 6962 Merkle tree with SHA-256 (proofs as in RFC 9162).
//!
//! ```text
//! MTH({})    = SHA-256("")
//! leaf hash  = SHA-256(0x00 || entry)
//! node hash  = SHA-256(0x01 || left || right)      n leaves split at the largest power of two < n
//! ```
//!
//! Guarantee *log-append-only*: every two heads of one log are consistent. Who tails the log keeps a
//! [`Frontier`] and compares roots; who does not asks for a consistency proof.
//!
//! **The arithmetic of a proof binds neither size nor leaf**: a path of the right shape verifies
//! under a false size, and an inner node verifies as a leaf. So verification takes the entry's
//! *bytes* and a [`Head`] whose signatures were checked, never a leaf hash or a bare size.

mod consistency;
mod frontier;
mod hash;
mod inclusion;
mod memory;
mod prove;

pub use consistency::{ConsistencyError, verify_consistency};
pub use frontier::{Frontier, Node};
pub use hash::{Hash, HashLength, empty_root, leaf_hash, node_hash};
pub use inclusion::{InclusionError, verify_inclusion};
pub use memory::MemoryHashes;
pub use prove::{HashReader, ProveError, prove_consistency, prove_inclusion, root_at};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::number::TreeSize;

/// The most hashes a proof can have: one per level of a tree of 2^63 - 1 leaves.
pub const MAX_PROOF: usize = 63;

/// Size and root of a log at one moment. Whether it is to be believed is said elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// Number of leaves.
    pub size: TreeSize,
    /// Root hash over all of them.
    pub root: Hash,
}
