//! Whose cosignature under which head: what is known, and what it certifies.
//!
//! Pure: no clock, no disk. Invariants:
//!
//! * a line is kept only after it was verified under the charter's key;
//! * memory is bounded per key, however many heads a lying coordinator signs;
//! * a head is certified only if this coordinator's own tree has its root at its size.

use std::{collections::BTreeMap, sync::Arc};

use quorate_attest::{
    checkpoint::Checkpoint,
    cosignature::Cosignature,
    head::{CosignedHead, HeadPolicy, VerifiedHead},
    id::KeyName,
    log_time::CosignTime,
    merkle::Hash,
    note::SignatureLine,
};

/// Heads remembered for each key: the newest ones.
const HEADS_PER_KEY: usize = 32;
/// Heads remembered that contradict our own tree: the newest ones.
const FOREIGN_MAX: usize = 16;

/// A head with k cosignatures over this coordinator's own tree.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The note: checkpoint and lines.
    pub head: CosignedHead,
    /// Who signed it, and when.
    pub verified: VerifiedHead,
    /// Leaves in it.
    pub size: u64,
    /// Cosignatures it needs: k.
    pub threshold: usize,
}

/// Two roots under one key at one size, or a root our own tree contradicts.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// Who signed.
    pub key: KeyName,
    /// At which size.
    pub size: u64,
    /// The root signed first, or our own.
    pub expected: Hash,
    /// The root signed now.
    pub found: Hash,
    /// The note, as evidence.
    pub note: Vec<u8>,
}

/// What came of a line.
#[derive(Debug)]
pub enum Taken {
    /// It says something new.
    New,
    /// It is known, older than what is known, or of nobody in the charter.
    Nothing,
    /// It contradicts another one: kept as evidence, never counted.
    Divergent(Box<Divergence>),
}

#[derive(Debug, Clone)]
struct Line {
    checkpoint: Checkpoint,
    time: CosignTime,
    line: SignatureLine,
}

/// The book of one coordinator.
#[derive(Debug)]
pub struct Book {
    /// From which tree size on which charter counts; ascending, the first one from 0.
    policies: Vec<(u64, HeadPolicy)>,
    lines: BTreeMap<KeyName, BTreeMap<u64, Line>>,
    /// Good lines under roots that our own tree contradicts, by size and root.
    foreign: BTreeMap<(u64, Hash), BTreeMap<KeyName, Line>>,
    certified: Option<Arc<Certified>>,
}

impl Book {
    /// An empty book under the first charter.
    pub fn new(policy: HeadPolicy) -> Self {
        let (lines, foreign) = (BTreeMap::new(), BTreeMap::new());
        Self { policies: vec![(0, policy)], lines, foreign, certified: None }
    }

    /// From heads of `size` leaves on, another charter counts.
    pub fn policy_from(&mut self, size: u64, policy: HeadPolicy) {
        self.policies.retain(|(from, _)| *from < size);
        self.policies.push((size, policy));
    }

    /// The charter that judges heads of `size`; the newest known where the size lies ahead.
    pub fn policy(&self, size: u64) -> &HeadPolicy {
        let last = self.policies.iter().rev().find(|(from, _)| *from <= size);
        &last.unwrap_or(&self.policies[0]).1
    }

    /// The newest certified head.
    pub fn certified(&self) -> Option<&Arc<Certified>> {
        self.certified.as_ref()
    }

    /// Leaves in the newest certified head.
    pub fn certified_size(&self) -> u64 {
        self.certified.as_ref().map_or(0, |certified| certified.size)
    }

    /// The largest head of `key` that is known.
    pub fn newest_of(&self, key: &KeyName) -> Option<CosignedHead> {
        let line = self.lines.get(key)?.values().next_back()?;
        Some(CosignedHead { checkpoint: line.checkpoint.clone(), lines: vec![line.line.clone()] })
    }

