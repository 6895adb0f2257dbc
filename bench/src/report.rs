//! The figures: as a table for people, as JSON for everything else.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::fill::{Bytes, Filled};
use crate::growth::{Restart, Served};

/// Durations, counted with three significant digits.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet.
    ///
    /// # Panics
    /// Never: the bounds are constants that make a histogram.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    pub fn new() -> Self {
        let hour_ns = 3_600_000_000_000;
        Self(Histogram::new_with_bounds(1, hour_ns, 3).expect("the bounds make a histogram"))
    }

    /// Counts one; above an hour it counts as an hour.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What they come to.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let at = |quantile: f64| {
            if self.0.is_empty() { 0.0 } else { ms(self.0.value_at_quantile(quantile)) }
        };
        Spread { samples: self.0.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// A duration as milliseconds.
#[must_use]
pub fn as_ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// Median, 99th percentile and maximum.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// How many were measured.
    pub samples: u64,
    /// The median in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// The longest in milliseconds.
    pub max_ms: f64,
}

impl Spread {
    fn cell(&self) -> String {
        if self.samples == 0 {
            return "-".to_owned();
        }
        format!("{} / {} / {}", short(self.p50_ms), short(self.p99_ms), short(self.max_ms))
    }
}

/// Three digits or so.
fn short(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

/// Everything about one log length.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Decisions in the log.
    pub decisions: u64,
    /// Bytes of the decision log's file for each decision.
    pub leaf_bytes_per_decision: f64,
    /// Bytes of one coordinator's files after filling.
    pub disk: Bytes,
    /// What filling three stores side by side took.
    pub filled: Filled,
    /// All three at once, after they were stopped in order.
    pub restart_of_all: Restart,
    /// One follower after kill -9, while the leader goes on.
    pub restart_of_one: Restart,
    /// Memory, proofs and export.
    pub served: Served,
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version measured.
    pub version: &'static str,
    /// Processors of this machine.
    pub processors: usize,
    /// Load average over one minute when the run began: other work makes everything slower.
    pub load: f64,
    /// By log length.
    pub points: Vec<Point>,
}

type Row = (&'static str, fn(&Point) -> String);

const ROWS: &[Row] = &[
    ("leaves", |p| p.filled.leaves.to_string()),
    ("Raft entries", |p| p.filled.entries.to_string()),
    ("fill, decisions/s", |p| format!("{:.0}", per_second(p.decisions, p.filled.took_s))),
    ("leaves.redb MiB", |p| mib(p.disk.leaves)),
    ("  bytes per decision", |p| format!("{:.0}", p.leaf_bytes_per_decision)),
    ("raft.redb MiB", |p| mib(p.disk.raft)),
    ("machine state KiB", |p| (p.filled.state_bytes / 1024).to_string()),
    ("snapshot build ms", |p| p.filled.snapshots.cell()),
    ("restart of all, ready ms", |p| short(p.restart_of_all.ready_ms)),
    ("restart of all, certified ms", |p| short(p.restart_of_all.certified_ms)),
    ("restart of one, ready ms", |p| short(p.restart_of_one.ready_ms)),
    ("restart of one, certified ms", |p| short(p.restart_of_one.certified_ms)),
    ("RSS MiB, leader, idle", |p| mib(p.served.leader.idle.rss_bytes)),
    ("RSS MiB, follower, idle", |p| mib(p.served.follower.idle.rss_bytes)),
    ("  after the proofs", |p| mib(p.served.follower.proofs.rss_bytes)),
    ("  after the export", |p| mib(p.served.follower.export.rss_bytes)),
    ("  highest", |p| mib(p.served.follower.export.peak_bytes)),
    ("inclusion, store, ms", |p| p.filled.proofs.inclusion.cell()),
    ("consistency, store, ms", |p| p.filled.proofs.consistency.cell()),
    ("inclusion, gRPC, ms", |p| p.served.proofs.inclusion.cell()),
    ("consistency, gRPC, ms", |p| p.served.proofs.consistency.cell()),
    ("log export s", |p| format!("{:.1}", p.served.export_s)),
    ("log export MiB", |p| mib(p.served.export_bytes)),
    ("log verify s", |p| format!("{:.1}", p.served.verify_s)),
];

#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Report {
    /// The table, one column for each log length.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let mut head = vec!["decisions".to_owned()];
        head.extend(self.points.iter().map(|point| point.decisions.to_string()));
        table.set_header(head);
        for (name, cell) in ROWS {
            let mut row = vec![(*name).to_owned()];
            row.extend(self.points.iter().map(cell));
            table.add_row(row);
        }
        writeln!(out, "{table}")?;
        let Self { version, processors, load, .. } = self;
        writeln!(out, "quorate {version}, {processors} processors, load {load:.1} at the start")
    }
}
