//! The frontier: all that a log keeper needs to append and to know the root.

use std::io::{Read, Result as IoResult};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Hash, Head, empty_root, node_hash};
use crate::number::{TreeSize, invalid_data};

/// Sizes a stored frontier may claim. The upper half of the u63 stays free, so that no sequence of
/// appends in this universe runs over.
const MAX_STORED_SIZE: u64 = 1 << 62;

/// A full subtree that an append completed, for a store to persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Node {
    /// Height: 0 is a leaf, a node of level n covers 2^n leaves.
    pub level: u8,
    /// Position within the level: it covers leaves `index << level` and following.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// One hash per set bit of the size: the roots of the full subtrees, the largest first.
///
/// Invariant: `hashes.len() == size.count_ones()`. A frontier that appended the same leaves is equal
/// on every machine, so its root answers whether two logs agree.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Frontier {
    size: TreeSize,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the log without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: TreeSize::MIN, hashes: Vec::new() }
    }

    /// Number of leaves appended.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Appends one leaf by its hash. Returns every subtree this completed: the leaf first, then
    /// upwards, each exactly once in the life of the log.
    pub fn append(&mut self, leaf: Hash) -> Vec<Node> {
        let mut node = Node { level: 0, index: self.size.get(), hash: leaf };
        let mut completed = vec![node];
        // An odd position is a right child: its left sibling is the last hash held.
        while node.index & 1 == 1 {
            let left = self.hashes.pop().expect("one hash per set bit of the size");
            node = Node {
                level: node.level + 1,
                index: node.index >> 1,
                hash: node_hash(&left, &node.hash),
            };
            completed.push(node);
        }
        self.hashes.push(node.hash);
        self.size = self.size.next().expect("a stored size is bounded, and appends count in ones");
        debug_assert_eq!(self.hashes.len(), self.size.get().count_ones() as usize);
        completed
    }

    /// The root over all leaves: folded from the right.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hashes = self.hashes.iter().rev().copied();
        let last = hashes.next().unwrap_or_else(empty_root);
        hashes.fold(last, |right, left| node_hash(&left, &right))
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size, root: self.root() }
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl BorshDeserialize for Frontier {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let size = TreeSize::deserialize_reader(reader)?;
        let hashes = Vec::<Hash>::deserialize_reader(reader)?;
        if size.get() > MAX_STORED_SIZE {
            return Err(invalid_data("a frontier claims more leaves than a log can have"));
        }
        if hashes.len() != size.get().count_ones() as usize {
            return Err(invalid_data("a frontier has one hash per set bit of its size"));
        }
        Ok(Self { size, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn every_full_subtree_is_returned_exactly_once() {
        let mut frontier = Frontier::new();
        let mut seen = std::collections::BTreeSet::new();
        for leaf in 0..100_u8 {
            for node in frontier.append(leaf_hash(&[leaf])) {
                assert!(seen.insert((node.level, node.index)));
            }
        }
        for level in 0..7 {
            assert_eq!(seen.iter().filter(|node| node.0 == level).count(), 100 >> level);
        }
    }

    #[test]
    fn a_stored_frontier_goes_on_where_it_stopped() {
        let mut frontier = Frontier::new();
        for leaf in 0..13_u8 {
            frontier.append(leaf_hash(&[leaf]));
            let bytes = borsh::to_vec(&frontier).unwrap();
            assert_eq!(borsh::from_slice::<Frontier>(&bytes).unwrap(), frontier);
        }
    }

    #[test]
    fn a_stored_frontier_of_the_wrong_shape_is_refused() {
        for (size, hashes) in [(3_u64, 1_usize), (0, 1), (4, 2), (1 << 63, 1), ((1 << 62) + 1, 2)] {
            let mut bytes = borsh::to_vec(&size).unwrap();
            bytes.extend(borsh::to_vec(&vec![empty_root(); hashes]).unwrap());
            assert!(borsh::from_slice::<Frontier>(&bytes).is_err(), "{size} {hashes}");
        }
    }
}
