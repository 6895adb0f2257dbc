//! What this observer votes: from its own evidence only, whoever opened the proposal.
//!
//! It approves exactly if its own plan is the proposal's and the kind's preconditions hold by its
//! own fresh measurement. Otherwise it abstains, and looks again while the proposal is open: a
//! reject could not be taken back once its own probes agree.

use quorate_attest::charter::AgentMode;
use quorate_attest::history::{History, judge_proposal};
use quorate_attest::id::{ClusterId, KeyName, MemberId};
use quorate_attest::ladder::Rung;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::proposal::{Param, Proposal, Target};
use quorate_attest::remediation::{Class, Kind};
use thiserror::Error;

use crate::adapters::Action;
use crate::detect::{Agreement, Liveness, MemberView, Surroundings, surroundings};
use crate::plan::{self, PlanDiffers, plan_of};
use crate::playbook::{Due, Shelf};
use crate::probe::Reading;

/// Why this observer does not approve, now or at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Abstains {
    /// No probe can judge it: the electorate is the operators.
    #[error("{kind} has no probe; operators decide")]
    NoProbe {
        /// The kind.
        kind: Kind,
    },
    /// It has no voice here: mute, tombstoned, or the target's own in the cluster class.
    #[error("this observer has no voice in it")]
    NoVoice,
    /// Past its expiry.
    #[error("it expired")]
    Expired,
    /// Not of the charter in force, or its executors are none.
    #[error("{why}")]
    NotInForce {
        /// The rule.
        why: String,
    },
    /// Its plan is not the one computed here.
    #[error(transparent)]
    Plan(#[from] PlanDiffers),
    /// Somebody else than the target's own agents would carry it out.
    #[error("its executors are not the agents of {target}")]
    Executors {
        /// The target.
        target: String,
    },
    /// The target works, or too little is known of it.
    #[error("by its own probes {target} is {view}")]
    NotSuspected {
        /// The target.
        target: String,
        /// What is believed of it.
        view: String,
    },
    /// This agent may be the one that is cut off.
    #[error("most other members are silent too: this agent may be cut off itself")]
    CutOff,
    /// It is not what the pinned playbook has next.
    #[error("it is not what the playbook has next: {why}")]
    NotDue {
        /// What was computed here.
        why: String,
    },
    /// It names no evidence that this agent verified.
    #[error("none of its evidence speaks against {target} in the log verified here")]
    NoEvidence {
        /// The target.
        target: String,
    },
    /// Only an adapter can tell, and its preconditions do not hold here.
    #[error("the adapter's preconditions do not hold: {why}")]
    Preconditions {
        /// Which, and what was measured.
        why: String,
    },
}

/// What a judgement needs besides the proposal.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The verified log.
    pub history: &'a History,
    /// Key name of this agent.
    pub name: &'a KeyName,
    /// Its cluster.
    pub cluster: &'a ClusterId,
    /// Its own readings.
    pub liveness: &'a Liveness,
    /// What the others have signed.
    pub agreement: &'a Agreement,
    /// How old a fact may be and still count.
    pub freshness: Span,
    /// The playbooks it has.
    pub shelf: &'a Shelf,
    /// Now.
    pub now: LogTime,
}

/// How far probes alone can judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ballot {
    /// Approve.
    Approve,
    /// Approve exactly if this evidence, by its digest, speaks against this member.
    ByEvidence(MemberId),
    /// Approve exactly if the adapter's own preconditions hold.
    ByAdapter(Box<Action>),
}

