//! Every leaf is judged again here, votes included, before this coordinator cosigns it.
//!
//! `apply` verifies no signature, so a lying leader can put a forged vote into the Raft log. What
//! it cannot get is a certificate: the [`Ledger`], which judges leaves and counts budgets, runs
//! here a second time with signatures on, from the leaves alone. A leaf that breaks a rule is a
//! lying leader (or a bug): this coordinator stops signing for good, says so and keeps the leaf.
//!
//! A state machine that came from a snapshot is believed only after its ledger was compared with
//! the one made here, at the same size (*replay-equal*).

use std::collections::BTreeMap;

use quorate_attest::{
    charter::Charter,
    history::{History, LeafRefused},
    id::{CharterId, ClusterId, Digest, Origin},
    leaf::{Decision, Leaf, Void},
    log_time::LogTime,
    number::{DecisionNumber, Epoch, LeafIndex},
    proposal::Target,
    remediation::Kind,
    signed::{Signatures, Signed},
    text::Statement as _,
};
use quorate_core::{Ledger, LedgerRefused};
use quorate_store::{LeavesError, LeavesView};

/// Leaves judged in one go, so that a long log does not hold a blocking thread for long.
const LEAVES_PER_STEP: u64 = 512;
/// Bytes of them.
const BYTES_PER_STEP: usize = 4 << 20;

/// A leaf that no honest leader can have produced.
#[derive(Debug, thiserror::Error)]
#[error("leaf {index} breaks the rules of the log: {refused}")]
pub struct Lie {
    /// Where it stands.
    pub index: u64,
    /// The rule.
    #[source]
    pub refused: Box<LedgerRefused>,
    /// The leaf, as evidence.
    pub leaf: Vec<u8>,
}

/// A state machine that came from a snapshot and is not what the leaves make of it.
#[derive(Debug, thiserror::Error)]
#[error("at {size} leaves a snapshot's ledger has the hash {said}, the leaves give {found}")]
pub struct Differs {
    /// Leaves.
    pub size: u64,
    /// The state machine's ledger.
    pub said: Digest,
    /// The fold of the leaves.
    pub found: Digest,
}

