//! A log's hashes in memory: for offline proofs and for tests.

use std::collections::BTreeMap;

use super::{Frontier, Hash, HashReader, Head, leaf_hash};

/// Every full subtree of the leaves appended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryHashes {
    frontier: Frontier,
    nodes: BTreeMap<(u8, u64), Hash>,
}

impl MemoryHashes {
    /// No leaves yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one entry.
    pub fn append(&mut self, entry: &[u8]) {
        let completed = self.frontier.append(leaf_hash(entry));
        self.nodes.extend(completed.into_iter().map(|node| ((node.level, node.index), node.hash)));
    }

    /// Size and root of what was appended.
    #[must_use]
    pub fn head(&self) -> Head {
        self.frontier.head()
    }
}

impl HashReader for MemoryHashes {
    fn hash(&self, level: u8, index: u64) -> Option<Hash> {
        self.nodes.get(&(level, index)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{
        ProveError, prove_consistency, prove_inclusion, root_at, verify_consistency,
        verify_inclusion,
    };
    use crate::number::{LeafIndex, TreeSize};

    fn size(size: u64) -> TreeSize {
        TreeSize::new(size).unwrap()
    }

    #[test]
    fn every_proof_of_small_trees_verifies_and_fits_one_index_and_one_root_only() {
        let mut log = MemoryHashes::new();
        let mut heads = vec![log.head()];
        for leaf in 0..20_u8 {
            log.append(&[leaf]);
            heads.push(log.head());
        }
        for (n, head) in heads.iter().enumerate() {
            assert_eq!(root_at(&log, head.size), Ok(head.root));
            for leaf in 0..n {
                let index = LeafIndex::new(leaf as u64).unwrap();
                let proof = prove_inclusion(&log, index, head.size).unwrap();
                for other in 0..20_u8 {
                    let verdict = verify_inclusion(index, &[other], &proof, head);
                    assert_eq!(verdict.is_ok(), usize::from(other) == leaf);
                }
                for other in (0..n).filter(|other| *other != leaf) {
                    let at = LeafIndex::new(other as u64).unwrap();
                    let entry = [u8::try_from(leaf).unwrap()];
                    assert!(verify_inclusion(at, &entry, &proof, head).is_err());
                }
            }
            for older in &heads[1..=n] {
                let proof = prove_consistency(&log, older.size, head.size).unwrap();
                assert_eq!(verify_consistency(older, head, &proof), Ok(()));
                for other in heads.iter().filter(|other| *other != older) {
                    assert!(verify_consistency(other, head, &proof).is_err());
                }
            }
        }
    }

    #[test]
    fn what_is_not_stored_cannot_be_proved() {
        let mut log = MemoryHashes::new();
        (0..5_u8).for_each(|leaf| log.append(&[leaf]));
        let index = LeafIndex::MIN;
        assert!(matches!(
            prove_inclusion(&log, index, size(9)),
            Err(ProveError::MissingHash { .. })
        ));
        assert!(matches!(
            prove_inclusion(&log, size(5).next_index(), size(5)),
            Err(ProveError::IndexOutOfRange { .. })
        ));
        assert_eq!(prove_consistency(&log, size(0), size(5)), Err(ProveError::SizeZero));
        assert!(matches!(
            prove_consistency(&log, size(5), size(4)),
            Err(ProveError::SizesReversed { .. })
        ));
        assert!(root_at(&log, TreeSize::MAX).is_err());
    }
}
