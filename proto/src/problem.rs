//! A refusal as it travels: an [`ErrorCode`], a sentence, the facts, and when to ask again.
//!
//! Servers build one and turn it into a `tonic::Status` with `google.rpc` details; clients read it
//! back. The CLI and the HTTP side print it as one JSON object.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::error_code::{ErrorCode, Retry};
use crate::exit_code::ExitCode;
use crate::pb::v1::{Assessment, Refusal};
use crate::wkt::Timestamp;

/// The domain of every `google.rpc.ErrorInfo` of ours.
pub const DOMAIN: &str = "quorate.v1";

/// Longest metadata value and message, in bytes: details travel in an HTTP/2 header block of at
/// most 16 KiB.
pub const TEXT_BYTES_MAX: usize = 512;

const NEXT_ALLOWED: &str = "next_allowed";
const COMMAND: &str = "command";

/// A refusal with everything a person or a program needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    code: ErrorCode,
    message: String,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
    assessment: Option<Box<Assessment>>,
}

impl Problem {
    /// A refusal: `message` is one sentence that says what and why, with every value in it.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: bounded(message.into()),
            metadata: BTreeMap::new(),
            retry_after: None,
            assessment: None,
        }
    }

    /// Adds a fact; keys are snake_case and those of the error table.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key.to_owned(), bounded(value.to_string()));
        self
    }

    /// Adds several facts.
    #[must_use]
    pub fn with_all<K: Into<String>, V: Into<String>>(
        mut self,
        facts: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.metadata.extend(facts.into_iter().map(|(k, v)| (k.into(), bounded(v.into()))));
        self
    }

    /// Says after how long to ask again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Says when it is allowed, and how long that is from `now`.
    #[must_use]
    pub fn next_allowed(self, at: Timestamp, now: Timestamp) -> Self {
        let problem = self.with(NEXT_ALLOWED, at);
        problem.retry_after(until(at, now))
    }

    /// Names the command that would change it.
    #[must_use]
    pub fn command(self, command: impl fmt::Display) -> Self {
        self.with(COMMAND, command)
    }

    /// Attaches what `validate_only` found out.
    #[must_use]
    pub fn assessment(mut self, assessment: Assessment) -> Self {
        self.assessment = Some(Box::new(assessment));
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// What and why, one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The facts.
    #[must_use]
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// One fact.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// After how long to ask again.
    #[must_use]
    pub const fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// When it is allowed.
    #[must_use]
    pub fn allowed_at(&self) -> Option<Timestamp> {
        self.fact(NEXT_ALLOWED)?.parse().ok()
    }

    /// What `validate_only` found out.
    #[must_use]
    pub fn assessed(&self) -> Option<&Assessment> {
        self.assessment.as_deref()
    }

    /// The exit code of the command line.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        self.code.exit()
    }

    /// Whether the same request, repeated soon, may be answered.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.code.retry() {
            Retry::Soon => true,
            Retry::Never | Retry::Later => false,
        }
    }

    /// The leader that a `NOT_LEADER` names: its Raft node id.
    #[must_use]
    pub fn leader_id(&self) -> Option<u64> {
        let named = self.fact("leader_id").filter(|_| self.code == ErrorCode::NotLeader);
        named?.parse().ok()
    }

    /// As one JSON object: `{"error":{…}}`.
    #[must_use]
    pub fn document(&self) -> ErrorDocument {
        ErrorDocument {
            error: ErrorObject {
                code: self.code.grpc().name().to_owned(),
                reason: self.code.reason().to_owned(),
                message: self.message.clone(),
                metadata: self.metadata.clone(),
                next_allowed: self.fact(NEXT_ALLOWED).map(str::to_owned),
                help: self.code.help(),
            },
        }
    }
}

impl fmt::Display for Problem {
    /// What, why, when, who can change it, the command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.trim_end_matches('.'))?;
        f.write_str(".")?;
        if let Some(at) = self.fact(NEXT_ALLOWED) {
            write!(f, " Next allowed at {at}.")?;
        }
        write!(f, " {}", self.code.row().remedy)?;
        match self.fact(COMMAND) {
            Some(command) => write!(f, " Command: {command}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl From<&Problem> for Refusal {
    fn from(problem: &Problem) -> Self {
        Self {
            reason: problem.code.reason().to_owned(),
            message: problem.message.clone(),
            rule: problem.fact("rule").unwrap_or_default().to_owned(),
            metadata: problem.metadata.clone(),
            next_allowed: problem.allowed_at(),
            command: problem.fact(COMMAND).unwrap_or_default().to_owned(),
        }
    }
}

/// An error as the CLI and the HTTP side print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorDocument {
    /// The one member.
    pub error: ErrorObject,
}

/// What an [`ErrorDocument`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorObject {
    /// gRPC code, for example `FAILED_PRECONDITION`.
    pub code: String,
    /// Stable reason.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// The facts.
    pub metadata: BTreeMap<String, String>,
    /// When it is allowed, RFC 3339; absent if time does not heal it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_allowed: Option<String>,
    /// Where it is documented.
    pub help: String,
}

/// Time from `now` until `at`, zero if it has passed.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    let nanos = |t: Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    let left = u64::try_from((nanos(at) - nanos(now)).max(0)).unwrap_or(u64::MAX);
    Duration::from_nanos(left)
}

/// Cuts a text at [`TEXT_BYTES_MAX`], on a character boundary.
fn bounded(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
