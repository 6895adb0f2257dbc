//! Why a command failed, as people and scripts read it: one exit code, one stable reason, the
//! facts.
//!
//! A refusal by a coordinator arrives as a gRPC status with details and keeps its reason; what this
//! program finds out by itself has a [`LocalReason`]. Both print alike.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde::Serialize;

use crate::exit::Exit;

/// A reason that arises in this program, not in a coordinator. Alphabetical, as `help reasons`
/// lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalReason {
    /// A flag, an argument or a value is wrong.
    BadArgument,
    /// A configuration file is wrong, or nothing says which coordinators to ask.
    ConfigInvalid,
    /// A guarantee that the demo checks by itself does not hold.
    GuaranteeBroken,
    /// A file or a directory could not be read or written.
    FileFailed,
    /// A file is there already; nothing is ever overwritten.
    FileExists,
    /// Ctrl-C.
    Interrupted,
    /// A dangerous act without its confirmation.
    NotConfirmed,
    /// A port that the demo needs is taken.
    PortBusy,
    /// A child process of the demo ended, or a step of its story did not happen.
    DemoFailed,
    /// A server could not start, or a fault stopped it.
    ServerFailed,
    /// A note, a proof, a leaf or a log did not verify.
    VerificationFailed,
    /// This key signed another text for the same question before.
    WouldEquivocate,
    /// `--wait` ran out of time.
    WaitTimedOut,
}

impl LocalReason {
    /// Every local reason, for `help reasons`.
    pub(crate) const ALL: [LocalReason; 13] = [
        LocalReason::BadArgument,
        LocalReason::ConfigInvalid,
        LocalReason::DemoFailed,
        LocalReason::FileExists,
        LocalReason::FileFailed,
        LocalReason::GuaranteeBroken,
        LocalReason::Interrupted,
        LocalReason::NotConfirmed,
        LocalReason::PortBusy,
        LocalReason::ServerFailed,
        LocalReason::VerificationFailed,
        LocalReason::WaitTimedOut,
        LocalReason::WouldEquivocate,
    ];

    /// The stable word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            LocalReason::BadArgument => "BAD_ARGUMENT",
            LocalReason::ConfigInvalid => "CONFIG_INVALID",
            LocalReason::GuaranteeBroken => "GUARANTEE_BROKEN",
            LocalReason::FileFailed => "FILE_FAILED",
            LocalReason::FileExists => "FILE_EXISTS",
            LocalReason::Interrupted => "INTERRUPTED",
            LocalReason::NotConfirmed => "NOT_CONFIRMED",
            LocalReason::PortBusy => "PORT_BUSY",
            LocalReason::DemoFailed => "DEMO_FAILED",
            LocalReason::ServerFailed => "SERVER_FAILED",
            LocalReason::VerificationFailed => "VERIFICATION_FAILED",
            LocalReason::WouldEquivocate => "WOULD_EQUIVOCATE",
            LocalReason::WaitTimedOut => "WAIT_TIMED_OUT",
        }
    }

    /// What the process ends with.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            LocalReason::BadArgument | LocalReason::ConfigInvalid => Exit::Usage,
            LocalReason::FileFailed
            | LocalReason::FileExists
            | LocalReason::PortBusy
            | LocalReason::DemoFailed
            | LocalReason::ServerFailed => Exit::Error,
            LocalReason::GuaranteeBroken | LocalReason::VerificationFailed => Exit::Negative,
            LocalReason::WouldEquivocate => Exit::Precondition,
            LocalReason::NotConfirmed => Exit::NotConfirmed,
            LocalReason::WaitTimedOut => Exit::WaitTimedOut,
            LocalReason::Interrupted => Exit::Interrupted,
        }
    }

    /// One line for `help reasons`.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            LocalReason::BadArgument => "a flag, an argument or a value is wrong",
            LocalReason::ConfigInvalid => "a configuration is wrong or names no coordinator",
            LocalReason::GuaranteeBroken => "`demo --assert` found a guarantee that does not hold",
            LocalReason::FileFailed => "a file could not be read or written",
            LocalReason::FileExists => "the file is there already; nothing is overwritten",
            LocalReason::Interrupted => "stopped by Ctrl-C",
            LocalReason::NotConfirmed => "a dangerous act without its confirmation",
            LocalReason::PortBusy => "a port that the demo needs is taken",
            LocalReason::DemoFailed => "a process of the demo ended, or a step did not happen",
            LocalReason::ServerFailed => "a server could not start, or a fault stopped it",
            LocalReason::VerificationFailed => "a note, proof, leaf or log did not verify",
            LocalReason::WouldEquivocate => "this key signed another text for the same question",
            LocalReason::WaitTimedOut => "the state waited for was not reached in time",
        }
    }
}

/// A failed command. One pointer, because every function of this program may return one.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Failure(Box<Facts>);

/// What is printed on standard error, and the exit code.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    /// How the process ends.
    #[serde(skip)]
    pub exit: Exit,
    /// The gRPC code's name, or `LOCAL` for what this program found out by itself.
    pub code: String,
    /// The stable reason.
    pub reason: String,
    /// What, why, and who can change it.
    pub message: String,
    /// Every dynamic part of the message.
    pub metadata: BTreeMap<String, String>,
    /// When the same request is next allowed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_allowed: Option<String>,
    /// Who can change it and how, for eyes; programs have the reason.
    #[serde(skip)]
    pub remedy: Option<&'static str>,
    /// The command or the page that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl From<Facts> for Failure {
    fn from(facts: Facts) -> Self {
        Self(Box::new(facts))
    }
}

impl std::ops::Deref for Failure {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl std::ops::DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.0
    }
}

impl Failure {
    /// A failure that this program found out by itself.
    pub(crate) fn local(reason: LocalReason, message: impl Into<String>) -> Self {
        Self::from(Facts {
            exit: reason.exit(),
            code: "LOCAL".to_owned(),
            reason: reason.word().to_owned(),
            message: message.into(),
            metadata: BTreeMap::new(),
            next_allowed: None,
            remedy: None,
            help: None,
        })
    }

    /// The same failure under a reason that coordinators use too.
    #[must_use]
    pub(crate) fn known_as(mut self, exit: Exit, reason: &str) -> Self {
        self.exit = exit;
        reason.clone_into(&mut self.reason);
        self
    }

    /// A wrong argument: exit 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::local(LocalReason::BadArgument, message)
    }

    /// A file that could not be read or written.
    pub(crate) fn file(path: &Path, error: impl Display) -> Self {
        Self::local(LocalReason::FileFailed, format!("{}: {error}", path.display()))
            .with("path", path.display())
    }

    /// Something that did not verify: exit 3.
    pub(crate) fn unverified(message: impl Into<String>) -> Self {
        Self::local(LocalReason::VerificationFailed, message)
    }

    /// Adds one fact.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl Display) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds the command or the page that helps.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_alphabetical_order_and_none_twice() {
        for pair in LocalReason::ALL.windows(2) {
            assert!(pair[0].word() < pair[1].word(), "{:?} before {:?}", pair[0], pair[1]);
        }
    }
}
