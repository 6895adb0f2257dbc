//! One call of an operator's program: input in, output out, a deadline, and nothing left running.
//!
//! The program runs in a process group of its own. An answer counts only with exit code 0. The group
//! is killed at the deadline, when operators abandon the action, and after an orderly end too. After
//! any other end, whatever carries the action's proposal in its environment is killed as well: a
//! child that left the group must not have its effect after the outcome was reported.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{fmt, io};

use quorate_attest::id::ProposalId;
use rustix::process::{Pid, Signal};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::orphan::{ORDER, kill_orphans};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A program and its arguments. No shell is involved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) command: Vec<String>,
    pub(super) directory: Option<PathBuf>,
}

/// Why a call has no answer.
#[derive(Debug, Error)]
pub(super) enum CallFailed {
    #[error("its command is empty")]
    NoCommand,
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("no answer within {ms} ms; its process group was killed")]
    Deadline { ms: u128 },
    #[error("abandoned; its process group was killed")]
    Stopped,
    #[error("its pipes broke: {0}")]
    Pipe(io::Error),
    #[error("it ended with {status}")]
    Exit { status: ExitStatus },
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("its answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl CallFailed {
    /// Whether nothing can have happened, because nothing ran.
    pub(super) const fn nothing_ran(&self) -> bool {
        matches!(self, Self::NoCommand | Self::Start { .. })
    }
}

impl Program {
    /// Its name, for people.
    pub(super) fn name(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    /// Runs it once, for `order` if it may have an effect, and returns what it wrote.
    pub(super) async fn call(
        &self,
        input: Vec<u8>,
        order: Option<&ProposalId>,
        deadline: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<u8>, CallFailed> {
        let child = self.spawn(order)?;
        let group = Group::of(&child);
        let answered = tokio::select! {
            () = stop.cancelled() => Err(CallFailed::Stopped),
            answered = tokio::time::timeout(deadline, converse(child, input)) => {
                answered.unwrap_or(Err(CallFailed::Deadline { ms: deadline.as_millis() }))
            }
        };
        // Also after an orderly end: what it left behind in its group must not go on by itself.
        drop(group);
        if let (Err(_), Some(proposal)) = (&answered, order) {
            kill_orphans(proposal);
        }
        answered
    }

    fn spawn(&self, order: Option<&ProposalId>) -> Result<Child, CallFailed> {
        let (program, arguments) = self.command.split_first().ok_or(CallFailed::NoCommand)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(proposal) = order {
            command.env(ORDER, proposal.to_string());
        }
        command.spawn().map_err(|source| CallFailed::Start { program: program.clone(), source })
    }
}

/// Writes the request, reads the answer, waits for the end: in this order, both pipes at once.
async fn converse(mut child: Child, input: Vec<u8>) -> Result<Vec<u8>, CallFailed> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(CallFailed::Pipe(io::Error::other("no pipe")));
    };
    let write = async move {
        // A program that does not read its input may still answer.
        let _unread = stdin.write_all(&input).await;
    };
    let read = async move {
        let mut answer = Vec::new();
        let mut bounded = stdout.take(ANSWER_BYTES_MAX + 1);
        bounded.read_to_end(&mut answer).await.map(|_| answer)
    };
    let ((), answer) = tokio::join!(write, read);
    let answer = answer.map_err(CallFailed::Pipe)?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err(CallFailed::TooLong);
    }
    let status = child.wait().await.map_err(CallFailed::Pipe)?;
    if status.success() { Ok(answer) } else { Err(CallFailed::Exit { status }) }
}

/// The process group of one call; dropping it kills what is left of it.
///
/// The leader's id cannot be used again before `wait` has reaped it, and a group exists as long as
/// one of its processes does, so the signal reaches this group or nobody.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let sent = rustix::process::kill_process_group(pid, Signal::KILL);
            if let Err(errno) = sent
                && errno != rustix::io::Errno::SRCH
            {
                tracing::warn!(pid = pid.as_raw_nonzero().get(), %errno, "cannot kill a process group");
            }
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Group({:?})", self.0)
    }
}