    /// The size of that head.
    pub fn newest_size_of(&self, key: &KeyName) -> u64 {
        let newest = self.lines.get(key).and_then(|lines| lines.keys().next_back());
        newest.copied().unwrap_or(0)
    }

    /// The keys of which a head is known.
    pub fn keys(&self) -> impl Iterator<Item = &KeyName> {
        self.lines.keys()
    }

    /// All lines known for a size, as one note; `None` if there is none.
    pub fn head_at(&self, size: u64) -> Option<CosignedHead> {
        let known: Vec<&Line> = self.lines.values().filter_map(|lines| lines.get(&size)).collect();
        let checkpoint = known.first()?.checkpoint.clone();
        let same = known.iter().filter(|line| line.checkpoint == checkpoint);
        let lines = same.map(|line| line.line.clone());
        Some(CosignedHead::assemble(checkpoint.clone(), lines, self.policy(size)))
    }

    /// Sizes above `above` that somebody else than `own` has cosigned, with the roots signed there.
    pub fn wanted_above(&self, above: u64, own: &KeyName) -> BTreeMap<u64, Vec<Hash>> {
        let mut wanted: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
        let others = self.lines.iter().filter(|(key, _)| *key != own);
        for (size, line) in others.flat_map(|(_, lines)| lines.range(above.saturating_add(1)..)) {
            wanted.entry(*size).or_default().push(line.checkpoint.root);
        }
        wanted
    }

    /// Takes every line of a note that came from anywhere. `own_root` is our tree's root at its
    /// size, if our tree is that large.
    pub fn take(&mut self, head: &CosignedHead, own_root: Option<Hash>) -> Vec<Taken> {
        head.lines.iter().map(|line| self.take_line(head, line, own_root)).collect()
    }

    fn take_line(
        &mut self,
        head: &CosignedHead,
        line: &SignatureLine,
        own_root: Option<Hash>,
    ) -> Taken {
        let checkpoint = &head.checkpoint;
        let size = checkpoint.size.get();
        let policy = self.policy(size);
        if checkpoint.origin != *policy.origin() {
            return Taken::Nothing;
        }
        let Ok(cosignature) = Cosignature::from_line(line) else { return Taken::Nothing };
        let signer = policy
            .coordinators()
            .find(|key| key.name().as_str() == line.name && key.id() == line.key_id);
        let Some(signer) = signer else { return Taken::Nothing };
        if cosignature.verify(signer, checkpoint).is_err() {
            return Taken::Nothing;
        }
        let key = signer.name().clone();
        let line =
            Line { checkpoint: checkpoint.clone(), time: cosignature.time, line: line.clone() };
        if own_root.is_some_and(|own| own != checkpoint.root) {
            self.note_foreign(&key, size, &line);
        }
        let lines = self.lines.entry(key.clone()).or_default();
        let known = lines.get(&size);
        let expected = known.map(|line| line.checkpoint.root).or(own_root);
        if let Some(expected) = expected.filter(|expected| *expected != checkpoint.root) {
            let note = CosignedHead { checkpoint: checkpoint.clone(), lines: vec![line.line] };
            return Taken::Divergent(Box::new(Divergence {
                key,
                size,
                expected,
                found: checkpoint.root,
                note: note.to_bytes(),
            }));
        }
        if known.is_some_and(|known| known.time >= cosignature.time) {
            return Taken::Nothing;
        }
        lines.insert(size, line);
        while lines.len() > HEADS_PER_KEY {
            lines.pop_first();
        }
        Taken::New
    }

    fn note_foreign(&mut self, key: &KeyName, size: u64, line: &Line) {
        let under = self.foreign.entry((size, line.checkpoint.root)).or_default();
        under.insert(key.clone(), line.clone());
        while self.foreign.len() > FOREIGN_MAX {
            self.foreign.pop_first();
        }
    }

