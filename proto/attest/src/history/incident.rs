//! Incidents that follow a playbook: which attempt was the last, and whether people were asked.
//!
//! All of it is read off the leaves: decisions whose proposals name a [`Rung`], and the reports on
//! them. So every coordinator and agent that has the same log answers the same, which attempt comes
//! next, when it may, and that it is the people's turn. **An escalation is such an answer, not a
//! message**: it is there from the leaf that recorded the last failure, exactly once for an
//! incident, until an operator closes it, through every leader change and restart, and a lying
//! leader can neither hide nor repeat it.
//!
//! Invariants (*budget*): the attempts of an incident follow each other one by one, each after the
//! recorded end of the one before and its pause; none follows an escalation; a target and playbook
//! have at most one incident that is not over.
//!
//! Memory is bounded: an incident is forgotten when its last attempt worked and its quiet has
//! passed, or when an operator closes it or resets its target's breaker. At most one per target and
//! playbook is left.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::cluster::Slot;
use crate::agent_statement::Effect;
use crate::id::{ClusterId, Digest, IncidentId, PlaybookId, ProposalId, Word};
use crate::ladder::{OnFailure, Rto, Rung, Severity};
use crate::leaf::{Decision, Leaf, Outcome};
use crate::log_time::{LogTime, Span};
use crate::number::DecisionNumber;
use crate::operator_statement::Subject;
use crate::proposal::Proposal;
use crate::remediation::Kind;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AttemptEnd {
    /// Every executor verified the effect.
    Effective,
    /// It was carried out and changed nothing.
    Ineffective,
    /// It failed, was refused by its own precondition, or did harm.
    Failed,
    /// Nobody could tell in time: operators gave it up.
    Deadline,
}

/// One attempt of an incident.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Attempt {
    /// Where on the ladder.
    pub rung: Rung,
    /// What was decided.
    pub proposal: ProposalId,
    /// The number it was first decided under.
    pub number: DecisionNumber,
    /// When it was decided.
    pub decided: LogTime,
    /// When its slot was freed, and how; none while it runs.
    pub ended: Option<(LogTime, AttemptEnd)>,
    /// The worst that its executors reported so far.
    worst: AttemptEnd,
    /// Whether one of them reported harm.
    harmed: bool,
}

/// That people are asked, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Escalation {
    /// Log time of the leaf that recorded the last failure.
    pub since: LogTime,
    /// How bad.
    pub severity: Severity,
    /// The decision whose failure it was.
    pub number: DecisionNumber,
}

/// An incident that follows a playbook.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Incident {
    /// What is acted on.
    pub target: Word,
    /// When its first attempt was decided.
    pub since: LogTime,
    /// How many attempts were decided.
    pub attempts: u32,
    /// The newest attempt.
    pub last: Attempt,
    /// Set once, and until the incident is closed.
    pub escalated: Option<Escalation>,
    /// The attempt before, while the newest may still be void (R14).
    before: Option<Box<Attempt>>,
}

impl Incident {
    /// Which playbook it follows.
    pub const fn playbook(&self) -> &PlaybookId {
        &self.last.rung.playbook
    }

    /// What was promised for it.
    pub const fn rto(&self) -> Option<Rto> {
        self.last.rung.rto
    }

    /// Whether it is over at `now`: its last attempt worked, and the quiet has passed since.
    pub fn is_over(&self, now: LogTime) -> bool {
        self.escalated.is_none()
            && matches!(self.last.ended, Some((ended, AttemptEnd::Effective))
                if ended.saturating_add(self.last.rung.quiet) <= now)
    }

    fn is_of(&self, target: &Word, playbook: &PlaybookId, digest: &Digest) -> bool {
        let rung = &self.last.rung;
        self.target == *target && rung.playbook == *playbook && rung.digest == *digest
    }

