//! Entries from the future are lost messages.
//!
//! Log time never falls, so one leader an hour ahead would move the whole log an hour ahead. A
//! follower therefore refuses AppendEntries whose newest log time is more than 2 s ahead of its own
//! clock; to Raft that is a lost message, which is always safe. It refuses that leader's heartbeats
//! too until its own clock has caught up, or they would keep a lease alive that commits nothing.
//!
//! The other direction cannot be judged here: after a cut, old entries come late and are honest. The
//! door only notes when the leader had nothing on its way ([`Calm`]); the signer does the rest.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use metrics::gauge;
use openraft::{EntryPayload, raft::AppendEntriesRequest};
use quorate_attest::log_time::LogTime;
use quorate_store::TypeConfig;
use tokio::{sync::watch, time::Instant};

use crate::clock::Clock;

/// The leader's entries lie ahead of this coordinator's clock.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("log time {ahead} is more than 2 s ahead of this coordinator's clock")]
pub struct AheadOfClock {
    /// The time refused.
    pub ahead: LogTime,
}

/// A message of the leader that ended exactly at its commit index: it had sent us all it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calm {
    /// The leader's term, in which it also committed the entry.
    pub term: u64,
    /// The commit index.
    pub index: u64,
    /// When it came, by our own clock.
    pub at: LogTime,
    /// The same by the steady clock.
    pub heard: Instant,
}

/// The door of one replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClockDoor {
    clock: Clock,
    refused: Arc<Refused>,
    calm: watch::Sender<Option<Calm>>,
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
        Self { clock, refused: Arc::default(), calm: watch::Sender::new(None) }
    }

    /// The newest calm message.
    pub fn calm(&self) -> watch::Receiver<Option<Calm>> {
        self.calm.subscribe()
    }

    /// Notes whether an admitted message of the leader is calm. What it committed in its own term
    /// only: before that it does not know which entries of its predecessors are committed.
    pub fn note(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let term = request.vote.leader_id().term;
        let end = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let Some(commit) = request.leader_commit.filter(|commit| Some(*commit) == end) else {
            return;
        };
        if commit.leader_id.term == term {
            let (at, heard) = (self.clock.now(), Instant::now());
            self.calm.send_replace(Some(Calm { term, index: commit.index, at, heard }));
        }
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
    fn a_message_is_calm_that_ends_at_what_its_leader_committed_itself() {
        let clock = Clock::system();
        let door = ClockDoor::new(clock.clone());
        let calm = door.calm();
        let note = |request: AppendEntriesRequest<TypeConfig>, commit: Option<LogId>| {
            door.note(&AppendEntriesRequest { leader_commit: commit, ..request });
            calm.borrow().map(|calm| (calm.term, calm.index))
        };
        let at = |term, index| Some(LogId::new_term_index(term, index));
        assert_eq!(note(append(3, &[]), None), None, "it claims nothing");
        assert_eq!(note(append(3, &[clock.now()]), at(3, 0)), None, "an entry is on its way");
        let of_a_predecessor = AppendEntriesRequest { prev_log_id: at(2, 9), ..append(3, &[]) };
        assert_eq!(note(of_a_predecessor, at(2, 9)), None, "not its own");
        assert_eq!(note(append(3, &[]), at(3, 7)), None, "we do not have all of it yet");
        assert_eq!(note(append(3, &[clock.now()]), at(3, 1)), Some((3, 1)));
        assert_eq!(note(append(4, &[]), at(4, 0)), Some((4, 0)));
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
