//! The leash: a child process ends when its demo is gone, however the demo ended. So `kill -9` of
//! the demo leaves nothing behind either.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// How often the demo is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// A server of the demo: its configuration, and whom it belongs to.
#[derive(Debug, Clone, Args)]
pub(super) struct Leashed {
    /// Its configuration file
    #[arg(long)]
    pub(super) config: PathBuf,
    /// Process id of the demo
    #[arg(long)]
    pub(super) leash: u32,
}

/// When a process started, in clock ticks since boot: process ids are used again, pairs are not.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in brackets and may hold anything: read behind the last bracket.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

/// Ends this process as soon as the process `owner` is gone.
pub(super) fn hold(owner: u32) {
    let Some(start) = started(owner) else { std::process::exit(1) };
    let watch = move || {
        while started(owner) == Some(start) {
            std::thread::sleep(LOOK);
        }
        std::process::exit(0);
    };
    if std::thread::Builder::new().name("leash".to_owned()).spawn(watch).is_err() {
        std::process::exit(1);
    }
}
