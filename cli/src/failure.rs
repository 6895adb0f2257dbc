//! Why a command failed, as people and scripts read it: one exit code, one stable reason, the
//! facts.
//!
//! A refusal by a coordinator arrives as a gRPC status with details and keeps its reason; what this
//! program finds out by itself has a [`LocalReason`]. Both print alike.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use quorate_proto::error_code::ErrorCode;
use serde::Serialize;

use crate::exit::Exit;

macro_rules! local_reasons {
    ($($variant:ident = $word:literal, $exit:ident, $meaning:literal;)*) => {
        /// A reason that arises in this program, not in a coordinator.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum LocalReason {
            $(#[doc = $meaning] $variant,)*
        }

        impl LocalReason {
            /// Every local reason, alphabetically.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub(crate) const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What the process ends with.
            pub(crate) const fn exit(self) -> Exit {
                match self {
                    $(Self::$variant => Exit::$exit,)*
                }
            }

            /// What it means, for `help reasons` and the reference.
            pub(crate) const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

local_reasons! {
    BadArgument = "BAD_ARGUMENT", Usage, "a flag, an argument or a value is wrong";
    ConfigInvalid = "CONFIG_INVALID", Usage, "a configuration is wrong or names no coordinator";
    DemoFailed = "DEMO_FAILED", Error, "a process of the demo ended, or a step did not happen";
    FileExists = "FILE_EXISTS", Error, "the file is there already; nothing is overwritten";
    FileFailed = "FILE_FAILED", Error, "a file could not be read or written";
    GateClosed = "GATE_CLOSED", Precondition,
        "the gate cannot know that the member may start here and now; `why` says what is missing";
    GuaranteeBroken = "GUARANTEE_BROKEN", Negative,
        "`demo --assert` found a guarantee that does not hold";
    Interrupted = "INTERRUPTED", Interrupted, "stopped by Ctrl-C";
    NotConfirmed = "NOT_CONFIRMED", NotConfirmed, "a dangerous act without its confirmation";
    NotServed = "NOT_SERVED", Error, "what answers there is no public port of a coordinator";
    PortBusy = "PORT_BUSY", Error, "a port that the demo needs is taken";
    ServerFailed = "SERVER_FAILED", Error, "a server could not start, or a fault stopped it";
    VerificationFailed = "VERIFICATION_FAILED", Negative,
        "a note, proof, leaf or log did not verify";
    WaitTimedOut = "WAIT_TIMED_OUT", WaitTimedOut, "the state waited for was not reached in time";
    WouldEquivocate = "WOULD_EQUIVOCATE", Precondition,
        "this key signed another text for the same question";
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
    /// Words without any fact yet.
    pub(crate) fn bare(exit: Exit, code: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::from(Facts {
            exit,
            code: code.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
            metadata: BTreeMap::new(),
            next_allowed: None,
            remedy: None,
            help: None,
        })
    }

    /// A failure that this program found out by itself.
    pub(crate) fn local(reason: LocalReason, message: impl Into<String>) -> Self {
        Self::bare(reason.exit(), "LOCAL", reason.word(), message)
    }

    /// A failure for a reason that coordinators use too: nobody could be asked to refuse.
    pub(crate) fn known(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::bare(code.exit().into(), code.grpc().name(), code.reason(), message)
    }

    /// The same failure under a reason that coordinators use too.
    #[must_use]
    pub(crate) fn known_as(mut self, code: ErrorCode) -> Self {
        self.exit = code.exit().into();
        code.reason().clone_into(&mut self.reason);
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
