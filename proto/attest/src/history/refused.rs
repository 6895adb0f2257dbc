//! Why a leaf is refused. A variant per reason, with the facts in it.

use thiserror::Error;

use crate::declaration::DeclarationRefused;
use crate::evidence::EvidenceRefused;
use crate::history::RungNotDue;
use crate::id::{
    CharterId, ClusterId, Digest, KeyName, MemberId, Origin, PlaybookId, ProposalId, RuleName,
};
use crate::ladder::RungRefused;
use crate::leaf::{LeafError, LeafKind, VoidCause};
use crate::log_time::LogTime;
use crate::merkle::Hash;
use crate::number::{DecisionNumber, Epoch, TreeSize};
use crate::remediation::{Class, Kind};
use crate::signed::LinesRefused;
use crate::vote::Verdict;

/// Why a leaf may not follow the log. The comments name the rule of `docs/reference/formats.md`,
/// section 8.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are the facts that the message shows")]
pub enum LeafRefused {
    /// R1: not a canonical leaf.
    #[error(transparent)]
    Form(#[from] LeafError),
    /// R1: the log begins with its first charter, and with nothing else.
    #[error("a log begins with the charter of epoch 1, not with this {found:?} leaf")]
    NotFounding { found: LeafKind },
    /// R1: another log, or another life of it.
    #[error("the origin in force is {expected}, not {found}")]
    OtherOrigin { expected: Origin, found: Origin },
    /// R1: another charter's time.
    #[error("the epoch in force is {expected}, not {found}")]
    OtherEpoch { expected: Epoch, found: Epoch },
    /// R1: another charter of the same epoch.
    #[error("the proposal was made under the charter {found}, in force is {expected}")]
    OtherCharter { expected: CharterId, found: CharterId },
    /// R1: time falls.
    #[error("the leaf's time {} is before {}", found.utc(), last.utc())]
    TimeFell { last: LogTime, found: LogTime },
    /// R1: a statement in the leaf is about another cluster than the leaf.
    #[error("the leaf is about {leaf}, what it holds is about {inner}")]
    OtherCluster { leaf: ClusterId, inner: ClusterId },
    /// The charter in force has no such cluster.
    #[error("the charter has no cluster {cluster}")]
    UnknownCluster { cluster: ClusterId },
    /// After an incarnation comes the charter it names.
    #[error("after an incarnation comes the charter {expected}")]
    CharterExpected { expected: CharterId },
    /// R15: its parameters name a rung of a playbook, and do not fit together.
    #[error(transparent)]
    Rung(#[from] RungRefused),
    /// R15: the charter pins another file under that name, or none.
    #[error("the charter does not pin playbook {playbook} as {digest}")]
    PlaybookNotPinned { playbook: PlaybookId, digest: Digest },
    /// R15: another attempt comes next, or this one comes later.
    #[error(transparent)]
    RungNotDue(#[from] RungNotDue),
    /// R2: the votes are on another text.
    #[error("the {verdict} note is not the one text that this proposal's voters sign")]
    OtherVote { verdict: Verdict },
    /// R2: the veto is of another proposal.
    #[error("the veto is of {found}, not of {expected}")]
    OtherVeto { expected: ProposalId, found: ProposalId },
    /// R3.
    #[error("{what}: {source}")]
    Lines {
        what: &'static str,
        #[source]
        source: LinesRefused,
    },
    /// R4.
    #[error(
        "{kind} has {have} of {need} approvals and {operators_have} of {operators_need} operators"
    )]
    TooFewApprovals { kind: Kind, have: u32, need: u32, operators_have: u32, operators_need: u32 },
    /// R5.
    #[error("the next decision of {cluster} is number {expected}, not {found}")]
    WrongNumber { cluster: ClusterId, expected: DecisionNumber, found: DecisionNumber },
    /// R5: no number is left.
    #[error("{cluster} has no decision number left")]
    NoNumberLeft { cluster: ClusterId },
    /// R6: approved, time, not-before, expires do not rise.
    #[error(
        "approved {}, time {}, not-before {}, expires {} do not rise",
        approved.utc(), time.utc(), not_before.utc(), expires.utc()
    )]
    TimesOutOfOrder { approved: LogTime, time: LogTime, not_before: LogTime, expires: LogTime },
    /// R6: the veto window is open.
    #[error("the veto window ends at {}, the decision is of {}", ends.utc(), time.utc())]
    VetoWindowOpen { ends: LogTime, time: LogTime },
    /// R6: the decision outlives its proposal.
    #[error("the decision expires at {}, its proposal at {}", found.utc(), max.utc())]
    OutlivesProposal { max: LogTime, found: LogTime },
    /// R6: the decision outlives the start window of its class.
    #[error("the decision expires at {}, the start window of {class} ends at {}", found.utc(), max.utc())]
    OutlivesWindow { class: Class, max: LogTime, found: LogTime },
    /// A declaration may not start before every gate knows of it.
    #[error("the decision may start at {}, a declaration not before {}", found.utc(), min.utc())]
    StartsTooEarly { min: LogTime, found: LogTime },
    /// R7.
    #[error("decision {holder} of {cluster} holds the slot")]
    SlotTaken { cluster: ClusterId, holder: DecisionNumber },
    /// R7: an abandon of something that does not hold the slot.
    #[error("an abandon names the decision that holds the slot{}", holder.map_or_else(String::new, |holder| format!(", which is {holder}")))]
    NothingToAbandon { holder: Option<DecisionNumber> },
    /// R7: somebody could still start what is abandoned.
    #[error("decision {number} can be abandoned after {}", after.utc())]
    AbandonTooEarly { number: DecisionNumber, after: LogTime },
    /// An abandon does not say how the executor was stopped.
    #[error("an abandon needs `param stopped` exactly once")]
    AbandonWithoutStop,
    /// A parameter that a rule reads, on a kind that the rule is not about.
    #[error("`param {param}` does not belong to {kind}")]
    ParamElsewhere { kind: Kind, param: &'static str },
    /// A time to live that cannot be read, or none where there must be one.
    #[error("the time to live of {kind} is one `param ttl-ms <milliseconds>` above 0")]
    TimeToLive { kind: Kind },
    /// R8: what is continued does not hold the slot.
    #[error("decision {found} does not hold the slot and cannot be continued")]
    NotContinuable { found: DecisionNumber },
    /// R8: another proposal.
    #[error("decision {number} carries out {expected}, not {found}")]
    ContinuesOther { number: DecisionNumber, expected: ProposalId, found: ProposalId },
    /// R8: an older epoch.
    #[error("decision {number} is of epoch {epoch}: it can only be abandoned")]
    ContinuesOldEpoch { number: DecisionNumber, epoch: Epoch },
    /// R8: somebody could still start what is continued.
    #[error("decision {number} can be re-issued after {}", after.utc())]
    ContinuesTooEarly { number: DecisionNumber, after: LogTime },
    /// R9.
    #[error("{proposal} has ended already")]
    AlreadyEnded { proposal: ProposalId },
    /// A proposal without executors, or an abandon with some.
    #[error("{kind} has {found} executors")]
    Executors { kind: Kind, found: usize },
    /// An executor that is no agent of the cluster.
    #[error("{executor} is no agent of {cluster}")]
    ExecutorUnknown { executor: KeyName, cluster: ClusterId },
    /// R12, and re-admissions.
    #[error(transparent)]
    Declaration(#[from] DeclarationRefused),
    /// R12: two operators vouch for an attestation.
    #[error("an attestation needs the approvals of 2 operators, there are {found}")]
    AttestationUnsupported { found: u32 },
    /// R12: the former survivor could still be alone.
    #[error("{member} survived decision {number}: a new declaration lists it as dead")]
    FormerSurvivor { member: MemberId, number: DecisionNumber },
    /// R12: a tombstoned member as the survivor.
    #[error("{member} is declared dead and cannot be the survivor")]
    SurvivorDead { member: MemberId },
    /// A re-admission of a member that is not dead.
    #[error("{member} is not declared dead")]
    NotDead { member: MemberId },
    /// The void's cause is not shown by what it carries.
    #[error("nothing in the void shows that the proposal was {cause}")]
    CauseNotShown { cause: VoidCause },
    /// R14: not the newest decision of that cluster, or somebody started it.
    #[error("decision {number} cannot be void")]
    NotRefusable { number: DecisionNumber },
    /// An outcome that its own report does not say.
    #[error("the report differs from the outcome in `{what}`")]
    ReportDiffers { what: &'static str },
    /// An outcome of a decision that does not hold the slot.
    #[error("decision {found} does not hold the slot")]
    OutcomeStale { found: DecisionNumber },
    /// An outcome of an agent that is not awaited.
    #[error("{agent} is not awaited by decision {number}")]
    NotAwaited { agent: KeyName, number: DecisionNumber },
    /// R10: neither terminal nor harmful.
    #[error("the report of {agent} on decision {number} is not terminal")]
    NotTerminal { agent: KeyName, number: DecisionNumber },
    /// R11.
    #[error(transparent)]
    Evidence(#[from] EvidenceRefused),
    /// R11: the key has no such role.
    #[error("{name} is no key whose equivocation of this kind is evidence")]
    EvidenceKey { name: KeyName },
    /// R11: once per key and question.
    #[error("there is a leaf with this evidence already")]
    EvidenceKnown,
    /// R13: that rule cannot be overridden.
    #[error("no override lifts {rule}")]
    NoOverride { rule: RuleName },
    /// Too few operators under an operators' statement.
    #[error("{found} operators signed, {need} are needed")]
    TooFewOperators { need: u32, found: u32 },
    /// The statement's time to be appended is over.
    #[error("the statement could be appended until {}, the log is at {}", expires.utc(), time.utc())]
    StatementExpired { expires: LogTime, time: LogTime },
    /// One text makes one leaf.
    #[error("there is a leaf with this text already")]
    StatementKnown,
    /// An act about something of another cluster, or unknown.
    #[error("the subject {subject} is not of {cluster}")]
    SubjectElsewhere { subject: String, cluster: ClusterId },
    /// A charter that does not follow the one in force.
    #[error("the charter in force is {expected}, not {}", found.map_or_else(|| "none".to_owned(), |found| found.to_string()))]
    PreviousCharter { expected: CharterId, found: Option<CharterId> },
    /// The operators of one of both charters did not agree.
    #[error("the {which} charter asks for {need} of its operators, {have} signed")]
    CharterThreshold { which: &'static str, have: u32, need: u32 },
    /// The charter after an incarnation is another one.
    #[error("the incarnation names the charter {expected}, not {found}")]
    IncarnationCharter { expected: CharterId, found: CharterId },
    /// An incarnation that does not continue this log's origin.
    #[error("{found} does not follow {old}: same network, counter + 1, another salt")]
    IncarnationOrigin { old: Origin, found: Origin },
    /// An incarnation of another head.
    #[error(
        "the incarnation keeps {size} leaves with root {root}, the log has {own_size} with {own_root}"
    )]
    IncarnationHead { size: TreeSize, root: Hash, own_size: TreeSize, own_root: Hash },
}
