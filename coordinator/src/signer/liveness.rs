//! What keeps a leader from dating a decision back (*budget*, *authority*: facts and windows are
//! judged by a decision's own time).
//!
//! The leader stamps log time. A time ahead of our own clock is refused as it comes; a time behind
//! it may be honest, because whoever was away is shown old entries late. So a leader is held to its
//! own words. Its message is *calm* when it ends exactly at its commit index: it has nothing on its
//! way to us. Were it honest, whatever it appends later is stamped later. We write down our own
//! time, wait until that index is applied and whatever was in a buffer has come, look how many
//! leaves there are, judge all of them, and only then keep the mark: *at this time this leader had
//! this many leaves*. A decision behind the mark that is dated more than the bound before it
//! contradicts its own leader.
//!
//! Invariants:
//!
//! * A mark holds against entries of the same term only. Another leader's may have been appended
//!   while a deposed one went on calling us, and are shown to us after the cut.
//! * A mark's size is read after its index was applied, so what was caught up with lies below it.
//! * A mark replaces another only after every decision below it was held against that one.
//!
//! Continuations are stamped anew like every command, so they are held to it as well. An abandon is
//! not refused for its time: see [`Liveness::refuses_time_of`].

use std::time::Duration;

use quorate_attest::{
    leaf::Decision,
    log_time::{LogTime, Span},
};
use tokio::time::Instant;

use crate::raft::clock_door::Calm;

/// A decision dated further from our own clock than this is refused: ahead of it now, or behind it
/// when the leader was calm. An honest clock differs by 2 s at most; the rest is for entries that
/// wait in a queue or for a majority, and for a machine under load.
const CLOCK_REFUSED: Span = Span::from_millis(10_000);

/// What was sent before a calm message may still be on its way through our own buffers, if this
/// process was not scheduled for a while: it has to be applied before the leaves are counted.
const SETTLE: Duration = Duration::from_secs(2);

/// At `at`, by our own clock, the leader of `term` had `size` leaves.
#[derive(Debug, Clone, Copy)]
struct Mark {
    term: u64,
    at: LogTime,
    size: u64,
}

/// What the present leader has shown.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    pending: Option<Calm>,
    mark: Option<Mark>,
}

impl Liveness {
    /// Takes the newest calm message. One that is waited for stays until it was counted, or a log
    /// that always moves would never be marked; but none is waited for in vain.
    pub(super) fn hear(&mut self, newest: Option<Calm>) {
        let Some(newest) = newest else { return };
        let keeps = |known: &Calm| known.term == newest.term && known.index <= newest.index;
        if !self.pending.as_ref().is_some_and(keeps) {
            self.pending = Some(newest);
        }
    }

    /// The calm message that can be counted, if everything up to `applied` is. To be asked before
    /// the leaves are looked at.
    pub(super) fn due(&self, applied: u64, now: Instant) -> Option<Calm> {
        let has_settled = |calm: &Calm| now.saturating_duration_since(calm.heard) >= SETTLE;
        self.pending.filter(|calm| calm.index <= applied && has_settled(calm))
    }

    /// Keeps the mark of a calm message that was due, once all of `size` leaves have been judged.
    pub(super) fn mark(&mut self, calm: Calm, size: u64) {
        self.mark = Some(Mark { term: calm.term, at: calm.at, size });
        self.pending = None;
    }

    /// When the leader was last found calm.
    pub(super) fn marked(&self) -> Option<LogTime> {
        self.mark.map(|mark| mark.at)
    }

    /// Whether a decision at `leaf` is to be refused for its time; `term` as below.
    ///
    /// Never an abandon: it takes no slot, so no void could resolve its refusal, and nothing would
    /// be certified any more. Dated back it is still what two operators signed, of the decision that
    /// holds the slot, and the older its time the longer it has to wait for that one's expiry. Dated
    /// ahead it is not cosigned until our own clock is there, which needs no refusal.
    pub(super) fn refuses_time_of(
        &self,
        decision: &Decision,
        leaf: u64,
        term: u64,
        now: LogTime,
    ) -> bool {
        let time = decision.time;
        decision.proposal.kind.takes_slot()
            && (time.since(now) > CLOCK_REFUSED || self.is_dated_back(leaf, term, time, now))
    }