    /// Whether `rung` follows the newest attempt at `now`.
    fn admits(&self, rung: &Rung, now: LogTime) -> Result<(), RungNotDue> {
        if self.escalated.is_some() {
            return Err(RungNotDue::Escalated);
        }
        let last = &self.last;
        let Some((ended, end)) = last.ended else {
            return Err(RungNotDue::Running { number: last.number });
        };
        let after = (last.rung.step, last.rung.attempt);
        let again = rung.step == after.0 && rung.attempt == after.1 + 1;
        let on = rung.step > after.0 && rung.attempt == 1;
        let follows = match (end, last.rung.on_failure) {
            (AttemptEnd::Effective, _) => again || on,
            (_, OnFailure::Retry) => again,
            (_, OnFailure::Next) => on,
            (_, OnFailure::Escalate) => false,
        };
        if !follows {
            return Err(RungNotDue::Order { after, found: (rung.step, rung.attempt) });
        }
        let next_allowed = ended.saturating_add(last.rung.pause);
        if now < next_allowed {
            return Err(RungNotDue::Pause { pause: last.rung.pause, next_allowed });
        }
        Ok(())
    }

    /// Notes that the newest attempt is over, and asks people where that is what failure means.
    fn end(&mut self, at: LogTime, end: AttemptEnd) {
        self.last.ended = Some((at, end));
        self.before = None;
        let failed = end != AttemptEnd::Effective;
        let asks = self.last.harmed || self.last.rung.on_failure == OnFailure::Escalate;
        if failed && asks {
            self.escalated.get_or_insert(Escalation {
                since: at,
                severity: self.last.rung.severity,
                number: self.last.number,
            });
        }
    }
}

/// A rung that may not be climbed, now or at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are the facts that the message shows")]
pub enum RungNotDue {
    /// The first attempt of the first step comes first.
    #[error("an incident begins with attempt 1 of step 1, not with {} of {}", found.1, found.0)]
    NotFirst { found: (u32, u32) },
    /// The target has an incident of this playbook, under another name.
    #[error("the target has another incident of this playbook")]
    OtherIncident,
    /// The name is another target's, or another playbook's.
    #[error("the name is taken by another incident")]
    NameTaken,
    /// The attempt before it has not ended.
    #[error("decision {number} of the same incident has not ended")]
    Running { number: DecisionNumber },
    /// Another attempt comes next.
    #[error("after attempt {} of step {} comes another than {} of {}", after.1, after.0, found.1, found.0)]
    Order { after: (u32, u32), found: (u32, u32) },
    /// The pause between two attempts.
    #[error("the pause of {} lasts until {}", pause.words(), next_allowed.utc())]
    Pause { pause: Span, next_allowed: LogTime },
    /// People were asked: automation and its ladder have ended.
    #[error("the ladder has ended and people were asked; an operator closes the incident first")]
    Escalated,
}

/// The incidents that follow a playbook and are not over.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Incidents {
    of: BTreeMap<(ClusterId, IncidentId), Incident>,
}

