//! Deterministic refusals.
//!
//! A rejection is part of the replicated answer: the same on every replica, with every fact that
//! led to it. It says what was refused, why, when it may be asked again and which command would
//! change it. It is never a broken disk; that is a fault and stops the replica.

mod meaning;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{
    CharterId, ClusterId, JournalInstance, KeyName, MemberId, Origin, ProposalId, RuleName, Word,
};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::number::{DecisionNumber, Epoch, FencingToken, LeafIndex, Sequence};

use crate::command::MachineVersion;
use crate::ledger::BudgetKey;
use crate::outcome::Ending;

/// A named rule says no.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RuleRefused {
    /// The rule.
    pub rule: RuleName,
    /// The cluster it was asked for.
    pub cluster: ClusterId,
    /// The proposal it was asked for.
    pub proposal: Option<ProposalId>,
    /// What it saw, as name and value.
    pub facts: Vec<(String, String)>,
    /// When time alone makes it say yes, if nothing else changes.
    pub next_allowed: Option<LogTime>,
    /// Operators whose override lifts it.
    pub lifted_by: Lift,
}

/// What lifts a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Lift {
    /// An override signed by this many operators.
    Override(u32),
    /// An operator's acknowledgement.
    Acknowledgement,
    /// Nothing: only another proposal, or other facts.
    Nothing,
}

