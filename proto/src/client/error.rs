//! How a call ends when it does not succeed.

use std::fmt;

use thiserror::Error;
use tonic::{Code, Status};

use super::channel::{never_sent, root_cause};
use crate::exit_code::ExitCode;
use crate::problem::Problem;

/// One coordinator that was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its address.
    pub address: String,
    /// Why not.
    pub why: String,
}

/// Every coordinator that was asked in vain, the newest reason of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts(pub Vec<Attempt>);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Attempt { address, why }) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {why}")?;
        }
        Ok(())
    }
}

impl Attempts {
    pub(super) fn note(&mut self, address: &str, why: String) {
        self.0.retain(|attempt| attempt.address != address);
        self.0.push(Attempt { address: address.to_owned(), why });
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
    /// A status without a reason of ours: made by tonic or by something in between.
    #[error("{}: {}", .0.code().description(), .0.message())]
    Status(Box<Status>),
}

impl CallError {
    /// The refusal, if a coordinator refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } | Self::Status(_) => None,
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(problem) => problem.exit_code(),
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } => ExitCode::NoQuorum,
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
        return Verdict::Again(Again { why: problem.message().to_owned(), unknown, delay });
    }
    match status.code() {
        // TLS refusals surface as `Unknown`; a server's own timeout as `Cancelled`.
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
            let unknown = !never_sent(&status);
            Verdict::Again(Again { why: root_cause(&status), unknown, delay: None })
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
