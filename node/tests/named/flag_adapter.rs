//! `flag`: `quiesce` of a service that reads a file. While the file is there, the service refuses
//! writes and its status page says `"mode":"maintenance"`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use quorate_node::plan::Plan;
use quorate_node::probe::{Probe, Reading};
use quorate_node::witness::{Measure, Witness};
use serde::Deserialize;

/// The service: the table `[adapter.flag]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlagConfig {
    /// The file.
    pub(crate) flag: PathBuf,
    /// How the service shows that it is quiet: `http://host:port/status#mode=maintenance`.
    pub(crate) quiet: String,
}

#[derive(Debug)]
pub(crate) struct FlagAdapter {
    pub(crate) flag: PathBuf,
    pub(crate) quiet: Probe,
}

impl FlagAdapter {
    /// What the service says, not what the file system says: the file proves nothing.
    async fn measure(&self, deadline: Duration) -> Witness {
        let quiet = match self.quiet.read(deadline).await {
            Reading::Up => Measure::Value("yes".into()),
            Reading::Down => Measure::Value("no".into()),
            Reading::Unreachable => Measure::Unreachable,
        };
        Witness::default().with("quiet", quiet)
    }

    fn condition(now: &Witness) -> Precondition {
        let held = match now.get("quiet").value() {
            Some("no") => Held::Yes,
            Some(_) => Held::No,
            None => Held::Unknown,
        };
        let fact = format!("quiet: {}", now.get("quiet"));
        Precondition { name: "not-quiet".into(), held, fact }
    }
}

#[async_trait]
impl Adapter for FlagAdapter {
    fn describe(&self) -> Description {
        Description {
            system: "a service with a flag".into(),
            kinds: vec![Kind::Quiesce],
            judges: vec![Kind::Quiesce],
            gaps: vec!["that writes are refused is the status page's word".into()],
        }
    }

    async fn probe(&self, _action: &Action, deadline: Duration) -> Observation {
        let witness = self.measure(deadline).await;
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect::<BTreeMap<_, _>>() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if action.kind != Kind::Quiesce {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let witness = self.measure(deadline).await;
        let preconditions = vec![Self::condition(&witness)];
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, _prepared: &Prepared, order: &Order) -> Execution {
        // Again, and now: what was prepared may be an hour old.
        let condition = Self::condition(&self.measure(order.deadline).await);
        match condition.held {
            Held::No => return Execution::new(Answer::AlreadyApplied, condition.fact),
            Held::Unknown => return Execution::new(Answer::RefusedPrecondition, condition.fact),
            Held::Yes => {}
        }
        match tokio::time::timeout(order.deadline, tokio::fs::write(&self.flag, b"")).await {
            Ok(Ok(())) => Execution::new(Answer::Applied, "the flag is there"),
            Ok(Err(why)) => Execution::new(Answer::Failed, why.to_string()),
            Err(_) => Execution::new(Answer::Unknown, "no answer within the deadline"),
        }
    }

    async fn verify(&self, _prepared: &Prepared, deadline: Duration) -> Verdict {
        let end = tokio::time::Instant::now() + deadline.min(Duration::from_secs(2));
        loop {
            let after = self.measure(deadline).await;
            let effect = match after.get("quiet").value() {
                Some("yes") => Effect::Effective,
                Some(_) => Effect::Ineffective,
                None => Effect::Inconclusive,
            };
            if effect == Effect::Effective || tokio::time::Instant::now() >= end {
                let difference = format!("quiet: {}", after.get("quiet"));
                return Verdict { effect, after, difference };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn rollback(&self, _prepared: &Prepared, _order: &Order) -> Execution {
        match tokio::fs::remove_file(&self.flag).await {
            Ok(()) => Execution::new(Answer::Applied, "the flag is gone"),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                Execution::new(Answer::AlreadyApplied, "there is no flag")
            }
            Err(why) => Execution::new(Answer::Failed, why.to_string()),
        }
    }
}