impl Incidents {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ClusterId, &IncidentId, &Incident)> {
        self.of.iter().map(|((cluster, id), incident)| (cluster, id, incident))
    }

    pub(super) fn get(&self, cluster: &ClusterId, id: &IncidentId) -> Option<&Incident> {
        self.of.get(&(cluster.clone(), id.clone()))
    }

    /// Whether a proposal may be decided at `now`, as far as its ladder goes.
    pub(super) fn admits(
        &self,
        proposal: &Proposal,
        rung: &Rung,
        now: LogTime,
    ) -> Result<(), RungNotDue> {
        let mut known = self.iter().filter(|(cluster, _, incident)| {
            **cluster == proposal.cluster
                && incident.is_of(&proposal.target, &rung.playbook, &rung.digest)
                && !incident.is_over(now)
        });
        match known.next() {
            Some((_, id, incident)) if *id == proposal.incident => incident.admits(rung, now),
            Some(_) => Err(RungNotDue::OtherIncident),
            None if self.get(&proposal.cluster, &proposal.incident).is_some() => {
                Err(RungNotDue::NameTaken)
            }
            None if (rung.step, rung.attempt) == (1, 1) => Ok(()),
            None => Err(RungNotDue::NotFirst { found: (rung.step, rung.attempt) }),
        }
    }

    /// Takes a leaf that was judged. `slot` is the cluster's before it, `freed` whether it freed it.
    pub(super) fn take(&mut self, leaf: &Leaf, slot: Option<&Slot>, freed: bool) {
        match leaf {
            Leaf::Decision(decision) if decision.proposal.kind == Kind::Abandon => {
                let given_up = slot.map(|slot| slot.proposal);
                if let Some(incident) = self.running(&decision.cluster, given_up) {
                    incident.end(decision.time, AttemptEnd::Deadline);
                }
            }
            Leaf::Decision(decision) if decision.continues.is_none() => self.begin(decision),
            // The same action under a higher token, or its rollback.
            Leaf::Decision(_) => {}
            Leaf::Outcome(outcome) => self.report(outcome, slot, freed),
            Leaf::Void(void) if void.refused().is_some() => {
                self.undo(&void.cluster, &void.proposal);
            }
            Leaf::Act(signed) => self.act(&signed.statement.cluster, signed.statement.subject()),
            Leaf::Void(_)
            | Leaf::Charter(_)
            | Leaf::Evidence(_)
            | Leaf::Override(_)
            | Leaf::Pause(_)
            | Leaf::Incarnation(_) => {}
        }
    }

    fn begin(&mut self, decision: &Decision) {
        let proposal = &decision.proposal;
        // A judged decision has a rung that reads, or none.
        let Ok(Some(rung)) = Rung::of(proposal) else { return };
        let last = Attempt {
            rung,
            proposal: proposal.id(),
            number: decision.number,
            decided: decision.time,
            ended: None,
            worst: AttemptEnd::Effective,
            harmed: false,
        };
        let key = (decision.cluster.clone(), proposal.incident.clone());
        match self.of.get_mut(&key) {
            Some(incident) => {
                incident.attempts = incident.attempts.saturating_add(1);
                let before = std::mem::replace(&mut incident.last, last);
                incident.before = Some(Box::new(before));
            }
            None => {
                let incident = Incident {
                    target: proposal.target.clone(),
                    since: decision.time,
                    attempts: 1,
                    last,
                    escalated: None,
                    before: None,
                };
                self.of.insert(key, incident);
            }
        }
    }

    fn report(&mut self, outcome: &Outcome, slot: Option<&Slot>, freed: bool) {
        let Some(incident) = self.running(&outcome.cluster, slot.map(|slot| slot.proposal)) else {
            return;
        };
        let last = &mut incident.last;
        match outcome.report.statement.effect {
            Effect::Effective => {}
            Effect::Ineffective if last.worst == AttemptEnd::Effective => {
                last.worst = AttemptEnd::Ineffective;
            }
            Effect::Ineffective => {}
            Effect::Harmful => {
                last.harmed = true;
                last.worst = AttemptEnd::Failed;
            }
            Effect::Inconclusive | Effect::None => last.worst = AttemptEnd::Failed,
        }
        if freed {
            let end = incident.last.worst;
            incident.end(outcome.time, end);
        }
    }

    /// A refused decision was never carried out: the attempt before it is the newest again.
    fn undo(&mut self, cluster: &ClusterId, proposal: &Proposal) {
        let key = (cluster.clone(), proposal.incident.clone());
        let Some(incident) = self.of.get_mut(&key) else { return };
        if incident.last.proposal != proposal.id() || incident.last.ended.is_some() {
            return;
        }
        match incident.before.take() {
            Some(before) => {
                incident.last = *before;
                incident.attempts = incident.attempts.saturating_sub(1);
            }
            None => drop(self.of.remove(&key)),
        }
    }

    /// An operator has looked: the incident is closed, or its target may be tried anew.
    fn act(&mut self, cluster: &ClusterId, subject: Option<Subject>) {
        match subject {
            Some(Subject::Incident(id)) => {
                self.of.remove(&(cluster.clone(), id));
            }
            Some(Subject::Target(target)) => self.of.retain(|(of, _), incident| {
                of != cluster || incident.target != target || incident.last.ended.is_none()
            }),
            Some(Subject::Proposal(_) | Subject::Decision(_) | Subject::Journal { .. }) | None => {}
        }
    }

    /// The incident whose newest attempt is this proposal and has not ended.
    fn running(
        &mut self,
        cluster: &ClusterId,
        proposal: Option<ProposalId>,
    ) -> Option<&mut Incident> {
        let proposal = proposal?;
        self.of.iter_mut().find_map(|((of, _), incident)| {
            let runs = incident.last.proposal == proposal && incident.last.ended.is_none();
            (of == cluster && runs).then_some(incident)
        })
    }

    pub(super) fn forget(&mut self, now: LogTime) {
        self.of.retain(|_, incident| !incident.is_over(now));
    }
}
