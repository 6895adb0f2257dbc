//! How a call ends when it does not succeed.

use std::fmt;

use thiserror::Error;
use tonic::{Code, Status};

use super::channel::{Endpoint, never_sent, root_cause};
use crate::exit_code::ExitCode;
use crate::problem::Problem;

/// One coordinator that was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its Raft node id.
    pub id: u64,
    /// Its address.
    pub address: String,
    /// Why not.
    pub why: String,
    /// Whether it answered at all: with a reason to ask again, or with the leader's id.
    pub answered: bool,
}

/// Every coordinator that was asked in vain, the newest reason of each. Those that nobody came to ask
/// in time are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts(pub Vec<Attempt>);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Attempt { address, why, .. }) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {why}")?;
        }
        Ok(())
    }
}

impl Attempts {
    pub(super) fn note(&mut self, endpoint: &Endpoint, why: String, answered: bool) {
        let Endpoint { id, address } = endpoint.clone();
        self.0.retain(|attempt| attempt.address != address);
        self.0.push(Attempt { id, address, why, answered });
    }
}

/// Why a call did not succeed.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// A coordinator refused, with a reason.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Nobody answered in time, and nothing was sent that could have taken effect.
    #[error("no coordinator could be reached: {attempts}")]
    Unreachable {
        /// Who was asked.
        attempts: Attempts,
    },
    /// It may have taken effect. Repeating it with the same request id is safe.
    #[error("the outcome is unknown: {attempts}")]
    OutcomeUnknown {
        /// The id to repeat it with; empty for a read.
        request_id: String,
        /// Who was asked.
        attempts: Attempts,
    },
    /// Something answers there that is no public port of a coordinator.
    #[error(
        "{address} does not serve quorate.v1; this may be a coordinator's peer port; the public one \
         is the port before it"
    )]
    NotServed {
        /// The address that was asked.
        address: String,
    },
    /// A status without a reason of ours: made by tonic or by something in between.
    #[error("{}: {}", .0.code().description(), .0.message())]
    Status(Box<Status>),
}

impl CallError {
    /// The same, with the address where it has to be named: who knows no method of ours is the wrong
    /// server or port.
    pub(super) fn at(self, endpoint: &Endpoint) -> Self {
        if let Self::Status(status) = &self
            && status.code() == Code::Unimplemented
        {
            return Self::NotServed { address: endpoint.address.clone() };
        }
        self
    }

    /// The refusal, if a coordinator refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unreachable { .. }
            | Self::OutcomeUnknown { .. }
            | Self::NotServed { .. }
            | Self::Status(_) => None,
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(problem) => problem.exit_code(),
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } => ExitCode::NoQuorum,
            Self::NotServed { .. } => ExitCode::Error,
            Self::Status(status) => match status.code() {
                Code::Unauthenticated | Code::PermissionDenied => ExitCode::NotAuthorised,
                Code::InvalidArgument | Code::OutOfRange => ExitCode::Usage,
                Code::Ok
                | Code::Cancelled
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::NotFound
                | Code::AlreadyExists
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss => ExitCode::Error,
            },
        }
    }
}

/// What one attempt says about the next.
pub(super) enum Verdict {
    /// Final: asking again changes nothing.
    Final(CallError),
    /// Ask the coordinator with this Raft node id, at once.
    AskLeader(u64),
    /// Ask again, a little later.
    Again(Again),
}

/// Why to ask again.
pub(super) struct Again {
    /// For people.
    pub(super) why: String,
    /// The attempt may have taken effect.
    pub(super) unknown: bool,
    /// A coordinator said so, and not the way to it.
    pub(super) answered: bool,
    /// The server's own advice.
    pub(super) delay: Option<std::time::Duration>,
}

/// Judges a failed attempt: one exhaustive table.
pub(super) fn judge(status: Status) -> Verdict {
    if let Some(problem) = Problem::from_status(&status) {
        if let Some(leader) = problem.leader_id().filter(|&id| id != 0) {
            return Verdict::AskLeader(leader);
        }
        if !problem.is_retryable() {
            return Verdict::Final(CallError::Refused(Box::new(problem)));
        }
        let unknown = problem.code() == crate::error_code::ErrorCode::OutcomeUnknown;
        let delay = problem.delay();
        return Verdict::Again(Again {
            why: problem.message().to_owned(),
            unknown,
            answered: true,
            delay,
        });
    }
    match status.code() {
        // TLS refusals surface as `Unknown`; a server's own timeout as `Cancelled`.
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
            let unknown = !never_sent(&status);
            Verdict::Again(Again {
                why: root_cause(&status),
                unknown,
                answered: false,
                delay: None,
            })
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Final(CallError::Status(Box::new(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_knows_no_method_of_ours_is_named_as_the_wrong_port() {
        let endpoint = Endpoint { id: 1, address: "10.0.0.1:7701".to_owned() };
        let of = |status| CallError::Status(Box::new(status)).at(&endpoint).to_string();
        let words = of(Status::unimplemented(""));
        assert!(words.starts_with("10.0.0.1:7701 does not serve quorate.v1;"), "{words}");
        assert!(!of(Status::internal("broken")).contains("10.0.0.1"));
    }
}
