//! The child processes: started in groups of their own, logging to files, killed for real.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::leash;
use crate::failure::{Failure, LocalReason};

/// One child process.
#[derive(Debug)]
pub(super) struct Process {
    /// What it is called in the story: `c1`, `agent-n4`, `n4`.
    pub(super) name: String,
    /// Where its output goes.
    pub(super) log: PathBuf,
    child: Child,
}

fn failed(name: &str, why: impl std::fmt::Display) -> Failure {
    Failure::local(LocalReason::DemoFailed, format!("{name}: {why}"))
}

impl Process {
    /// Starts this same program with other arguments. Ctrl-C in the terminal reaches the demo only,
    /// which then ends its children in order.
    pub(super) fn start(
        name: &str,
        arguments: &[String],
        environment: &[(&str, String)],
        log: PathBuf,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| failed(name, error))?;
        let output = append(&log).map_err(|error| Failure::file(&log, error))?;
        let errors = output.try_clone().map_err(|error| Failure::file(&log, error))?;
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(key, value)| (*key, value)))
            .env_remove("QUORATE_CONFIG")
            .env_remove("QUORATE_OUTPUT")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(name, error))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(|error| failed(&self.name, error))?;
        Ok(())
    }

    /// Why it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Asks it to end in order: SIGTERM.
    pub(super) fn ask_to_end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), None) = (pid, self.ended()) {
            // It may end between the look and the signal: then there is nobody to tell.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }
}

/// Ends several at once: SIGTERM to all, then a while to end in order, then `kill -9`.
pub(super) async fn stop<'a>(
    processes: impl Iterator<Item = &'a mut Process>,
    patience: Duration,
) -> Result<(), Failure> {
    let mut left: Vec<&mut Process> = processes.collect();
    left.iter_mut().for_each(|process| process.ask_to_end());
    let deadline = Instant::now() + patience;
    loop {
        left.retain_mut(|process| process.ended().is_none());
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return left.iter_mut().try_for_each(|process| process.kill());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Nothing can be told from here; the leash ends it in any case.
            drop(self.kill());
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The process that a pid file names, if it still is one of ours: `mark` must be on its command
/// line.
pub(super) fn of_pid_file(path: &Path, mark: &str) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    let pid = text.split_whitespace().next()?.parse().ok()?;
    leash::started(pid)?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    String::from_utf8_lossy(&line).contains(mark).then_some(pid)
}

/// `kill -9` by process id: for members that an agent started.
pub(super) fn kill_pid(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}