    /// A head that k coordinators signed and our own tree contradicts: then ours is the odd one.
    pub fn foreign(&self) -> Option<CosignedHead> {
        let is_enough = |((size, _), lines): &(&(u64, Hash), &BTreeMap<KeyName, Line>)| {
            lines.len() >= self.policy(*size).threshold()
        };
        let ((size, _), lines) = self.foreign.iter().find(is_enough)?;
        let checkpoint = lines.values().next()?.checkpoint.clone();
        let lines = lines.values().map(|line| line.line.clone());
        Some(CosignedHead::assemble(checkpoint, lines, self.policy(*size)))
    }

    /// Lines that came before our own tree was as large: it contradicts them now.
    fn compare(&mut self, own_root: &impl Fn(u64) -> Option<Hash>) {
        let from = self.certified_size();
        let above = |(key, lines): (&KeyName, &BTreeMap<u64, Line>)| {
            let above = lines.range(from.saturating_add(1)..);
            above.map(|(size, line)| (key.clone(), *size, line.clone())).collect::<Vec<_>>()
        };
        let lines: Vec<_> = self.lines.iter().flat_map(above).collect();
        for (key, size, line) in lines {
            if own_root(size).is_some_and(|own| own != line.checkpoint.root) {
                self.note_foreign(&key, size, &line);
            }
        }
    }

    /// Certifies the largest head above the certified one, or refreshes that one, where our own
    /// tree agrees. `own_root` answers for sizes our tree has. Returns the head if it is new or
    /// fresher.
    pub fn certify(
        &mut self,
        latest: CosignTime,
        own_root: impl Fn(u64) -> Option<Hash>,
    ) -> Option<Arc<Certified>> {
        self.compare(&own_root);
        let from = self.certified_size();
        let sizes: std::collections::BTreeSet<u64> = self
            .lines
            .values()
            .flat_map(|lines| lines.range(from.max(1)..).map(|(size, _)| *size))
            .collect();
        let found = sizes.into_iter().rev().find_map(|size| {
            let root = own_root(size)?;
            self.try_certify(size, root, latest)
        })?;
        let is_newer = self
            .certified
            .as_ref()
            .is_none_or(|known| known.size < found.size || known.head.lines != found.head.lines);
        if !is_newer {
            return None;
        }
        let found = Arc::new(found);
        self.certified = Some(Arc::clone(&found));
        // What lies below can never be certified any more; the newest of each key is kept.
        for lines in self.lines.values_mut() {
            let newest = lines.keys().next_back().copied().unwrap_or(0);
            lines.retain(|size, _| *size >= found.size || *size == newest);
        }
        self.lines.retain(|_, lines| !lines.is_empty());
        Some(found)
    }

    fn try_certify(&self, size: u64, root: Hash, latest: CosignTime) -> Option<Certified> {
        let lines: Vec<&Line> = self
            .lines
            .values()
            .filter_map(|lines| lines.get(&size))
            .filter(|line| line.checkpoint.root == root && line.time <= latest)
            .collect();
        let checkpoint = lines.first()?.checkpoint.clone();
        let policy = self.policy(size);
        if lines.len() < policy.threshold() {
            return None;
        }
        let lines = lines.into_iter().map(|line| line.line.clone());
        let head = CosignedHead::assemble(checkpoint, lines, policy);
        let verified = head.verify(policy, latest).ok()?;
        Some(Certified { head, verified, size, threshold: policy.threshold() })
    }
}

#[cfg(test)]
mod tests {
    use quorate_attest::{
        id::Origin,
        key::{CosignSigner, SecretKey},
        merkle::{Head, leaf_hash},
        number::TreeSize,
    };
    use zeroize::Zeroizing;

    use super::*;

    const NET: &str = "quorate.test/net";

    fn signers(n: u8) -> Vec<CosignSigner> {
        let signer = |id: u8| {
            let name = KeyName::new(format!("{NET}/coordinator/{id}")).unwrap();
            CosignSigner::new(name, SecretKey::from_seed(Zeroizing::new([id; 32])))
        };
        (1..=n).map(signer).collect()
    }

