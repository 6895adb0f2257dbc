//! After a crash, and for continuations: the journal says what had begun, a probe says the rest.
//!
//! Nothing here repeats an effect. The one thing that is carried out is a rollback that a
//! continuation orders, which is an action of its own with its own `started`.

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::history::Orders;

use super::judge::May;
use super::{Executor, Granted, Halt, Order, Settled};
use crate::adapters::{Execution, Prepared, kill_orphans};
use crate::journal::{ClaimAttempt, Entry, Phase};
use crate::report::{Outcome, report_of};
use crate::witness::Witness;

impl Executor {
    /// The same order again: what the journal says of it.
    pub(super) async fn resume(&self, order: &Order, entry: Entry) -> Result<Settled, Halt> {
        match entry.phase {
            Phase::Started | Phase::Unknown => self.probe(order, &entry).await,
            Phase::Accepted | Phase::Done | Phase::Abandoned => Ok(Settled::Known(entry.phase)),
        }
    }

    /// `started` without `done`: kill what is left of it, probe, never repeat.
    async fn probe(&self, order: &Order, entry: &Entry) -> Result<Settled, Halt> {
        let (cluster, token) = (self.cluster.clone(), order.token());
        if entry.phase != Phase::Unknown {
            self.journal.with(move |journal| journal.unknown(&cluster, token)).await??;
        }
        // First: an orphan that is still at work would have its effect after the measurement.
        kill_orphans(&entry.proposal);
        let Some(prepared) = &entry.prepared else {
            // Said once: nothing here can ever tell more.
            return match &entry.report {
                Some(_) => Ok(Settled::Known(Phase::Unknown)),
                None => self.lost_track(order, &Witness::default()).await,
            };
        };
        let verdict = self.measure(order, prepared).await;
        let unknown = Execution::new(Answer::Unknown, "found started after a crash");
        let outcome = Outcome::measured(&unknown, &prepared.witness, Some(&verdict), entry.started);
        tracing::warn!(%token, effect = %outcome.effect, difference = verdict.difference, "probed");
        // An outcome that stays open is said once; a terminal one ends it.
        let said = entry.report.is_some() && outcome.effect == Effect::Inconclusive;
        if said { Ok(Settled::Known(Phase::Unknown)) } else { self.settle(order, outcome).await }
    }

    /// Another process holds the claim, so the effect may have happened: probed, never executed. Only
    /// a witness from before that claim can be measured against, which is there if this journal had
    /// asked before (*no-double-execution*).
    pub(super) async fn held_elsewhere(
        &self,
        order: &Order,
        attempt: ClaimAttempt,
    ) -> Result<Settled, Halt> {
        let (cluster, token) = (self.cluster.clone(), order.token());
        let entry = self.journal.with(move |journal| journal.entry(&cluster, token).cloned());
        tracing::warn!(%token, "its claim is held by another process: the outcome is unknown");
        match (attempt, entry.await?) {
            (ClaimAttempt::Again(_), Some(entry)) => self.probe(order, &entry).await,
            (ClaimAttempt::First(_), _) | (ClaimAttempt::Again(_), None) => {
                let (cluster, token) = (self.cluster.clone(), order.token());
                self.journal.with(move |journal| journal.lose_witness(&cluster, token)).await??;
                self.lost_track(order, &Witness::default()).await
            }
        }
    }

    /// An own claim without an entry, or an entry without a witness: nobody here can tell whether
    /// the effect happened. It is reported as unknown and stays so until operators give it up.
    pub(super) async fn lost_track(
        &self,
        order: &Order,
        witness: &Witness,
    ) -> Result<Settled, Halt> {
        let (cluster, token) = (self.cluster.clone(), order.token());
        self.journal.with(move |journal| journal.unknown(&cluster, token)).await??;
        kill_orphans(&order.decision().proposal.id());
        let outcome = Outcome {
            answer: Answer::Unknown,
            effect: Effect::Inconclusive,
            witness: witness.digest(),
            after: None,
            started: None,
        };
        self.settle(order, outcome).await
    }

    /// A continuation: under a higher token, the same action goes on from where the journal left
    /// it. An executor that was done answers from its journal.
    pub(super) async fn go_on(
        &self,
        order: &Order,
        begun: &Entry,
        may: May,
    ) -> Result<Settled, Halt> {
        let prepared = begun.prepared.clone();
        match (self.claim(order, prepared.clone()).await?, order.orders) {
            (Granted::Start, _) => {}
            // Going on with an action only probes and reports: that may be done twice, and at any
            // time. The machine says "held" of whatever this agent claimed under an earlier number.
            (Granted::Unknown(_) | Granted::Declined(_), Orders::Action) => {}
            (Granted::Unknown(attempt), Orders::Rollback) => {
                return self.held_elsewhere(order, attempt).await;
            }
            (Granted::Declined(_), Orders::Rollback) if matches!(may, May::Never(..)) => {}
            (Granted::Declined(declined), Orders::Rollback) => {
                return Ok(Settled::Waits(declined.to_string()));
            }
            (Granted::No(settled), _) => return Ok(settled),
        }
        match (order.orders, begun.phase) {
            (Orders::Rollback, Phase::Accepted | Phase::Done | Phase::Abandoned) => {
                self.roll_back(order, prepared, may).await
            }
            // A rollback is ordered when the action has been answered for, so one that is under way
            // is the rollback itself: probed like everything that has started.
            (Orders::Action | Orders::Rollback, Phase::Started | Phase::Unknown) => {
                let entry = Entry { phase: Phase::Started, report: None, ..begun.clone() };
                self.probe(order, &entry).await
            }
            (Orders::Action, Phase::Done) => match report_of(begun) {
                Some(report) => {
                    let outcome = Outcome {
                        answer: report.answer,
                        effect: report.effect,
                        witness: report.witness,
                        after: report.evidence.first().copied(),
                        started: report.started,
                    };
                    self.settle(order, outcome).await
                }
                None => self.lost_track(order, &Witness::default()).await,
            },
            // It ended without this journal, which therefore cannot say what was done.
            (Orders::Action, Phase::Accepted | Phase::Abandoned) => {
                self.lost_track(order, &Witness::default()).await
            }
        }
    }

    /// After harm: the planned way back, against the witness of the action that did harm.
    async fn roll_back(
        &self,
        order: &Order,
        prepared: Option<Prepared>,
        may: May,
    ) -> Result<Settled, Halt> {
        let why = match (may, prepared) {
            (May::Start, Some(prepared)) => return self.start_and_finish(order, prepared).await,
            (May::Start, None) => "the journal has no witness to roll back to".to_owned(),
            (May::Never(_, why), _) => why,
            (May::NotNow(settled), _) => return Ok(settled),
        };
        self.decline(order, Answer::RefusedPrecondition, &Witness::default(), &why).await
    }
}
