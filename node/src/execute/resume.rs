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
                self.cannot_tell(order).await
            }
        }
    }

    /// Nothing here can be measured against, now or when it is asked again.
    async fn cannot_tell(&self, order: &Order) -> Result<Settled, Halt> {
        let (cluster, token) = (self.cluster.clone(), order.token());
        self.journal.with(move |journal| journal.lose_witness(&cluster, token)).await??;
        self.lost_track(order, &Witness::default()).await
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

    /// A continuation: under a higher token, the same action or the same rollback goes on from where
    /// the journal left it, or the first order of a rollback starts one. What comes of it:
    ///
    /// | ordered, begun | phase | what is done |
    /// |--|--|--|
    /// | the same | `Started`, `Unknown` | it is probed |
    /// | the same | `Done` | it is answered from the journal |
    /// | rollback, action | `Done`, nothing was started | it is declined: there is nothing to undo |
    /// | rollback, action | `Done`, else | the rollback is carried out |
    /// | any other | | nothing here can tell: unknown for good |
    ///
    /// * *no-double-execution*: one arm has an effect. It is reached while no entry of a rollback went
    ///   beyond `accepted` here, and on a claim that no process of this agent held before; after it
    ///   there is such an entry, and every later order finds that one.
    /// * *single-effect*: a rollback is ordered when everybody has answered for the action. A journal
    ///   that has not finished the action then is behind its own agent and starts nothing.
    /// * *Unknown is resolved by probing*, each under what was ordered when it started and against
    ///   the witness from before it. `Accepted` is never begun.
    pub(super) async fn go_on(
        &self,
        order: &Order,
        begun: &Entry,
        may: May,
    ) -> Result<Settled, Halt> {
        let goes = Goes::from(order.orders, begun);
        match (self.claim(order, begun.prepared.clone()).await?, goes) {
            (Granted::Start, _) => {}
            // To probe and to report may be done twice, and at any time. The machine says "held" of
            // whatever this agent claimed under an earlier number.
            (
                Granted::Unknown(_) | Granted::Declined(_),
                Goes::Probe | Goes::Answer | Goes::Nowhere,
            ) => {}
            (Granted::Unknown(attempt), Goes::Back) => {
                return self.held_elsewhere(order, attempt).await;
            }
            (Granted::Declined(_), Goes::Back) if matches!(may, May::Never(..)) => {}
            (Granted::Declined(declined), Goes::Back) => {
                return Ok(Settled::Waits(declined.to_string()));
            }
            (Granted::No(settled), _) => return Ok(settled),
        }
        match (goes, report_of(begun)) {
            (Goes::Probe, _) => {
                let entry = Entry { phase: Phase::Started, report: None, ..begun.clone() };
                self.probe(order, &entry).await
            }
            (Goes::Answer, Some(report)) => {
                let outcome = Outcome {
                    answer: report.answer,
                    effect: report.effect,
                    witness: report.witness,
                    after: report.evidence.first().copied(),
                    started: report.started,
                };
                self.settle(order, outcome).await
            }
            (Goes::Back, Some(report)) if report.effect == Effect::None => {
                let why = "nothing of it was started here";
                self.decline(order, Answer::RefusedPrecondition, &Witness::default(), why).await
            }
            (Goes::Back, Some(_)) => self.roll_back(order, begun.prepared.clone(), may).await,
            (Goes::Answer | Goes::Back, None) | (Goes::Nowhere, _) => self.cannot_tell(order).await,
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

/// How a continuation goes on from what has begun here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// The same has started and its outcome is unknown.
    Probe,
    /// The same is done.
    Answer,
    /// The action is done, and its rollback is ordered for the first time.
    Back,
    /// It ended without this journal, or this journal is behind what the log says of its agent.
    Nowhere,
}

impl Goes {
    fn from(orders: Orders, begun: &Entry) -> Self {
        match (orders, begun.orders, begun.phase) {
            (Orders::Action, Orders::Action, Phase::Started | Phase::Unknown)
            | (Orders::Rollback, Orders::Rollback, Phase::Started | Phase::Unknown) => Self::Probe,
            (Orders::Action, Orders::Action, Phase::Done)
            | (Orders::Rollback, Orders::Rollback, Phase::Done) => Self::Answer,
            (Orders::Rollback, Orders::Action, Phase::Done) => Self::Back,
            (_, _, Phase::Accepted | Phase::Abandoned)
            | (Orders::Rollback, Orders::Action, Phase::Started | Phase::Unknown)
            // What is rolled back is never ordered again.
            | (Orders::Action, Orders::Rollback, Phase::Started | Phase::Unknown | Phase::Done) => {
                Self::Nowhere
            }
        }
    }
}
