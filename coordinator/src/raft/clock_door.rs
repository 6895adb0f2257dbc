//! Entries from the future are lost messages.
//!
//! Log time never falls, so one leader an hour ahead would move the whole log an hour ahead. A
//! follower therefore refuses AppendEntries whose newest log time is more than 2 s ahead of its own
//! clock; to Raft that is a lost message, which is always safe. It refuses that leader's heartbeats
//! too until its own clock has caught up, or they would keep a lease alive that commits nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use metrics::gauge;
use openraft::{EntryPayload, raft::AppendEntriesRequest};
use quorate_attest::log_time::LogTime;
use quorate_store::TypeConfig;

use crate::clock::Clock;

/// The leader's entries lie ahead of this coordinator's clock.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("log time {ahead} is more than 2 s ahead of this coordinator's clock")]
pub struct AheadOfClock {
    /// The time refused.
    pub ahead: LogTime,
}

/// The door of one replica.
#[derive(Debug, Clone)]
pub struct ClockDoor {
    clock: Clock,
    refused: Arc<Refused>,
}

/// The leadership that was refused last, and the time it was refused for. Two words are enough: a
/// torn read refuses or admits one message more, and both are safe.
#[derive(Debug, Default)]
struct Refused {
    term: AtomicU64,
    time_ms: AtomicU64,
}

impl ClockDoor {
    /// A door that compares with `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, refused: Arc::default() }
    }

    /// Whether this message may reach Raft.
    pub fn admit(&self, request: &AppendEntriesRequest<TypeConfig>) -> Result<(), AheadOfClock> {
        let term = request.vote.leader_id().term;
        let newest = request.entries.iter().filter_map(|entry| match &entry.payload {
            EntryPayload::Normal(proposed) => Some(proposed.command().time),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        });
        let newest = newest.max();
        if let Some(newest) = newest {
            self.record_offset(request.vote.leader_id().voted_for, newest);
        }
        if let Some(ahead) = newest.filter(|time| self.clock.is_ahead(*time)) {
            self.refused.time_ms.store(ahead.get(), Ordering::Relaxed);
            self.refused.term.store(term, Ordering::Relaxed);
            return Err(AheadOfClock { ahead });
        }
        if self.refused.term.load(Ordering::Relaxed) == term && term > 0 {
            let ahead = LogTime::new(self.refused.time_ms.load(Ordering::Relaxed));
            match ahead {
                Ok(ahead) if self.clock.is_ahead(ahead) => return Err(AheadOfClock { ahead }),
                Ok(_) | Err(_) => self.refused.term.store(0, Ordering::Relaxed),
            }
        }
        Ok(())
    }
}

impl ClockDoor {
    /// Entries that come late after a cut show an old time, so this is exact only in the calm.
    fn record_offset(&self, leader: u64, newest: LogTime) {
        let ms = |time: LogTime| i64::try_from(time.get()).unwrap_or(i64::MAX);
        let offset_ms = ms(newest).saturating_sub(ms(self.clock.now()));
        let bounded =
            i32::try_from(offset_ms).unwrap_or(if offset_ms < 0 { i32::MIN } else { i32::MAX });
        gauge!("quorate_clock_offset_seconds", "peer" => leader.to_string())
            .set(f64::from(bounded) / 1_000.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use openraft::vote::{RaftLeaderId, RaftVote};
    use quorate_attest::log_time::Span;
    use quorate_core::{Body, Command};
    use quorate_store::{Entry, LeaderId, LogId, Proposed, Vote};

    use super::*;

    fn append(term: u64, times: &[LogTime]) -> AppendEntriesRequest<TypeConfig> {
        let entries = times.iter().zip(1..).map(|(time, index)| Entry {
            log_id: LogId::new_term_index(term, index),
            payload: EntryPayload::Normal(
                Proposed::new(Command::internal(*time, Body::Tick)).unwrap(),
            ),
        });
        AppendEntriesRequest {
            vote: Vote::from_leader_id(LeaderId::new(term, 1), true),
            prev_log_id: Some(LogId::new_term_index(term, 0)),
            entries: entries.collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn the_future_is_refused_and_its_leaders_heartbeats_with_it() {
        let shift = Arc::new(AtomicI64::new(0));
        let clock = Clock::shifted(Arc::clone(&shift));
        let door = ClockDoor::new(clock.clone());
        let near = clock.now().saturating_add(Span::from_millis(1_000));
        let far = clock.now().saturating_add(Span::from_millis(60_000));
        assert!(door.admit(&append(3, &[near])).is_ok());
        assert!(door.admit(&append(3, &[near, far])).is_err());
        assert!(door.admit(&append(3, &[])).is_err(), "a heartbeat keeps no lease for it");
        assert!(door.admit(&append(4, &[])).is_ok(), "another leader");
        shift.store(59_000, Ordering::Relaxed);
        assert!(door.admit(&append(3, &[])).is_ok(), "our clock has caught up");
    }
}
