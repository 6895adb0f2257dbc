//! Consistency: the older tree is a prefix of the newer one (RFC 9162, 2.1.4.2).

use thiserror::Error;

use super::{Hash, Head, node_hash};
use crate::number::TreeSize;

/// Why a consistency proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsistencyError {
    /// Nothing is consistent with nothing: who holds no head has nothing to ask.
    #[error("the older head is empty, every log begins like it")]
    SizeZero,
    /// The older head is larger than the newer one.
    #[error("the older head has {older} leaves, the newer one only {newer}")]
    SizesReversed {
        /// Size called older.
        older: TreeSize,
        /// Size called newer.
        newer: TreeSize,
    },
    /// Equal sizes, unequal roots: two signed heads like these are evidence of a fork.
    #[error("two heads of {size} leaves have different roots, {older} and {newer}")]
    Fork {
        /// The size of both.
        size: TreeSize,
        /// Root of one.
        older: Hash,
        /// Root of the other.
        newer: Hash,
    },
    /// The proof ends too early.
    #[error("the consistency proof is too short: it has {found} hashes")]
    TooShort {
        /// Hashes given.
        found: usize,
    },
    /// Hashes are left over.
    #[error("the consistency proof is too long: it has {found} hashes")]
    TooLong {
        /// Hashes given.
        found: usize,
    },
    /// The proof does not lead to the older root.
    #[error("the consistency proof leads to the older root {computed}, the head says {root}")]
    OlderRootMismatch {
        /// Where it leads.
        computed: Hash,
        /// What the older head says.
        root: Hash,
    },
    /// The proof does not lead to the newer root.
    #[error("the consistency proof leads to the newer root {computed}, the head says {root}")]
    NewerRootMismatch {
        /// Where it leads.
        computed: Hash,
        /// What the newer head says.
        root: Hash,
    },
}

/// Verifies that the log of `older` is a prefix of the log of `newer`.
///
/// # Errors
/// Sizes that cannot be compared, a fork, a proof of another length, or another root.
pub fn verify_consistency(
    older: &Head,
    newer: &Head,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    let (size, found) = (older.size, proof.len());
    if size == TreeSize::MIN {
        return Err(ConsistencyError::SizeZero);
    }
    if size > newer.size {
        return Err(ConsistencyError::SizesReversed { older: size, newer: newer.size });
    }
    if size == newer.size {
        if found > 0 {
            return Err(ConsistencyError::TooLong { found });
        }
        if older.root != newer.root {
            return Err(ConsistencyError::Fork { size, older: older.root, newer: newer.root });
        }
        return Ok(());
    }
    // A power of two is one full subtree, whose root the verifier has: it is never sent.
    let mut hashes = proof.iter();
    let first = if size.get().is_power_of_two() { Some(&older.root) } else { hashes.next() };
    let first = *first.ok_or(ConsistencyError::TooShort { found })?;
    if found == 0 {
        return Err(ConsistencyError::TooShort { found });
    }

    // Positions of the two last leaves, walked upwards together.
    let (mut last, mut newer_last) = (size.get() - 1, newer.size.get() - 1);
    let full_levels = last.trailing_ones();
    last >>= full_levels;
    newer_last >>= full_levels;
    let (mut older_root, mut newer_root) = (first, first);
    for hash in hashes {
        if newer_last == 0 {
            return Err(ConsistencyError::TooLong { found });
        }
        if last & 1 == 1 || last == newer_last {
            older_root = node_hash(hash, &older_root);
            newer_root = node_hash(hash, &newer_root);
            while last & 1 == 0 && last != 0 {
                last >>= 1;
                newer_last >>= 1;
            }
        } else {
            newer_root = node_hash(&newer_root, hash);
        }
        last >>= 1;
        newer_last >>= 1;
    }
    if newer_last != 0 {
        return Err(ConsistencyError::TooShort { found });
    }
    if older_root != older.root {
        return Err(ConsistencyError::OlderRootMismatch { computed: older_root, root: older.root });
    }
    if newer_root != newer.root {
        return Err(ConsistencyError::NewerRootMismatch { computed: newer_root, root: newer.root });
    }
    Ok(())
}
