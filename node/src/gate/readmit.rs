//! `readmit`, for systems whose own adapter does not carry it out: nothing is done to the member, its
//! gate opens. What is checked is what the re-admission names: this host, this directory, empty.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;

use super::place::{Contents, GateConfig, Place};
use crate::adapters::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::witness::{Measure, Witness};

const HOST: &str = "host";
const DIRECTORY: &str = "directory";
const CONTENTS: &str = "contents";

/// Lets the member of this agent in again.
#[derive(Debug, Clone)]
pub struct ReadmitAdapter {
    member: String,
    config: GateConfig,
}

impl ReadmitAdapter {
    /// For the agent beside `member`.
    #[must_use]
    pub fn new(member: &str, config: GateConfig) -> Self {
        Self { member: member.to_owned(), config }
    }

    fn measure(&self) -> Witness {
        let Ok(place) = Place::look(&self.config) else {
            return [HOST, DIRECTORY, CONTENTS]
                .into_iter()
                .fold(Witness::default(), |known, name| known.with(name, Measure::Unreachable));
        };
        let directory = match &place.directory {
            Some(directory) => Measure::Value(directory.display().to_string()),
            None => Measure::Absent,
        };
        let contents = match &place.contents {
            Contents::NotNamed => Measure::Absent,
            Contents::Empty => Measure::Value("empty".into()),
            Contents::Unmarked { .. } => Measure::Value("unmarked".into()),
            Contents::Marked { identity, .. } => Measure::Value(identity.to_string()),
        };
        Witness::default()
            .with(HOST, Measure::Value(place.host))
            .with(DIRECTORY, directory)
            .with(CONTENTS, contents)
    }

    fn conditions(action: &Action, now: &Witness) -> Vec<Precondition> {
        let is = |name: &str, wanted: Option<&str>| {
            let found = now.get(name);
            let held = match found {
                Measure::Unreachable => Held::Unknown,
                Measure::Value(_) | Measure::Absent => {
                    let same = wanted.is_some() && found.value() == wanted;
                    if same { Held::Yes } else { Held::No }
                }
            };
            let fact = format!("{found}, named is {}", wanted.unwrap_or("nothing"));
            Precondition { name: name.to_owned(), held, fact }
        };
        vec![
            is(HOST, action.param(HOST)),
            is(DIRECTORY, action.param(DIRECTORY)),
            is(CONTENTS, Some("empty")),
        ]
    }
}

#[async_trait]
impl Adapter for ReadmitAdapter {
    fn describe(&self) -> Description {
        Description {
            system: "gate".into(),
            kinds: vec![Kind::Readmit],
            // Nobody else can look at that host's directory.
            judges: Vec::new(),
            gaps: vec!["an empty directory on another host is not seen from here".into()],
        }
    }

    async fn probe(&self, _: &Action, _: Duration) -> Observation {
        let witness = self.measure();
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect::<BTreeMap<_, _>>() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        _: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if action.kind != Kind::Readmit {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        if action.param("member") != Some(self.member.as_str()) {
            return Err(PrepareRefused::TargetRefused {
                target: action.target.to_string(),
                why: format!("this agent runs beside {}", self.member),
            });
        }
        let witness = self.measure();
        let preconditions = Self::conditions(action, &witness);
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, _: &Order) -> Execution {
        let conditions = Self::conditions(&prepared.action, &self.measure());
        match conditions.iter().find(|condition| condition.held != Held::Yes) {
            Some(unmet) => Execution::new(
                Answer::RefusedPrecondition,
                format!("{}: {}", unmet.name, unmet.fact),
            ),
            // The tombstone went with the decision's leaf; the gate reads it there.
            None => Execution::new(Answer::Applied, "its gate opens"),
        }
    }

    /// The gate may have marked the directory by now: then it is no longer empty, and effective.
    async fn verify(&self, prepared: &Prepared, _: Duration) -> Verdict {
        let after = self.measure();
        let same = |name: &str| after.get(name) == prepared.witness.get(name);
        let effect = match (same(HOST) && same(DIRECTORY), after.get(CONTENTS).value()) {
            (true, Some("unmarked")) | (false, _) => Effect::Ineffective,
            (true, Some(_)) => Effect::Effective,
            (true, None) => Effect::Inconclusive,
        };
        let difference = format!("contents {}", after.get(CONTENTS));
        Verdict { effect, after, difference }
    }

    async fn rollback(&self, _: &Prepared, _: &Order) -> Execution {
        Execution::new(Answer::RefusedPrecondition, "a re-admission has no way back")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_named_host_and_the_named_empty_directory_hold() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("n2");
        let adapter = |host: &str| {
            let config = GateConfig {
                directory: Some(directory.clone()),
                host: Some(host.to_owned()),
                ..GateConfig::default()
            };
            ReadmitAdapter::new("n2", config)
        };
        let named = format!("directory {}", directory.display());
        let action = Action {
            kind: Kind::Readmit,
            target: "member:n2".parse().unwrap(),
            params: [named.as_str(), "host host-b", "member n2"]
                .iter()
                .map(|param| param.parse().unwrap())
                .collect(),
        };
        let unmet = async |adapter: &ReadmitAdapter| {
            let plan = crate::plan::plan_of(&"process".parse().unwrap(), &action);
            let prepared = adapter.prepare(&action, &plan, Duration::ZERO).await.unwrap();
            prepared.unmet().map(|unmet| unmet.name.clone())
        };
        assert_eq!(unmet(&adapter("host-b")).await, None);
        assert_eq!(unmet(&adapter("host-a")).await.as_deref(), Some(HOST));
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(unmet(&adapter("host-b")).await, None);
        std::fs::write(directory.join("old"), "data").unwrap();
        assert_eq!(unmet(&adapter("host-b")).await.as_deref(), Some(CONTENTS));
        let none = ReadmitAdapter::new("n2", GateConfig::default());
        assert!(unmet(&none).await.is_some());
        let other = ReadmitAdapter::new("n3", GateConfig::default());
        let plan = crate::plan::plan_of(&"process".parse().unwrap(), &action);
        assert!(other.prepare(&action, &plan, Duration::ZERO).await.is_err());
    }
}
