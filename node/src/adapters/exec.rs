//! The `exec` adapter: one JSON document in, one JSON document out, one program of the operator's.
//!
//! The program gets `{"call", "kind", "target", "params", ...}` on standard input and answers one
//! document on standard output:
//!
//! | call | gets besides | answers |
//! |--|--|--|
//! | `probe` | | `{"signals": {name: value or null}}` |
//! | `prepare` | | `{"witness": {..}, "preconditions": [{"name", "held", "fact"}]}` |
//! | `execute`, `rollback` | `proposal`, `token`, `deadline_ms`, `witness` | `{"answer": .., "detail": ..}` |
//! | `verify` | `witness` | `{"effect": .., "witness": {..}, "difference": ..}` |
//!
//! In a witness `null` is *absent* and a missing name is *unreachable*. The exit code is honoured:
//! an answer counts only with exit code 0. A hang, a signal, another code or an answer that cannot
//! be read is *unknown* for `execute`, *inconclusive* for `verify`, and no witness for `prepare`.
//! At the deadline, and when operators abandon the action, the whole process group is killed.
//!
//! *Effective* must show in the witness: equal before and after is *ineffective*, whatever the program
//! says. One that finds its work done already says so by a precondition that does not hold.

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::{ProposalId, Word};
use quorate_attest::proposal::Param;
use quorate_attest::remediation::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::child::{CallFailed, Program};
use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::witness::{Measure, Witness};

/// The program that carries kinds out: the table `[adapter.exec]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// Program and arguments. No shell is involved.
    pub command: Vec<String>,
    /// The kinds it carries out, for example `ban-peer`.
    pub kinds: Vec<String>,
    /// Working directory of the program.
    #[serde(default)]
    pub directory: Option<PathBuf>,
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: ExecConfig = table.clone().read()?;
    if config.command.is_empty() {
        return Err(table.refuse("command", "[]", "it names no program"));
    }
    let directory = config.directory.as_deref().map(|directory| site.path(directory));
    let adapter = ExecAdapter::new(ExecConfig { directory, ..config });
    let adapter =
        adapter.map_err(|refused| table.refuse("kinds", &refused.word, refused.to_string()))?;
    Ok(Arc::new(adapter))
}

/// Carries kinds out by a program that speaks JSON.
#[derive(Debug, Clone)]
pub struct ExecAdapter {
    program: Program,
    kinds: Vec<Kind>,
}

#[derive(Serialize)]
struct Request<'a> {
    call: &'static str,
    kind: &'static str,
    target: &'a str,
    params: Vec<(&'a str, Vec<&'a str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    witness: Option<BTreeMap<&'a str, Option<&'a str>>>,
}

#[derive(Serialize)]
struct OrderJson {
    proposal: String,
    token: String,
    deadline_ms: u64,
}

type WitnessJson = BTreeMap<String, Option<String>>;

#[derive(Deserialize)]
struct ProbeJson {
    signals: WitnessJson,
}

#[derive(Deserialize)]
struct PrepareJson {
    witness: WitnessJson,
    preconditions: Vec<PreconditionJson>,
}

#[derive(Deserialize)]
struct PreconditionJson {
    name: String,
    held: Option<bool>,
    #[serde(default)]
    fact: String,
}

#[derive(Deserialize)]
struct ExecuteJson {
    answer: String,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
struct VerifyJson {
    effect: String,
    witness: WitnessJson,
    #[serde(default)]
    difference: String,
}

impl ExecAdapter {
    /// An adapter from its configuration.
    ///
    /// # Errors
    /// The word of the first kind that does not exist.
    pub fn new(config: ExecConfig) -> Result<Self, UnknownKind> {
        let kinds = config
            .kinds
            .iter()
            .map(|word| word.parse().map_err(|_| UnknownKind { word: word.clone() }))
            .collect::<Result<_, _>>()?;
        let program = Program { command: config.command, directory: config.directory };
        Ok(Self { program, kinds })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
        proposal: Option<&ProposalId>,
        deadline: Duration,
        stop: &CancellationToken,
    ) -> Result<T, CallFailed> {
        let input = serde_json::to_vec(request)?;
        let answer = self.program.call(input, proposal, deadline, stop).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
        deadline: Duration,
    ) -> Result<T, CallFailed> {
        self.call(request, None, deadline, &CancellationToken::new()).await
    }

