//! The `process` adapter: `restart` of the member this agent runs beside.
//!
//! Witness: the process (id and start time) and whether the member answers. A restart is proven by
//! *another* process that lives and answers through the whole stability window; one that was up
//! for 29 of 30 seconds is not.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use tokio::time::Instant;

use super::supervisor::{ProcessConfig, Running, Supervisor, SupervisorError};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::probe::{Probe, Reading};
use crate::witness::{Measure, Witness};

const PROCESS: &str = "process";
const ANSWERS: &str = "answers";
const POLL: Duration = Duration::from_millis(50);

/// Restarts one local process and checks that it stays up.
#[derive(Debug, Clone)]
pub struct ProcessAdapter {
    supervisor: Supervisor,
    target: String,
    health: Option<Probe>,
}

impl ProcessAdapter {
    /// An adapter for `member` of `cluster`; `health` is how the member shows that it works.
    #[must_use]
    pub fn new(cluster: &str, member: &str, config: ProcessConfig, health: Option<Probe>) -> Self {
        Self {
            supervisor: Supervisor::new(config, &format!("{cluster}/{member}")),
            target: format!("member:{member}"),
            health,
        }
    }

    /// The supervisor below it.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    fn check_target(&self, action: &Action) -> Result<(), PrepareRefused> {
        if action.kind != Kind::Restart {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        if action.target.as_str() != self.target {
            return Err(PrepareRefused::TargetRefused {
                target: action.target.to_string(),
                why: format!("this agent runs beside {}", self.target),
            });
        }
        Ok(())
    }

    async fn measure(&self, deadline: Duration) -> Witness {
        let process = match self.supervisor.find() {
            Some(running) => Measure::Value(running.text()),
            None => Measure::Absent,
        };
        let answers = match &self.health {
            None => Measure::Absent,
            Some(probe) => match probe.read(deadline).await {
                Reading::Up => Measure::Value("yes".into()),
                Reading::Down => Measure::Value("no".into()),
                Reading::Unreachable => Measure::Unreachable,
            },
        };
        Witness::default().with(PROCESS, process).with(ANSWERS, answers)
    }

    /// A restart is due if the process is gone, or is there and does not answer.
    fn conditions(&self, now: &Witness) -> Vec<Precondition> {
        let gone = now.get(PROCESS) == &Measure::Absent;
        let answering = now.get(ANSWERS).value() == Some("yes");
        let held = if gone || (self.health.is_some() && !answering) { Held::Yes } else { Held::No };
        let fact = format!("process {}, answers {}", now.get(PROCESS), now.get(ANSWERS));
        vec![Precondition { name: "not-answering".into(), held, fact }]
    }

    /// Stops the measured process, if it is still there, and starts another.
    async fn replace(&self, before: Option<Running>) -> Result<Running, SupervisorError> {
        if let Some(running) = before {
            self.supervisor.stop(running).await?;
        }
        self.supervisor.start().await
    }

    async fn run(&self, prepared: &Prepared, order: &Order) -> Execution {
        let before = prepared.witness.get(PROCESS).value().map(str::to_owned);
        let now = self.supervisor.find();
        // Proof by probe: another process than the one measured runs already and answers.
        if let Some(running) = now
            && Some(running.text()) != before
            && self.answers_now(order.deadline).await
        {
            return Execution::new(Answer::AlreadyApplied, format!("{} runs", running.text()));
        }
        let measured = self.measure(order.deadline).await;
        if let Some(unmet) = self.conditions(&measured).iter().find(|c| c.held != Held::Yes) {
            return Execution::new(Answer::RefusedPrecondition, unmet.fact.clone());
        }
        let replaced = tokio::select! {
            // Stopped by operators, or too late: what was begun may or may not have happened.
            () = order.stop.cancelled() => return self.give_up(now, "abandoned").await,
            replaced = tokio::time::timeout(order.deadline, self.replace(now)) => replaced,
        };
        match replaced {
            Err(_) => self.give_up(now, "the deadline passed").await,
            Ok(Ok(running)) => {
                Execution::new(Answer::Applied, format!("started {}", running.text()))
            }
            Ok(Err(failure @ (SupervisorError::NoCommand | SupervisorError::Start { .. }))) => {
                Execution::new(Answer::Failed, failure.to_string())
            }
            Ok(Err(
                failure @ (SupervisorError::Unkillable { .. }
                | SupervisorError::Signal { .. }
                | SupervisorError::PidFile { .. }),
            )) => Execution::new(Answer::Unknown, failure.to_string()),
        }
    }

