//! `qfs`: a QFS storage engine, through the operator's small program that is attached to the live one.
//!
//! The program gets one JSON object (`op`, `action`, `target`, `params`, and for an effect
//! `proposal_id`, `token`, `deadline_ms`) and answers one. For `probe` that is the engine's state:
//!
//! ```json
//! {"engine": "live", "epoch": 4, "min_active": 3,
//!  "nodes": {"n1": {"status": "active", "eligible": true}},
//!  "shards": {"s1": ["n1", "n2", "n3"]}, "objects": {"o:1": "hash_commit"},
//!  "registry": {"age_ms": 10, "nodes": 5},
//!  "telemetry": {"age_ms": 10, "nodes": 5, "schema_version": "v1.0", "telemetry_hash": "64 digits"},
//!  "replay": {"replayed": 9, "total": 9, "hash": "state hash", "differs_at": "first event"}}
//! ```
//!
//! For `execute` and `rollback` it is `{"answer": .., "detail": ..}`. The program measures and acts; it
//! judges nothing. The engine's own isolation moves no shard and its proofs are constants, so the
//! verdict rests on the shard map, the eligible set and the content digests, compared here.

mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::state::{Snapshot, State, Status, harm};
use super::child::Program;
use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::witness::Witness;

const KINDS: [Kind; 5] = [
    Kind::IsolateMember,
    Kind::UnisolateMember,
    Kind::AdvanceEpoch,
    Kind::Redistribute,
    Kind::Replay,
];

/// The engine: the table `[adapter.qfs]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QfsConfig {
    /// The program that is attached to the live engine, and its arguments. No shell is involved.
    command: Vec<String>,
    /// Working directory of the program.
    directory: Option<PathBuf>,
    /// Milliseconds after which a registry or telemetry snapshot is stale.
    #[serde(default = "snapshot_ms")]
    snapshot_ms: u64,
}

fn snapshot_ms() -> u64 {
    300_000
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: QfsConfig = table.clone().read()?;
    if config.command.is_empty() {
        return Err(table.refuse("command", "[]", "it names no program"));
    }
    let directory = config.directory.as_deref().map(|directory| site.path(directory));
    let program = Program { command: config.command, directory };
    Ok(Arc::new(QfsAdapter { program, snapshot_ms: config.snapshot_ms }))
}

#[derive(Debug)]
struct QfsAdapter {
    program: Program,
    snapshot_ms: u64,
}

#[derive(Deserialize)]
struct Answered {
    answer: String,
    #[serde(default)]
    detail: String,
}

fn condition(name: &str, held: bool, fact: String) -> Precondition {
    Precondition { name: name.into(), held: if held { Held::Yes } else { Held::No }, fact }
}

fn member(action: &Action) -> &str {
    action.target.as_str().strip_prefix("member:").unwrap_or("")
}

fn epoch(action: &Action) -> Result<u64, PrepareRefused> {
    let why = "a number is needed".to_owned();
    let refused = PrepareRefused::ParamRefused { kind: action.kind, key: "epoch".into(), why };
    action.param("epoch").and_then(|epoch| epoch.parse().ok()).ok_or(refused)
}

impl QfsAdapter {
    fn input(&self, op: &str, action: &Action, order: Option<&Order>) -> Vec<u8> {
        let params: Vec<String> = action.params.iter().map(ToString::to_string).collect();
        let mut input = json!({
            "op": op, "action": action.kind.as_str(), "target": action.target.as_str(),
            "params": params,
        });
        if let Some(order) = order {
            input["proposal_id"] = Value::String(order.proposal.to_string());
            input["token"] = Value::String(order.token.to_string());
            input["deadline_ms"] =
                json!(u64::try_from(order.deadline.as_millis()).unwrap_or(u64::MAX));
        }
        input.to_string().into_bytes()
    }

