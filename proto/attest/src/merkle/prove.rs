//! Proofs from stored hashes of full subtrees.

use thiserror::Error;

use super::{Hash, empty_root, node_hash};
use crate::number::{LeafIndex, TreeSize};

/// Where the hashes of full subtrees are kept. They never change once written.
pub trait HashReader {
    /// The hash of the full subtree of height `level` over leaves `index << level` and following,
    /// or `None` if it is not stored (yet).
    fn hash(&self, level: u8, index: u64) -> Option<Hash>;
}

impl<R: HashReader + ?Sized> HashReader for &R {
    fn hash(&self, level: u8, index: u64) -> Option<Hash> {
        (**self).hash(level, index)
    }
}

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProveError {
    /// The tree has no such leaf.
    #[error("leaf {index} does not exist in a log of {size} leaves")]
    IndexOutOfRange {
        /// The leaf asked for.
        index: LeafIndex,
        /// The size asked for.
        size: TreeSize,
    },
    /// A consistency proof starts at one leaf or more.
    #[error("there is no consistency proof from an empty log")]
    SizeZero,
    /// The older size is larger than the newer one.
    #[error("the older size is {older}, the newer one only {newer}")]
    SizesReversed {
        /// Size called older.
        older: TreeSize,
        /// Size called newer.
        newer: TreeSize,
    },
    /// The store is shorter than the size asked for, or damaged.
    #[error("the hash of subtree {index} at level {level} is not stored")]
    MissingHash {
        /// Height of the subtree.
        level: u8,
        /// Its position within the level.
        index: u64,
    },
}

/// The leaves `start..end`. Invariant of every range here: `start` is a multiple of the smallest
/// power of two that is at least its length, so its left half is one stored subtree.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn len(self) -> u64 {
        self.end - self.start
    }

    /// Left and right half, split at the largest power of two below the length (2 or more).
    fn split(self) -> (Self, Self) {
        let middle = self.start + (1 << (self.len() - 1).ilog2());
        (Self { end: middle, ..self }, Self { start: middle, ..self })
    }

    /// The root over the range: full subtrees from the left, folded from the right.
    fn root(self, reader: &impl HashReader) -> Result<Hash, ProveError> {
        let mut full = Vec::new();
        let mut start = self.start;
        while start < self.end {
            let level = (self.end - start).ilog2();
            let index = start >> level;
            // A u63 length has at most 63 levels.
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            let hash = reader.hash(level, index);
            full.push(hash.ok_or(ProveError::MissingHash { level, index })?);
            start += 1 << level;
        }
        let mut full = full.into_iter().rev();
        let last = full.next().unwrap_or_else(empty_root);
        Ok(full.fold(last, |right, left| node_hash(&left, &right)))
    }
}

/// The root of the first `size` leaves.
///
/// # Errors
/// A hash is not stored.
pub fn root_at(reader: &impl HashReader, size: TreeSize) -> Result<Hash, ProveError> {
    Range { start: 0, end: size.get() }.root(reader)
}

/// The inclusion proof of leaf `index` in the first `size` leaves, the leaf's sibling first.
///
/// # Errors
/// No such leaf, or a hash is not stored.
pub fn prove_inclusion(
    reader: &impl HashReader,
    index: LeafIndex,
    size: TreeSize,
) -> Result<Vec<Hash>, ProveError> {
    if !index.is_below(size) {
        return Err(ProveError::IndexOutOfRange { index, size });
    }
    let mut range = Range { start: 0, end: size.get() };
    let mut proof = Vec::new();
    while range.len() > 1 {
        let (left, right) = range.split();
        let sibling;
        (range, sibling) = if index.get() < left.end { (left, right) } else { (right, left) };
        proof.push(sibling.root(reader)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the first `older` leaves are a prefix of the first `newer` ones.
///
/// # Errors
/// `older` is zero or above `newer`, or a hash is not stored.
pub fn prove_consistency(
    reader: &impl HashReader,
    older: TreeSize,
    newer: TreeSize,
) -> Result<Vec<Hash>, ProveError> {
    if older == TreeSize::MIN {
        return Err(ProveError::SizeZero);
    }
    if older > newer {
        return Err(ProveError::SizesReversed { older, newer });
    }
    let mut range = Range { start: 0, end: newer.get() };
    let mut proof = Vec::new();
    // Walk along the border of the older tree until a subtree ends exactly there.
    while older.get() != range.end {
        let (left, right) = range.split();
        let sibling;
        (range, sibling) = if older.get() <= left.end { (left, right) } else { (right, left) };
        proof.push(sibling.root(reader)?);
    }
    // That subtree is the whole older tree if it starts at 0: the verifier has its root.
    if range.start != 0 {
        proof.push(range.root(reader)?);
    }
    proof.reverse();
    Ok(proof)
}
