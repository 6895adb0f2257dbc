//! How long one fsync takes on this disk.
//!
//! A voter fsyncs its vote before it answers, so an election needs a timeout well above one fsync:
//! on a slower disk no leader is ever elected. `run` and `doctor` measure before they believe the
//! configured timeouts.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Written and synced in each round: one page, as a small commit would.
const ROUND_BYTES: usize = 4096;

/// Sorted times of single fsyncs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsyncTimes {
    sorted: Vec<Duration>,
}

impl FsyncTimes {
    /// The time below which `percent` of the rounds stayed; zero if nothing was measured.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let rank = (last * percent.min(100)).div_ceil(100);
        self.sorted.get(rank).copied().unwrap_or_default()
    }

    /// The slowest round.
    pub fn max(&self) -> Duration {
        self.percentile(100)
    }
}

/// Appends and fsyncs `rounds` times in `directory`, and removes the file.
///
/// # Errors
/// The first error of the disk.
pub fn measure(directory: &Path, rounds: usize) -> io::Result<FsyncTimes> {
    let path = directory.join(format!("fsync-probe.{}", std::process::id()));
    let times = measure_in(&path, rounds);
    let removed = std::fs::remove_file(&path);
    let times = times?;
    removed?;
    Ok(times)
}

fn measure_in(path: &Path, rounds: usize) -> io::Result<FsyncTimes> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let page = [0x5a_u8; ROUND_BYTES];
    let mut sorted = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        file.write_all(&page)?;
        let begun = Instant::now();
        file.sync_data()?;
        sorted.push(begun.elapsed());
    }
    sorted.sort_unstable();
    Ok(FsyncTimes { sorted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_measured_times() {
        let sorted = (1..=10).map(Duration::from_millis).collect();
        let times = FsyncTimes { sorted };
        assert_eq!(times.percentile(0), Duration::from_millis(1));
        assert_eq!(times.percentile(50), Duration::from_millis(6));
        assert_eq!(times.percentile(99), Duration::from_millis(10));
        assert_eq!(times.max(), Duration::from_millis(10));
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let times = measure(directory.path(), 8).unwrap();
        assert!(times.max() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
