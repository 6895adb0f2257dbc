//! The work of an agent, one thing at a time: orders, ended decisions, due undos, a dead member.
//!
//! One task does all that touches the guarded member, so that nothing of it ever happens beside
//! something else (*single-effect*). Reports are sent by another task, which touches nothing.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use quorate_attest::history::Slot;
use quorate_attest::id::MemberId;
use quorate_attest::number::FencingToken;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapters::Supervisor;
use crate::execute::{Executor, Halt, Settled};
use crate::journal::{Entry, JournalError};
use crate::report::{Reporter, ReporterHalt, Round};
use crate::trust::Standing;
use crate::undo::{self, UndoHalt};

/// How often it looks again at what waits for time.
const TICK: Duration = Duration::from_millis(500);
/// How often forgotten things are swept out.
const SWEEP: Duration = Duration::from_secs(600);
/// How long the reporter waits after a round that left something.
const RESEND_MIN: Duration = Duration::from_millis(500);
/// The longest it waits.
const RESEND_MAX: Duration = Duration::from_secs(10);

/// How long until an outcome that stays open is probed again, or a refusal asked again.
const PROBE_AGAIN: Duration = Duration::from_secs(5);
/// How long an effect may still take once the agent was told to stop.
const REST: Duration = Duration::from_secs(5);

/// When the same order is looked at again, and what was said about it already.
#[derive(Debug, Default)]
struct Pace {
    again: Option<(FencingToken, Instant)>,
    said: BTreeSet<(FencingToken, String)>,
}

impl Pace {
    fn may_ask(&self, token: FencingToken) -> bool {
        self.again.is_none_or(|(of, at)| of != token || Instant::now() >= at)
    }

    /// Said once, not at every tick.
    fn say(&mut self, token: FencingToken, why: String) {
        if !self.said.contains(&(token, why.clone())) {
            tracing::warn!(%token, why, "not started");
            self.said.insert((token, why));
        }
    }
}

