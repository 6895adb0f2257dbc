//! Adapters: how a remediation is carried out on a real system, and how its effect is checked.
//!
//! An adapter never trusts an answer or a health page. It measures a [`Witness`] before the
//! action, and its verdict is the difference of a new measurement against that witness. An adapter
//! decides nothing: whether to act, and that it acts once, is `execute.rs`.
//!
//! * A deadline is passed to every outside call. A hang, a reset or an exit code without an answer
//!   that can be read is *unknown* for `execute` and *unreachable* for `probe`.
//! * The idempotency key is the proposal id, equal across re-issues. `AlreadyApplied` needs proof
//!   by probe, never by memory.
//! * Preconditions are evaluated again inside `execute`.

mod ban;
mod ban_list;
mod child;
mod etcd;
mod exec;
mod forensic;
mod grpc;
mod inferadb_ledger;
mod neo;
mod nip86;
mod nostr;
mod nostream;
mod orphan;
mod process;
mod qfs;
mod registry;
mod secret;
mod supervisor;
mod systemd;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::{ProposalId, Word};
use quorate_attest::number::FencingToken;
use quorate_attest::proposal::{Param, Proposal};
use quorate_attest::remediation::Kind;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use self::etcd::{EtcdAdapter, EtcdConfig, EtcdConfigInvalid};
pub use self::exec::{ExecAdapter, ExecConfig, UnknownKind};
pub use self::orphan::kill_orphans;
pub use self::process::ProcessAdapter;
pub use self::registry::{AdapterConfigError, Site, Table, build};
pub(crate) use self::supervisor::process_of;
pub use self::supervisor::{ProcessConfig, Supervisor, SupervisorError, process_marker};
use crate::plan::{Plan, ROLLBACK_PARAM};
use crate::witness::{Measure, Witness};

/// What is asked of an adapter: a kind, a target and parameters, exactly as they were voted on.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Action {
    /// The kind of remediation.
    pub kind: Kind,
    /// What it acts on, for example `member:n4`.
    pub target: Word,
    /// The `param` lines of the proposal, without `rollback`.
    #[borsh(serialize_with = "params::write", deserialize_with = "params::read")]
    pub params: Vec<Param>,
}

impl Action {
    /// What `proposal` asks for.
    #[must_use]
    pub fn of(proposal: &Proposal) -> Self {
        let params = proposal.param.iter().filter(|param| param.key.as_str() != ROLLBACK_PARAM);
        Self {
            kind: proposal.kind,
            target: proposal.target.clone(),
            params: params.cloned().collect(),
        }
    }

    /// The first word of the parameter `key`, if the action has it.
    #[must_use]
    pub fn param(&self, key: &str) -> Option<&str> {
        self.params.iter().find(|param| param.key.as_str() == key).map(|param| param.value.as_str())
    }
}

/// Parameters on disk: their lines, which only read back as what was written.
mod params {
    use borsh::io::{Error, ErrorKind, Read, Result, Write};
    use borsh::{BorshDeserialize as _, BorshSerialize as _};
    use quorate_attest::proposal::Param;

    pub(super) fn write<W: Write>(params: &[Param], writer: &mut W) -> Result<()> {
        let lines: Vec<String> = params.iter().map(ToString::to_string).collect();
        lines.serialize(writer)
    }

    pub(super) fn read<R: Read>(reader: &mut R) -> Result<Vec<Param>> {
        let lines = Vec::<String>::deserialize_reader(reader)?;
        let param = |line: String| line.parse().map_err(|e| Error::new(ErrorKind::InvalidData, e));
        lines.into_iter().map(param).collect()
    }
}

/// One condition that must hold before the effect, as measured.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Precondition {
    /// Its name, for example `not-answering`.
    pub name: String,
    /// Whether it held.
    pub held: Held,
    /// What was measured, for people.
    pub fact: String,
}

/// Whether a condition held. *Unreachable is not dead*, so there is a third answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Held {
    /// It held.
    Yes,
    /// It did not.
    No,
    /// It could not be measured.
    Unknown,
}

/// An action made ready: plan, witness and preconditions. It has had no effect on the target.
///
/// The journal keeps it, so that after a crash the effect is verified against the witness that
/// was measured before the action, not against a later one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Prepared {
    /// What was prepared.
    pub action: Action,
    /// The plan whose digest was voted on.
    pub plan: Plan,
    /// What was measured before.
    pub witness: Witness,
    /// The conditions as they were when it was prepared.
    pub preconditions: Vec<Precondition>,
}

