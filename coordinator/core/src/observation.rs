//! What agents saw: signed facts, the latest of each agent.
//!
//! A fact is a belief with a time, never a truth. The words are `fact member <id> <state>` with the
//! states `up`, `down` (the process is known to be gone) and `unreachable` (no answer: it may be
//! alive behind a cut), and free ones that single rules read, such as `fact view <n>`.
//! *Unreachable is not dead* (*floor*): only an own agent's `down` says that a member is gone.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::{Fact, Observe};
use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, KeyName, MemberId};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::signed::Signed;

use crate::outcome::Novelty;
use crate::rejection::Rejection;

/// What an agent says of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It answered and works.
    Up,
    /// Its process is gone.
    Down,
    /// It did not answer.
    Unreachable,
}

impl Seen {
    fn read(word: &str) -> Option<Self> {
        match word {
            "up" => Some(Self::Up),
            "down" => Some(Self::Down),
            "unreachable" => Some(Self::Unreachable),
            _ => None,
        }
    }

    /// The word of the fact.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What is believed of a member, from all fresh facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its own agent says `up`; or more than half of all the others do.
    Healthy,
    /// Its own agent says `down`.
    Down,
    /// Nobody saw it alive, and somebody got no answer.
    Unreachable,
    /// No fresh fact, or too few that agree.
    Unknown,
}

impl Health {
    /// The word shown in refusals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

/// The newest observation of every agent, and what follows from older ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Observations {
    latest: BTreeMap<KeyName, Signed<Observe>>,
    /// When a member was last seen alive, or when watching it began.
    alive: BTreeMap<(ClusterId, MemberId), LogTime>,
    /// When a cluster was last seen in a storm.
    stormy: BTreeMap<ClusterId, LogTime>,
}

impl Observations {
    /// Takes an observation of an agent that the charter names for its cluster.
    pub(crate) fn take(
        &mut self,
        signed: Signed<Observe>,
        window: Span,
        skew: Span,
        now: LogTime,
    ) -> Result<Novelty, Rejection> {
        let observe = signed.statement.clone();
        if let Some(known) = self.latest(&observe.agent) {
            if *known == observe {
                return Ok(Novelty::Repeated);
            }
            // An agent whose counter went back reports from an old disk.
            if observe.sequence <= known.sequence {
                return Err(Rejection::StaleObservation {
                    agent: observe.agent,
                    have: observe.sequence,
                    newest: known.sequence,
                });
            }
        }
        let ahead = now.saturating_add(skew);
        // Agents number by the certified time in milliseconds where that is above their counter. A
        // number that nobody signed can stand no further ahead than a moment, and then the agent's
        // next one is above it again: no liar locks an agent out for longer than it leads.
        if observe.sequence.get() > ahead.get() {
            return Err(Rejection::Malformed {
                field: "sequence".to_owned(),
                why: "an agent's numbers do not run ahead of the time in milliseconds".to_owned(),
            });
        }
        if observe.observed > ahead {
            return Err(Rejection::OutsideWindow {
                now,
                not_before: now.saturating_sub(window),
                expires: ahead,
            });
        }
        let age = now.since(observe.observed);
        if age > window {
            return Err(Rejection::StaleEvidence { age, window });
        }
        for (member, seen) in members(&observe) {
            if seen == Seen::Up {
                self.note_alive(&observe.cluster, &member, now);
            }
        }
        self.latest.insert(observe.agent, signed);
        Ok(Novelty::New)
    }

    /// Watching a roster begins: silence counts from here for who was never seen.
    pub(crate) fn watch(&mut self, charter: &Charter, now: LogTime) {
        for line in &charter.member {
            self.alive.entry((line.cluster.clone(), line.member.clone())).or_insert(now);
        }
        let known =
            |cluster: &ClusterId, member: &MemberId| charter.member(cluster, member).is_some();
        self.alive.retain(|(cluster, member), _| known(cluster, member));
        self.latest.retain(|agent, _| charter.agent(agent).is_some());
        self.stormy.retain(|cluster, _| charter.cluster(cluster).is_some());
    }

    fn note_alive(&mut self, cluster: &ClusterId, member: &MemberId, now: LogTime) {
        if let Some(last) = self.alive.get_mut(&(cluster.clone(), member.clone())) {
            *last = (*last).max(now);
        }
    }

    /// The agent's counter begins anew: an operator enrolled its new journal.
    pub(crate) fn forget(&mut self, agent: &KeyName) {
        self.latest.remove(agent);
    }

