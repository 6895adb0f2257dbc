//! Reports: what this agent says it did, signed once, sent until it is acknowledged.
//!
//! The signed bytes are in the journal, fsynced, before they leave. A terminal or harmful report is
//! signed once for each decision (*sign-once*); one that leaves the outcome open may be followed.

use std::sync::Arc;

use quorate_attest::agent_statement::{Answer, Effect, Finality, Report, Rollback};
use quorate_attest::id::{Digest, KeyName};
use quorate_attest::leaf::Decision;
use quorate_attest::log_time::LogTime;
use quorate_attest::text::Statement as _;
use tokio::sync::watch;

use crate::adapters::{Execution, Verdict};
use crate::journal::{Delivery, Entry, JournalClosed, JournalError, JournalHandle, Phase};
use crate::quorum::{Asked, Quorum};
use crate::trust::{Standing, View};
use crate::witness::Witness;

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What came back from executing.
    pub answer: Answer,
    /// What was measured afterwards.
    pub effect: Effect,
    /// The witness taken before.
    pub witness: Digest,
    /// The measurement after, if one was taken.
    pub after: Option<Digest>,
    /// When it started; `None` if it never did.
    pub started: Option<LogTime>,
}

impl Outcome {
    /// Nothing was started.
    #[must_use]
    pub fn refused(answer: Answer, witness: &Witness) -> Self {
        let witness = witness.digest();
        Self { answer, effect: Effect::None, witness, after: None, started: None }
    }

    /// What was executed and then measured.
    ///
    /// An unknown answer is resolved by the measurement alone: what is proven effective was
    /// applied, what is proven ineffective was not. What neither proves stays unknown.
    #[must_use]
    pub fn measured(
        execution: &Execution,
        witness: &Witness,
        verdict: Option<&Verdict>,
        started: Option<LogTime>,
    ) -> Self {
        let effect = verdict.map_or(Effect::None, |verdict| verdict.effect);
        let answer = match (execution.answer, effect) {
            (Answer::Unknown, Effect::Effective) => Answer::AlreadyApplied,
            (Answer::Unknown, Effect::Ineffective) => Answer::Failed,
            (Answer::Unknown, Effect::Harmful) => Answer::Applied,
            (answer, _) => answer,
        };
        let after = verdict.map(|verdict| verdict.after.digest());
        Self { answer, effect, witness: witness.digest(), after, started }
    }

    /// The statement of it.
    #[must_use]
    pub fn report(&self, decision: &Decision, agent: &KeyName, finished: LogTime) -> Report {
        Report {
            origin: decision.origin.clone(),
            epoch: decision.epoch,
            cluster: decision.cluster.clone(),
            number: decision.number,
            proposal: decision.proposal.id(),
            agent: agent.clone(),
            answer: self.answer,
            effect: self.effect,
            witness: self.witness,
            evidence: self.after.into_iter().collect(),
            started: self.started,
            finished,
        }
    }
}

/// The phase a report leaves its entry in (R10): `harmful` ends the decision for this agent too,
/// whether or not a continuation will order the rollback.
#[must_use]
pub fn phase_after(report: &Report, rollback: Rollback) -> Phase {
    match report.finality(rollback) {
        Finality::Terminal | Finality::RollbackDue => Phase::Done,
        Finality::Open => Phase::Unknown,
    }
}

/// The report of an entry, read back from the signed bytes.
#[must_use]
pub fn report_of(entry: &Entry) -> Option<Report> {
    let note = &entry.report.as_ref()?.note;
    let signed = quorate_attest::signed::Signed::<Report>::parse(note).ok()?;
    Some(signed.statement)
}

/// Sends what the journal holds and the coordinators have not acknowledged.
#[derive(Debug, Clone)]
pub struct Reporter {
    name: KeyName,
    journal: JournalHandle,
    quorum: Arc<dyn Quorum>,
    view: watch::Receiver<View>,
}

/// How a round of sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Everything has arrived.
    AllDelivered,
    /// Something has to be sent again.
    SomePending,
}

/// Why the reporter stops.
#[derive(Debug, thiserror::Error)]
pub enum ReporterHalt {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The agent stops.
    #[error(transparent)]
    Closed(#[from] JournalClosed),
}

impl Reporter {
    /// A reporter over this journal.
    #[must_use]
    pub fn new(
        name: KeyName,
        journal: JournalHandle,
        quorum: Arc<dyn Quorum>,
        view: watch::Receiver<View>,
    ) -> Self {
        Self { name, journal, quorum, view }
    }

    /// Whether anybody still waits for the outcome of this decision.
    fn is_awaited(&self, entry: &Entry) -> bool {
        match self.view.borrow().held(&entry.into(), &self.name) {
            Standing::Ended | Standing::Answered | Standing::Continued(_) => false,
            Standing::InForce
            | Standing::Paused { .. }
            | Standing::Stale
            | Standing::OtherEpoch
            | Standing::OtherLeaf
            | Standing::SplitView
            | Standing::NothingKnown => true,
        }
    }

    /// Sends each pending report once.
    ///
    /// # Errors
    /// The journal failed or is closed.
    pub async fn send_pending(&self) -> Result<Round, ReporterHalt> {
        let pending: Vec<Entry> = self
            .journal
            .with(|journal| {
                let waits = |entry: &&Entry| {
                    let report = entry.report.as_ref();
                    report.is_some_and(|report| report.delivery == Delivery::Pending)
                };
                journal.entries().filter(waits).cloned().collect()
            })
            .await?;
        let mut round = Round::AllDelivered;
        for entry in pending {
            let Some(report) = &entry.report else { continue };
            match self.quorum.report(&report.note).await {
                Ok(()) => {}
                // The end of its decision is in the verified log: there is nobody left to tell.
                Err(Asked::Declined(declined)) if !self.is_awaited(&entry) => {
                    tracing::info!(token = %entry.token, %declined, "a report came too late");
                }
                Err(why) => {
                    tracing::warn!(token = %entry.token, %why, "a report waits");
                    round = Round::SomePending;
                    continue;
                }
            }
            let report = report.clone();
            let (cluster, token, note) = (entry.cluster, entry.token, report.note);
            self.journal
                .with(move |journal| journal.acknowledged(&cluster, token, &note))
                .await??;
        }
        Ok(round)
    }
}

/// One line of a report, for the log of this agent.
#[must_use]
pub fn summary(report: &Report) -> String {
    let text = report.text();
    let wanted = ["number ", "answer ", "effect "];
    let lines = text.lines().filter(|line| wanted.iter().any(|key| line.starts_with(key)));
    lines.collect::<Vec<_>>().join(", ")
}