/// Why the work stops.
#[derive(Debug, thiserror::Error)]
pub enum WorkHalt {
    /// Executing.
    #[error(transparent)]
    Executor(#[from] Halt),
    /// Undoing.
    #[error(transparent)]
    Undo(#[from] UndoHalt),
}

/// Stops the own member once it is tombstoned.
pub struct Stopper {
    /// The member.
    pub member: MemberId,
    /// Its process.
    pub supervisor: Supervisor,
    /// Tells the watchman, which signs the fact.
    pub stopped: watch::Sender<Option<MemberId>>,
}

/// The one task that touches the member.
pub struct Worker {
    /// Carries out decisions.
    pub executor: Executor,
    /// Stops a tombstoned member, where this agent runs its process.
    pub stopper: Option<Stopper>,
    /// Wakes the reporter.
    pub done: mpsc::Sender<()>,
}

impl Worker {
    /// Works until `stop`.
    ///
    /// # Errors
    /// [`WorkHalt`] if the journal fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkHalt> {
        let mut view = self.executor.view.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(SWEEP);
        let mut pace = Pace::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = sweep.tick() => self.sweep().await?,
                _ = tick.tick() => {}
                changed = view.changed() => if changed.is_err() { return Ok(()) },
            }
            let mut doing = pin!(self.once(&mut pace));
            tokio::select! {
                done = &mut doing => done?,
                () = stop.cancelled() => {
                    // Time to come to an end; what does not is dropped, and probed at the next start.
                    return tokio::time::timeout(REST, doing).await.unwrap_or(Ok(()));
                }
            }
        }
    }

    async fn once(&self, pace: &mut Pace) -> Result<(), WorkHalt> {
        self.stop_the_dead().await;
        self.executor.close_ended().await?;
        if let Some(slot) = self.order() {
            if pace.may_ask(slot.token) {
                self.carry_out(&slot, pace).await?;
            }
        } else {
            *pace = Pace::default();
        }
        let executor = &self.executor;
        let view = executor.view.borrow().clone();
        undo::run_due(
            &executor.journal,
            &executor.adapters,
            view,
            executor.deadlines.execute,
            executor.clock.now(),
        )
        .await?;
        Ok(())
    }

    /// The decision in the slot, if this agent's answer is awaited and nothing contradicts the log.
    fn order(&self) -> Option<Slot> {
        let view = self.executor.view.borrow();
        let order = view.order_for(&self.executor.cluster, &self.executor.name);
        order.filter(|_| view.alarm().is_none()).cloned()
    }

    async fn carry_out(&self, slot: &Slot, pace: &mut Pace) -> Result<(), WorkHalt> {
        let (cluster, token) = (self.executor.cluster.clone(), slot.token);
        // What the journal has settled needs no certificate: the reporter sends what is pending.
        let settled = self.executor.journal.with(move |journal| {
            journal.entry(&cluster, token).is_some_and(|entry| entry.phase.is_final())
        });
        if settled.await.map_err(Halt::from)? {
            return Ok(());
        }
        let number = slot.token.number;
        let certificate = self.executor.quorum.certificate(&self.executor.cluster, number).await;
        let settled = match certificate {
            Ok(bytes) => self.executor.carry_out(&bytes).await?,
            Err(asked) => Settled::Waits(asked.to_string()),
        };
        let again = match settled {
            Settled::Reported(outcome) => {
                tracing::info!(%token, answer = %outcome.answer, effect = %outcome.effect, "reported");
                let _woken = self.done.try_send(());
                PROBE_AGAIN
            }
            Settled::Known(_) | Settled::Abandoned => PROBE_AGAIN,
            Settled::Waits(why) => {
                pace.say(token, why);
                TICK
            }
            Settled::NotTaken(why) | Settled::RolledBack(why) => {
                pace.say(token, why);
                PROBE_AGAIN
            }
            Settled::Fenced(refused) => {
                pace.say(token, refused.to_string());
                PROBE_AGAIN
            }
        };
        pace.again = Some((token, Instant::now() + again));
        Ok(())
    }

    /// A member that was declared dead or fenced must not run (*dead-stays-dead*).
    async fn stop_the_dead(&self) {
        let Some(stopper) = &self.stopper else { return };
        let view = self.executor.view.borrow().clone();
        let Some(history) = view.history() else { return };
        let dead = history.tombstoned(&self.executor.cluster).contains(&stopper.member);
        if !dead {
            stopper.stopped.send_if_modified(|stopped| stopped.take().is_some());
            return;
        }
        if let Some(running) = stopper.supervisor.find() {
            tracing::warn!(member = %stopper.member, "it is tombstoned and runs: it is stopped");
            if let Err(failure) = stopper.supervisor.stop(running).await {
                tracing::error!(member = %stopper.member, %failure, "it cannot be stopped");
                return;
            }
        }
        stopper.stopped.send_if_modified(|stopped| {
            let new = stopped.is_none();
            *stopped = Some(stopper.member.clone());
            new
        });
    }

    async fn sweep(&self) -> Result<(), WorkHalt> {
        let now = self.executor.clock.now();
        let (view, name) = (self.executor.view.borrow().clone(), self.executor.name.clone());
        let has_ended = move |entry: &Entry| view.held(&entry.into(), &name) == Standing::Ended;
        let swept = self.executor.journal.with(move |journal| journal.forget(now, has_ended));
        swept.await.map_err(Halt::from)?.map_err(JournalError::from).map_err(Halt::from)?;
        Ok(())
    }
}

/// Sends reports: at once when one is made, and again until all have arrived.
///
/// # Errors
/// [`ReporterHalt`] if the journal fails.
pub async fn report(
    reporter: Reporter,
    mut wake: mpsc::Receiver<()>,
    stop: CancellationToken,
) -> Result<(), ReporterHalt> {
    let mut pause = RESEND_MIN;
    loop {
        let round = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            round = reporter.send_pending() => round?,
        };
        let again = match round {
            // Nothing is pending before the next wake; a report made while nobody listened is seen
            // at the next start, and here after a while.
            Round::AllDelivered => {
                pause = RESEND_MIN;
                RESEND_MAX
            }
            Round::SomePending => {
                pause = pause.saturating_mul(2).min(RESEND_MAX);
                pause
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            woken = wake.recv() => if woken.is_none() { return Ok(()) },
            () = tokio::time::sleep(again) => {}
        }
    }
}