    async fn state(&self, action: &Action, deadline: Duration) -> Result<State, String> {
        let input = self.input("probe", action, None);
        let answer = self.program.call(input, None, deadline, &CancellationToken::new()).await;
        let answer = answer.map_err(|failure| failure.to_string())?;
        serde_json::from_slice(&answer).map_err(|e| format!("the engine's state: {e}"))
    }

    fn conditions(
        &self,
        action: &Action,
        now: &State,
    ) -> Result<Vec<Precondition>, PrepareRefused> {
        let mut conditions =
            vec![condition("engine-live", now.engine == "live", format!("engine {}", now.engine))];
        let node = now.nodes.get(member(action));
        let status = node.map(|node| node.status);
        if action.kind == Kind::IsolateMember {
            let (active, least) = (now.active(), now.min_active);
            let fact = format!("{status:?}");
            conditions.push(condition("node-active", status == Some(Status::Active), fact));
            let fact = format!("{active} active, {least} needed");
            conditions.push(condition("min-healthy", active > least, fact));
        }
        if action.kind == Kind::UnisolateMember {
            let fact = format!("{status:?}");
            conditions.push(condition("node-inactive", status == Some(Status::Inactive), fact));
        }
        if action.kind == Kind::AdvanceEpoch {
            let wanted = epoch(action)?;
            let fact = format!("epoch {} now, {wanted} wanted", now.epoch);
            conditions.push(condition(
                "epoch-next",
                Some(wanted) == now.epoch.checked_add(1),
                fact,
            ));
            conditions.push(self.snapshot("registry", &now.registry, true));
            let telemetry = &now.telemetry;
            let shaped = telemetry.schema_version.as_deref() == Some("v1.0")
                && telemetry.telemetry_hash.as_ref().is_some_and(|hash| hash.len() == 64);
            conditions.push(self.snapshot("telemetry", telemetry, shaped));
        }
        if action.kind == Kind::Redistribute {
            let misplaced = now.misplaced(None);
            let fact = format!("shards of nodes that are not active: {misplaced:?}");
            conditions.push(condition("misplaced-shards", !misplaced.is_empty(), fact));
        }
        Ok(conditions)
    }

    /// An empty snapshot makes every node ineligible; a stale one speaks of another network.
    fn snapshot(&self, name: &str, snapshot: &Snapshot, shaped: bool) -> Precondition {
        let fresh = snapshot.nodes > 0 && snapshot.age_ms <= self.snapshot_ms;
        condition(&format!("{name}-snapshot"), fresh && shaped, format!("{snapshot:?}"))
    }

    async fn act(&self, op: &str, prepared: &Prepared, order: &Order) -> Execution {
        let input = self.input(op, &prepared.action, Some(order));
        let called =
            self.program.call(input, Some(&order.proposal), order.deadline, &order.stop).await;
        let answered = match called {
            Ok(answer) => serde_json::from_slice::<Answered>(&answer).map_err(|e| e.to_string()),
            Err(failure) if failure.nothing_ran() => {
                return Execution::new(Answer::Failed, failure.to_string());
            }
            Err(failure) => Err(failure.to_string()),
        };
        match answered.map(|said| (said.answer.parse::<Answer>(), said)) {
            Ok((Ok(answer), said)) => Execution::new(answer, said.detail),
            Ok((Err(_), said)) => Execution::new(Answer::Unknown, format!("{:?}", said.answer)),
            Err(why) => Execution::new(Answer::Unknown, why),
        }
    }
}

fn judge(action: &Action, before: &State, now: &State) -> (Effect, String) {
    if let Some(harm) = harm(before, now) {
        return (Effect::Harmful, harm);
    }
    let status = now.nodes.get(member(action)).map(|node| node.status);
    let (done, says) = if action.kind == Kind::IsolateMember {
        let held = now.misplaced(Some(member(action)));
        let out = status == Some(Status::Inactive) && !now.eligible().contains(member(action));
        (out && held.is_empty(), format!("{status:?}, it still holds {held:?}"))
    } else if action.kind == Kind::UnisolateMember {
        (status == Some(Status::Active), format!("{status:?}"))
    } else if action.kind == Kind::AdvanceEpoch {
        (Some(now.epoch) == epoch(action).ok(), format!("epoch {}", now.epoch))
    } else if action.kind == Kind::Redistribute {
        let held = now.misplaced(None);
        (held.is_empty(), format!("nodes that are not active hold {held:?}"))
    } else {
        return replayed(action, now);
    };
    (if done { Effect::Effective } else { Effect::Ineffective }, says)
}

