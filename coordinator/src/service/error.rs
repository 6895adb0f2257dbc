//! Every refusal of the machine to its stable reason: one exhaustive table, no `_ =>`.
//!
//! A new variant in `quorate-core` does not compile until it has a row here.

use std::time::Duration;

use quorate_attest::log_time::LogTime;
use quorate_core::{Rejection, RuleRefused};
use quorate_proto::{
    error_code::ErrorCode::{self, *},
    problem::Problem,
    wkt::Timestamp,
};
use tonic::Status;

use crate::handle::{Handle, ProposeError, ReadError};

/// A log time as it travels.
fn timestamp(time: LogTime) -> Timestamp {
    time.into()
}

/// The reason of a rejection, alone: what `waiting_for` and metrics say.
pub(crate) fn code(rejection: &Rejection) -> ErrorCode {
    match rejection {
        // A quorum whose log has not begun cannot decide anything yet.
        Rejection::NotFounded | Rejection::VersionNotInForce { .. } => NoQuorum,
        Rejection::AlreadyFounded => ExpectationFailed,
        Rejection::WrongOrigin { .. } => WrongOrigin,
        Rejection::EpochMismatch { .. } | Rejection::CharterMismatch { .. } => EpochMismatch,
        Rejection::WrongProposal { .. } => WrongProposal,
        Rejection::Malformed { .. } => Malformed,
        Rejection::ExpiryOutOfRange { .. } => ExpiryOutOfRange,
        Rejection::UnknownTarget { .. } => UnknownTarget,
        Rejection::UnknownProposal { .. } => UnknownProposal,
        Rejection::UnknownDecision { .. } | Rejection::SlotFree { .. } => UnknownDecision,
        Rejection::UnknownValidator { .. } => UnknownValidator,
        Rejection::RoleNotAllowed { .. } => RoleNotAllowed,
        Rejection::NotYours { .. } => NotYours,
        Rejection::ProposalClosed { .. } | Rejection::Superseded { .. } => ProposalClosed,
        Rejection::CallerLimited { .. } => CallerLimited,
        Rejection::Overloaded { .. } => Overloaded,
        Rejection::Equivocation { .. } => Equivocation,
        Rejection::ReportConflict { .. } => ReportConflict,
        Rejection::JournalRolledBack { .. } => JournalRolledBack,
        Rejection::StaleEvidence { .. } | Rejection::StaleObservation { .. } => StaleEvidence,
        Rejection::StaleToken { .. } => StaleToken,
        Rejection::SlotBusy { .. } => SlotBusy,
        Rejection::BreakerOpen { .. } => BreakerOpen,
        Rejection::DeclaredDead { .. } => DeclaredDead,
        Rejection::AlreadyDeclared { .. } => AlreadyDeclared,
        Rejection::OutsideWindow { .. } => OutsideWindow,
        Rejection::Rule(_) | Rejection::LeafRefused { .. } => RuleRefused,
        Rejection::BudgetExhausted { .. } => BudgetExhausted,
        Rejection::Cooldown { .. } => Cooldown,
        Rejection::RequestIdReused { .. } => RequestIdReused,
    }
}

/// A rejection as it travels. `now` is the time from which `RetryInfo` counts.
pub(crate) fn problem(rejection: &Rejection, now: LogTime) -> Problem {
    let problem = facts(rejection, Problem::new(code(rejection), rejection.to_string()));
    let problem = match rejection.remedy() {
        Some(command) => problem.command(command),
        None => problem,
    };
    match rejection.next_allowed() {
        Some(at) => problem.next_allowed(timestamp(at), timestamp(now)),
        None => problem,
    }
}

/// Adds metadata: a field under its own name, anything else under the name it is given.
macro_rules! with {
    ($problem:expr) => { $problem };
    ($problem:expr, $key:literal = $value:expr $(, $($rest:tt)*)?) => {
        with!($problem.with($key, $value) $(, $($rest)*)?)
    };
    ($problem:expr, $field:ident $(, $($rest:tt)*)?) => {
        with!($problem.with(stringify!($field), $field) $(, $($rest)*)?)
    };
}