/// Why the machine refused. `reason()` is stable; texts may change.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Rejection {
    /// The log has no first charter yet.
    #[error("the log has not begun")]
    NotFounded,
    /// The log has begun already.
    #[error("the log has begun already")]
    AlreadyFounded,
    /// The entry's machine version is not in force.
    #[error("machine {have} is not in force, {want} is")]
    VersionNotInForce {
        /// The entry's.
        have: MachineVersion,
        /// The one in force.
        want: MachineVersion,
    },
    /// The text names another log.
    #[error("the text is of {have}, this is {want}")]
    WrongOrigin {
        /// The text's.
        have: Origin,
        /// Ours.
        want: Origin,
    },
    /// The text names another epoch.
    #[error("the text is of epoch {have}, wanted is {want}")]
    EpochMismatch {
        /// The text's.
        have: Epoch,
        /// The one in force.
        want: Epoch,
    },
    /// The proposal names another charter of the same epoch.
    #[error("the proposal names the charter {have}, in force is {want}")]
    CharterMismatch {
        /// The proposal's.
        have: CharterId,
        /// The one in force.
        want: CharterId,
    },
    /// The text belongs to another proposal than it says, or states another expiry.
    #[error("the text does not fit {proposal} in `{field}`")]
    WrongProposal {
        /// The proposal named.
        proposal: ProposalId,
        /// What differs.
        field: String,
    },
    /// A field makes no sense.
    #[error("`{field}`: {why}")]
    Malformed {
        /// Which.
        field: String,
        /// Why not.
        why: String,
    },
    /// An expiry lies outside what is allowed.
    #[error("the expiry {} is not between {} and {}", have.utc(), min.utc(), max.utc())]
    ExpiryOutOfRange {
        /// The text's.
        have: LogTime,
        /// The earliest allowed.
        min: LogTime,
        /// The latest allowed.
        max: LogTime,
    },
    /// No such cluster, member or target.
    #[error("there is no {name}{}", maybe("; the nearest name is ", nearest.as_ref()))]
    UnknownTarget {
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// No such proposal is open, and none ended that the log still remembers.
    #[error("no proposal {proposal} is known")]
    UnknownProposal {
        /// Its id.
        proposal: ProposalId,
    },
    /// No such decision.
    #[error("{cluster} has no decision {number} that this could be about")]
    UnknownDecision {
        /// The cluster.
        cluster: ClusterId,
        /// The number.
        number: DecisionNumber,
    },
    /// The key is not in the charter in force, or not one that votes.
    #[error("the charter of epoch {epoch} knows no such key of {name}")]
    UnknownValidator {
        /// The name on the signature line.
        name: String,
        /// The epoch in force.
        epoch: Epoch,
    },
    /// The signer's role does not admit this.
    #[error("{name} may not; admitted: {admits}")]
    RoleNotAllowed {
        /// The signer.
        name: String,
        /// Who may.
        admits: String,
    },
    /// The text is another's to sign.
    #[error("{name} may not answer for {owner}")]
    NotYours {
        /// The signer.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The proposal has ended.
    #[error("{proposal} has ended: {ending}")]
    ProposalClosed {
        /// Its id.
        proposal: ProposalId,
        /// How it ended.
        ending: Ending,
    },
    /// Too many open proposals by one proposer.
    #[error("{proposer} has {limit} proposals open{}", next(Some(next_allowed)))]
    CallerLimited {
        /// Who.
        proposer: KeyName,
        /// The limit.
        limit: u64,
        /// When the first of them expires.
        next_allowed: LogTime,
    },
    /// Too many open proposals for one cluster.
    #[error("{cluster} has reached its limit of {limit}{}", next(Some(next_allowed)))]
    Overloaded {
        /// Which.
        cluster: ClusterId,
        /// The limit.
        limit: u64,
        /// When the first of them expires.
        next_allowed: LogTime,
    },
    /// The key signed two texts on one proposal. Evidence is recorded and neither counts.
    #[error("{key} signed two texts on {proposal}: neither counts, evidence at leaf {evidence}")]
    Equivocation {
        /// The key's name.
        key: KeyName,
        /// The proposal.
        proposal: ProposalId,
        /// The evidence leaf.
        evidence: LeafIndex,
    },
    /// The agent has reported another end of this decision.
    #[error(
        "{agent} reported {token} as {first}, now as {second}{}",
        maybe(", evidence at leaf ", evidence.as_ref())
    )]
    ReportConflict {
        /// The decision.
        token: FencingToken,
        /// The agent.
        agent: KeyName,
        /// What it reported first.
        first: String,
        /// What it reports now.
        second: String,
        /// The evidence leaf.
        evidence: Option<LeafIndex>,
    },
    /// The agent's journal is not the one that claimed before, or is older.
    #[error("the journal of {agent} is {instance} at {have}, on record is {held} at {recorded}")]
    JournalRolledBack {
        /// The agent.
        agent: KeyName,
        /// The instance on record.
        held: JournalInstance,
        /// The instance that asks.
        instance: JournalInstance,
        /// The sequence on record.
        recorded: Sequence,
        /// The sequence that asks.
        have: Sequence,
    },
    /// The facts are older than the charter accepts.
    #[error("the facts are {} old, at most {} is accepted", age.words(), window.words())]
    StaleEvidence {
        /// Their age.
        age: Span,
        /// The oldest accepted.
        window: Span,
    },
    /// The agent has sent a newer observation before: its counter went back.
    #[error("{agent} sent observation {newest} before, this is {have}")]
    StaleObservation {
        /// The agent.
        agent: KeyName,
        /// The sequence that arrives.
        have: Sequence,
        /// The newest known.
        newest: Sequence,
    },
    /// The decision is not the newest of its cluster.
    #[error("the token {token} is not the newest, which is {highest}")]
    StaleToken {
        /// The token asked with.
        token: FencingToken,
        /// The newest.
        highest: FencingToken,
    },
    /// Another decision holds the slot.
    #[error("the slot of {cluster}, held by {by} since {}, awaiting {}", since.utc(), names(awaited))]
    SlotBusy {
        /// The cluster.
        cluster: ClusterId,
        /// Its holder.
        by: FencingToken,
        /// Since when.
        since: LogTime,
        /// Who has still to report.
        awaited: Vec<KeyName>,
    },
    /// The slot is free: there is nothing to continue or abandon.
    #[error("nothing holds the slot of {cluster}")]
    SlotFree {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The target has used up its attempts.
    #[error(
        "the breaker of {cluster} {target}, open after {attempts} of {cap} attempts{}",
        next(next_allowed.as_ref())
    )]
    BreakerOpen {
        /// The cluster.
        cluster: ClusterId,
        /// The target.
        target: Word,
        /// Attempts made.
        attempts: u64,
        /// Attempts allowed.
        cap: u64,
        /// When a quiet time clears the count, if it will.
        next_allowed: Option<LogTime>,
    },
    /// The member is declared dead; only `readmit` changes that.
    #[error("{member} of {cluster} is declared dead by decision {decision}")]
    DeclaredDead {
        /// The cluster.
        cluster: ClusterId,
        /// The member.
        member: MemberId,
        /// The decision that declared it.
        decision: DecisionNumber,
    },
    /// The same declaration was made before.
    #[error("decision {decision} of {cluster} declared the same")]
    AlreadyDeclared {
        /// The cluster.
        cluster: ClusterId,
        /// The decision that made it.
        decision: DecisionNumber,
    },
    /// Too early or too late.
    #[error("{}{}", window(*now, *not_before, *expires), next(Some(not_before).filter(|from| *from > now)))]
    OutsideWindow {
        /// Log time.
        now: LogTime,
        /// From when.
        not_before: LogTime,
        /// Until when.
        expires: LogTime,
    },
    /// A named rule says no.
    #[error("{0}")]
    Rule(Box<RuleRefused>),
    /// The rate limit of a key is used up.
    #[error(
        "the budget {key}: {burst}, then one per {}{}", period.words(), next(Some(next_allowed))
    )]
    BudgetExhausted {
        /// The key.
        key: BudgetKey,
        /// Units that may be saved up.
        burst: u64,
        /// One unit comes back per this span.
        period: Span,
        /// When the next unit is there.
        next_allowed: LogTime,
    },
    /// The quiet period after an earlier action is not over.
    #[error("the cooldown {key} after {by}{}", next(Some(next_allowed)))]
    Cooldown {
        /// The key.
        key: BudgetKey,
        /// The decision whose completion began it.
        by: FencingToken,
        /// When it is over.
        next_allowed: LogTime,
    },
    /// A fresher fact shows that the action is not needed any more.
    #[error("{proposal} is not needed: {why}")]
    Superseded {
        /// The proposal.
        proposal: ProposalId,
        /// What is so already.
        why: String,
    },
    /// The request id was used for something else.
    #[error("the request id was used for another request")]
    RequestIdReused {
        /// The id.
        id: [u8; 16],
    },
    /// The judge of leaves refused what would have been appended.
    #[error("the log refuses it ({rule}): {why}")]
    LeafRefused {
        /// The rule of the log that is broken.
        rule: String,
        /// What it said.
        why: String,
    },
}

fn names(names: &[KeyName]) -> String {
    names.iter().map(KeyName::as_str).collect::<Vec<_>>().join(" ")
}

fn window(now: LogTime, from: LogTime, until: LogTime) -> String {
    let (now, from, until_utc) = (now.utc(), from.utc(), until.utc());
    if until == LogTime::MAX {
        format!("{now} is before {from}")
    } else {
        format!("{now} is not between {from} and {until_utc}")
    }
}

fn next(time: Option<&LogTime>) -> String {
    // The end of time is no time: it needs a person.
    let time = time.filter(|time| **time < LogTime::MAX).map(|time| time.utc());
    maybe("; next allowed ", time.as_ref())
}

fn maybe<V: std::fmt::Display>(words: &str, value: Option<&V>) -> String {
    value.map_or_else(String::new, |value| format!("{words}{value}"))
}
