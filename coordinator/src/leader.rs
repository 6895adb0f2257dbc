//! What only the leader does: found the log, tick when something is due, pass on facts; and when it
//! must be silent.
//!
//! The leader stamps log time, so a wrong clock is its fault first. Two fences stand here: after a
//! jump of the wall clock it proposes nothing automatic for 30 s, and when so many followers refuse
//! its times that it cannot commit, it stops its heartbeats until somebody else leads. (The other
//! fences are the followers' door and the cosigners.)

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::counter;
use quorate_attest::{
    agent_statement::Observe, charter::Charter, log_time::LogTime, signed::Signed,
};
use quorate_core::{Body, Machine, MachineVersion};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    handle::{Asked, Handle},
    signer::SignerHandle,
};

/// After a jump of the wall clock nothing automatic is proposed for so long.
const SILENCE_AFTER_JUMP: Duration = Duration::from_secs(30);
/// A jump forward by more than this, or backwards at all, against the monotonic clock.
const JUMP_MS_MAX: i128 = 2_000;
/// Backwards by less than this is the resolution of reading two clocks, not a jump.
const JUMP_BACK_MS_MAX: i128 = -5;
/// The clocks are compared this often.
const COMPARE_EVERY: Duration = Duration::from_millis(500);
/// Without an event the leader looks this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two ticks, whatever is due.
const TICK_PAUSE: Duration = Duration::from_millis(20);
/// After a proposal of its own that failed.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// Which followers refused our log time, and when. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClockRefusals {
    by: watch::Sender<BTreeMap<u64, Instant>>,
}

impl Default for ClockRefusals {
    fn default() -> Self {
        Self { by: watch::Sender::new(BTreeMap::new()) }
    }
}

impl ClockRefusals {
    /// A follower refused the newest log time we sent.
    pub fn refused_by(&self, peer: u64) {
        self.by.send_modify(|by| {
            by.insert(peer, Instant::now());
        });
    }

    /// How many refused within `window`.
    fn recent(&self, window: Duration) -> usize {
        self.by.borrow().values().filter(|at| at.elapsed() < window).count()
    }

    fn clear(&self) {
        self.by.send_replace(BTreeMap::new());
    }
}

/// One reading of both clocks: the wall clock was read somewhere between `before` and `after`.
#[derive(Debug, Clone, Copy)]
struct Reading {
    before: std::time::Instant,
    wall_ms: i128,
    after: std::time::Instant,
}

impl Reading {
    fn take(clock: &crate::clock::Clock) -> Self {
        let before = std::time::Instant::now();
        let wall_ms = i128::from(clock.now_ms());
        Self { before, wall_ms, after: std::time::Instant::now() }
    }

    /// By how much the wall clock has jumped since `earlier`, at least; 0 if both clocks agree
    /// within what these readings can tell. A process that was not scheduled between two reads has
    /// seen no jump.
    fn jump_since(&self, earlier: &Self) -> i128 {
        let ms = |span: Duration| i128::try_from(span.as_millis()).unwrap_or(i128::MAX);
        let wall = self.wall_ms - earlier.wall_ms;
        let least = ms(self.before.saturating_duration_since(earlier.after));
        let most = ms(self.after.saturating_duration_since(earlier.before));
        if wall < least { wall - least } else { (wall - most).max(0) }
    }
}

/// Notices when the wall clock jumps against the monotonic clock.
#[derive(Debug)]
struct ClockGuard {
    last: Reading,
    silent_until: Option<Instant>,
}

impl ClockGuard {
    fn new(clock: &crate::clock::Clock) -> Self {
        Self { last: Reading::take(clock), silent_until: None }
    }

    fn compare(&mut self, clock: &crate::clock::Clock) {
        let reading = Reading::take(clock);
        let jump = reading.jump_since(&self.last);
        self.last = reading;
        if !(JUMP_BACK_MS_MAX..=JUMP_MS_MAX).contains(&jump) {
            counter!("quorate_clock_jumps_total").increment(1);
            tracing::warn!(jump_ms = %jump, "the wall clock jumped: nothing automatic for 30 s");
            self.silent_until = Some(Instant::now() + SILENCE_AFTER_JUMP);
        }
    }

