//! The exit codes of the command line: one meaning each.

/// What a process of ours ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// Anything without a meaning of its own.
    Error = 1,
    /// The command line or an input is malformed.
    Usage = 2,
    /// The answer is no, or a verification failed.
    Negative = 3,
    /// No quorum, or nobody could be reached; the outcome may be unknown.
    NoQuorum = 4,
    /// Rate-limited: later is fine.
    RateLimited = 5,
    /// A confirmation is missing.
    NotConfirmed = 6,
    /// A precondition does not hold.
    Precondition = 7,
    /// Not authorised.
    NotAuthorised = 8,
    /// The time given by `--wait` ran out.
    WaitTimedOut = 9,
}

impl ExitCode {
    /// Every exit code, ascending.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Error,
        Self::Usage,
        Self::Negative,
        Self::NoQuorum,
        Self::RateLimited,
        Self::NotConfirmed,
        Self::Precondition,
        Self::NotAuthorised,
        Self::WaitTimedOut,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its one meaning, for help and reference.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Usage => "usage",
            Self::Negative => "negative answer or verification failed",
            Self::NoQuorum => "no quorum or unreachable",
            Self::RateLimited => "rate-limited",
            Self::NotConfirmed => "not confirmed",
            Self::Precondition => "precondition failed",
            Self::NotAuthorised => "not authorised",
            Self::WaitTimedOut => "wait timed out",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}
