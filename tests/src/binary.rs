//! The executable `quorate`: the one beside the test that runs it, or one that was built before.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Names another `quorate` to test, an optimised one for example, whatever profile the tests have.
pub const VARIABLE: &str = "QUORATE_BINARY";

/// The `quorate` of this build, `target/<profile>/quorate`, or the one that [`VARIABLE`] names.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn quorate() -> PathBuf {
    let Some(given) = std::env::var_os(VARIABLE) else { return sibling("quorate") };
    // Absolute: it is started from other directories too.
    let path = std::fs::canonicalize(&given);
    path.unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", given.display()))
}

/// Whether the `quorate` under test is optimised: by this build's profile, or by promise of whoever set
/// [`VARIABLE`].
#[must_use]
pub fn is_optimised() -> bool {
    std::env::var_os(VARIABLE).is_some() || !cfg!(debug_assertions)
}

fn sibling(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let mut beside = test.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    beside.find(|path| path.is_file()).unwrap_or_else(|| {
        let profile = test.ancestors().nth(2).unwrap_or(&test).display();
        panic!(
            "there is no {profile}/{name}: the whole-system tests run the real binaries; build \
             them first, with the same profile and target directory: cargo build -p quorate -p \
             quorate-tests; {VARIABLE} names another quorate"
        )
    })
}

/// The program that counts what is done to it, built with these tests.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn counted_target() -> PathBuf {
    sibling("counted-target")
}

/// Runs `quorate` to its end, without a terminal and without a context of this machine.
///
/// # Panics
/// It cannot be started.
#[must_use]
pub fn run(arguments: &[&str], identity: Option<&Identity<'_>>) -> Output {
    let mut command = Command::new(quorate());
    command.args(arguments).stdin(Stdio::null()).env_remove("QUORATE_CONTEXT");
    command.env("QUORATE_CONFIG", "/dev/null");
    if let Some(identity) = identity {
        command.env("QUORATE_CONFIG", identity.config).env("QUORATE_CONTEXT", identity.context);
    }
    command.output().expect("quorate runs")
}

/// As whom a command runs: a context of a client's file.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// `config.toml` as `quorate init` wrote it.
    pub config: &'a Path,
    /// The operator.
    pub context: &'a str,
}

/// Standard output of a command that must succeed.
///
/// # Panics
/// It ended otherwise; the text says how.
#[must_use]
pub fn stdout_of(arguments: &[&str], identity: Option<&Identity<'_>>) -> Vec<u8> {
    let output = run(arguments, identity);
    assert!(
        output.status.success(),
        "quorate {} ended with {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output.stdout
}