/// The metadata of the reason's row, from the facts in the rejection.
#[rustfmt::skip]
fn facts(rejection: &Rejection, problem: Problem) -> Problem {
    use Rejection as R;
    match rejection {
        R::NotFounded => with!(problem, "have" = 0, "need" = 1),
        R::AlreadyFounded => with!(problem, "field" = "size", "have" = "founded", "want" = "empty"),
        R::VersionNotInForce { have, want } => with!(problem, have, "need" = want),
        R::WrongOrigin { have, want } => with!(problem, have, want),
        R::EpochMismatch { have, want } => with!(problem, have, want),
        R::CharterMismatch { have, want } => with!(problem, have, want),
        R::WrongProposal { proposal, field } => with!(problem, "have" = field, "want" = proposal),
        R::Malformed { field, why } => with!(problem, field, why),
        R::ExpiryOutOfRange { have, min, max } => {
            let [have, min, max] = [have, min, max].map(|time| timestamp(*time));
            with!(problem, "field" = "expires", have, min, max)
        }
        R::UnknownTarget { name, nearest } => {
            with!(problem, name, "nearest" = nearest.as_deref().unwrap_or("-"))
        }
        R::UnknownProposal { proposal } => with!(problem, "name" = proposal),
        R::UnknownDecision { cluster, number } => {
            with!(problem, "name" = format!("{cluster}/{number}"))
        }
        R::SlotFree { cluster } => with!(problem, "name" = cluster),
        R::UnknownValidator { name, epoch } => with!(problem, name, epoch),
        R::RoleNotAllowed { name, admits } => with!(problem, "role" = name, admits),
        R::NotYours { name, owner } => with!(problem, name, owner),
        R::ProposalClosed { proposal, ending } => with!(problem, proposal, "state" = ending.as_str()),
        R::CallerLimited { proposer, limit, .. } => with!(problem, "caller" = proposer, limit),
        R::Overloaded { cluster, limit, .. } => with!(problem, cluster, limit),
        R::Equivocation { key, proposal, evidence } => with!(problem, key, proposal, evidence),
        R::ReportConflict { token, agent, first, second, evidence } => {
            let problem = with!(problem, token, agent, "recorded" = first, "have" = second);
            evidence.iter().fold(problem, |problem, evidence| with!(problem, evidence))
        }
        R::JournalRolledBack { agent, held, instance, recorded, have } => {
            with!(problem, agent, held, instance, recorded, have)
        }
        R::StaleEvidence { age, window } => with!(problem, age, window),
        R::StaleObservation { agent, have, newest } => {
            let (age, window) = (format!("sequence {have}"), format!("above sequence {newest}"));
            with!(problem, agent, age, window)
        }
        R::Superseded { proposal, why } => with!(problem, proposal, "state" = "superseded", why),
        R::StaleToken { token, highest } => with!(problem, token, highest),
        R::SlotBusy { cluster, by, since, awaited } => {
            let awaited = awaited.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let (decision, since) = (by.number, timestamp(*since));
            with!(problem, cluster, decision, "token" = by, since, awaited)
        }
        R::BreakerOpen { cluster, target, attempts, cap, .. } => {
            with!(problem, "key" = format!("{cluster}/target/{target}"), attempts, cap)
        }
        R::DeclaredDead { cluster, member, decision } => with!(problem, cluster, member, decision),
        R::AlreadyDeclared { cluster, decision } => with!(problem, cluster, decision),
        R::OutsideWindow { now, not_before, expires } => {
            let [clock, not_before, expires] = [now, not_before, expires].map(|at| timestamp(*at));
            with!(problem, clock, not_before, expires)
        }
        R::Rule(refused) => rule_facts(refused, problem),
        R::BudgetExhausted { key, burst, period, .. } => {
            with!(problem, key, "limit" = burst, period)
        }
        R::Cooldown { key, by, .. } => with!(problem, key, "decision" = by),
        R::RequestIdReused { id } => with!(problem, "request_id" = hex(id)),
        R::LeafRefused { rule, why } => with!(problem, rule, "facts" = why),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rule_facts(refused: &RuleRefused, problem: Problem) -> Problem {
    let facts: Vec<String> =
        refused.facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    problem
        .with("rule", &refused.rule)
        .with("cluster", &refused.cluster)
        .with("facts", facts.join(" "))
}

/// A write that the machine did not answer, as it travels.
pub(crate) fn propose_status(error: ProposeError, handle: &Handle) -> Status {
    let what = error.to_string();
    match error {
        ProposeError::NotLeader { leader, .. } => Problem::new(NotLeader, what)
            .with("leader_id", leader)
            .with("leader_addr", handle.clients().get(&leader).map_or("-", String::as_str))
            .into(),
        ProposeError::NoQuorum => no_quorum(what),
        ProposeError::OutcomeUnknown { .. } => Problem::new(OutcomeUnknown, what).into(),
        ProposeError::Overloaded { limit } => Problem::new(Overloaded, what)
            .with("limit", limit)
            .retry_after(Duration::from_millis(50))
            .into(),
        ProposeError::TooLarge(too_large) => {
            Problem::new(Malformed, what).with("field", "size").with("have", too_large.bytes).into()
        }
        ProposeError::Faulted { fault } => faulted(&fault),
        // The leader's own refusal is passed on as it is, with its details.
        ProposeError::Leader(status) => *status,
    }
}

/// A read that cannot be shown to be current, as it travels.
pub(crate) fn read_status(error: &ReadError) -> Status {
    match error {
        ReadError::NoQuorum => no_quorum(error.to_string()),
        ReadError::Faulted { fault } => faulted(fault),
    }
}

fn no_quorum(what: String) -> Status {
    Problem::new(NoQuorum, what).retry_after(Duration::from_millis(200)).into()
}

fn faulted(fault: &str) -> Status {
    let what = format!("this coordinator has stopped: {fault}");
    Problem::new(ReplicaFaulted, what).with("fault", fault).into()
}
