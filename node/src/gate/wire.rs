//! What gate and agent say to each other: JSON lines over the agent's socket, all bounded.
//!
//! ```text
//! gate   {"ask":"start","cluster":"demo","member":"n1"}
//! agent  {"answer":"ordinary"}                                 what it knows is in gate.state
//!        {"answer":"reserved","token":"1.5"}                   a declaration is being carried out
//!        {"answer":"alone","token":"1.5","certificate":"…"}    one permission is offered
//!        {"answer":"failed","why":"…"}
//! gate   {"ask":"take","token":"1.5"}                          only after it verified all of it
//! agent  {"answer":"taken"}  or  {"answer":"gone","why":"…"}
//! ```
//!
//! Nothing that the agent says opens the gate by itself: the gate judges `gate.state` and the
//! certificate. The agent can only withhold.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest question.
pub(super) const QUESTION_BYTES_MAX: u64 = 4_096;
/// The longest answer: a certificate with its leaf, escaped, and some words.
pub(super) const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// How long a whole conversation may take, on either side.
pub(super) const CONVERSATION: Duration = Duration::from_secs(5);

/// What a gate asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Question {
    /// May this member start, and how?
    Start {
        /// The gate's cluster, so that a wrong configuration is found.
        cluster: String,
        /// The gate's member.
        member: String,
    },
    /// Gives me the permission that was offered.
    Take {
        /// Under which token.
        token: String,
    },
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    /// Nothing but the state decides, and it is as new as what the agent knows.
    Ordinary,
    /// Only the declaration under that token starts the member now.
    Reserved {
        /// Its token.
        token: String,
    },
    /// The permission to start alone may be taken.
    Alone {
        /// Its token.
        token: String,
        /// The certificate, as the agent verified it.
        certificate: String,
    },
    /// The permission is the gate's, and nobody gets it again.
    Taken,
    /// The permission is not to be had.
    Gone {
        /// Why.
        why: String,
    },
    /// The agent cannot answer.
    Failed {
        /// Why.
        why: String,
    },
}

/// Where the socket lies in an agent's data directory.
pub(super) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("gate.sock")
}

/// The same socket by a short name: a socket's address has 108 bytes, a path may have more. Good
/// while `directory`, the open data directory, lives.
pub(super) fn short_path(directory: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    socket_path(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())))
}
