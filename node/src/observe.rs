//! Observations: what this agent saw, signed, to *every* coordinator.
//!
//! On every change, and every half freshness window while a proposal of the cluster is open or a
//! member is suspected: a missing or stale fact refuses a decision, a coordinator that holds a fresher
//! contradicting one does not cosign, and agreement needs fresh facts. While nothing is open, nobody
//! suspected and nothing changes, nothing is sent.

use quorate_attest::agent_statement::Fact;
use quorate_attest::id::MemberId;
use quorate_attest::log_time::{LogTime, Span};

use crate::probe::Reading;

/// The key of the fact `member <id> up|down|unreachable`.
pub const MEMBER_FACT: &str = "member";
/// The key of the fact `stopped <id>`: this agent stopped its tombstoned member.
pub const STOPPED_FACT: &str = "stopped";
/// Most facts of one observation.
const FACTS_MAX: usize = 16;

/// Whether anything rests on fresh facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Nothing does: only changes are sent.
    Idle,
    /// A proposal is open, or a member is suspected: facts are kept fresh.
    Open,
}

/// The facts of this agent and when they were sent last.
#[derive(Debug)]
pub struct Observer {
    freshness: Span,
    sent: Option<(Vec<Fact>, LogTime)>,
}

impl Observer {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(freshness: Span) -> Self {
        Self { freshness, sent: None }
    }

    /// Whether `facts` are to be sent now.
    #[must_use]
    pub fn is_due(&self, facts: &[Fact], attention: Attention, now: LogTime) -> bool {
        let Some((sent, at)) = &self.sent else { return !facts.is_empty() };
        let half = Span::from_millis(self.freshness.get() / 2);
        let refresh = attention == Attention::Open && now.since(*at) >= half;
        !facts.is_empty() && (facts != sent.as_slice() || refresh)
    }

    /// They have arrived somewhere.
    pub fn sent(&mut self, facts: Vec<Fact>, now: LogTime) {
        self.sent = Some((facts, now));
    }
}

/// The facts of fresh readings, in the order of the grammar.
pub fn facts<'a>(
    readings: impl IntoIterator<Item = (&'a MemberId, Reading)>,
    stopped: Option<&MemberId>,
) -> Vec<Fact> {
    let fact = |key: &str, member: &MemberId, word: Option<&str>| {
        Some(Fact {
            key: key.parse().ok()?,
            value: member.as_str().parse().ok()?,
            extra: match word {
                Some(word) => Some(word.parse().ok()?),
                None => None,
            },
        })
    };
    let seen = readings
        .into_iter()
        .filter_map(|(member, reading)| fact(MEMBER_FACT, member, Some(reading.word())));
    let stopped = stopped.and_then(|member| fact(STOPPED_FACT, member, None));
    // Bytewise by line, as the grammar wants repeated lines.
    let mut facts: Vec<Fact> = stopped.into_iter().chain(seen).take(FACTS_MAX).collect();
    facts.sort_by_key(ToString::to_string);
    facts.dedup();
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + ms).expect("a time")
    }

    fn seen(reading: Reading) -> Vec<Fact> {
        facts([(&"n4".parse().expect("a member"), reading)], None)
    }

    #[test]
    fn a_change_is_sent_at_once_and_silence_stays_silent() {
        let mut observer = Observer::new(Span::from_millis(15_000));
        assert!(observer.is_due(&seen(Reading::Up), Attention::Idle, at(0)));
        observer.sent(seen(Reading::Up), at(0));
        assert!(!observer.is_due(&seen(Reading::Up), Attention::Idle, at(3_600_000)));
        assert!(observer.is_due(&seen(Reading::Down), Attention::Idle, at(1)));
        assert!(!observer.is_due(&[], Attention::Open, at(60_000)), "nothing fresh, nothing said");
    }

    #[test]
    fn an_open_proposal_keeps_facts_fresh_every_half_window() {
        let mut observer = Observer::new(Span::from_millis(15_000));
        observer.sent(seen(Reading::Up), at(0));
        assert!(!observer.is_due(&seen(Reading::Up), Attention::Open, at(7_499)));
        assert!(observer.is_due(&seen(Reading::Up), Attention::Open, at(7_500)));
    }

    #[test]
    fn facts_come_in_the_order_of_their_lines() {
        let (n10, n2) = ("n10".parse().expect("a member"), "n2".parse().expect("a member"));
        let facts = facts([(&n2, Reading::Up), (&n10, Reading::Down)], Some(&n2));
        let lines: Vec<String> = facts.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["member n10 down", "member n2 up", "stopped n2"]);
    }
}
