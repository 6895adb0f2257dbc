//! `quorate playbook`: read playbooks and say what is wrong with them, without a network.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quorate_attest::charter::Charter;
use quorate_attest::id::ClusterId;
use quorate_node::playbook::{Playbook, PlaybookRefused};
use serde::Serialize;

use super::{Env, charter};
use crate::Done;
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason};
use crate::files;
use crate::output::{Paper, View};

/// Verbs of `playbook`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say whether playbooks are well formed, and whether a charter pins them
    #[command(after_help = "\
Examples:
  quorate playbook check deploy/playbooks/*.toml
  quorate playbook check s35-node-crash.toml --charter prod/charter.leaf")]
    Check(Files),
    /// List playbooks: row, severity, ladder, digest
    #[command(after_help = "\
Examples:
  quorate playbook list deploy/playbooks/*.toml
  quorate playbook list deploy/playbooks/*.toml -o json")]
    List(Files),
    /// Show one playbook: what begins it, each step, and what closes it
    #[command(after_help = "\
Examples:
  quorate playbook show deploy/playbooks/s35-node-crash.toml
  quorate playbook show deploy/playbooks/s35-node-crash.toml -o json")]
    Show(ShowArgs),
}

/// Playbooks, and the charter to hold them against.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The playbooks
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The charter that should pin them; a note or a bare text
    #[arg(long, value_name = "FILE")]
    charter: Option<PathBuf>,
    /// Only this cluster of the charter
    #[arg(long, value_name = "NAME", requires = "charter")]
    cluster: Option<ClusterId>,
}

/// Arguments of `playbook show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The playbook
    file: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Check(files) => {
            let page = page(&files)?;
            env.printer.print(&page)?;
            env.printer.say(format!("well formed: {}", page.playbooks.len()));
            Ok(Exit::Ok)
        }
        Verb::List(files) => {
            env.printer.print(&page(&files)?)?;
            Ok(Exit::Ok)
        }
        Verb::Show(args) => {
            let (playbook, _) = read(&args.file)?;
            env.printer.print(&Whole::of(&playbook, &args.file))?;
            Ok(Exit::Ok)
        }
    }
}

/// Reads a playbook, with its bytes.
///
/// # Errors
/// The file cannot be read, or is refused: exit 3.
pub(crate) fn read(path: &Path) -> Result<(Playbook, String), Failure> {
    let text = files::read_text(path)?;
    let playbook = Playbook::parse(&text).map_err(|why| refused(path, &why))?;
    Ok((playbook, text))
}

/// A refusal with its place as facts.
pub(crate) fn refused(path: &Path, why: &PlaybookRefused) -> Failure {
    Failure::local(LocalReason::VerificationFailed, format!("{}: {why}", path.display()))
        .with("path", path.display())
        .with("line", why.at.line)
        .with("key", &why.at.key)
        .with("value", &why.at.value)
        .help("quorate help playbook")
}

fn page(files: &Files) -> Result<Page, Failure> {
    let charter = files.charter.as_deref().map(charter::read).transpose()?;
    let charter = charter.map(|signed| signed.statement);
    let mut playbooks = Vec::new();
    for path in &files.files {
        let (playbook, _) = read(path)?;
        if let Some(charter) = &charter {
            against(&playbook, charter, files.cluster.as_ref())
                .map_err(|why| refused(path, &why))?;
        }
        playbooks.push(Row::of(&playbook, path));
    }
    Ok(Page { playbooks })
}

/// Holds a playbook against a charter: pinned, and possible in every cluster asked for.
fn against(
    playbook: &Playbook,
    charter: &Charter,
    cluster: Option<&ClusterId>,
) -> Result<(), PlaybookRefused> {
    playbook.check_pinned(charter)?;
    if let Some(cluster) = cluster {
        return playbook.check(charter, cluster);
    }
    charter.cluster.iter().try_for_each(|line| playbook.check(charter, &line.name))
}

#[derive(Serialize)]
struct Page {
    playbooks: Vec<Row>,
}

/// One playbook in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    file: PathBuf,
    title: String,
    system: String,
    severity: String,
    ladder: Vec<String>,
    digest: String,
}

impl Row {
    fn of(playbook: &Playbook, path: &Path) -> Self {
        let step = |step: &quorate_node::playbook::Step| match step.attempts {
            1 => step.kind.to_string(),
            several => format!("{}×{several}", step.kind),
        };
        Self {
            id: playbook.id.to_string(),
            file: path.to_owned(),
            title: playbook.title.to_string(),
            system: playbook.system.to_string(),
            severity: playbook.urgency.level.to_string(),
            ladder: playbook.steps.iter().map(step).collect(),
            digest: playbook.digest.to_string(),
        }
    }
}

impl View for Page {
    fn draw(&self, paper: &mut Paper) {
        let rows = self.playbooks.iter().map(|row| {
            vec![
                row.id.clone(),
                row.severity.clone(),
                row.system.clone(),
                row.ladder.join(" → "),
                row.title.clone(),
            ]
        });
        paper.table(&["ROW", "SEVERITY", "SYSTEM", "LADDER", "TITLE"], rows.collect());
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        self.playbooks.iter().map(|row| serde_json::to_value(row).ok()).collect()
    }
}

/// One playbook, whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(flatten)]
    row: Row,
    charter_line: String,
    begins: Vec<String>,
    steps: Vec<String>,
    witness: Vec<String>,
    closing: Vec<String>,
    people: Vec<String>,
    first_response: String,
    resolution: String,
    rto_target: String,
    rto_max: String,
    evidence: Vec<String>,
}

impl Whole {
    fn of(playbook: &Playbook, path: &Path) -> Self {
        let words = |span: quorate_attest::log_time::Span| span.words().to_string();
        let begins = playbook.detect.signals.iter().map(|signal| {
            format!(
                "{} {} for {}, seen by {}",
                signal.name,
                signal.is,
                words(signal.lasting),
                signal.observers
            )
        });
        let rto = |pick: fn(quorate_attest::ladder::Rto) -> quorate_attest::log_time::Span| {
            playbook.rto.map(|rto| words(pick(rto))).unwrap_or_default()
        };
        let evidence = std::iter::once(&playbook.evidence).chain(&playbook.evidence_also);
        Self {
            charter_line: charter_line(playbook),
            begins: begins.collect(),
            steps: playbook.steps.iter().map(|step| step_line(playbook, step)).collect(),
            witness: playbook.witness.iter().map(ToString::to_string).collect(),
            closing: playbook.closing.iter().map(ToString::to_string).collect(),
            people: playbook.people.iter().map(ToString::to_string).collect(),
            first_response: words(playbook.urgency.first_response),
            resolution: words(playbook.urgency.resolution),
            rto_target: rto(|rto| rto.target),
            rto_max: rto(|rto| rto.max),
            evidence: evidence.cloned().collect(),
            row: Row::of(playbook, path),
        }
    }
}

/// `playbook <id> <digest>`: the line of a charter that pins this file.
fn charter_line(playbook: &Playbook) -> String {
    format!("playbook {}", playbook.pinned_by())
}

fn step_line(playbook: &Playbook, step: &quorate_node::playbook::Step) -> String {
    let who = if step.automatic { "automatic" } else { "by a person" };
    let opens = match step.after.and_then(|after| playbook.steps.get(after)) {
        None => "first".to_owned(),
        Some(after) => {
            let on: Vec<String> = step.on.iter().map(ToString::to_string).collect();
            format!("after {} was {}", after.name, on.join(" or "))
        }
    };
    format!(
        "{}: {} ({}), {who}, {} × {} with {} between, {opens}",
        step.name,
        step.kind,
        step.class,
        step.attempts,
        step.deadline.words(),
        step.pause.words()
    )
}

impl View for Whole {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[
            ("row", self.row.id.clone()),
            ("title", self.row.title.clone()),
            ("system", self.row.system.clone()),
            ("severity", self.row.severity.clone()),
            ("first response", self.first_response.clone()),
            ("resolution", self.resolution.clone()),
            ("RTO target", self.rto_target.clone()),
            ("RTO maximum", self.rto_max.clone()),
            ("people", self.people.join(" → ")),
            ("witness", self.witness.join(" ")),
            ("closes when", self.closing.join(" ")),
            ("evidence", self.evidence.join(" ")),
            ("charter line", self.charter_line.clone()),
        ]);
        for (heading, lines) in [("Begins", &self.begins), ("Ladder", &self.steps)] {
            paper.heading(heading);
            lines.iter().for_each(|line| paper.line(format_args!("  {line}")));
        }
    }
}
