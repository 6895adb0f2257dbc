//! Refusals to certify (R14): what coordinators say when they will not cosign a decision.
//!
//! Enough of them prove that the decision alone can never be certified, so nobody can have started
//! it and its slot may be freed by a void: n − k + 1 + f, because f liars may refuse *and* cosign.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::KeyName;
use quorate_attest::number::LeafIndex;
use quorate_attest::refusal::Cause;

use crate::outcome::Novelty;

/// The refusals of decisions that still hold their slot: leaf → coordinator → why.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Refusals {
    of: BTreeMap<LeafIndex, BTreeMap<KeyName, Cause>>,
}

impl Refusals {
    /// Notes a coordinator's refusal; its first word stands.
    pub(crate) fn note(&mut self, leaf: LeafIndex, by: KeyName, cause: Cause) -> Novelty {
        let of_leaf = self.of.entry(leaf).or_default();
        if of_leaf.contains_key(&by) {
            return Novelty::Repeated;
        }
        of_leaf.insert(by, cause);
        Novelty::New
    }

    /// Whether a coordinator refuses.
    #[must_use]
    pub fn has(&self, leaf: LeafIndex, by: &KeyName) -> bool {
        self.of.get(&leaf).is_some_and(|of_leaf| of_leaf.contains_key(by))
    }

    /// The cause to put on record: a veto, if anybody holds one.
    pub(crate) fn cause(&self, leaf: LeafIndex) -> Option<Cause> {
        self.of.get(&leaf)?.values().copied().min()
    }

    /// Forgets refusals of decisions that no longer hold a slot.
    pub(crate) fn retain(&mut self, holds: impl Fn(LeafIndex) -> bool) {
        self.of.retain(|leaf, _| holds(*leaf));
    }
}
