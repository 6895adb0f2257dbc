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

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, iter};

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::Word;
use quorate_attest::proposal::Param;
use quorate_attest::remediation::Kind;
use rustix::process::{Pid, Signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::orphan::ORDER;
use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::witness::{Measure, Witness};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 65_536;

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
    command: Vec<String>,
    directory: Option<PathBuf>,
    kinds: Vec<Kind>,
}

/// Why a call has no answer.
#[derive(Debug, Error)]
enum CallFailed {
    #[error("exec.command is empty")]
    NoCommand,
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("no answer within {ms} ms; its process group was killed")]
    Deadline { ms: u128 },
    #[error("abandoned; its process group was killed")]
    Stopped,
    #[error("its pipes broke: {0}")]
    Pipe(std::io::Error),
    #[error("it ended with {status}")]
    Exit { status: std::process::ExitStatus },
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("its answer cannot be read: {0}")]
    Unreadable(serde_json::Error),
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
        Ok(Self { command: config.command, directory: config.directory, kinds })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
        deadline: Duration,
        stop: &CancellationToken,
    ) -> Result<T, CallFailed> {
        let (program, arguments) = self.command.split_first().ok_or(CallFailed::NoCommand)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(order) = &request.order {
            command.env(ORDER, &order.proposal);
        }
        let child = command
            .spawn()
            .map_err(|source| CallFailed::Start { program: program.clone(), source })?;
        let group = Group::of(&child);
        let input = serde_json::to_vec(request).map_err(CallFailed::Unreadable)?;
        let answered = tokio::select! {
            () = stop.cancelled() => Err(CallFailed::Stopped),
            answered = tokio::time::timeout(deadline, converse(child, input)) => {
                answered.unwrap_or(Err(CallFailed::Deadline { ms: deadline.as_millis() }))
            }
        };
        // Also after an orderly end: what it left behind in its group must not go on by itself.
        drop(group);
        serde_json::from_slice(&answered?).map_err(CallFailed::Unreadable)
    }

    async fn act(&self, call: &'static str, prepared: &Prepared, order: &Order) -> Execution {
        let mut request = request(call, &prepared.action);
        request.witness = Some(witness_json(&prepared.witness));
        request.order = Some(OrderJson {
            proposal: order.proposal.to_string(),
            token: order.token.to_string(),
            deadline_ms: u64::try_from(order.deadline.as_millis()).unwrap_or(u64::MAX),
        });
        match self.call::<ExecuteJson>(&request, order.deadline, &order.stop).await {
            Ok(answered) => match answered.answer.parse::<Answer>() {
                Ok(answer) => Execution::new(answer, answered.detail),
                Err(_) => Execution::new(Answer::Unknown, format!("answer {:?}", answered.answer)),
            },
            // Nothing ran, so nothing can have happened.
            Err(failure @ (CallFailed::NoCommand | CallFailed::Start { .. })) => {
                Execution::new(Answer::Failed, failure.to_string())
            }
            Err(
                failure @ (CallFailed::Deadline { .. }
                | CallFailed::Stopped
                | CallFailed::Pipe(_)
                | CallFailed::Exit { .. }
                | CallFailed::TooLong
                | CallFailed::Unreadable(_)),
            ) => Execution::new(Answer::Unknown, failure.to_string()),
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

/// The process group of one call; dropping it kills what is left of it.
///
/// The leader's id cannot be used again before `wait` has reaped it, and a group exists as long as
/// one of its processes does, so the signal reaches this group or nobody.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let sent = rustix::process::kill_process_group(pid, Signal::KILL);
            if let Err(errno) = sent
                && errno != rustix::io::Errno::SRCH
            {
                tracing::warn!(pid = pid.as_raw_nonzero().get(), %errno, "cannot kill a process group");
            }
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Group({:?})", self.0)
    }
}

/// Writes the request, reads the answer, waits for the end: in this order, both pipes at once.
async fn converse(mut child: Child, input: Vec<u8>) -> Result<Vec<u8>, CallFailed> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(CallFailed::Pipe(std::io::Error::other("no pipe")));
    };
    let write = async move {
        // A program that does not read its input may still answer.
        let _unread = stdin.write_all(&input).await;
    };
    let read = async move {
        let mut answer = Vec::new();
        let mut bounded = stdout.take(ANSWER_BYTES_MAX + 1);
        bounded.read_to_end(&mut answer).await.map(|_| answer)
    };
    let ((), answer) = tokio::join!(write, read);
    let answer = answer.map_err(CallFailed::Pipe)?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err(CallFailed::TooLong);
    }
    let status = child.wait().await.map_err(CallFailed::Pipe)?;
    if status.success() { Ok(answer) } else { Err(CallFailed::Exit { status }) }
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

#[async_trait]
impl Adapter for ExecAdapter {
    fn describe(&self) -> Description {
        let system = self.command.first().cloned().unwrap_or_default();
        let gaps = vec!["what the program does not measure is not verified".into()];
        Description { system, kinds: self.kinds.clone(), judges: self.kinds.clone(), gaps }
    }

    async fn probe(&self, action: &Action, deadline: Duration) -> Observation {
        let request = request("probe", action);
        match self.call::<ProbeJson>(&request, deadline, &CancellationToken::new()).await {
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
            .call::<PrepareJson>(&request, deadline, &CancellationToken::new())
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
        match self.call::<VerifyJson>(&request, deadline, &CancellationToken::new()).await {
            Ok(answered) => {
                let after = witness_of(answered.witness);
                match answered.effect.parse::<Effect>() {
                    Ok(effect) => Verdict { effect, after, difference: answered.difference },
                    Err(_) => {
                        let difference = format!("effect {:?} is none we know", answered.effect);
                        Verdict { effect: Effect::Inconclusive, after, difference }
                    }
                }
            }
            Err(failure) => Verdict {
                effect: Effect::Inconclusive,
                after: Witness::default(),
                difference: failure.to_string(),
            },
        }
    }

    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution {
        self.act("rollback", prepared, order).await
    }
}
