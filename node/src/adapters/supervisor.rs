//! The supervisor of one local process: find it, stop it with its group, start it.
//!
//! A process is named by its id *and* its start time, because ids are used again. It is started in
//! a process group of its own, so that it outlives this agent and dies with all its children when
//! it is stopped. Every start carries the marker `QUORATE_MEMBER` in its environment: a crash
//! between the start and the write of the pid file leaves a process that is still found.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use thiserror::Error;
use tokio::process::Command;
use tokio::time::Instant;

use crate::probe::Reading;

/// The environment variable by which a started member is found again.
const MARKER: &str = "QUORATE_MEMBER";

/// The variable and the value that mark the process of `member`, written `cluster/member`.
///
/// The pid file is part of it: two deployments on one machine may have members of one name, and
/// neither's agent may touch the other's.
#[must_use]
pub fn process_marker(member: &str, pid_file: &Path) -> (&'static str, String) {
    let path = std::path::absolute(pid_file).unwrap_or_else(|_| pid_file.to_owned());
    (MARKER, format!("{member} {}", path.display()))
}
/// How often a state that is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The process this agent may restart: the table `[member_process]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Program and arguments. No shell is involved.
    pub command: Vec<String>,
    /// Where the process id is kept; a pid file written by somebody else may hold the id alone.
    pub pid_file: PathBuf,
    /// Working directory of the process.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Where its output goes; nowhere if it is not given.
    #[serde(default)]
    pub log_file: Option<PathBuf>,
    /// Environment variables added to this agent's.
    #[serde(default)]
    pub environment: std::collections::BTreeMap<String, String>,
    /// Milliseconds between SIGTERM and SIGKILL.
    #[serde(default = "default_stop_grace_ms")]
    pub stop_grace_ms: u64,
    /// Milliseconds for which a restarted process must live and answer, to count as healed.
    #[serde(default = "default_stable_ms")]
    pub stable_ms: u64,
    /// Milliseconds after a start within which it must answer its probe for the first time.
    #[serde(default = "default_start_ms")]
    pub start_ms: u64,
}

impl ProcessConfig {
    /// The program the process runs as: the first word, or what a gate in front of it becomes.
    fn program(&self) -> Option<&String> {
        let behind = self.command.iter().position(|word| word == "--").map(|at| at + 1);
        let gate = self.command.get(1).is_some_and(|word| word == "gate");
        behind.filter(|_| gate).and_then(|at| self.command.get(at)).or(self.command.first())
    }
}

fn default_stop_grace_ms() -> u64 {
    10_000
}

fn default_stable_ms() -> u64 {
    30_000
}

fn default_start_ms() -> u64 {
    10_000
}

/// A running process, named beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its id, which is also the id of its process group when this supervisor started it.
    pub pid: i32,
    /// Clock ticks after boot at which it started.
    pub start: u64,
}

impl Running {
    /// `pid start`, as a witness keeps it.
    #[must_use]
    pub fn text(self) -> String {
        format!("{} {}", self.pid, self.start)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let pid = words.next()?.parse().ok().filter(|pid| *pid > 1)?;
        let start = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { pid, start })
    }
}

