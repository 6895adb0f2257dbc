//! Refusals of decisions: whose are known, and whether they bear a void.
//!
//! Invariants:
//!
//! * a refusal is kept only after its signature was verified, one of each coordinator for each
//!   leaf;
//! * this coordinator's own are never crowded out, whatever peers send;
//! * of leaves that were judged here, only refusals of a decision that really stands there are
//!   kept,
//!   and of leaves ahead of that a bounded number of each peer: memory is bounded by what is
//!   uncertified.

use std::collections::BTreeMap;

use quorate_attest::{id::KeyName, refusal::Refusal, signed::Signed};

use super::verify::Suspect;

/// Refusals of leaves that were not judged here yet, kept for each peer. It repeats its refusals,
/// so the others come again.
const AHEAD_MAX: usize = 16;

/// What is known, by leaf and by who signed.
#[derive(Debug)]
pub(super) struct Refusals {
    own: KeyName,
    by_leaf: BTreeMap<u64, BTreeMap<KeyName, Signed<Refusal>>>,
}

impl Refusals {
    pub(super) fn new(own: KeyName) -> Self {
        Self { own, by_leaf: BTreeMap::new() }
    }

    /// Keeps a refusal this coordinator signed.
    pub(super) fn keep_own(&mut self, refusal: Signed<Refusal>) {
        let leaf = refusal.statement.leaf.get();
        self.by_leaf.entry(leaf).or_default().insert(self.own.clone(), refusal);
    }

    /// Keeps a verified refusal of a peer, if it is of the decision that stands there.
    pub(super) fn keep<'s>(
        &mut self,
        signer: KeyName,
        refusal: Signed<Refusal>,
        judged: u64,
        suspect: impl Fn(u64) -> Option<&'s Suspect>,
    ) {
        let leaf = refusal.statement.leaf.get();
        let is_wanted = if leaf < judged {
            suspect(leaf).is_some_and(|suspect| is_of(&refusal.statement, suspect))
        } else {
            let ahead = self.by_leaf.range(judged..);
            ahead.filter(|(_, by)| by.contains_key(&signer)).count() < AHEAD_MAX
        };
        if is_wanted {
            self.by_leaf.entry(leaf).or_default().entry(signer).or_insert(refusal);
        }
    }

    /// Leaves below `judged` are known now: forgets what peers refused that does not stand there.
    pub(super) fn sift<'s>(&mut self, judged: u64, suspect: impl Fn(u64) -> Option<&'s Suspect>) {
        let own = &self.own;
        self.by_leaf.retain(|leaf, by| {
            let found = suspect(*leaf);
            by.retain(|name, refusal| {
                name == own
                    || *leaf >= judged
                    || found.is_some_and(|suspect| is_of(&refusal.statement, suspect))
            });
            !by.is_empty()
        });
    }

    /// k coordinators certified what lies below `size`: no void can name it any more.
    pub(super) fn forget_below(&mut self, size: u64) {
        self.by_leaf = self.by_leaf.split_off(&size);
    }

    /// Whether this coordinator refused the decision at `leaf`.
    pub(super) fn has_own(&self, leaf: u64) -> bool {
        self.by_leaf.get(&leaf).is_some_and(|by| by.contains_key(&self.own))
    }

    /// Every refusal of this decision.
    pub(super) fn of(&self, suspect: &Suspect) -> Vec<Signed<Refusal>> {
        let by = self.by_leaf.get(&suspect.index).into_iter().flat_map(BTreeMap::values);
        by.filter(|refusal| is_of(&refusal.statement, suspect)).cloned().collect()
    }

    /// Whether a coordinator refused this decision.
    pub(super) fn has(&self, suspect: &Suspect, by: &KeyName) -> bool {
        let refusal = self.by_leaf.get(&suspect.index).and_then(|known| known.get(by));
        refusal.is_some_and(|refusal| is_of(&refusal.statement, suspect))
    }

    /// All that are known: own ones first, the lowest leaf first, because it is resolved first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Signed<Refusal>> {
        let own = self.by_leaf.values().filter_map(|by| by.get(&self.own));
        let others = self.by_leaf.values().flatten().filter(|(name, _)| **name != self.own);
        own.chain(others.map(|(_, refusal)| refusal))
    }
}

fn is_of(refusal: &Refusal, suspect: &Suspect) -> bool {
    let decision = &suspect.decision;
    refusal.epoch == decision.epoch
        && refusal.cluster == decision.cluster
        && refusal.number == decision.number
        && refusal.leaf.get() == suspect.index
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{decision, operator, proposal, refusal},
        *,
    };

    /// The decision with this number stands at this leaf.
    fn suspects(leaf: u64, number: u64) -> BTreeMap<u64, Suspect> {
        let decision = decision(&proposal(&operator("ana"), 1), number);
        let suspect = Suspect { index: leaf, decision, voided: None, abandoned: None };
        BTreeMap::from([(leaf, suspect)])
    }

    #[test]
    fn what_peers_refuse_that_does_not_stand_there_is_forgotten() {
        let (own, _) = refusal(1, 0, 1);
        let mut known = Refusals::new(own);
        let hear = |known: &mut Refusals, by: u8, leaf: u64, number: u64, judged: u64| {
            let (signer, refusal) = refusal(by, leaf, number);
            let suspects = suspects(5, 2);
            known.keep(signer, refusal, judged, |leaf| suspects.get(&leaf));
        };
        // Ahead of what was judged, either may be true; behind it only one is.
        hear(&mut known, 2, 5, 2, 4);
        hear(&mut known, 3, 5, 7, 4);
        assert_eq!(known.all().count(), 2);
        let suspects = suspects(5, 2);
        known.sift(6, |leaf| suspects.get(&leaf));
        assert_eq!(known.of(&suspects[&5]).len(), 1);
        hear(&mut known, 4, 5, 7, 6);
        hear(&mut known, 4, 3, 2, 6);
        assert_eq!(known.all().count(), 1, "of another number, of no decision");
        hear(&mut known, 4, 5, 2, 6);
        hear(&mut known, 4, 5, 2, 6);
        assert_eq!(known.of(&suspects[&5]).len(), 2, "one of each coordinator");
        known.forget_below(6);
        assert_eq!(known.all().count(), 0);
    }

    #[test]
    fn a_refusal_is_of_the_decisions_epoch() {
        let (own, _) = refusal(1, 0, 1);
        let (signer, mut later) = refusal(2, 5, 2);
        later.statement.epoch = later.statement.epoch.next().unwrap();
        let suspects = suspects(5, 2);
        let mut known = Refusals::new(own);
        known.keep(signer.clone(), later, 6, |leaf| suspects.get(&leaf));
        assert!(!known.has(&suspects[&5], &signer));
        let (signer, refusal) = refusal(2, 5, 2);
        known.keep(signer.clone(), refusal, 6, |leaf| suspects.get(&leaf));
        assert!(known.has(&suspects[&5], &signer));
    }

    #[test]
    fn the_own_refusal_is_kept_whatever_peers_send() {
        let (own, first) = refusal(1, 900, 2);
        let mut known = Refusals::new(own);
        for leaf in 0..500 {
            let (signer, refusal) = refusal(2, leaf, 1);
            known.keep(signer, refusal, 0, |_| None);
        }
        assert_eq!(known.all().count(), AHEAD_MAX);
        known.keep_own(first);
        assert!(known.has_own(900));
        known.sift(1_000, |_| None);
        assert!(known.has_own(900));
        assert_eq!(known.all().count(), 1);
    }
}