    /// Whether a decision at `leaf` is dated back to `time`. `term` is of an entry at or behind the
    /// one that made the leaf; terms never fall, so the leaf is of the mark's leader if both agree.
    /// A clock of ours that was set back since says no more than it says now.
    fn is_dated_back(&self, leaf: u64, term: u64, time: LogTime, now: LogTime) -> bool {
        self.mark.is_some_and(|mark| {
            mark.term == term && leaf >= mark.size && mark.at.min(now).since(time) > CLOCK_REFUSED
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_attest::remediation::Kind;

    use super::{
        super::fixture::{decision, operator, proposal},
        *,
    };

    const TERM: u64 = 3;

    fn at(seconds: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + seconds * 1_000).unwrap()
    }

    /// Heard at these seconds of both clocks.
    fn calm(start: Instant, seconds: u64, term: u64, index: u64) -> Calm {
        Calm { term, index, at: at(seconds), heard: start + Duration::from_secs(seconds) }
    }

    /// A leader found calm at 100 s with 7 leaves.
    fn marked() -> Liveness {
        let start = Instant::now();
        let mut liveness = Liveness::default();
        liveness.hear(Some(calm(start, 100, TERM, 20)));
        let due = liveness.due(20, start + Duration::from_secs(103)).expect("it is due");
        liveness.mark(due, 7);
        liveness
    }

    #[test]
    fn what_is_appended_behind_a_mark_is_dated_behind_it() {
        let liveness = marked();
        let is_dated_back =
            |leaf, term, seconds| liveness.is_dated_back(leaf, term, at(seconds), at(105));
        assert!(is_dated_back(7, TERM, 89));
        assert!(!is_dated_back(7, TERM, 90), "within the bound");
        assert!(!is_dated_back(6, TERM, 0), "it stood there before");
        assert!(!is_dated_back(7, TERM + 1, 0), "another leader's, maybe from behind a cut");
        assert!(!Liveness::default().is_dated_back(7, TERM, at(0), at(105)), "nothing is known");
    }

    #[test]
    fn an_abandon_is_refused_for_no_time_because_no_void_could_follow() {
        let liveness = marked();
        let refuses = |kind, seconds| {
            let mut decision = decision(&proposal(&operator("ana"), 1), 1);
            decision.proposal.kind = kind;
            decision.time = at(seconds);
            liveness.refuses_time_of(&decision, 7, TERM, at(105))
        };
        for (seconds, is_refused) in [(0, true), (89, true), (90, false), (115, false), (116, true)]
        {
            assert_eq!(refuses(Kind::Restart, seconds), is_refused, "{seconds} s");
            assert!(!refuses(Kind::Abandon, seconds), "{seconds} s");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_accuses_nobody() {
        assert!(!marked().is_dated_back(7, TERM, at(80), at(85)));
        assert!(marked().is_dated_back(7, TERM, at(70), at(85)));
    }

    #[test]
    fn a_calm_message_counts_once_it_is_applied_and_settled() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut liveness = Liveness::default();
        assert!(liveness.due(20, after(9)).is_none());
        liveness.hear(Some(calm(start, 1, TERM, 20)));
        assert!(liveness.due(20, after(2)).is_none(), "its buffers may hold more");
        assert!(liveness.due(19, after(9)).is_none(), "this replica still catches up");
        assert_eq!(liveness.due(25, after(9)).map(|calm| calm.at), Some(at(1)));
    }

    #[test]
    fn a_log_that_moves_is_marked_and_a_claim_beyond_it_is_not_waited_for() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut liveness = Liveness::default();
        for seconds in 1..=3 {
            liveness.hear(Some(calm(start, seconds, TERM, 20 + seconds)));
        }
        assert_eq!(liveness.due(21, after(3)).map(|calm| calm.index), Some(21), "the first one");
        // Whoever said too much is believed when it says less, and its successor at once.
        liveness.hear(Some(calm(start, 4, TERM, 9)));
        assert_eq!(liveness.due(9, after(6)).map(|calm| calm.index), Some(9));
        liveness.hear(Some(calm(start, 5, TERM, u64::MAX)));
        liveness.hear(Some(calm(start, 6, TERM + 1, 30)));
        assert_eq!(liveness.due(30, after(8)).map(|calm| calm.term), Some(TERM + 1));
        liveness.hear(None);
        assert!(liveness.due(30, after(8)).is_some());
    }
}
