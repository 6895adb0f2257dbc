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

/// The metadata of the reason's row, from the facts in the rejection.
fn facts(rejection: &Rejection, problem: Problem) -> Problem {
    match rejection {
        Rejection::NotFounded => problem.with("have", 0).with("need", 1),
        Rejection::AlreadyFounded => {
            problem.with("field", "size").with("have", "founded").with("want", "empty")
        }
        Rejection::VersionNotInForce { have, want } => {
            problem.with("have", have).with("need", want)
        }
        Rejection::WrongOrigin { have, want } => problem.with("have", have).with("want", want),
        Rejection::EpochMismatch { have, want } => problem.with("have", have).with("want", want),
        Rejection::CharterMismatch { have, want } => problem.with("have", have).with("want", want),
        Rejection::WrongProposal { proposal, field } => {
            problem.with("have", field).with("want", proposal)
        }
        Rejection::Malformed { field, why } => problem.with("field", field).with("why", why),
        Rejection::ExpiryOutOfRange { have, min, max } => problem
            .with("field", "expires")
            .with("have", timestamp(*have))
            .with("min", timestamp(*min))
            .with("max", timestamp(*max)),
        Rejection::UnknownTarget { name, nearest } => {
            problem.with("name", name).with("nearest", nearest.as_deref().unwrap_or("-"))
        }
        Rejection::UnknownProposal { proposal } => problem.with("name", proposal),
        Rejection::UnknownDecision { cluster, number } => {
            problem.with("name", format!("{cluster}/{number}"))
        }
        Rejection::SlotFree { cluster } => problem.with("name", cluster),
        Rejection::UnknownValidator { name, epoch } => {
            problem.with("name", name).with("epoch", epoch)
        }
        Rejection::RoleNotAllowed { name, admits } => {
            problem.with("role", name).with("admits", admits)
        }
        Rejection::NotYours { name, owner } => problem.with("name", name).with("owner", owner),
        Rejection::ProposalClosed { proposal, ending } => {
            problem.with("proposal", proposal).with("state", ending.as_str())
        }
        Rejection::CallerLimited { proposer, limit, .. } => {
            problem.with("caller", proposer).with("limit", limit)
        }
        Rejection::Overloaded { cluster, limit, .. } => {
            problem.with("cluster", cluster).with("limit", limit)
        }
        Rejection::Equivocation { key, proposal, evidence } => {
            problem.with("key", key).with("proposal", proposal).with("evidence", evidence)
        }
        Rejection::ReportConflict { token, agent, first, second, evidence } => {
            let problem = problem
                .with("token", token)
                .with("agent", agent)
                .with("recorded", first)
                .with("have", second);
            match evidence {
                Some(index) => problem.with("evidence", index),
                None => problem,
            }
        }
        Rejection::JournalRolledBack { agent, held, instance, recorded, have } => problem
            .with("agent", agent)
            .with("held", held)
            .with("instance", instance)
            .with("recorded", recorded)
            .with("have", have),
        Rejection::StaleEvidence { age, window } => problem.with("age", age).with("window", window),
        Rejection::StaleObservation { agent, have, newest } => problem
            .with("agent", agent)
            .with("age", format_args!("sequence {have}"))
            .with("window", format_args!("above sequence {newest}")),
        Rejection::Superseded { proposal, why } => {
            problem.with("proposal", proposal).with("state", "superseded").with("why", why)
        }
        Rejection::StaleToken { token, highest } => {
            problem.with("token", token).with("highest", highest)
        }
        Rejection::SlotBusy { cluster, by, since, awaited } => {
            let awaited = awaited.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            problem
                .with("cluster", cluster)
                .with("decision", by.number)
                .with("token", by)
                .with("since", timestamp(*since))
                .with("awaited", awaited)
                .command(format_args!("quorate action current --cluster {cluster}"))
        }
        Rejection::BreakerOpen { cluster, target, attempts, cap, .. } => problem
            .with("key", format_args!("{cluster}/target/{target}"))
            .with("attempts", attempts)
            .with("cap", cap),
        Rejection::DeclaredDead { cluster, member, decision } => {
            problem.with("cluster", cluster).with("member", member).with("decision", decision)
        }
        Rejection::AlreadyDeclared { cluster, decision } => {
            problem.with("cluster", cluster).with("decision", decision)
        }
        Rejection::OutsideWindow { now, not_before, expires } => problem
            .with("clock", timestamp(*now))
            .with("not_before", timestamp(*not_before))
            .with("expires", timestamp(*expires)),
        Rejection::Rule(refused) => rule_facts(refused, problem),
        Rejection::BudgetExhausted { key, burst, period, .. } => {
            problem.with("key", key).with("limit", burst).with("period", period)
        }
        Rejection::Cooldown { key, by, .. } => problem.with("key", key).with("decision", by),
        Rejection::RequestIdReused { id } => problem
            .with("request_id", id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Rejection::LeafRefused { rule, why } => problem.with("rule", rule).with("facts", why),
    }
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
