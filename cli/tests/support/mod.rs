//! Running the binary in a clean environment.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What one run gave.
pub(crate) struct Ran {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Asserts success and returns standard output.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self.out
    }

    /// Asserts the exit code and the reason in the JSON on standard error.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, reason: &str) -> serde_json::Value {
        let line = self.err.lines().find(|line| line.starts_with("{\"error\""));
        let line = line.unwrap_or_else(|| panic!("no JSON error in:\n{}\n{}", self.out, self.err));
        let error: serde_json::Value = serde_json::from_str(line).expect("an error is JSON");
        let error = error["error"].clone();
        assert_eq!((self.code, error["reason"].as_str()), (Some(code), Some(reason)), "{error}");
        error
    }
}

/// The binary, without anything of the caller's environment that it reads.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null());
    command
}

/// Runs it with these arguments.
pub(crate) fn quorate(arguments: &[&str]) -> Ran {
    command().args(arguments).output().expect("the binary runs").into()
}

/// A file of the test vectors.
pub(crate) fn example(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli/ lies in the root");
    root.join("proto/attest/tests/vectors/examples").join(name)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII letters")
}
