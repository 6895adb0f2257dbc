//! One meaning per exit code. Scripts may rely on them; `quorate help exit-codes` prints this
//! table.

use std::process::ExitCode;

/// How a command ended. The numbers are part of the interface and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done; the answer is on standard output.
    Ok,
    /// Something failed that no other code names.
    Error,
    /// The command line or an argument is wrong; nothing was sent.
    Usage,
    /// The answer is no: a verification failed, or what was asked about is not so.
    Negative,
    /// No quorum, no leader or no reachable coordinator; the outcome of a write may be unknown.
    NoQuorum,
    /// A budget, cooldown or caller limit; the message says when it is next allowed.
    RateLimited,
    /// The confirmation is missing; the message names the flag to add.
    NotConfirmed,
    /// The state does not allow it: a rule, the slot, an expectation, a closed proposal.
    Precondition,
    /// This identity may not do it.
    NotAuthorised,
    /// `--wait` ran out of time; what was started goes on.
    WaitTimedOut,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// Every code, in numerical order.
    pub(crate) const ALL: [Exit; 12] = [
        Exit::Ok,
        Exit::Error,
        Exit::Usage,
        Exit::Negative,
        Exit::NoQuorum,
        Exit::RateLimited,
        Exit::NotConfirmed,
        Exit::Precondition,
        Exit::NotAuthorised,
        Exit::WaitTimedOut,
        Exit::Interrupted,
        Exit::Terminated,
    ];

    /// The number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Negative => 3,
            Exit::NoQuorum => 4,
            Exit::RateLimited => 5,
            Exit::NotConfirmed => 6,
            Exit::Precondition => 7,
            Exit::NotAuthorised => 8,
            Exit::WaitTimedOut => 9,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// Its meaning, as `help exit-codes` prints it.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Error => "error",
            Exit::Usage => "usage: the command line or an argument is wrong",
            Exit::Negative => "negative answer, or a verification failed",
            Exit::NoQuorum => "no quorum, or no coordinator could be reached",
            Exit::RateLimited => "rate-limited: the message says when it is next allowed",
            Exit::NotConfirmed => "not confirmed: the message names the flag to add",
            Exit::Precondition => "precondition failed: a rule, the slot, an expectation",
            Exit::NotAuthorised => "not authorised: this identity may not do it",
            Exit::WaitTimedOut => "the wait timed out; what was started goes on",
            Exit::Interrupted => "interrupted (SIGINT)",
            Exit::Terminated => "terminated (SIGTERM)",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_meaning_and_each_meaning_one_code() {
        for (at, exit) in Exit::ALL.into_iter().enumerate() {
            for other in &Exit::ALL[at + 1..] {
                assert!(exit.code() < other.code());
                assert_ne!(exit.meaning(), other.meaning());
            }
        }
    }
}
