//! Orphans: what an action left running when its agent was killed.
//!
//! A program started for an action carries the proposal in its environment. After a crash, and when
//! operators abandon the action, everything that carries it is killed with its group *before* the
//! target is probed: otherwise an effect could still come after the outcome was reported.

use std::fs;

use quorate_attest::id::ProposalId;
use rustix::process::{Pid, Signal};

/// The environment variable that names the proposal.
pub(super) const ORDER: &str = "QUORATE_ORDER";

/// Kills every process that carries `proposal`, with its group. Returns how many were found.
pub fn kill_orphans(proposal: &ProposalId) -> usize {
    let wanted = format!("{ORDER}={proposal}");
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let carries = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|var| var == wanted.as_bytes()))
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found = 0;
    for pid in pids.filter(carries).filter_map(Pid::from_raw) {
        found += 1;
        kill(pid);
    }
    found
}

fn kill(pid: Pid) {
    let leads = rustix::process::getpgid(Some(pid)).is_ok_and(|group| group == pid);
    let sent = if leads {
        rustix::process::kill_process_group(pid, Signal::KILL)
    } else {
        rustix::process::kill_process(pid, Signal::KILL)
    };
    if let Err(errno) = sent
        && errno != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid = pid.as_raw_nonzero().get(), %errno, "cannot kill an orphan");
    }
}
