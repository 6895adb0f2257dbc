//! One child process: started, killed, started again.
//!
//! Each runs in a process group of its own, so that SIGKILL reaches everything it has started, and
//! writes to a log file that outlives it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait;

/// What is started.
#[derive(Debug, Clone)]
pub struct Spec {
    /// How it is called in messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to this process's own.
    pub environment: Vec<(String, String)>,
    /// Where standard output and error go.
    pub log: PathBuf,
}

/// A process that may be running. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Option<Child>,
}

impl Process {
    /// A process that is not running yet.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self { spec, child: None }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Starts it.
    ///
    /// # Panics
    /// It runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.spec.name);
        let mut command = Command::new(&self.spec.program);
        command
            .args(&self.spec.arguments)
            .envs(self.spec.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(self.log())
            .stderr(self.log())
            .process_group(0);
        let child = command.spawn();
        self.child = Some(
            child.unwrap_or_else(|error| panic!("{} does not start: {error}", self.spec.name)),
        );
    }

    fn log(&self) -> Stdio {
        let file = OpenOptions::new().create(true).append(true).open(&self.spec.log);
        file.unwrap_or_else(|error| panic!("{}: {error}", self.spec.log.display())).into()
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has been started and has not ended.
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// kill -9 of its whole group, and waits until it is gone. Nothing if it does not run.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.child.take() {
            drop(child.wait());
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// It did not end within `limit`.
    pub async fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(limit).await
    }

    /// Sends a signal to its group.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself; then there is nobody to signal.
            let _gone = kill_process_group(pid, signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It was not started, or did not end within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends\n{}", self.spec.name, self.log_tail());
        let child = self.child.as_mut().unwrap_or_else(|| panic!("{} runs", self.spec.name));
        let status = wait::until(&what, limit, async || child.try_wait().ok().flatten()).await;
        self.child = None;
        status
    }

    /// Everything it has written.
    #[must_use]
    pub fn log_text(&self) -> String {
        read(&self.spec.log).unwrap_or_default()
    }

    /// The last lines it has written.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The exit code, or the signal as a shell writes it.
#[must_use]
pub fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Writes a program that a test starts.
///
/// Another process writes it: a file that this one has open for writing, in a child of another test
/// between fork and exec for one, cannot be started (`ETXTBSY`).
///
/// # Panics
/// It cannot be written.
pub fn write_executable(path: &Path, text: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"cat > "$1" && chmod 755 "$1""#, "sh"]).arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("sh");
    let mut stdin = shell.stdin.take().expect("its input");
    stdin.write_all(text.as_bytes()).expect("the text");
    drop(stdin);
    assert!(shell.wait().expect("sh").success(), "{}", path.display());
}
