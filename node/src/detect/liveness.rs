//! Liveness: so many failed probes in a row, each fresh, make a suspicion; one success ends it.

use std::collections::BTreeMap;

use quorate_attest::id::MemberId;
use quorate_attest::log_time::{LogTime, Span};

use super::Suspicion;
use crate::probe::Reading;

/// When failures become a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row.
    pub failures: u32,
    /// How old an observation may be and still count.
    pub freshness: Span,
}

/// What is believed of one member now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberView {
    /// It answered the newest, fresh probe.
    Up,
    /// It failed, but not often enough to be suspected.
    Failing {
        /// What the newest probe found.
        reading: Reading,
        /// How many in a row.
        failures: u32,
    },
    /// It failed often enough.
    Suspected(Suspicion),
    /// Nothing fresh is known: neither up nor dead.
    NotKnown,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    reading: Reading,
    seen: LogTime,
    since: LogTime,
    failures: u32,
}

/// The newest reading of each member, with its run of failures.
#[derive(Debug, Clone)]
pub struct Liveness {
    settings: Settings,
    members: BTreeMap<MemberId, Record>,
}

impl Liveness {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, members: BTreeMap::new() }
    }

    /// Takes a reading. Returns whether it differs from the one before.
    ///
    /// A run of failures does not span a gap: after a time without fresh readings it starts again,
    /// so that a frozen agent does not wake up full of suspicion.
    pub fn observe(&mut self, member: &MemberId, reading: Reading, now: LogTime) -> Change {
        let before = self.members.get(member).copied();
        let fresh = before.filter(|record| now.since(record.seen) <= self.settings.freshness);
        let (since, failures) = match (reading, fresh) {
            (Reading::Up, _) => (now, 0),
            (Reading::Down | Reading::Unreachable, Some(record)) if record.failures > 0 => {
                (record.since, record.failures.saturating_add(1))
            }
            (Reading::Down | Reading::Unreachable, _) => (now, 1),
        };
        self.members.insert(member.clone(), Record { reading, seen: now, since, failures });
        if before.is_some_and(|record| record.reading == reading) {
            Change::Same
        } else {
            Change::New
        }
    }

    /// What is believed of `member` now.
    #[must_use]
    pub fn view(&self, member: &MemberId, now: LogTime) -> MemberView {
        let Some(record) = self.members.get(member) else { return MemberView::NotKnown };
        // A reading from the future is a clock that fell back: it is no older than now.
        if now.since(record.seen) > self.settings.freshness {
            return MemberView::NotKnown;
        }
        match record.reading {
            Reading::Up => MemberView::Up,
            Reading::Down | Reading::Unreachable if record.failures < self.settings.failures => {
                MemberView::Failing { reading: record.reading, failures: record.failures }
            }
            Reading::Down | Reading::Unreachable => MemberView::Suspected(Suspicion {
                member: member.clone(),
                reading: record.reading,
                since: record.since,
                failures: record.failures,
            }),
        }
    }

    /// All suspicions now.
    pub fn suspicions(&self, now: LogTime) -> Vec<Suspicion> {
        self.members
            .keys()
            .filter_map(|member| match self.view(member, now) {
                MemberView::Suspected(suspicion) => Some(suspicion),
                MemberView::Up | MemberView::Failing { .. } | MemberView::NotKnown => None,
            })
            .collect()
    }

    /// The fresh readings, for the signed facts.
    pub fn readings(&self, now: LogTime) -> impl Iterator<Item = (&MemberId, Reading)> {
        self.members
            .iter()
            .filter(move |(_, record)| now.since(record.seen) <= self.settings.freshness)
            .map(|(member, record)| (member, record.reading))
    }
}

/// Whether a reading says something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same as before.
    Same,
    /// Another one, or the first.
    New,
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_790_000_000_000;

    fn at(ms: u64) -> LogTime {
        LogTime::new(START + ms).expect("a time")
    }

    fn member() -> MemberId {
        "n4".parse().expect("a member")
    }

    fn liveness() -> Liveness {
        Liveness::new(Settings { failures: 3, freshness: Span::from_millis(15_000) })
    }

    #[test]
    fn three_failures_in_a_row_make_a_suspicion_and_two_do_not() {
        let mut liveness = liveness();
        for (ms, suspected) in [(0, 0), (1_000, 0), (2_000, 1)] {
            liveness.observe(&member(), Reading::Down, at(ms));
            assert_eq!(liveness.suspicions(at(ms)).len(), suspected, "after {ms} ms");
        }
        let suspicion = liveness.suspicions(at(2_000)).remove(0);
        assert_eq!((suspicion.since, suspicion.failures), (at(0), 3));
    }

    #[test]
    fn one_success_ends_the_run() {
        let mut liveness = liveness();
        for reading in [Reading::Down, Reading::Down, Reading::Up, Reading::Down, Reading::Down] {
            liveness.observe(&member(), reading, at(0));
        }
        assert_eq!(
            liveness.view(&member(), at(0)),
            MemberView::Failing { reading: Reading::Down, failures: 2 }
        );
    }

    #[test]
    fn a_suspicion_goes_stale_and_does_not_span_a_gap() {
        let mut liveness = liveness();
        for ms in [0, 1_000, 2_000] {
            liveness.observe(&member(), Reading::Unreachable, at(ms));
        }
        assert_eq!(liveness.suspicions(at(17_000)).len(), 1);
        assert_eq!(liveness.view(&member(), at(17_001)), MemberView::NotKnown);
        liveness.observe(&member(), Reading::Unreachable, at(60_000));
        assert_eq!(
            liveness.view(&member(), at(60_000)),
            MemberView::Failing { reading: Reading::Unreachable, failures: 1 }
        );
    }

    #[test]
    fn only_another_reading_is_a_change() {
        let mut liveness = liveness();
        assert_eq!(liveness.observe(&member(), Reading::Up, at(0)), Change::New);
        assert_eq!(liveness.observe(&member(), Reading::Up, at(1)), Change::Same);
        assert_eq!(liveness.observe(&member(), Reading::Down, at(2)), Change::New);
        assert_eq!(liveness.observe(&member(), Reading::Unreachable, at(3)), Change::New);
    }

    #[test]
    fn a_member_never_seen_is_neither_up_nor_suspected() {
        assert_eq!(liveness().view(&member(), at(0)), MemberView::NotKnown);
    }
}