/// Why judging stopped.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A leaf that breaks a rule.
    #[error(transparent)]
    Lie(#[from] Lie),
    /// A snapshot that lies.
    #[error(transparent)]
    Differs(#[from] Differs),
    /// The leaves cannot be read.
    #[error(transparent)]
    Leaves(#[from] LeavesError),
}

/// A decision that is not yet certified, as far as the cosigner cares.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// Where it stands.
    pub index: u64,
    /// What was decided.
    pub decision: Decision,
    /// The index of the void that names it, once there is one.
    pub voided: Option<u64>,
    /// The index of the operators' abandon of its action, once there is one: the way out where
    /// neither enough cosign nor enough refuse.
    pub abandoned: Option<u64>,
}

/// The charter this coordinator was started with: the log must have it where its epoch begins.
///
/// Otherwise the first leader could begin the log with a charter of its own making.
#[derive(Debug, Clone)]
pub struct Pinned {
    origin: Origin,
    epoch: Epoch,
    id: CharterId,
}

impl Pinned {
    /// Pins a charter.
    pub fn of(charter: &Charter) -> Self {
        Self { origin: charter.origin.clone(), epoch: charter.epoch, id: charter.id() }
    }

    /// Refuses another charter in the pinned one's place.
    fn check(&self, bytes: &[u8]) -> Result<(), LeafRefused> {
        if !bytes.starts_with(Charter::FIRST_LINE.as_bytes()) {
            return Ok(());
        }
        // What does not parse is refused by the judge of leaves, with its own reason.
        let Ok(signed) = Signed::<Charter>::parse(bytes) else { return Ok(()) };
        let Charter { origin, epoch, .. } = &signed.statement;
        let found = signed.statement.id();
        if *origin == self.origin && *epoch == self.epoch && found != self.id {
            return Err(LeafRefused::OtherCharter { expected: self.id, found });
        }
        Ok(())
    }
}

/// The second judge.
#[derive(Debug)]
pub struct Verifier {
    pinned: Pinned,
    ledger: Option<Ledger>,
    /// Leaves below this index were cosigned by this coordinator before: judged then.
    trusted: u64,
    suspects: BTreeMap<u64, Suspect>,
    /// The newest decision of each cluster: its number and index. Only that one can be void.
    newest_of: BTreeMap<ClusterId, (DecisionNumber, u64)>,
    /// Voids of refused decisions by their own index, with the decision's.
    voids: BTreeMap<u64, u64>,
    charters: Vec<(u64, Charter)>,
    /// The time of each leaf that may still lie ahead of our clock.
    newest: Option<LogTime>,
    /// The hash that the ledger must have at a size, because the state machine's has it.
    expected: Option<(u64, Digest)>,
}

impl Verifier {
    /// A judge that trusts the leaves below `trusted`, because it cosigned them before.
    pub fn new(pinned: Pinned, trusted: u64) -> Self {
        Self {
            pinned,
            ledger: None,
            trusted,
            suspects: BTreeMap::new(),
            newest_of: BTreeMap::new(),
            voids: BTreeMap::new(),
            charters: Vec::new(),
            newest: None,
            expected: None,
        }
    }

    /// Leaves judged so far.
    pub fn size(&self) -> u64 {
        self.history().map_or(0, |history| history.size().get())
    }

    /// The log as the judged leaves determine it; `None` before the first charter.
    pub fn history(&self) -> Option<&History> {
        self.ledger.as_ref().map(Ledger::history)
    }

    /// Charters met since the last call, each with its leaf index.
    pub fn take_charters(&mut self) -> Vec<(u64, Charter)> {
        std::mem::take(&mut self.charters)
    }

    /// Log time of the newest judged leaf.
    pub fn newest_time(&self) -> Option<LogTime> {
        self.newest
    }

    /// The uncertified decision at `index`.
    pub fn suspect(&self, index: u64) -> Option<&Suspect> {
        self.suspects.get(&index)
    }

    /// Decisions at or above `from`, in order.
    pub fn suspects_from(&self, from: u64) -> impl Iterator<Item = &Suspect> {
        self.suspects.range(from..).map(|(_, suspect)| suspect)
    }

    /// Voids of refused decisions that are not certified yet: their own index, then the decision's.
    pub fn voids(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.voids.iter().map(|(void, decision)| (*void, *decision))
    }

    /// Forgets decisions below `size`: they are certified.
    pub fn settle_below(&mut self, size: u64) {
        self.suspects = self.suspects.split_off(&size);
        self.voids = self.voids.split_off(&size);
    }

    /// What the state machine's ledger hashes to at `size` leaves, of which at most that many are
    /// judged: compared here, or as soon as they are.
    ///
    /// # Errors
    /// The leaves make something else.
    pub fn expect(&mut self, size: u64, hash: Digest) -> Result<(), Differs> {
        self.expected = Some((size, hash));
        self.compare()
    }

    fn compare(&mut self) -> Result<(), Differs> {
        let size = self.size();
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let Some((_, said)) = self.expected.take_if(|(at, _)| *at == size) else { return Ok(()) };
        let found = ledger.hash();
        if said == found { Ok(()) } else { Err(Differs { size, said, found }) }
    }

    /// Judges the next leaves of `view`; answers whether more are left.
    pub fn step(&mut self, view: &LeavesView) -> Result<bool, VerifyError> {
        let size = self.size();
        let end = view.size().get();
        let range = size..end.min(size + LEAVES_PER_STEP);
        for (index, bytes) in view.range(range, BYTES_PER_STEP)? {
            self.judge(index, &bytes)?;
        }
        Ok(self.size() < end)
    }

    fn judge(&mut self, index: u64, bytes: &[u8]) -> Result<(), VerifyError> {
        let lie = |refused: LedgerRefused| Lie {
            index,
            refused: Box::new(refused),
            leaf: bytes.to_vec(),
        };
        let signatures = if index < self.trusted { Signatures::Trust } else { Signatures::Verify };
        self.pinned.check(bytes).map_err(|refused| lie(refused.into()))?;
        let leaf = Leaf::parse(bytes).map_err(|error| lie(LeafRefused::from(error).into()))?;
        match &mut self.ledger {
            Some(ledger) => drop(ledger.append(&leaf, signatures).map_err(lie)?),
            None => self.ledger = Some(Ledger::found(&leaf, signatures).map_err(lie)?),
        }
        self.newest = self.history().map(History::time).or(self.newest);
        self.note(index, leaf);
        Ok(self.compare()?)
    }

    fn note(&mut self, index: u64, leaf: Leaf) {
        if let Leaf::Decision(decision) = &leaf {
            let newest = (decision.number, index);
            let before = self.newest_of.insert(decision.cluster.clone(), newest);
            // Cosigned before, and no void can name it any more.
            if let Some((_, before)) = before.filter(|(_, before)| *before < self.trusted) {
                self.suspects.remove(&before);
            }
        }
        match leaf {
            Leaf::Charter(charter) => self.charters.push((index, charter.statement)),
            Leaf::Decision(decision) => {
                self.abandoned(&decision, index);
                let suspect = Suspect { index, decision, voided: None, abandoned: None };
                self.suspects.insert(index, suspect);
            }
            Leaf::Void(void) => {
                if let Some(number) = void.refused() {
                    self.voided(&void, number, index);
                }
            }
            Leaf::Outcome(_)
            | Leaf::Evidence(_)
            | Leaf::Override(_)
            | Leaf::Pause(_)
            | Leaf::Act(_)
            | Leaf::Incarnation(_) => {}
        }
    }

    /// The judge of leaves accepted the abandon, so it names the newest decision in the slot: with
    /// it ends every decision of that action.
    fn abandoned(&mut self, abandon: &Decision, at: u64) {
        let Target::Decision(number) = abandon.proposal.target() else { return };
        if abandon.proposal.kind != Kind::Abandon {
            return;
        }
        let of_cluster = |suspect: &Suspect| suspect.decision.cluster == abandon.cluster;
        let mut named = self.suspects.values().rev().filter(|suspect| of_cluster(suspect));
        let named = named.find(|suspect| suspect.decision.number == number);
        let Some(action) = named.map(|suspect| suspect.decision.proposal.id()) else { return };
        for suspect in self.suspects.values_mut().filter(|suspect| of_cluster(suspect)) {
            if suspect.decision.proposal.id() == action {
                suspect.abandoned = Some(at);
            }
        }
    }

    fn voided(&mut self, void: &Void, number: DecisionNumber, at: u64) {
        let newest = self.newest_of.get(&void.cluster).filter(|(newest, _)| *newest == number);
        let Some((_, decision)) = newest else { return };
        if let Some(suspect) = self.suspects.get_mut(decision) {
            suspect.voided = Some(at);
            // A void abandon abandons nothing.
            let undone = Some(*decision);
            for suspect in self.suspects.values_mut().filter(|it| it.abandoned == undone) {
                suspect.abandoned = None;
            }
        }
        if at >= self.trusted {
            self.voids.insert(at, *decision);
        }
    }
}

impl Suspect {
    /// Whether a head of `size` holds this decision without its void or abandon.
    pub fn is_bare_in(&self, size: u64) -> bool {
        self.index < size && !self.is_resolved_in(size)
    }

    /// Whether a head of `size` holds what ends this decision without effect.
    pub fn is_resolved_in(&self, size: u64) -> bool {
        [self.voided, self.abandoned].into_iter().flatten().any(|at| at < size)
    }

    /// Its index as the log counts.
    pub fn leaf(&self) -> Option<LeafIndex> {
        LeafIndex::new(self.index).ok()
    }
}

#[cfg(test)]
mod tests {
    use quorate_attest::log_time::Span;

    use super::{
        super::fixture::{charter, decision, founding, operator, proposal, void},
        *,
    };

    fn lie(answer: Result<(), VerifyError>) -> LedgerRefused {
        match answer {
            Err(VerifyError::Lie(lie)) => *lie.refused,
            other => panic!("no lie: {other:?}"),
        }
    }

    #[test]
    fn a_log_begins_with_the_pinned_charter_or_not_at_all() {
        let mut verifier = Verifier::new(Pinned::of(&charter()), 0);
        let mut other = charter();
        other.max_age = Span::from_millis(other.max_age.get() + 1);
        let refused = lie(verifier.judge(0, &founding(other).to_bytes()));
        assert!(matches!(refused, LedgerRefused::Leaf(LeafRefused::OtherCharter { .. })));
        assert_eq!(verifier.size(), 0);
        assert!(verifier.judge(0, &founding(charter()).to_bytes()).is_ok());
        assert_eq!(verifier.size(), 1);
    }

    #[test]
    fn a_snapshots_ledger_is_what_the_leaves_make_of_it() {
        let leaf = founding(charter());
        let hash = Ledger::found(&leaf, Signatures::Trust).unwrap().hash();
        let mut verifier = Verifier::new(Pinned::of(&charter()), 0);
        assert!(verifier.expect(1, hash).is_ok(), "not judged yet");
        assert!(verifier.judge(0, &leaf.to_bytes()).is_ok());
        assert!(verifier.expect(1, hash).is_ok(), "judged before");
        let other = Digest::of(b"another ledger");
        let differs = verifier.expect(1, other).unwrap_err();
        assert_eq!((differs.size, differs.said, differs.found), (1, other, hash));
        let mut verifier = Verifier::new(Pinned::of(&charter()), 0);
        assert!(verifier.expect(1, other).is_ok());
        let judged = verifier.judge(0, &leaf.to_bytes());
        assert!(matches!(judged, Err(VerifyError::Differs(_))), "{judged:?}");
    }

    #[test]
    fn the_second_judge_counts_budgets_too() {
        let mut uncountable = charter();
        uncountable.rule[0].value = "many".parse().unwrap();
        let leaf = founding(uncountable.clone());
        assert!(History::found(&leaf, Signatures::Verify).is_ok(), "the judge of leaves alone");
        let mut verifier = Verifier::new(Pinned::of(&uncountable), 0);
        assert!(matches!(lie(verifier.judge(0, &leaf.to_bytes())), LedgerRefused::Number(_)));
    }

    #[test]
    fn an_abandon_resolves_the_decision_it_names_unless_it_is_void_itself() {
        let mut verifier = Verifier::new(Pinned::of(&charter()), 0);
        let stuck = decision(&proposal(&operator("ana"), 1), 1);
        verifier.note(1, Leaf::Decision(stuck));
        let mut way_out = proposal(&operator("bob"), 2);
        way_out.kind = Kind::Abandon;
        way_out.target = "decision:1".parse().unwrap();
        let way_out = decision(&way_out, 2);
        verifier.note(4, Leaf::Decision(way_out.clone()));
        let suspect = &verifier.suspects[&1];
        assert!(suspect.is_bare_in(4), "a head without the abandon");
        assert!(!suspect.is_bare_in(5));
        assert!(verifier.suspects[&4].is_bare_in(5), "nothing resolves the abandon");
        verifier.note(6, Leaf::Void(void(&way_out)));
        assert!(verifier.suspects[&1].is_bare_in(7));
        assert!(!verifier.suspects[&4].is_bare_in(7));
    }
}
