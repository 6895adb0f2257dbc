//! Claims: who may start a decision.
//!
//! An agent records (decision, journal instance, journal sequence) here before it starts anything.
//! A disk that was restored to yesterday has a lower sequence, a cloned one asks twice, a journal
//! made anew has another instance: all are refused, and nothing starts until an operator enrols the
//! agent again (*no-double-execution*). A disk copied between the claim and the start has an equal
//! sequence; the nonce of the process tells it apart. A claim that is found held by anything but the
//! asking process means that the outcome is unknown: probe, never execute. One action has one
//! number after the other when it is re-issued: a claim on any of them is a claim on the action.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::Claim;
use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, JournalInstance, KeyName, Nonce};
use quorate_attest::number::{DecisionNumber, Sequence};

use crate::outcome::Novelty;
use crate::rejection::Rejection;

/// What is known of an agent's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Journal {
    /// Its instance.
    pub instance: JournalInstance,
    /// The highest sequence it claimed with; nothing before its first claim.
    pub sequence: Option<Sequence>,
}

/// What a claim is about, besides its own number: whether the agent has claimed the action before,
/// under an earlier number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nobody can have started it for this agent before this claim.
    New,
    /// A process of this agent may have started it.
    ClaimedBefore,
}

/// A claim that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The journal sequence under which it is held.
    pub sequence: Sequence,
    /// The asking process holds it, and no other.
    pub by_asking: bool,
    /// Whether it was recorded just now.
    pub novelty: Novelty,
}

/// Under what a claim is held. All of it is equal only for the same question of the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Claimant {
    instance: JournalInstance,
    sequence: Sequence,
    nonce: Nonce,
}

impl Claimant {
    fn of(claim: &Claim) -> Self {
        let Claim { instance, sequence, nonce, .. } = *claim;
        Self { instance, sequence, nonce }
    }
}

type Held = (ClusterId, DecisionNumber, KeyName);

/// All claims of unresolved decisions, and every agent's journal.
///
/// Invariant: a claim's instance is its agent's, and its sequence is not above the recorded one.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Claims {
    held: BTreeMap<Held, Claimant>,
    journals: BTreeMap<KeyName, Journal>,
}

impl Claims {
    /// Records a claim, or finds the same journal's claim recorded.
    ///
    /// The process that holds it may ask again and is told the same: it cannot have started before
    /// it was answered. Another process of the same journal, or of a copy of its disk, cannot know
    /// whether the first one started (*no-double-execution*).
    pub(crate) fn take(&mut self, claim: &Claim) -> Result<Taken, Rejection> {
        let journal = self.journals.get(&claim.agent).copied();
        if let Some(journal) = journal
            && journal.instance != claim.instance
        {
            return Err(rolled_back(claim, journal));
        }
        let claimant = Claimant::of(claim);
        let key = (claim.cluster.clone(), claim.number, claim.agent.clone());
        let recorded = journal.and_then(|journal| journal.sequence);
        if let (Some(held), Some(journal)) = (self.held.get(&key), journal) {
            // The journal may have grown since; it may not have shrunk. A claim of an earlier
            // journal stays: the new one has no entry for it, so its outcome is unknown.
            let by_asking = *held == claimant;
            let is_older = held.instance == claim.instance && claim.sequence < held.sequence;
            if !by_asking && is_older {
                return Err(rolled_back(claim, journal));
            }
            return Ok(Taken { sequence: held.sequence, by_asking, novelty: Novelty::Repeated });
        }
        if let (Some(recorded), Some(journal)) = (recorded, journal)
            && claim.sequence <= recorded
        {
            return Err(rolled_back(claim, journal));
        }
        self.held.insert(key, claimant);
        self.journals.insert(
            claim.agent.clone(),
            Journal { instance: claim.instance, sequence: Some(claim.sequence) },
        );
        Ok(Taken { sequence: claim.sequence, by_asking: true, novelty: Novelty::New })
    }

    /// Whether this very claim is recorded: the same question of the same process.
    pub(crate) fn is_of(&self, claim: &Claim) -> bool {
        let key = (claim.cluster.clone(), claim.number, claim.agent.clone());
        self.held.get(&key) == Some(&Claimant::of(claim))
    }

    /// Whether the agent holds a claim on this very number.
    pub(crate) fn has(&self, claim: &Claim) -> bool {
        self.held.contains_key(&(claim.cluster.clone(), claim.number, claim.agent.clone()))
    }

    /// The journal under which the agent of `claim` claimed `number` of the same cluster.
    pub(crate) fn instance_on(
        &self,
        claim: &Claim,
        number: DecisionNumber,
    ) -> Option<JournalInstance> {
        let key = (claim.cluster.clone(), number, claim.agent.clone());
        self.held.get(&key).map(|held| held.instance)
    }

    /// An operator enrolled an agent with a new journal: what the old one claimed stays claimed.
    pub(crate) fn enrol(&mut self, agent: &KeyName, instance: JournalInstance) {
        let known = self.journals.get(agent);
        if known.is_none_or(|journal| journal.instance != instance) {
            self.journals.insert(agent.clone(), Journal { instance, sequence: None });
        }
    }

    /// Claims of decisions that hold no slot end. The journals' sequences stay.
    pub(crate) fn retain_held(&mut self, holds: impl Fn(&ClusterId, DecisionNumber) -> bool) {
        self.held.retain(|(cluster, number, _), _| holds(cluster, *number));
    }

    /// The charter changed: journals of agents that left are forgotten, once they hold no claim. An
    /// agent that comes back before its decision has ended may still have started it.
    pub(crate) fn retain(&mut self, charter: &Charter) {
        let held = &self.held;
        self.journals.retain(|agent, _| {
            charter.agent(agent).is_some() || held.keys().any(|(_, _, holder)| holder == agent)
        });
    }

    /// Whether anybody holds a claim on a decision.
    #[must_use]
    pub fn is_claimed(&self, cluster: &ClusterId, number: DecisionNumber) -> bool {
        self.holders(cluster, number).next().is_some()
    }

    /// Who holds a claim on a decision, and under which sequence.
    pub fn holders<'a>(
        &'a self,
        cluster: &'a ClusterId,
        number: DecisionNumber,
    ) -> impl Iterator<Item = (&'a KeyName, Sequence)> {
        self.held
            .iter()
            .filter(move |((of, held, _), _)| of == cluster && *held == number)
            .map(|((_, _, agent), claimant)| (agent, claimant.sequence))
    }

    /// What is known of an agent's journal.
    #[must_use]
    pub fn journal(&self, agent: &KeyName) -> Option<Journal> {
        self.journals.get(agent).copied()
    }

    /// What must hold.
    pub(crate) fn is_consistent(&self) -> bool {
        self.held.keys().all(|(_, _, agent)| self.journals.contains_key(agent))
    }
}

fn rolled_back(claim: &Claim, journal: Journal) -> Rejection {
    Rejection::JournalRolledBack {
        agent: claim.agent.clone(),
        held: journal.instance,
        instance: claim.instance,
        recorded: journal.sequence.unwrap_or(Sequence::MIN),
        have: claim.sequence,
    }
}
