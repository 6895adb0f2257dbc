//! Inclusion: this entry is leaf `index` of the tree with this head (RFC 9162, 2.1.3.2).

use thiserror::Error;

use super::{Hash, Head, leaf_hash, node_hash};
use crate::number::{LeafIndex, TreeSize};

/// Why an inclusion proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InclusionError {
    /// The tree has no such leaf.
    #[error("leaf {index} does not exist in a log of {size} leaves")]
    IndexOutOfRange {
        /// The leaf asked for.
        index: LeafIndex,
        /// The size of the head.
        size: TreeSize,
    },
    /// Fewer hashes than index and size need.
    #[error("the inclusion proof has {found} hashes, {needed} are needed")]
    TooShort {
        /// Hashes given.
        found: usize,
        /// Hashes of every such proof.
        needed: usize,
    },
    /// More hashes than index and size need.
    #[error("the inclusion proof has {found} hashes, {needed} are needed")]
    TooLong {
        /// Hashes given.
        found: usize,
        /// Hashes of every such proof.
        needed: usize,
    },
    /// The path leads to another root: other entry, other place, or other log.
    #[error("the inclusion proof leads to the root {computed}, the head says {root}")]
    RootMismatch {
        /// Where the path leads.
        computed: Hash,
        /// What the head says.
        root: Hash,
    },
}

/// Verifies that `entry` is the leaf at `index` under `head`.
///
/// # Errors
/// Index out of range, a proof of another length, or another root.
pub fn verify_inclusion(
    index: LeafIndex,
    entry: &[u8],
    proof: &[Hash],
    head: &Head,
) -> Result<(), InclusionError> {
    verify_path(index, leaf_hash(entry), proof, head)
}

/// The arithmetic alone. Private to the tree: a leaf hash from outside could be an inner node.
fn verify_path(
    index: LeafIndex,
    leaf: Hash,
    proof: &[Hash],
    head: &Head,
) -> Result<(), InclusionError> {
    if !index.is_below(head.size) {
        return Err(InclusionError::IndexOutOfRange { index, size: head.size });
    }
    // index < size, so the size is at least one.
    let (at, last) = (index.get(), head.size.get() - 1);
    // Below `inner` the path to the leaf and the path to the last leaf differ: every level has a
    // sibling. Above it they are one path along the right border: only left siblings exist.
    let inner = (u64::BITS - (at ^ last).leading_zeros()) as usize;
    let border = at.checked_shr(u64::BITS - (at ^ last).leading_zeros()).unwrap_or(0).count_ones();
    let (found, needed) = (proof.len(), inner + border as usize);
    if found < needed {
        return Err(InclusionError::TooShort { found, needed });
    }
    if found > needed {
        return Err(InclusionError::TooLong { found, needed });
    }
    let computed = proof.iter().enumerate().fold(leaf, |below, (level, sibling)| {
        if level < inner && at >> level & 1 == 0 {
            node_hash(&below, sibling)
        } else {
            node_hash(sibling, &below)
        }
    });
    if computed == head.root {
        Ok(())
    } else {
        Err(InclusionError::RootMismatch { computed, root: head.root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::from_hex;
    use crate::merkle::HashLength;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/vectors/inclusion.json")).unwrap()
    }

    fn text<'v>(case: &'v serde_json::Value, key: &str) -> &'v str {
        case[key].as_str().unwrap()
    }

    fn hash(text: &str) -> Hash {
        Hash::from_bytes(from_hex(text).unwrap())
    }

    /// The vector's verdict in its own words.
    fn check(case: &serde_json::Value) -> Result<(), &'static str> {
        let index = LeafIndex::new(case["index"].as_u64().unwrap()).unwrap();
        let size = TreeSize::new(case["size"].as_u64().unwrap()).unwrap();
        let head = Head { size, root: hash(text(case, "root")) };
        let proof = case["proof"].as_array().unwrap().iter().map(|hash| {
            let digits = hash.as_str().unwrap().as_bytes().chunks(2);
            let bytes: Vec<u8> = digits
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            Hash::from_slice(&bytes)
        });
        let proof: Vec<Hash> = proof.collect::<Result<_, HashLength>>().map_err(|e| match e {
            HashLength::WrongLength { .. } => "bad-hash-length",
            HashLength::BadBase64 => "bad-base64",
        })?;
        verify_path(index, hash(text(case, "leaf_hash")), &proof, &head).map_err(|e| match e {
            InclusionError::IndexOutOfRange { .. } => "index-out-of-range",
            InclusionError::TooShort { .. } => "proof-too-short",
            InclusionError::TooLong { .. } => "proof-too-long",
            InclusionError::RootMismatch { .. } => "root-mismatch",
        })
    }

    #[test]
    fn every_vector_gets_its_verdict() {
        let vectors = vectors();
        let cases = |kind: &str| vectors[kind].as_array().unwrap().clone();
        assert_eq!((cases("accept").len(), cases("refuse").len()), (81, 20));
        for case in cases("accept") {
            assert_eq!(check(&case), Ok(()), "{case}");
        }
        for case in cases("refuse") {
            assert_eq!(check(&case), Err(text(&case, "reason")), "{}", text(&case, "why"));
        }
    }

    /// Why `verify_inclusion` takes bytes and a head: these false statements pass the arithmetic.
    #[test]
    fn the_arithmetic_alone_binds_neither_size_nor_leaf() {
        for case in vectors()["caution"].as_array().unwrap() {
            assert_eq!(check(case), Ok(()), "{}", text(case, "why"));
        }
    }
}