impl Prepared {
    /// The first precondition that does not hold, or could not be measured.
    #[must_use]
    pub fn unmet(&self) -> Option<&Precondition> {
        self.preconditions.iter().find(|condition| condition.held != Held::Yes)
    }
}

/// Under which authority an action is carried out, and until when.
#[derive(Debug, Clone)]
pub struct Order {
    /// The idempotency key: equal for every re-issue of one action.
    pub proposal: ProposalId,
    /// The fencing token of the decision.
    pub token: FencingToken,
    /// How long the effect may take. The child process is killed when it is over.
    pub deadline: Duration,
    /// Cancelled by an `abandon`: the process group of the action is killed at once.
    pub stop: CancellationToken,
}

/// What `execute` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The answer, as it is reported.
    pub answer: Answer,
    /// What happened, for people and for the log of this agent.
    pub detail: String,
}

impl Execution {
    /// An answer with its explanation.
    #[must_use]
    pub fn new(answer: Answer, detail: impl Into<String>) -> Self {
        Self { answer, detail: detail.into() }
    }
}

/// What `verify` found: the effect, with the measurement it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The effect, as it is reported.
    pub effect: Effect,
    /// What was measured after the action.
    pub after: Witness,
    /// The difference against the witness, for people.
    pub difference: String,
}

/// What an adapter sees of a target now. Measuring needs no token and has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The signals by name.
    pub signals: BTreeMap<String, Measure>,
}

/// What an adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The system it drives.
    pub system: String,
    /// The kinds it can carry out.
    pub kinds: Vec<Kind>,
    /// Of them, those whose preconditions are evidence enough for this agent's vote.
    pub judges: Vec<Kind>,
    /// What the real system cannot do or show.
    pub gaps: Vec<String>,
}

/// Why an action could not be made ready. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrepareRefused {
    /// No adapter of this agent carries out that kind.
    #[error("no adapter of this agent carries out {kind}")]
    KindUnknown {
        /// The kind that was asked for.
        kind: Kind,
    },
    /// The target is not one this adapter can act on.
    #[error("target {target} is not one this adapter can act on: {why}")]
    TargetRefused {
        /// The target that was asked for.
        target: String,
        /// Why it is refused.
        why: String,
    },
    /// A parameter is missing or cannot be read.
    #[error("parameter {key} of {kind}: {why}")]
    ParamRefused {
        /// The kind that was asked for.
        kind: Kind,
        /// The parameter.
        key: String,
        /// Why it is refused.
        why: String,
    },
    /// The target could not be measured, so there is no witness.
    #[error("no witness can be taken: {why}")]
    NoWitness {
        /// Why.
        why: String,
    },
}

/// How one system is probed, changed and checked.
#[async_trait]
pub trait Adapter: Send + Sync + fmt::Debug {
    /// What it can do, and what it cannot.
    fn describe(&self) -> Description;

    /// Measures the target. No effect.
    async fn probe(&self, action: &Action, deadline: Duration) -> Observation;

    /// Takes the witness and the preconditions. No effect on the target.
    ///
    /// # Errors
    /// [`PrepareRefused`] if the action is not one this adapter can carry out.
    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused>;

    /// Carries the action out, within the deadline of the order.
    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution;

    /// Measures the effect against the witness. Waits for the stability window, if there is one.
    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict;

    /// Carries out the planned way back. The witness is the one of the action that did harm.
    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution;
}

/// The adapters of one agent, by the kinds they carry out.
#[derive(Debug, Clone, Default)]
pub struct Adapters {
    by_kind: BTreeMap<Kind, Arc<dyn Adapter>>,
}

impl Adapters {
    /// No adapter: an agent that only watches and votes.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds `adapter` for every kind it describes and nobody carries out yet.
    #[must_use]
    pub fn with(mut self, adapter: Arc<dyn Adapter>) -> Self {
        for kind in adapter.describe().kinds {
            self.by_kind.entry(kind).or_insert_with(|| Arc::clone(&adapter));
        }
        self
    }

    /// The adapter for `kind`.
    ///
    /// # Errors
    /// [`PrepareRefused::KindUnknown`] if there is none.
    pub fn of(&self, kind: Kind) -> Result<Arc<dyn Adapter>, PrepareRefused> {
        self.by_kind.get(&kind).cloned().ok_or(PrepareRefused::KindUnknown { kind })
    }
}
