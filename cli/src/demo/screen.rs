//! The story on the screen, or as JSON events. Logs go to files, never in between.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::audit::Report;
use super::cluster::{CLUSTER, Cluster, OPERATORS};
use crate::failure::Failure;
use crate::layout::coordinator_threshold;
use crate::output::{Format, Paper, Printer, Tone, View};

/// What an event of the story is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Beat {
    /// Addresses, thresholds, people.
    Banner,
    /// Everything answers.
    Up,
    /// A member was killed.
    MemberKilled,
    /// An agent misses a member.
    Suspected,
    /// A proposal was opened.
    Proposed,
    /// A validator voted.
    Vote,
    /// A proposal changed its state.
    Proposal,
    /// A decision was made, or changed its state.
    Decision,
    /// A certificate was fetched and verified.
    Certificate,
    /// A member runs again.
    Healed,
    /// A validator lies.
    Lie,
    /// Evidence against a validator is in the log.
    Evidence,
    /// An approval waits.
    Waiting,
    /// The leading coordinator was killed.
    LeaderKilled,
    /// Another coordinator leads.
    NewLeader,
    /// A coordinator is back.
    Back,
    /// The cluster stays up.
    Stays,
    /// The end.
    Summary,
    /// A checked guarantee.
    Guarantee,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    /// Milliseconds since the demo began.
    at_ms: u64,
    event: Beat,
    text: &'a str,
    #[serde(flatten)]
    facts: serde_json::Value,
}

/// Tells the story. Cheap to clone; clones share the line of progress.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    printer: Printer,
    began: Instant,
    is_waiting: Rc<Cell<bool>>,
}

impl Screen {
    pub(super) fn new(printer: Printer, began: Instant) -> Self {
        Self { printer, began, is_waiting: Rc::new(Cell::new(false)) }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One event.
    pub(super) fn tell(&self, event: Beat, text: impl AsRef<str>) -> Result<(), Failure> {
        self.tell_with(event, text, serde_json::json!({}))
    }

    /// One event with facts for programs.
    pub(super) fn tell_with(
        &self,
        event: Beat,
        text: impl AsRef<str>,
        facts: serde_json::Value,
    ) -> Result<(), Failure> {
        self.clear();
        let (at_ms, text) = (self.elapsed_ms(), text.as_ref());
        if self.printer.format() == Format::Table {
            let seconds = at_ms / 1_000;
            let line = format!(" {:02}:{:02}  {text}\n", seconds / 60, seconds % 60);
            return self.printer.raw(line.as_bytes());
        }
        self.printer.event(&Event { at_ms, event, text, facts })
    }

    /// The first page.
    pub(super) fn banner(&self, cluster: &Cluster, seed: u64) -> Result<(), Failure> {
        let deployment = &cluster.deployment;
        let n = deployment.coordinators.len();
        let k = coordinator_threshold(n, deployment.faults);
        let safety = match deployment.faults {
            0 => "crash-safe; forks are detected, not prevented (--coordinators 4)".to_owned(),
            1 => "one lying coordinator is tolerated".to_owned(),
            f => format!("{f} lying coordinators are tolerated"),
        };
        let endpoints: Vec<String> = deployment
            .coordinators
            .iter()
            .enumerate()
            .map(|(at, one)| format!("{}={}", at + 1, one.client()))
            .collect();
        let mut paper = self.printer.paper();
        let head = format!("quorate {} demo: seed {seed}", env!("CARGO_PKG_VERSION"));
        let head = paper.tone(Tone::Strong, head);
        let warning = paper.tone(Tone::Warn, "NOT FOR PRODUCTION");
        paper.line(format_args!("{head}. {warning}: its signatures validate nowhere else"));
        paper.facts(&[
            (
                "  gRPC, HTTP",
                format!(
                    "127.0.0.1:{}  plain text, role reader, loopback only",
                    cluster.ports.reader
                ),
            ),
            ("  mutual TLS", endpoints.join(" ")),
            ("  try", format!("QUORATE_CONFIG={} quorate status", cluster.contexts().display())),
            ("  coordinators", format!("{n}, k = {k}: {safety}")),
            (
                "  guarded",
                format!("cluster {CLUSTER}: members and agents n1…n{}", deployment.members.len()),
            ),
            ("  operators", OPERATORS.join(" ")),
            (
                "  budget",
                "one act in 10 min over everything (so the second one has to wait)".to_owned(),
            ),
            ("  logs", cluster.path().join("logs").display().to_string()),
        ]);
        let text = paper.into_text();
        if self.printer.format() == Format::Table {
            return self.printer.raw(text.as_bytes());
        }
        let facts = serde_json::json!({
            "seed": seed,
            "reader": format!("127.0.0.1:{}", cluster.ports.reader),
            "endpoints": endpoints,
            "coordinators": n,
            "threshold": k,
            "faults": deployment.faults,
            "directory": cluster.path(),
            "config": cluster.contexts(),
        });
        self.tell_with(Beat::Banner, "demo, not for production", facts)
    }

    /// Shows that something is waited for: a line that is redrawn on a terminal, one line every
    /// five seconds elsewhere.
    pub(super) fn progress(&self, what: &str, since: Instant) {
        if self.printer.format() != Format::Table {
            return;
        }
        let waited = since.elapsed();
        if std::io::stderr().is_terminal() {
            let mut stderr = std::io::stderr().lock();
            // Progress is a courtesy: nobody misses it when standard error is gone.
            drop(write!(stderr, "\r\u{1b}[2K   …    {what} ({} s)", waited.as_secs()));
            drop(stderr.flush());
            self.is_waiting.set(true);
        } else if waited.as_millis() % 5_000 < 100 && waited.as_secs() > 0 {
            self.printer.say(format!("   …    {what} ({} s)", waited.as_secs()));
        }
    }

    fn clear(&self) {
        if self.is_waiting.replace(false) {
            let mut stderr = std::io::stderr().lock();
            drop(write!(stderr, "\r\u{1b}[2K"));
            drop(stderr.flush());
        }
    }

    /// Lets the time asked for pass.
    pub(super) async fn wait_out(&self, rest: Duration) {
        let since = Instant::now();
        while since.elapsed() < rest {
            let left = rest.saturating_sub(since.elapsed());
            self.progress(&format!("the cluster runs for {} s more", left.as_secs()), since);
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
        self.clear();
    }

    /// The last lines of the logs of processes that ended by themselves.
    pub(super) fn logs_of(&self, cluster: &mut Cluster) {
        self.clear();
        for path in cluster.dead_logs() {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            self.printer.say(format!("--- {}", path.display()));
            let lines: Vec<&str> = text.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(10)) {
                self.printer.say(line);
            }
        }
    }

    /// The last page but one.
    pub(super) fn summary<V: View>(&self, view: &V) -> Result<(), Failure> {
        self.clear();
        if self.printer.format() == Format::Table {
            return self.printer.print(view);
        }
        let facts = serde_json::to_value(view).unwrap_or_default();
        self.tell_with(Beat::Summary, "the log verified; everything was stopped in order", facts)
    }

    /// What was checked.
    pub(super) fn report(&self, report: &Report) -> Result<(), Failure> {
        self.clear();
        if self.printer.format() == Format::Table {
            return self.printer.print(report);
        }
        for finding in report.findings() {
            let facts = serde_json::to_value(finding).unwrap_or_default();
            self.tell_with(Beat::Guarantee, finding.found(), facts)?;
        }
        Ok(())
    }
}

impl View for Event<'_> {
    fn draw(&self, paper: &mut Paper) {
        paper.line(self.text);
    }
}