    async fn act(&self, call: &'static str, prepared: &Prepared, order: &Order) -> Execution {
        let mut request = request(call, &prepared.action);
        request.witness = Some(witness_json(&prepared.witness));
        request.order = Some(OrderJson {
            proposal: order.proposal.to_string(),
            token: order.token.to_string(),
            deadline_ms: u64::try_from(order.deadline.as_millis()).unwrap_or(u64::MAX),
        });
        let proposal = Some(&order.proposal);
        match self.call::<ExecuteJson>(&request, proposal, order.deadline, &order.stop).await {
            Ok(answered) => match answered.answer.parse::<Answer>() {
                Ok(answer) => Execution::new(answer, answered.detail),
                Err(_) => Execution::new(Answer::Unknown, format!("answer {:?}", answered.answer)),
            },
            Err(failure) if failure.nothing_ran() => {
                Execution::new(Answer::Failed, failure.to_string())
            }
            Err(failure) => Execution::new(Answer::Unknown, failure.to_string()),
        }
    }
}

/// A kind that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{word:?} is no kind of remediation")]
pub struct UnknownKind {
    /// The word of the configuration.
    pub word: String,
}

fn request<'a>(call: &'static str, action: &'a Action) -> Request<'a> {
    let words = |param: &'a Param| {
        let words = iter::once(&param.value).chain(&param.extra);
        (param.key.as_str(), words.map(Word::as_str).collect())
    };
    let params = action.params.iter().map(words).collect();
    Request {
        call,
        kind: action.kind.as_str(),
        target: action.target.as_str(),
        params,
        order: None,
        witness: None,
    }
}

fn witness_json(witness: &Witness) -> BTreeMap<&str, Option<&str>> {
    witness
        .iter()
        .filter(|(_, measure)| **measure != Measure::Unreachable)
        .map(|(name, measure)| (name, measure.value()))
        .collect()
}

fn witness_of(json: WitnessJson) -> Witness {
    json.into_iter()
        .map(|(name, value)| (name, value.map_or(Measure::Absent, Measure::Value)))
        .collect()
}

/// A program's *effective* counts only if its own measurements show a difference.
fn shown(before: &Witness, after: &Witness, difference: String) -> (Effect, String) {
    if !after.iter().any(|(_, measure)| measure.value().is_some()) {
        return (Effect::Inconclusive, "it says effective and measured nothing".to_owned());
    }
    if before == after {
        let why = "it says effective, and nothing it measured has changed".to_owned();
        return (Effect::Ineffective, why);
    }
    (Effect::Effective, difference)
}

#[async_trait]
impl Adapter for ExecAdapter {
    fn describe(&self) -> Description {
        let system = self.program.name().to_owned();
        let gaps = vec!["what the program does not measure is not verified".into()];
        Description { system, kinds: self.kinds.clone(), judges: self.kinds.clone(), gaps }
    }

    async fn probe(&self, action: &Action, deadline: Duration) -> Observation {
        let request = request("probe", action);
        match self.ask::<ProbeJson>(&request, deadline).await {
            Ok(answered) => {
                let signals = answered.signals.into_iter();
                let signals = signals
                    .map(|(name, value)| (name, value.map_or(Measure::Absent, Measure::Value)));
                Observation { signals: signals.collect() }
            }
            Err(_) => Observation { signals: BTreeMap::new() },
        }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if !self.kinds.contains(&action.kind) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let request = request("prepare", action);
        let answered = self
            .ask::<PrepareJson>(&request, deadline)
            .await
            .map_err(|failure| PrepareRefused::NoWitness { why: failure.to_string() })?;
        let preconditions = answered
            .preconditions
            .into_iter()
            .map(|condition| Precondition {
                name: condition.name,
                held: condition
                    .held
                    .map_or(Held::Unknown, |held| if held { Held::Yes } else { Held::No }),
                fact: condition.fact,
            })
            .collect();
        let witness = witness_of(answered.witness);
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        self.act("execute", prepared, order).await
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let mut request = request("verify", &prepared.action);
        request.witness = Some(witness_json(&prepared.witness));
        let answered = match self.ask::<VerifyJson>(&request, deadline).await {
            Ok(answered) => answered,
            Err(failure) => {
                let (effect, after) = (Effect::Inconclusive, Witness::default());
                return Verdict { effect, after, difference: failure.to_string() };
            }
        };
        let after = witness_of(answered.witness);
        let (effect, difference) = match answered.effect.parse::<Effect>() {
            Ok(Effect::Effective) => shown(&prepared.witness, &after, answered.difference),
            Ok(effect) => (effect, answered.difference),
            Err(_) => {
                (Effect::Inconclusive, format!("effect {:?} is none we know", answered.effect))
            }
        };
        Verdict { effect, after, difference }
    }

    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution {
        self.act("rollback", prepared, order).await
    }
}