    fn is_silent(&self) -> bool {
        self.silent_until.is_some_and(|until| Instant::now() < until)
    }
}

/// What the leader's loop is made of.
pub struct Parts {
    /// The coordinator.
    pub handle: Handle,
    /// What this coordinator holds itself.
    pub signer: SignerHandle,
    /// Leaf 0.
    pub charter: Signed<Charter>,
    /// Which followers refused our time.
    pub clock_refusals: ClockRefusals,
    /// Rung when a new observation is held.
    pub news: Arc<Notify>,
    /// The lease: what is older than twice this is no longer a refusal.
    pub lease: Duration,
}

/// Leads whenever this replica is the leader, until `stop`.
pub async fn lead(parts: Parts, stop: CancellationToken) {
    let mut guard = ClockGuard::new(parts.handle.clock());
    let mut applied = parts.handle.applied();
    let mut compare_at = Instant::now() + COMPARE_EVERY;
    let mut silenced = false;
    loop {
        let mut wake = Instant::now() + LOOK_EVERY;
        if Instant::now() >= compare_at {
            guard.compare(parts.handle.clock());
            compare_at = Instant::now() + COMPARE_EVERY;
        }
        parts.heed_refusals(&mut silenced);
        if parts.handle.leads()
            && let Some(next) = parts.tend(&guard).await
        {
            wake = wake.min(next);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            () = parts.news.notified() => {}
            () = sleep_until(wake.min(compare_at)) => {}
        }
    }
}

/// What is due, as the machine says.
struct Due {
    founded: bool,
    deadline: Option<LogTime>,
    observes: Vec<Signed<Observe>>,
}

impl Parts {
    /// Does what is due; answers when to look again.
    async fn tend(&self, guard: &ClockGuard) -> Option<Instant> {
        let held = self.signer.held().await.observations;
        let now = self.handle.clock().now();
        let due = self.handle.machine(move |machine| Due {
            founded: machine.state().ledger().is_some(),
            deadline: machine.next_deadline(),
            observes: held.into_iter().filter(|seen| is_due(machine, seen, now)).collect(),
        });
        let due = due.await.ok()?;
        if !due.founded {
            return self.propose(Body::Found(self.charter.clone())).await;
        }
        if guard.is_silent() {
            return None;
        }
        for observe in due.observes {
            if let Some(retry) = self.propose(Body::Observe(observe)).await {
                return Some(retry);
            }
        }
        let deadline = due.deadline?;
        if deadline > now {
            return Some(Instant::now() + Duration::from_millis(deadline.since(now).get()));
        }
        let retry = self.propose(Body::Tick).await;
        Some(retry.unwrap_or_else(|| Instant::now() + TICK_PAUSE))
    }

    /// Proposes for ourselves; answers when to try again if it could not be appended.
    async fn propose(&self, body: Body) -> Option<Instant> {
        match self.handle.propose(Asked::internally(body)).await {
            Ok(written) => {
                if let Err(rejection) = written.outcome {
                    tracing::debug!(%rejection, "a command of the leader was rejected");
                }
                None
            }
            Err(error) => {
                tracing::debug!(%error, "a command of the leader was not appended");
                Some(Instant::now() + RETRY_AFTER)
            }
        }
    }

    /// A leader whose times are refused by so many that it cannot commit goes silent, so that
    /// somebody with a better clock is elected; it speaks again once somebody else leads.
    fn heed_refusals(&self, silenced: &mut bool) {
        let raft = self.handle.raft();
        if *silenced {
            let another = self.handle.leader().is_some_and(|leader| leader != self.handle.own());
            if another {
                raft.runtime_config().heartbeat(true);
                raft.runtime_config().elect(true);
                self.clock_refusals.clear();
                *silenced = false;
            }
            return;
        }
        let voters = raft.voter_ids().count();
        let refused = self.clock_refusals.recent(self.lease * 2);
        if self.handle.leads() && voters.saturating_sub(refused) < voters / 2 + 1 {
            tracing::error!(
                refused,
                voters,
                now = ?SystemTime::now(),
                "a majority refuses this leader's clock: it stops its heartbeats"
            );
            raft.runtime_config().heartbeat(false);
            raft.runtime_config().elect(false);
            *silenced = true;
        }
    }
}