/// Compared with the hash that was voted on; what a replay says of itself counts for nothing.
fn replayed(action: &Action, now: &State) -> (Effect, String) {
    let Some(replay) = &now.replay else {
        return (Effect::Ineffective, "nothing was replayed".into());
    };
    let says = format!("{} of {}, {}", replay.replayed, replay.total, replay.hash);
    let same = action.param("expected") == Some(replay.hash.as_str());
    if same && replay.replayed == replay.total && replay.total > 0 {
        return (Effect::Effective, says);
    }
    (Effect::Ineffective, format!("{says}; first difference {:?}", replay.differs_at))
}

#[async_trait]
impl Adapter for QfsAdapter {
    fn describe(&self) -> Description {
        let gaps = vec![
            "the engine moves no shard: isolation is effective only with a redistribution behind it"
                .to_owned(),
            "a storage proof is a constant and is not asked for".to_owned(),
            "status changes and unregistrations are in no log, so no replay shows them".to_owned(),
            "without a live engine behind the program every action is refused".to_owned(),
        ];
        let kinds = KINDS.to_vec();
        Description { system: "qfs storage engine".into(), judges: kinds.clone(), kinds, gaps }
    }

    async fn probe(&self, action: &Action, deadline: Duration) -> Observation {
        let witness = self.state(action, deadline).await.map(|state| state.witness());
        let witness = witness.unwrap_or_default();
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if !KINDS.contains(&action.kind) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        if action.kind == Kind::Replay && action.param("expected").is_none() {
            let why = "the hash to compare with is fixed before the replay starts".to_owned();
            let (kind, key) = (action.kind, "expected".to_owned());
            return Err(PrepareRefused::ParamRefused { kind, key, why });
        }
        let state = self.state(action, deadline).await;
        let state = state.map_err(|why| PrepareRefused::NoWitness { why })?;
        let preconditions = self.conditions(action, &state)?;
        let witness = state.witness();
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        let refused = |why: String| Execution::new(Answer::RefusedPrecondition, why);
        let now = match self.state(&prepared.action, order.deadline).await {
            Ok(now) => now,
            Err(why) => return refused(why),
        };
        match self.conditions(&prepared.action, &now) {
            Err(why) => return refused(why.to_string()),
            Ok(conditions) => {
                if let Some(unmet) = conditions.iter().find(|one| one.held != Held::Yes) {
                    return refused(format!("{}: {}", unmet.name, unmet.fact));
                }
            }
        }
        self.act("execute", prepared, order).await
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let before = State::of(&prepared.witness);
        let now = self.state(&prepared.action, deadline).await;
        let (before, now) = match (before, now) {
            (Some(before), Ok(now)) => (before, now),
            (None, _) => {
                let difference = "the witness cannot be read".to_owned();
                let after = Witness::default();
                return Verdict { effect: Effect::Inconclusive, after, difference };
            }
            (_, Err(difference)) => {
                let after = Witness::default();
                return Verdict { effect: Effect::Inconclusive, after, difference };
            }
        };
        let (effect, difference) = judge(&prepared.action, &before, &now);
        Verdict { effect, after: now.witness(), difference }
    }

    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution {
        if prepared.action.kind != Kind::IsolateMember {
            let why = "an epoch is never taken back, and nothing else has a way back";
            return Execution::new(Answer::RefusedPrecondition, why);
        }
        self.act("rollback", prepared, order).await
    }
}