    /// Kills what this action has started, so that nothing of it goes on by itself. A process
    /// that was there before is not the action's.
    async fn give_up(&self, before: Option<Running>, why: &str) -> Execution {
        if let Some(running) = self.supervisor.find().filter(|found| Some(*found) != before)
            && let Err(failure) = self.supervisor.kill(running).await
        {
            return Execution::new(Answer::Unknown, format!("{why}; {failure}"));
        }
        Execution::new(Answer::Unknown, format!("{why}; what it had started was killed"))
    }

    async fn answers_now(&self, deadline: Duration) -> bool {
        match &self.health {
            None => true,
            Some(probe) => probe.read(deadline).await == Reading::Up,
        }
    }

    /// Waits for the first answer, then for the stability window with one and the same process.
    async fn stays(&self, running: Running, deadline: Duration) -> Result<(), String> {
        let config = self.supervisor.config();
        let begin = Instant::now() + Duration::from_millis(config.start_ms).min(deadline);
        while !self.answers_now(Duration::from_secs(1)).await {
            if self.supervisor.find() != Some(running) {
                return Err(format!("process {} ended during its start", running.text()));
            }
            if Instant::now() >= begin {
                return Err(format!("it does not answer {} ms after its start", config.start_ms));
            }
            tokio::time::sleep(POLL).await;
        }
        let end = Instant::now() + Duration::from_millis(config.stable_ms).min(deadline);
        loop {
            if self.supervisor.find() != Some(running) {
                return Err(format!(
                    "process {} ended within the stability window",
                    running.text()
                ));
            }
            if Instant::now() >= end {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[async_trait]
impl Adapter for ProcessAdapter {
    fn describe(&self) -> Description {
        Description {
            system: PROCESS.into(),
            kinds: vec![Kind::Restart],
            judges: vec![Kind::Restart],
            gaps: vec!["a process that ignores SIGKILL cannot be restarted".into()],
        }
    }

    async fn probe(&self, action: &Action, deadline: Duration) -> Observation {
        if self.check_target(action).is_err() {
            return Observation { signals: BTreeMap::new() };
        }
        let witness = self.measure(deadline).await;
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        self.check_target(action)?;
        let witness = self.measure(deadline).await;
        let preconditions = self.conditions(&witness);
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        self.run(prepared, order).await
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let before = prepared.witness.get(PROCESS).value().map(str::to_owned);
        let (effect, difference) = match self.supervisor.find() {
            None if before.is_some() && prepared.witness.get(ANSWERS).value() == Some("yes") => {
                (Effect::Harmful, "it answered before and is gone".to_owned())
            }
            None => (Effect::Ineffective, "it does not run".to_owned()),
            Some(running) if Some(running.text()) == before => {
                (Effect::Ineffective, format!("process {} was never replaced", running.text()))
            }
            Some(running) => match self.stays(running, deadline).await {
                Ok(()) => (
                    Effect::Effective,
                    format!(
                        "process {} in place of {}",
                        running.text(),
                        prepared.witness.get(PROCESS)
                    ),
                ),
                Err(why) => (Effect::Ineffective, why),
            },
        };
        Verdict { effect, after: self.measure(deadline).await, difference }
    }

    async fn rollback(&self, _prepared: &Prepared, _order: &Order) -> Execution {
        Execution::new(Answer::RefusedPrecondition, "a restart has no way back")
    }
}