/// Whether an observation has to be replicated: it says something else than what is known, or a
/// proposal of its cluster is open and what is known has reached half of its freshness.
fn is_due(machine: &Machine, held: &Signed<Observe>, now: LogTime) -> bool {
    let Some(ledger) = machine.state().ledger() else { return false };
    let observe = &held.statement;
    let window = quorate_core::freshness(ledger.charter(), &observe.cluster);
    // Refused anyway: too old, or of a life of this log that is over.
    if now.since(observe.observed) > window || observe.epoch != ledger.charter().epoch {
        return false;
    }
    let Some(known) = machine.state().observations().latest(&observe.agent) else { return true };
    if observe.sequence <= known.sequence {
        return false;
    }
    if observe.fact != known.fact {
        return true;
    }
    let open = machine.state().open().values();
    let is_watched = open.map(|open| open.proposal()).any(|open| open.cluster == observe.cluster);
    is_watched && observe.observed.since(known.observed).get() >= window.get() / 2
}

/// Tells the machine once which version this coordinator can apply.
pub async fn support(handle: Handle, stop: CancellationToken) {
    let coordinator = handle.own();
    loop {
        let known = handle.machine(move |machine| {
            machine.state().ledger().map(|_| machine.state().versions().supported_by(coordinator))
        });
        match known.await {
            Ok(Some(Some(version))) if version >= MachineVersion::SUPPORTED => return,
            Ok(Some(_)) => {
                let version = MachineVersion::SUPPORTED;
                let asked = Asked::internally(Body::Support { coordinator, version });
                if let Err(error) = handle.propose(asked).await {
                    tracing::debug!(%error, "the supported version was not told yet");
                }
            }
            Ok(None) | Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(Instant::now() + LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_pause_between_two_reads_is_no_jump() {
        let begin = std::time::Instant::now();
        let at = |before: u64, wall_ms: i128, after: u64| Reading {
            before: begin + Duration::from_millis(before),
            wall_ms,
            after: begin + Duration::from_millis(after),
        };
        // Read at 1000, the wall clock at any time before 1400 because the process was not
        // scheduled.
        let first = at(0, 50_000, 0);
        assert_eq!(at(1_000, 51_000, 1_400).jump_since(&first), 0);
        assert_eq!(at(1_000, 51_400, 1_400).jump_since(&first), 0);
        assert_eq!(at(1_000, 50_900, 1_400).jump_since(&first), -100);
        assert_eq!(at(1_000, 54_400, 1_400).jump_since(&first), 3_000);
        // The earlier reading may have been the slow one.
        assert_eq!(at(1_000, 50_700, 1_000).jump_since(&at(0, 50_000, 300)), 0);
    }

    #[test]
    fn a_jump_of_the_wall_clock_silences_and_steady_time_does_not() {
        let shift = Arc::new(AtomicI64::new(0));
        let clock = Clock::shifted(Arc::clone(&shift));
        let mut guard = ClockGuard::new(&clock);
        guard.compare(&clock);
        assert!(!guard.is_silent());
        shift.store(1_500, Ordering::Relaxed);
        guard.compare(&clock);
        assert!(!guard.is_silent(), "below the bound");
        shift.store(4_500, Ordering::Relaxed);
        guard.compare(&clock);
        assert!(guard.is_silent(), "3 s forward");
        let mut guard = ClockGuard::new(&clock);
        shift.store(4_000, Ordering::Relaxed);
        guard.compare(&clock);
        assert!(guard.is_silent(), "half a second back");
    }
}