/// Why a process could not be stopped or started.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// The configuration names no program.
    #[error("member_process.command is empty")]
    NoCommand,
    /// The program could not be started. Nothing runs.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The process is still there after SIGKILL and the grace.
    #[error("process {pid} is still there {grace_ms} ms after SIGKILL")]
    Unkillable {
        /// The process.
        pid: i32,
        /// How long was waited.
        grace_ms: u64,
    },
    /// The signal was refused.
    #[error("cannot signal process {pid}: {source}")]
    Signal {
        /// The process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
    /// The pid file could not be written; the process runs and is found by its marker.
    #[error("cannot write pid file {path}: {source}")]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Finds, stops and starts the one process it was configured for.
#[derive(Debug, Clone)]
pub struct Supervisor {
    config: ProcessConfig,
    marker: String,
}

impl Supervisor {
    /// A supervisor for `member`, written `cluster/member`.
    #[must_use]
    pub fn new(config: ProcessConfig, member: &str) -> Self {
        let (_, marker) = process_marker(member, &config.pid_file);
        Self { config, marker }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ProcessConfig {
        &self.config
    }

    /// The process as it is now, `None` if it does not run.
    ///
    /// A pid file with a start time names a process beyond doubt; one with an id alone is believed
    /// only if that process runs the configured program. Otherwise the marker is looked for.
    #[must_use]
    pub fn find(&self) -> Option<Running> {
        self.by_pid_file().or_else(|| find_marked(&self.marker))
    }

    fn by_pid_file(&self) -> Option<Running> {
        let text = fs::read_to_string(&self.config.pid_file).ok()?;
        if let Some(named) = Running::parse(&text) {
            return alive(named.pid).filter(|found| *found == named);
        }
        let pid: i32 = text.trim().parse().ok().filter(|pid| *pid > 1)?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let program = self.config.program()?;
        // An interpreter may stand before the program of a script.
        let runs =
            arguments.split(|byte| *byte == 0).take(2).any(|word| word == program.as_bytes());
        runs.then(|| alive(pid)).flatten()
    }

    /// Signals the process alone, not its group.
    ///
    /// # Errors
    /// [`SupervisorError::Signal`] if it is refused.
    pub(super) fn tell(&self, running: Running, signal: Signal) -> Result<(), SupervisorError> {
        let refused = |source: io::Error| SupervisorError::Signal { pid: running.pid, source };
        let pid = Pid::from_raw(running.pid).filter(|_| alive(running.pid) == Some(running));
        let gone = || refused(io::Error::other("it has ended"));
        rustix::process::kill_process(pid.ok_or_else(gone)?, signal).map_err(|e| refused(e.into()))
    }

    /// Stops `running` and its process group: SIGTERM, the grace, SIGKILL.
    ///
    /// # Errors
    /// [`SupervisorError`] if it cannot be signalled or does not end.
    pub async fn stop(&self, running: Running) -> Result<(), SupervisorError> {
        signal(running, Signal::TERM)?;
        if self.gone_within(running, Duration::from_millis(self.config.stop_grace_ms)).await {
            return Ok(());
        }
        self.kill(running).await
    }

    /// Kills `running` and its process group at once.
    ///
    /// # Errors
    /// [`SupervisorError`] if it cannot be signalled or does not end.
    pub async fn kill(&self, running: Running) -> Result<(), SupervisorError> {
        const GRACE_MS: u64 = 5_000;
        signal(running, Signal::KILL)?;
        if self.gone_within(running, Duration::from_millis(GRACE_MS)).await {
            return Ok(());
        }
        Err(SupervisorError::Unkillable { pid: running.pid, grace_ms: GRACE_MS })
    }

    async fn gone_within(&self, running: Running, grace: Duration) -> bool {
        let end = Instant::now() + grace;
        while alive(running.pid) == Some(running) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Starts the process in a group of its own and writes the pid file.
    ///
    /// # Errors
    /// [`SupervisorError`] if it cannot be started, or its pid file cannot be written.
    pub async fn start(&self) -> Result<Running, SupervisorError> {
        let (program, arguments) =
            self.config.command.split_first().ok_or(SupervisorError::NoCommand)?;
        let failed = |source| SupervisorError::Start { program: program.clone(), source };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(&self.config.environment)
            .env(MARKER, &self.marker)
            .stdin(Stdio::null())
            .stdout(self.output().map_err(failed)?)
            .stderr(self.output().map_err(failed)?)
            .process_group(0)
            .kill_on_drop(false);
        if let Some(directory) = &self.config.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(failed)?;
        let started = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(alive)
            .ok_or_else(|| failed(io::Error::other("it ended at once")))?;
        // Somebody has to wait for it, or it stays a zombie and looks alive to careless probes.
        drop(tokio::spawn(async move { child.wait().await }));
        self.write_pid_file(started).map_err(|source| SupervisorError::PidFile {
            path: self.config.pid_file.clone(),
            source,
        })?;
        Ok(started)
    }

    fn output(&self) -> io::Result<Stdio> {
        let Some(path) = &self.config.log_file else { return Ok(Stdio::null()) };
        Ok(fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path)?.into())
    }

    /// Temporary file, fsync, rename, fsync of the directory: the file is whole or the old one.
    fn write_pid_file(&self, running: Running) -> io::Result<()> {
        let path = &self.config.pid_file;
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let mut file = fs::File::create(&temporary)?;
        writeln!(file, "{} {}", running.pid, running.start)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Signals the whole group if the process leads one, else the process alone.
fn signal(running: Running, signal: Signal) -> Result<(), SupervisorError> {
    let refused = |source: rustix::io::Errno| SupervisorError::Signal {
        pid: running.pid,
        source: source.into(),
    };
    let Some(pid) = Pid::from_raw(running.pid) else { return Ok(()) };
    if alive(running.pid) != Some(running) {
        return Ok(());
    }
    let leads = rustix::process::getpgid(Some(pid)).is_ok_and(|group| group == pid);
    let sent = if leads {
        rustix::process::kill_process_group(pid, signal)
    } else {
        rustix::process::kill_process(pid, signal)
    };
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(refused(errno)),
    }
}

/// The process `pid` if it runs and is no zombie.
fn alive(pid: i32) -> Option<Running> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in brackets and may hold anything: read after the last bracket.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Running { pid, start })
}

/// The oldest process that carries our marker: the leader of its group, not one of its children.
fn find_marked(member: &str) -> Option<Running> {
    let wanted = format!("{MARKER}={member}");
    let entries = fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| {
                bytes.split(|byte| *byte == 0).any(|var| var == wanted.as_bytes())
            })
        })
        .filter_map(alive)
        .min_by_key(|running| (running.start, running.pid))
}

/// Whether the process of a pid file runs: the `process` probe.
///
/// With a start time in the file it must be that very process; an id alone is taken at its word.
#[must_use]
pub(crate) fn process_of(pid_file: &Path) -> Reading {
    let Ok(text) = fs::read_to_string(pid_file) else { return Reading::Down };
    let found = match Running::parse(&text) {
        Some(named) => alive(named.pid).filter(|found| *found == named),
        None => text.trim().parse().ok().filter(|pid| *pid > 1).and_then(alive),
    };
    if found.is_some() { Reading::Up } else { Reading::Down }
}
