//! Agreement: a suspicion is acted on only if other agents' signed, fresh facts say the same.

use std::collections::BTreeMap;

use quorate_attest::id::{KeyName, MemberId};
use quorate_attest::log_time::{LogTime, Span};

use crate::probe::Reading;

/// What another agent has signed about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFact {
    /// The agent.
    pub agent: KeyName,
    /// The member.
    pub member: MemberId,
    /// What it saw.
    pub reading: Reading,
    /// When, by its clock.
    pub observed: LogTime,
}

/// The newest fact of each agent about each member.
#[derive(Debug, Clone, Default)]
pub struct Agreement {
    facts: BTreeMap<(MemberId, KeyName), (Reading, LogTime)>,
}

impl Agreement {
    /// Takes a fact; an older one than is held changes nothing.
    pub fn take(&mut self, fact: PeerFact) {
        let key = (fact.member, fact.agent);
        let newer = self.facts.get(&key).is_none_or(|(_, observed)| *observed <= fact.observed);
        if newer {
            self.facts.insert(key, (fact.reading, fact.observed));
        }
    }

    /// How many agents other than `own` say, freshly, that `member` does not work.
    #[must_use]
    pub fn against(
        &self,
        member: &MemberId,
        own: &KeyName,
        now: LogTime,
        freshness: Span,
    ) -> usize {
        self.fresh(member, own, now, freshness).filter(|reading| *reading != Reading::Up).count()
    }

    /// How many say, freshly, that it works.
    #[must_use]
    pub fn for_it(&self, member: &MemberId, own: &KeyName, now: LogTime, freshness: Span) -> usize {
        self.fresh(member, own, now, freshness).filter(|reading| *reading == Reading::Up).count()
    }

    fn fresh<'a>(
        &'a self,
        member: &'a MemberId,
        own: &'a KeyName,
        now: LogTime,
        freshness: Span,
    ) -> impl Iterator<Item = Reading> + 'a {
        self.facts
            .iter()
            .filter(move |((of, by), (_, observed))| {
                // Also not far ahead: a fast clock must not keep an old fact fresh.
                of == member && by != own && now.distance(*observed) <= freshness
            })
            .map(|(_, (reading, _))| *reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Span = Span::from_millis(15_000);

    fn at(ms: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + ms).expect("a time")
    }

    fn fact(agent: &str, reading: Reading, ms: u64) -> PeerFact {
        PeerFact {
            agent: format!("quorate.example/t/agent/{agent}").parse().expect("a name"),
            member: "n4".parse().expect("a member"),
            reading,
            observed: at(ms),
        }
    }

    fn against(agreement: &Agreement, own: &str, ms: u64) -> usize {
        let own = format!("quorate.example/t/agent/{own}").parse().expect("a name");
        agreement.against(&"n4".parse().expect("a member"), &own, at(ms), WINDOW)
    }

    #[test]
    fn an_agent_does_not_agree_with_itself() {
        let mut agreement = Agreement::default();
        agreement.take(fact("n1", Reading::Down, 0));
        assert_eq!(against(&agreement, "n1", 0), 0);
        assert_eq!(against(&agreement, "n2", 0), 1);
    }

    #[test]
    fn stale_facts_and_facts_from_the_future_do_not_count() {
        let mut agreement = Agreement::default();
        agreement.take(fact("n2", Reading::Down, 20_000));
        assert_eq!(against(&agreement, "n1", 0), 0);
        assert_eq!(against(&agreement, "n1", 20_000), 1);
        assert_eq!(against(&agreement, "n1", 35_001), 0);
    }

    #[test]
    fn a_late_old_fact_does_not_replace_a_newer_one_and_one_agent_counts_once() {
        let mut agreement = Agreement::default();
        agreement.take(fact("n2", Reading::Up, 2_000));
        agreement.take(fact("n2", Reading::Down, 1_000));
        assert_eq!(against(&agreement, "n1", 2_000), 0);
        agreement.take(fact("n2", Reading::Down, 3_000));
        agreement.take(fact("n2", Reading::Unreachable, 4_000));
        assert_eq!(against(&agreement, "n1", 4_000), 1);
    }
}
