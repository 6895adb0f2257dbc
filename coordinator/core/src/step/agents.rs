//! What agents bring besides reports: observations and claims. And what coordinators support.

use quorate_attest::agent_statement::{Claim, Observe};
use quorate_attest::id::ClusterId;
use quorate_attest::signed::Signed;

use crate::claim::Action;
use crate::command::MachineVersion;
use crate::effect::{Alarm, Effect};
use crate::judge;
use crate::outcome::Outcome;
use crate::rejection::{Rejection, RuleRefused};
use crate::rule;
use crate::step::Step;
use crate::step::decide::stale;

impl Step<'_> {
    /// Takes note of an agent's facts.
    pub(crate) fn observe(&mut self, signed: &Signed<Observe>) -> Result<Outcome, Rejection> {
        let observe = &signed.statement;
        self.check_in_force(&observe.origin, observe.epoch)?;
        self.agent_signed(signed, &observe.agent, &observe.cluster)?;
        let now = self.now();
        let charter = self.charter()?;
        let (window, skew) = (rule::freshness(charter, &observe.cluster), charter.skew);
        let novelty = self.state.observations.take(signed.clone(), window, skew, now)?;
        self.note_storm(&observe.cluster);
        Ok(Outcome::Observed { novelty })
    }

    fn note_storm(&mut self, cluster: &ClusterId) {
        let Some(ledger) = &self.state.ledger else { return };
        let now = self.state.time;
        if rule::is_stormy(ledger, cluster, &self.state.observations, now) {
            self.state.observations.note_storm(cluster, now);
        }
    }

    /// Records who starts a decision, before it is started.
    ///
    /// A claim that is held is answered first, whatever the charter, the clock and the pauses say
    /// now: "declined" tells the agent that no process of it can have started the action, and it
    /// reports so (*no-double-execution*).
    pub(crate) fn claim(&mut self, signed: &Signed<Claim>) -> Result<Outcome, Rejection> {
        let claim = &signed.statement;
        self.check_origin(&claim.origin)?;
        self.agent_signed(signed, &claim.agent, &claim.cluster)?;
        self.check_claimed(claim)?;
        self.enrolled(claim);
        let action = self.claimed_before(claim)?;
        let is_first = !self.state.claims.has(claim) || self.state.claims.is_of(claim);
        // Asked again by the process that holds it, nothing was started yet.
        if action == Action::New && is_first {
            self.check_start(claim)?;
        }
        let taken = self.state.claims.take(claim);
        if let Err(Rejection::JournalRolledBack { agent, .. }) = &taken {
            self.effects.push(Effect::Raise(Alarm::JournalRolledBack { agent: agent.clone() }));
        }
        let taken = taken?;
        let token = self.ledger()?.token(claim.number);
        Ok(Outcome::Claimed {
            token,
            sequence: taken.sequence,
            fresh: taken.by_asking && action == Action::New,
            novelty: taken.novelty,
        })
    }

    /// Whether the agent claimed this action, or this rollback, under an earlier number. Then a
    /// process of it may have started it, and the claim on the new number is not the first.
    ///
    /// A rollback is ordered when everybody has answered for the action, so that nothing of it is
    /// under way; the journal that answered carries it out. Another journal of that agent cannot know.
    /// Of the rollback's own earlier numbers a copy of that very journal may not know.
    fn claimed_before(&self, claim: &Claim) -> Result<Action, Rejection> {
        let Some(running) = self.ledger()?.running(&claim.cluster) else {
            return Ok(Action::New);
        };
        let orders = running.orders(running.newest());
        let claimed = running
            .earlier()
            .filter_map(|number| Some((number, self.state.claims.instance_on(claim, number)?)))
            .any(|(number, by)| running.orders(number) == orders || by != claim.instance);
        Ok(if claimed { Action::ClaimedBefore } else { Action::New })
    }

    /// The journal an operator enrolled the agent with is the one to claim from.
    fn enrolled(&mut self, claim: &Claim) {
        let enrolled = self.state.ledger.as_ref().and_then(|ledger| ledger.enrolled(&claim.agent));
        if let Some(instance) = enrolled {
            self.state.claims.enrol(&claim.agent, instance);
        }
    }

    /// The claim is on the decision that holds the slot, by one of its executors.
    fn check_claimed(&self, claim: &Claim) -> Result<(), Rejection> {
        let ledger = self.ledger()?;
        let (cluster, number) = (&claim.cluster, claim.number);
        let newest = ledger.history().cluster(cluster).and_then(|history| history.number);
        let Some(newest) = newest.filter(|newest| number <= *newest) else {
            return Err(Rejection::UnknownDecision { cluster: cluster.clone(), number });
        };
        let (Some(running), Some(slot)) = (ledger.running(cluster), ledger.slot(cluster)) else {
            if number == newest {
                return Err(Rejection::SlotFree { cluster: cluster.clone() });
            }
            let (token, highest) = (ledger.token(number), ledger.token(newest));
            return Err(Rejection::StaleToken { token, highest });
        };
        if running.newest() != number {
            return Err(stale(ledger, running, cluster, number));
        }
        if !slot.executors.contains(&claim.agent) {
            let owner = slot.executors.first().map_or_else(String::new, ToString::to_string);
            return Err(Rejection::NotYours { name: claim.agent.to_string(), owner });
        }
        // The text is of the decision's epoch, which need not be the one in force.
        if claim.epoch != slot.epoch {
            return Err(Rejection::EpochMismatch { have: claim.epoch, want: slot.epoch });
        }
        Ok(())
    }

    /// Whoever is told to start is told in time: a first claim comes in time, by an agent that is not dead, while nothing is paused.
    fn check_start(&self, claim: &Claim) -> Result<(), Rejection> {
        let ledger = self.ledger()?;
        let Some(running) = ledger.running(&claim.cluster) else {
            return Err(Rejection::SlotFree { cluster: claim.cluster.clone() });
        };
        let (head, now) = (running.head(), self.now());
        let charter = ledger.charter();
        // What was decided under an older charter starts nothing.
        if head.epoch != charter.epoch {
            return Err(Rejection::EpochMismatch { have: head.epoch, want: charter.epoch });
        }
        if now.saturating_add(charter.skew) < head.not_before || now > head.expires {
            let (not_before, expires) = (head.not_before, head.expires);
            return Err(Rejection::OutsideWindow { now, not_before, expires });
        }
        if let Some(rejection) =
            judge::dead_parties(ledger, &head.proposal).into_iter().find(|rejection| {
                let own = charter.agent(&claim.agent).map(|line| &line.member);
                matches!(rejection, Rejection::DeclaredDead { member, .. } if Some(member) == own)
            })
        {
            return Err(rejection);
        }
        // A pause never stops a continuation: it goes on with what was started.
        let pauses = ledger.pauses(&claim.cluster, now);
        let id = head.proposal.id();
        match pauses.first() {
            Some(pause) if head.continues.is_none() && !ledger.is_overridden(&id, "pause", now) => {
                Err(Rejection::from(RuleRefused {
                    rule: rule::rule_name("pause"),
                    cluster: claim.cluster.clone(),
                    proposal: Some(id),
                    facts: vec![("reason".to_owned(), pause.reason.to_string())],
                    next_allowed: pause.until,
                    lifted_by: rule::lift("pause"),
                }))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes which machine version a coordinator can apply.
    pub(crate) fn support(
        &mut self,
        coordinator: u64,
        version: MachineVersion,
    ) -> Result<Outcome, Rejection> {
        let ledger = self.state.ledger.as_ref().ok_or(Rejection::NotFounded)?;
        let charter = ledger.charter();
        let known =
            charter.coordinator.iter().any(|key| charter.node_id(key.name()) == Some(coordinator));
        if !known {
            let name = format!("coordinator {coordinator}");
            return Err(Rejection::UnknownValidator { name, epoch: charter.epoch });
        }
        let novelty = self.state.versions.support(coordinator, version, charter);
        Ok(Outcome::Supported { version: self.state.versions.in_force(), novelty })
    }
}