    fn origin() -> Origin {
        format!("{NET}/1-{}", "0a".repeat(16)).parse().unwrap()
    }

    fn book(signers: &[CosignSigner], k: usize) -> Book {
        let keys = signers.iter().map(|signer| signer.vkey().clone());
        Book::new(HeadPolicy::new(origin(), keys, [], k).unwrap())
    }

    fn head(signer: &CosignSigner, size: u64, root: &[u8], time: u64) -> CosignedHead {
        let head = Head { size: TreeSize::new(size).unwrap(), root: leaf_hash(root) };
        let checkpoint = Checkpoint::new(origin(), head);
        let line = signer.cosign(&checkpoint, at(time)).to_line();
        CosignedHead { checkpoint, lines: vec![line] }
    }

    fn at(seconds: u64) -> CosignTime {
        CosignTime::new(1_790_000_000 + seconds).unwrap()
    }

    #[test]
    fn k_lines_over_our_own_root_certify_and_fewer_do_not() {
        let signers = signers(4);
        let mut book = book(&signers, 3);
        let own = |size: u64| (size <= 10).then(|| leaf_hash(b"root"));
        for signer in &signers[..2] {
            book.take(&head(signer, 10, b"root", 0), own(10));
        }
        assert!(book.certify(at(5), own).is_none());
        book.take(&head(&signers[1], 10, b"root", 1), own(10));
        assert!(book.certify(at(5), own).is_none(), "one key twice is one");
        book.take(&head(&signers[2], 10, b"root", 0), own(10));
        assert_eq!(book.certify(at(5), own).unwrap().size, 10);
        assert!(book.certify(at(5), own).is_none(), "nothing new");
        book.take(&head(&signers[0], 10, b"root", 4), own(10));
        assert!(book.certify(at(5), own).is_some(), "refreshed");
    }

    #[test]
    fn a_head_ahead_of_our_tree_waits_and_one_from_the_future_does_not_count() {
        let signers = signers(3);
        let mut book = book(&signers, 2);
        for signer in &signers {
            book.take(&head(signer, 20, b"root", 100), None);
        }
        assert!(book.certify(at(200), |_| None).is_none(), "not applied here");
        assert_eq!(book.wanted_above(10, signers[0].vkey().name()).len(), 1);
        let own = |_: u64| Some(leaf_hash(b"root"));
        assert!(book.certify(at(99), own).is_none(), "signed later than now");
        assert!(book.certify(at(100), own).is_some());
    }

    #[test]
    fn contradictions_are_evidence_and_never_count() {
        let signers = signers(3);
        let mut book = book(&signers, 2);
        let own = Some(leaf_hash(b"root"));
        let taken = book.take(&head(&signers[0], 5, b"other", 0), own);
        assert!(matches!(taken.as_slice(), [Taken::Divergent(_)]), "against our tree");
        book.take(&head(&signers[1], 6, b"a", 0), None);
        let taken = book.take(&head(&signers[1], 6, b"b", 1), None);
        let [Taken::Divergent(two)] = taken.as_slice() else { panic!("two roots at one size") };
        assert_eq!((two.size, two.expected, two.found), (6, leaf_hash(b"a"), leaf_hash(b"b")));
        let stranger = CosignSigner::new(
            KeyName::new(format!("{NET}/coordinator/9")).unwrap(),
            SecretKey::from_seed(Zeroizing::new([9; 32])),
        );
        let taken = book.take(&head(&stranger, 5, b"root", 0), own);
        assert!(matches!(taken.as_slice(), [Taken::Nothing]));
    }

    #[test]
    fn memory_is_bounded_per_key() {
        let signers = signers(3);
        let mut book = book(&signers, 2);
        for size in 1..=200 {
            book.take(&head(&signers[0], size, b"x", 0), None);
        }
        assert_eq!(book.lines[signers[0].vkey().name()].len(), HEADS_PER_KEY);
        assert_eq!(book.newest_size_of(signers[0].vkey().name()), 200);
    }
}
