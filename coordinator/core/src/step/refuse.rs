//! Coordinators refuse to certify (R14): with enough of them the decision is void.

use quorate_attest::history::Refusers;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::number::LeafIndex;
use quorate_attest::refusal::{Cause, Refusal};
use quorate_attest::signed::Signed;

use crate::effect::{Alarm, Effect};
use crate::outcome::{Novelty, Outcome};
use crate::rejection::Rejection;
use crate::step::Step;
use crate::step::decide::{refused_void, stale};

impl Step<'_> {
    /// Notes refusals of one decision; enough of them void it and free its slot.
    pub(crate) fn refuse(&mut self, refusals: &[Signed<Refusal>]) -> Result<Outcome, Rejection> {
        let Some(first) = refusals.first() else {
            let (field, why) = ("refusals".to_owned(), "there is none".to_owned());
            return Err(Rejection::Malformed { field, why });
        };
        let mut noted = Vec::new();
        for signed in refusals {
            if signed.statement.leaf != first.statement.leaf {
                let (field, why) = ("leaf".to_owned(), "the refusals name several".to_owned());
                return Err(Rejection::Malformed { field, why });
            }
            let refusers = self.refusers(&signed.statement)?;
            for line in &signed.lines {
                let key = refusers.of_line(line);
                let key = key.ok_or_else(|| self.unknown_validator(&line.name))?;
                noted.push((key.name().clone(), signed.statement.cause));
            }
        }
        let leaf = first.statement.leaf;
        let mut novelty = Novelty::Repeated;
        for (name, cause) in noted {
            if self.state.refusals.note(leaf, name, cause) == Novelty::New {
                novelty = Novelty::New;
            }
        }
        let refusals = &self.state.refusals;
        let tally = self.refusers(&first.statement)?.tally(|name| refusals.has(leaf, name));
        let enough = tally.is_enough();
        let index = if enough { Some(self.void_refused(&first.statement)?) } else { None };
        Ok(Outcome::Refused { have: tally.have, need: tally.need, index, novelty })
    }

    /// The refusal is of the decision that holds the slot, and nobody has claimed it: a claim is
    /// made on a certificate, so a claimed decision was certified. Answers whose refusals count.
    fn refusers(&self, refusal: &Refusal) -> Result<Refusers, Rejection> {
        let ledger = self.ledger()?;
        let (cluster, number) = (&refusal.cluster, refusal.number);
        let (Some(running), Some(slot)) = (ledger.running(cluster), ledger.slot(cluster)) else {
            return Err(Rejection::SlotFree { cluster: cluster.clone() });
        };
        if running.newest() != number {
            return Err(stale(ledger, running, cluster, number));
        }
        if slot.leaf != refusal.leaf || self.state.claims.is_claimed(cluster, number) {
            return Err(Rejection::UnknownDecision { cluster: cluster.clone(), number });
        }
        let head = running.head();
        if refusal.origin != head.origin {
            let (have, want) = (refusal.origin.clone(), head.origin.clone());
            return Err(Rejection::WrongOrigin { have, want });
        }
        let mismatch = |have, want| Rejection::EpochMismatch { have, want };
        if refusal.epoch != head.epoch {
            return Err(mismatch(refusal.epoch, head.epoch));
        }
        let history = ledger.history();
        history.refusers(head.epoch).ok_or_else(|| mismatch(head.epoch, history.epoch()))
    }

    fn void_refused(&mut self, refusal: &Refusal) -> Result<LeafIndex, Rejection> {
        let ledger = self.ledger()?;
        let cluster = &refusal.cluster;
        let running = ledger
            .running(cluster)
            .ok_or_else(|| Rejection::SlotFree { cluster: cluster.clone() })?;
        let cause = match self.state.refusals.cause(refusal.leaf) {
            Some(Cause::Vetoed) => VoidCause::Vetoed,
            Some(Cause::Contradicted | Cause::Clock) | None => VoidCause::Superseded,
        };
        let (token, proposal) = (running.token(), running.proposal_id());
        let leaf = Leaf::Void(refused_void(ledger, self.now(), running, cause));
        let index = self.append(&leaf)?;
        let cluster = cluster.clone();
        self.effects.push(Effect::Raise(Alarm::DecisionRefused { cluster, token, proposal }));
        Ok(index)
    }
}
