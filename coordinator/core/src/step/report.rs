//! Reports: what executors say came of a decision.
//!
//! A terminal report ends an executor's part, and the last one frees the slot. `inconclusive` and
//! *unknown* keep it: nobody may act while nobody knows. After harm, and once every executor has
//! answered, one continuation orders the rollback that the plan named.

use quorate_attest::agent_statement::{Finality, Report, Rollback};
use quorate_attest::evidence::EvidenceKind;
use quorate_attest::id::{ClusterId, KeyName};
use quorate_attest::leaf::{Leaf, Outcome as OutcomeLeaf};
use quorate_attest::note::Note;
use quorate_attest::number::{DecisionNumber, LeafIndex};
use quorate_attest::signed::Signed;

use crate::effect::{Alarm, Effect};
use crate::outcome::{Novelty, Outcome, SlotChange};
use crate::rejection::Rejection;
use crate::state::{REPORTS_KEPT, TakenReport};
use crate::step::Step;
use crate::step::decide::stale;

type Key = (ClusterId, DecisionNumber, KeyName);

impl Step<'_> {
    /// Takes an executor's report.
    pub(crate) fn report(&mut self, signed: &Signed<Report>) -> Result<Outcome, Rejection> {
        let report = &signed.statement;
        let charter = self.charter()?;
        if report.origin != charter.origin {
            let (have, want) = (report.origin.clone(), charter.origin.clone());
            return Err(Rejection::WrongOrigin { have, want });
        }
        self.agent_signed(signed, &report.agent, &report.cluster)?;
        let key = (report.cluster.clone(), report.number, report.agent.clone());
        if let Some(answer) = self.reported_before(signed, &key)? {
            return Ok(answer);
        }
        let finality = self.check_report(report)?;
        let (index, slot) = match finality {
            Finality::Open => {
                self.raise_inconclusive(report)?;
                (None, SlotChange::Held)
            }
            Finality::Terminal | Finality::RollbackDue => {
                let (index, slot) = self.record_outcome(signed)?;
                (Some(index), slot)
            }
        };
        self.state.reports.insert(key, TakenReport { report: signed.clone(), index });
        self.forget_reports(&report.cluster);
        let token = self.ledger()?.token(report.number);
        Ok(Outcome::Reported { token, novelty: Novelty::New, index, slot })
    }

    /// The same report again gets its answer; another terminal one is a conflict, with evidence.
    fn reported_before(
        &mut self,
        signed: &Signed<Report>,
        key: &Key,
    ) -> Result<Option<Outcome>, Rejection> {
        let Some(taken) = self.state.reports.get(key).cloned() else { return Ok(None) };
        let (first, second) = (&taken.report.statement, &signed.statement);
        let token = self.ledger()?.token(second.number);
        if first == second {
            let novelty = Novelty::Repeated;
            let slot = SlotChange::Held;
            return Ok(Some(Outcome::Reported { token, novelty, index: taken.index, slot }));
        }
        let Some(_) = taken.index else {
            // The first one was no end: the executor knows more now.
            return Ok(None);
        };
        let is_end = |report: &Report| report.finality(Rollback::ToCome) == Finality::Terminal;
        let evidence = if is_end(first) && is_end(second) {
            self.report_evidence(&taken.report, signed)
        } else {
            None
        };
        Err(Rejection::ReportConflict {
            token,
            agent: second.agent.clone(),
            first: format!("{}, {}", first.answer, first.effect),
            second: format!("{}, {}", second.answer, second.effect),
            evidence,
        })
    }

    fn report_evidence(
        &mut self,
        first: &Signed<Report>,
        second: &Signed<Report>,
    ) -> Option<LeafIndex> {
        let line = second.lines.first()?;
        let key = self.charter().ok()?.agent_of_line(line)?.clone();
        let note = |signed: &Signed<Report>| -> Note { signed.note() };
        // Evidence already on record stays the one leaf of its kind.
        self.evidence(EvidenceKind::Report, &key, note(first), note(second)).ok()
    }

    /// The report is about the decision that holds the slot, by one of its executors.
    fn check_report(&self, report: &Report) -> Result<Finality, Rejection> {
        let ledger = self.ledger()?;
        let (cluster, number) = (&report.cluster, report.number);
        let newest = ledger.history().cluster(cluster).and_then(|history| history.number);
        if newest.is_none_or(|newest| number > newest) {
            return Err(Rejection::UnknownDecision { cluster: cluster.clone(), number });
        }
        let (Some(running), Some(slot)) = (ledger.running(cluster), ledger.slot(cluster)) else {
            return Err(Rejection::SlotFree { cluster: cluster.clone() });
        };
        if running.newest() != number {
            return Err(stale(ledger, running, cluster, number));
        }
        if report.proposal != slot.proposal {
            let (proposal, field) = (report.proposal, "proposal".to_owned());
            return Err(Rejection::WrongProposal { proposal, field });
        }
        if report.epoch != slot.epoch {
            return Err(Rejection::EpochMismatch { have: report.epoch, want: slot.epoch });
        }
        if !slot.executors.contains(&report.agent) {
            let owner = slot.executors.first().map_or_else(String::new, ToString::to_string);
            return Err(Rejection::NotYours { name: report.agent.to_string(), owner });
        }
        Ok(report.finality(slot.rollback_state()))
    }

    fn record_outcome(
        &mut self,
        signed: &Signed<Report>,
    ) -> Result<(LeafIndex, SlotChange), Rejection> {
        let report = &signed.statement;
        let ledger = self.ledger()?;
        let running = ledger.running(&report.cluster);
        let target = running.map(|running| running.proposal().clone());
        let leaf = Leaf::Outcome(OutcomeLeaf {
            origin: ledger.history().origin().clone(),
            epoch: ledger.history().epoch(),
            time: self.now(),
            cluster: report.cluster.clone(),
            number: report.number,
            agent: report.agent.clone(),
            report: signed.clone(),
        });
        let index = self.append(&leaf)?;
        if report.effect == quorate_attest::agent_statement::Effect::Harmful {
            let token = self.ledger()?.token(report.number);
            let alarm = Alarm::Harmful { cluster: report.cluster.clone(), token };
            self.effects.push(Effect::Raise(alarm));
        }
        let slot = self.after_outcome(&report.cluster)?;
        if let (SlotChange::Freed, Some(proposal)) = (slot, target)
            && let Some(Rejection::BreakerOpen { cluster, target, .. }) =
                self.ledger()?.breaker(&proposal, self.now())
        {
            self.effects.push(Effect::Raise(Alarm::BreakerOpen { cluster, target }));
        }
        Ok((index, slot))
    }

    /// Orders the rollback once every executor has answered: it never overlaps with the action.
    fn after_outcome(&mut self, cluster: &ClusterId) -> Result<SlotChange, Rejection> {
        let ledger = self.ledger()?;
        let Some(slot) = ledger.slot(cluster) else { return Ok(SlotChange::Freed) };
        if !slot.is_rollback_due() || slot.epoch != ledger.history().epoch() {
            return Ok(SlotChange::Held);
        }
        self.continue_running(cluster)?;
        Ok(SlotChange::RollbackOrdered)
    }

    fn raise_inconclusive(&mut self, report: &Report) -> Result<(), Rejection> {
        let token = self.ledger()?.token(report.number);
        self.effects.push(Effect::Raise(Alarm::Inconclusive {
            cluster: report.cluster.clone(),
            token,
            agent: report.agent.clone(),
        }));
        Ok(())
    }

    /// Keeps the reports of the newest decisions of a cluster.
    fn forget_reports(&mut self, cluster: &ClusterId) {
        let numbers: std::collections::BTreeSet<DecisionNumber> = self
            .state
            .reports
            .keys()
            .filter(|(of, _, _)| of == cluster)
            .map(|(_, number, _)| *number)
            .collect();
        if let Some(oldest) = numbers.iter().rev().nth(REPORTS_KEPT - 1) {
            self.state.reports.retain(|(of, number, _), _| of != cluster || number >= oldest);
        }
    }
}
