//! What a process costs, as the kernel counts it.

use std::time::Duration;

/// Ticks per second of `/proc/<pid>/stat`: fixed at 100 for user space on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time a process has used so far, user and system, all threads.
///
/// # Panics
/// There is no such process.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap_or_else(|error| panic!("process {pid}: {error}"));
    // The name stands in brackets and may hold anything: read after the last one.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let numbers: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    let [user, system] = numbers.as_slice() else { panic!("/proc/{pid}/stat: {text}") };
    Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND)
}

/// Resident memory of a process in bytes.
///
/// # Panics
/// There is no such process.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_else(|error| panic!("process {pid}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).map(str::trim);
    kib.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