impl Bench<'_> {
    /// Judges one proposal.
    ///
    /// # Errors
    /// [`Abstains`]; the first reason.
    pub fn judge(&self, proposal: &Proposal) -> Result<Ballot, Abstains> {
        if !proposal.kind.has_probe() {
            return Err(Abstains::NoProbe { kind: proposal.kind });
        }
        self.check_voice(proposal)?;
        if self.now >= proposal.expires {
            return Err(Abstains::Expired);
        }
        let charter = self.history.charter();
        let not_in_force = |why: String| Abstains::NotInForce { why };
        judge_proposal(charter, self.history.charter_id(), proposal)
            .map_err(|refused| not_in_force(refused.to_string()))?;
        let Some(line) = charter.cluster(&proposal.cluster) else {
            return Err(not_in_force("the charter has no such cluster".into()));
        };
        let action = Action::of(proposal);
        let here = plan_of(&line.adapter, &action);
        plan::check(&here, proposal.plan, proposal.rollback())?;
        self.ladder(proposal)?;
        match (proposal.kind, proposal.target()) {
            (Kind::Restart, Target::Member(member)) => self.restart(proposal, &member),
            (Kind::BanPeer, Target::Member(member)) => Ok(Ballot::ByEvidence(member)),
            (_, _) => Ok(Ballot::ByAdapter(Box::new(action))),
        }
    }

    fn check_voice(&self, proposal: &Proposal) -> Result<(), Abstains> {
        let line = self.history.charter().agent(self.name);
        let Some(line) = line.filter(|line| line.mode == AgentMode::Observer) else {
            return Err(Abstains::NoVoice);
        };
        let own = matches!(proposal.target(), Target::Member(member) if member == line.member);
        let tombstoned = self.history.tombstoned(self.cluster).contains(&line.member);
        let excluded = own && proposal.kind.class() != Class::Local;
        if proposal.cluster != *self.cluster || tombstoned || excluded {
            return Err(Abstains::NoVoice);
        }
        Ok(())
    }

    /// The rung is the one computed here from the pinned playbook and the verified log; and where a
    /// playbook answers, automation does nothing beside it (*budget*).
    fn ladder(&self, proposal: &Proposal) -> Result<(), Abstains> {
        let not_due = |why: String| Err(Abstains::NotDue { why });
        let charter = self.history.charter();
        let suspicion = match proposal.target_member() {
            Some(member) => match self.liveness.view(&member, self.now) {
                MemberView::Suspected(suspicion) => Some(suspicion),
                MemberView::Up | MemberView::Failing { .. } | MemberView::NotKnown => None,
            },
            None => None,
        };
        let answer = suspicion
            .as_ref()
            .and_then(|suspicion| self.shelf.for_member(charter, self.cluster, suspicion));
        let Some(rung) =
            Rung::of(proposal).map_err(|why| Abstains::NotDue { why: why.to_string() })?
        else {
            let automatic = charter.agent(&proposal.proposer).is_some();
            return match answer.filter(|_| automatic) {
                Some(answer) => not_due(format!("{} answers this", answer.playbook.id)),
                None => Ok(()),
            };
        };
        let Some(answer) = answer.filter(|answer| {
            answer.playbook.id == rung.playbook && answer.playbook.digest == rung.digest
        }) else {
            return not_due(format!("{} does not answer what is seen here", rung.playbook));
        };
        if let Some(suspicion) = &suspicion {
            let own = self.name;
            let others = self.agreement.against(&suspicion.member, own, self.now, self.freshness);
            if others + 1 < answer.observers || self.now < answer.from {
                return not_due(format!("{} of {} observers see it", others + 1, answer.observers));
            }
        }
        let place = (self.cluster, &proposal.target);
        let (incident, due) = answer.playbook.due(self.history, place, self.now);
        let Due::Attempt { step, rung: here } = due else {
            return not_due(format!("due is {due:?}"));
        };
        let named = match incident {
            Some(incident) => *incident == proposal.incident,
            None => self.history.incident(self.cluster, &proposal.incident).is_none(),
        };
        let asked = |param: &&Param| param.key.as_str() != plan::ROLLBACK_PARAM;
        let mut params: Vec<&Param> = proposal.param.iter().filter(asked).collect();
        let said = here.params();
        let mut wanted: Vec<&Param> = step.params.iter().chain(&said).collect();
        params.sort();
        wanted.sort();
        if here != rung || step.kind != proposal.kind || !named || params != wanted {
            return not_due(format!(
                "due is attempt {} of step {}, {}",
                here.attempt, here.step, step.kind
            ));
        }
        Ok(())
    }

    /// A restart: the member was silent often enough, freshly, and it is not this agent that is cut
    /// off. Only the member's own agents may carry it out.
    fn restart(&self, proposal: &Proposal, member: &MemberId) -> Result<Ballot, Abstains> {
        let target = proposal.target.to_string();
        let charter = self.history.charter();
        let beside =
            |name: &KeyName| charter.agent(name).is_some_and(|line| line.member == *member);
        if !proposal.executor.iter().all(beside) {
            return Err(Abstains::Executors { target });
        }
        let suspicion = match self.liveness.view(member, self.now) {
            MemberView::Suspected(suspicion) => suspicion,
            view @ (MemberView::Up | MemberView::Failing { .. } | MemberView::NotKnown) => {
                return Err(Abstains::NotSuspected { target, view: format!("{view:?}") });
            }
        };
        match suspicion.reading {
            Reading::Up | Reading::Down => Ok(Ballot::Approve),
            Reading::Unreachable => {
                let others = self.liveness.readings(self.now).filter(|(other, _)| *other != member);
                match surroundings(others.map(|(_, reading)| reading)) {
                    Surroundings::Connected => Ok(Ballot::Approve),
                    Surroundings::CutOff => Err(Abstains::CutOff),
                }
            }
        }
    }
}
