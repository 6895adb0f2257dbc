//! Outcomes: one executor's report, which alone frees a slot (R10).

use super::{Change, History, LeafRefused};
use crate::agent_statement::Finality;
use crate::leaf::Outcome;
use crate::note::SignatureLine;
use crate::signed::Signatures;

impl History {
    pub(super) fn judge_outcome(
        &self,
        outcome: &Outcome,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let report = &outcome.report.statement;
        let (agent, number) = (outcome.agent.clone(), outcome.number);
        let mut history = self.clusters.get(&outcome.cluster).cloned().unwrap_or_default();
        let Some(slot) = history.standing.slot.as_mut().filter(|slot| slot.token.number == number)
        else {
            return Err(LeafRefused::OutcomeStale { found: number });
        };
        let differs = |what| Err(LeafRefused::ReportDiffers { what });
        if report.origin != outcome.origin {
            return differs("origin");
        }
        if report.epoch != slot.epoch {
            return differs("epoch");
        }
        if report.cluster != outcome.cluster {
            return differs("cluster");
        }
        if report.number != number {
            return differs("number");
        }
        if report.agent != agent {
            return differs("agent");
        }
        if report.proposal != slot.proposal {
            return differs("proposal");
        }
        let lookup = |line: &SignatureLine| {
            self.charter.agent_of_line(line).filter(|key| *key.name() == agent)
        };
        outcome
            .report
            .verify_strict(signatures, lookup)
            .map_err(|source| LeafRefused::Lines { what: "report", source })?;
        if !slot.awaited.remove(&agent) {
            return Err(LeafRefused::NotAwaited { agent, number });
        }
        match report.finality(slot.rollback_state()) {
            Finality::Open => return Err(LeafRefused::NotTerminal { agent, number }),
            Finality::Terminal => {}
            Finality::RollbackDue => drop(slot.harmful.insert(agent)),
        }
        if slot.is_settled() {
            history.standing.slot = None;
        }
        // Somebody acted on a certificate, so the decision can no longer be void (R14).
        history.refusable = None;
        let cluster = outcome.cluster.clone();
        Ok(Change::Cluster { cluster, history, ended: None, changed: None })
    }
}