    /// Notes that `cluster` is in a storm now.
    pub(crate) fn note_storm(&mut self, cluster: &ClusterId, now: LogTime) {
        self.stormy.insert(cluster.clone(), now);
    }

    /// When `cluster` was last seen in a storm.
    #[must_use]
    pub fn last_storm(&self, cluster: &ClusterId) -> Option<LogTime> {
        self.stormy.get(cluster).copied()
    }

    /// Since when nobody has seen the member alive.
    #[must_use]
    pub fn silent_since(&self, cluster: &ClusterId, member: &MemberId) -> Option<LogTime> {
        self.alive.get(&(cluster.clone(), member.clone())).copied()
    }

    /// The newest observation of an agent, fresh or not.
    #[must_use]
    pub fn latest(&self, agent: &KeyName) -> Option<&Observe> {
        self.latest.get(agent).map(|signed| &signed.statement)
    }

    /// The newest observation of every agent, as it was signed. `apply` verified none of them.
    pub fn signed(&self) -> impl Iterator<Item = &Signed<Observe>> {
        self.latest.values()
    }

    /// Drops what agents are said to have signed and did not.
    pub(crate) fn keep(&mut self, genuine: impl Fn(&Signed<Observe>) -> bool) {
        self.latest.retain(|_, signed| genuine(signed));
    }

    /// What is known of one cluster.
    #[must_use]
    pub(crate) fn of(&self, cluster: &ClusterId) -> Self {
        let mut known = self.clone();
        known.latest.retain(|_, signed| signed.statement.cluster == *cluster);
        known.alive.retain(|(of, _), _| of == cluster);
        known.stormy.retain(|of, _| of == cluster);
        known
    }

    /// The newest observations about a cluster that are not older than `window`.
    pub fn fresh<'a>(
        &'a self,
        cluster: &'a ClusterId,
        window: Span,
        now: LogTime,
    ) -> impl Iterator<Item = &'a Observe> {
        self.latest
            .values()
            .map(|signed| &signed.statement)
            .filter(move |seen| seen.cluster == *cluster && now.since(seen.observed) <= window)
    }

    /// Replaces one agent's observation: what would be believed if `fresher` were known.
    #[must_use]
    pub(crate) fn with(&self, fresher: &Observe) -> Self {
        let mut believed = self.clone();
        for (member, seen) in members(fresher) {
            if seen == Seen::Up {
                believed.note_alive(&fresher.cluster, &member, fresher.observed);
            }
        }
        let hypothetical = Signed::new(fresher.clone(), Vec::new());
        believed.latest.insert(fresher.agent.clone(), hypothetical);
        believed
    }
}

/// The members an observation speaks of.
fn members(observe: &Observe) -> impl Iterator<Item = (MemberId, Seen)> {
    observe.fact.iter().filter_map(member_fact)
}

fn member_fact(fact: &Fact) -> Option<(MemberId, Seen)> {
    if fact.key.as_str() != "member" {
        return None;
    }
    let member = fact.value.as_str().parse().ok()?;
    Some((member, Seen::read(fact.extra.as_ref()?.as_str())?))
}

/// What one observation says of one member.
#[must_use]
pub fn seen(observe: &Observe, member: &MemberId) -> Option<Seen> {
    members(observe).find_map(|(of, seen)| (of == *member).then_some(seen))
}

/// Who could say something of a member: the agent beside it, and how many others.
#[derive(Debug, Clone, Copy)]
pub struct Observers<'a> {
    /// The agent beside the member, if it has one.
    pub own: Option<&'a KeyName>,
    /// The other agents of the cluster that are expected to report.
    pub others: usize,
}

/// What is believed of a member, given the fresh observations.
///
/// The share is taken of the agents that *should* report, not of those that did: the one voice that
/// is left in a cut is no majority.
#[must_use]
pub fn health<'a>(
    fresh: impl Iterator<Item = &'a Observe>,
    observers: Observers<'_>,
    member: &MemberId,
) -> Health {
    let (mut up, mut unreachable) = (0_usize, 0_usize);
    for observe in fresh {
        let Some(seen) = seen(observe, member) else { continue };
        if Some(&observe.agent) == observers.own {
            match seen {
                Seen::Up => return Health::Healthy,
                Seen::Down => return Health::Down,
                Seen::Unreachable => continue,
            }
        }
        match seen {
            Seen::Up => up += 1,
            // A peer cannot know that a process is gone: it only got no answer.
            Seen::Down | Seen::Unreachable => unreachable += 1,
        }
    }
    if up * 2 > observers.others {
        Health::Healthy
    } else if up == 0 && unreachable > 0 {
        Health::Unreachable
    } else {
        Health::Unknown
    }
}
