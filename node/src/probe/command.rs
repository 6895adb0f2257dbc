//! The `command` probe: a program of the operator's says it. Exit code 0 is up, 1 is down, and
//! anything else is no answer: it may work for others.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::Reading;

/// Runs it once. Whoever stops waiting kills it with all it has started.
pub(super) async fn read(program: &Path) -> Reading {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let Ok(mut child) = command.spawn() else { return Reading::Unreachable };
    let group = Group(child.id());
    let ended = child.wait().await;
    drop(group);
    match ended.ok().and_then(|status| status.code()) {
        Some(0) => Reading::Up,
        Some(1) => Reading::Down,
        Some(_) | None => Reading::Unreachable,
    }
}

/// The process group of a running program: killed when nobody waits for it any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // It may have ended already.
            let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}
