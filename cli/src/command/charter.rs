//! `quorate charter`: the root of trust. Show it, sign the next one, put it in force.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quorate_attest::charter::{Charter, Gate};
use quorate_attest::note::Note;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_proto::pb::v1;
use quorate_proto::pb::v1::{AmendCharterRequest, GetCharterRequest, View};

use super::Env;
use crate::Done;
use crate::args::{Confirmation, Expect, Mutation};
use crate::confirm::{Danger, Question};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::files;
use crate::signing::Signer;

/// Verbs of `charter`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the charter in force, one of an epoch, or one in a file
    #[command(after_help = "\
Examples:
  quorate charter show
  quorate charter show --file prod/charter.leaf
  quorate charter show --epoch 1 --note > charter.leaf")]
    Show(ShowArgs),
    /// Print the next epoch's text: the charter in force with other playbooks, to edit and sign
    #[command(after_help = "\
Examples:
  quorate charter next --playbook deploy/playbooks/s35-node-crash.toml > next.charter
  quorate charter next --file prod/charter.leaf --playbook s35.toml --playbook s36.toml")]
    Next(NextArgs),
    /// Sign a charter; the note goes to standard output. Works without a network
    #[command(after_help = "\
Examples:
  quorate charter sign --key ana.pem next.charter > ana.note
  quorate charter sign --key ben.pem ana.note > both.note")]
    Sign(SignArgs),
    /// Put a signed charter of the next epoch in force; open proposals end with the old one
    #[command(after_help = "\
Examples:
  quorate charter amend --note ana.note --note ben.note --dry-run
  quorate charter amend --note both.note --confirm=example.org/prod")]
    Amend(AmendArgs),
}

/// Arguments of `charter show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The charter of this epoch [default: the one in force]
    #[arg(long, value_name = "EPOCH", conflicts_with = "file")]
    epoch: Option<u64>,
    /// A charter in a file, a note or a bare text; asks nobody
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the exact signed note, and nothing else
    #[arg(long)]
    note: bool,
    /// Print the exact text without signatures, to edit and sign
    #[arg(long, conflicts_with = "note")]
    text: bool,
}

/// Arguments of `charter next`.
#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    /// The charter to go on from [default: the one in force]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A playbook to pin by its digest; one of the same row is replaced
    #[arg(long = "playbook", value_name = "FILE")]
    playbooks: Vec<PathBuf>,
}

/// Arguments of `charter sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The charter's text, or a note that others have signed; `-` for standard input
    charter: PathBuf,
    /// The key to sign with
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Arguments of `charter amend`.
#[derive(Debug, Args)]
pub(crate) struct AmendArgs {
    /// Signed notes over one charter; their signatures are put together
    #[arg(long = "note", value_name = "FILE", required = true)]
    notes: Vec<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
    #[command(flatten)]
    expect: Expect,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Show(args) => show(&args, env).await,
        Verb::Next(args) => next(&args, env).await,
        Verb::Sign(args) => sign(&args, env),
        Verb::Amend(args) => amend(args, env).await,
    }
}

/// A charter with the signatures it has, which may be none. Nothing is verified.
pub(super) fn read(path: &Path) -> Result<Signed<Charter>, Failure> {
    let bytes = files::read_bytes(path)?;
    let wrong = |error: &dyn std::error::Error| {
        Failure::unverified(format!("{}: {}", path.display(), chain(error)))
    };
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("\n\n") {
        return Signed::parse(&bytes).map_err(|error| wrong(&error));
    }
    let charter = Charter::parse(&text).map_err(|error| wrong(&error))?;
    Ok(Signed { statement: charter, lines: Vec::new() })
}

/// The charter as a message: one shape, whether it comes from a file or from a coordinator.
fn message(signed: &Signed<Charter>) -> v1::Charter {
    let charter = &signed.statement;
    let clusters = charter.cluster.iter().map(|line| v1::CharterCluster {
        name: line.name.to_string(),
        adapter: line.adapter.to_string(),
        fail_open: line.gate == Gate::Open,
        members: charter.members(&line.name).map(|member| member.member.to_string()).collect(),
        agents: charter.agents(&line.name).map(|agent| agent.key.to_string()).collect(),
    });
    v1::Charter {
        epoch: charter.epoch.get(),
        id: charter.id().to_string(),
        leaf_index: 0,
        origin: charter.origin.to_string(),
        faults: charter.faults,
        threshold: charter.threshold,
        coordinators: charter.coordinator.iter().map(ToString::to_string).collect(),
        operators: charter.operator.iter().map(|line| line.key.to_string()).collect(),
        clusters: clusters.collect(),
        note: if signed.lines.is_empty() { Vec::new() } else { signed.to_bytes() },
    }
}

async fn show(args: &ShowArgs, env: &Env) -> Done {
    if let Some(path) = &args.file {
        let signed = read(path)?;
        if args.text {
            env.printer.raw(signed.statement.text().as_bytes())?;
        } else if args.note {
            env.printer.raw(&signed.to_bytes())?;
        } else {
            env.printer
                .print(&v1::GetCharterResponse { charter: Some(message(&signed)), read: None })?;
            warn(&signed.statement, env);
        }
        return Ok(Exit::Ok);
    }
    let session = env.session()?;
    let response = session
        .client
        .get_charter(GetCharterRequest {
            epoch: args.epoch.unwrap_or(0),
            consistency: session.consistency,
            view: View::Full.into(),
        })
        .await?;
    if !args.note && !args.text {
        env.printer.print(&response)?;
        return Ok(Exit::Ok);
    }
    let bytes = response.charter.unwrap_or_default().note;
    if args.note {
        env.printer.raw(&bytes)?;
    } else {
        let note = Note::parse(&bytes).map_err(|error| Failure::unverified(error.to_string()))?;
        env.printer.raw(note.text.as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// The text of the next epoch; whoever signs it has read it.
async fn next(args: &NextArgs, env: &Env) -> Done {
    let mut charter = match &args.file {
        Some(path) => read(path)?.statement,
        None => in_force(env).await?,
    };
    charter.previous = Some(charter.id());
    charter.epoch = charter.epoch.next().ok_or_else(|| Failure::usage("there is no next epoch"))?;
    for path in &args.playbooks {
        let (playbook, _) = super::playbook::read(path)?;
        for line in &charter.cluster {
            playbook
                .check(&charter, &line.name)
                .map_err(|why| super::playbook::refused(path, &why))?;
        }
        charter.playbook.retain(|line| line.playbook != playbook.id);
        charter.playbook.push(playbook.pinned_by());
    }
    // Its own rules are checked here, before anybody signs it.
    let charter = Charter::parse(&charter.text())
        .map_err(|error| Failure::usage(format!("no valid charter: {error}")))?;
    env.printer.raw(charter.text().as_bytes())?;
    Ok(Exit::Ok)
}

async fn in_force(env: &Env) -> Result<Charter, Failure> {
    let session = env.session()?;
    let request =
        GetCharterRequest { epoch: 0, consistency: session.consistency, view: View::Full.into() };
    let answer = session.client.get_charter(request).await?;
    let bytes = answer.charter.unwrap_or_default().note;
    let signed: Result<Signed<Charter>, _> = Signed::parse(&bytes);
    signed.map(|signed| signed.statement).map_err(|error| Failure::unverified(chain(&error)))
}

/// Says where the loss of one person or member would make a class unreachable.
fn warn(charter: &Charter, env: &Env) {
    for warning in crate::layout::warning_lines(&charter.warnings()) {
        env.printer.say(format!("warning: {warning}"));
    }
}

fn sign(args: &SignArgs, env: &Env) -> Done {
    let read = read(&args.charter)?;
    let signer = Signer::open(&args.key)?;
    env.printer.say(format!(
        "{} signs charter {} of epoch {}",
        signer.name(),
        read.statement.id(),
        read.statement.epoch
    ));
    warn(&read.statement, env);
    let mut lines = read.lines;
    let own = signer.sign(read.statement);
    lines.extend(own.lines);
    env.printer.raw(&Signed::new(own.statement, lines).to_bytes())?;
    Ok(Exit::Ok)
}

async fn amend(args: AmendArgs, env: &Env) -> Done {
    let mut joined: Option<Signed<Charter>> = None;
    for path in &args.notes {
        let next = read(path)?;
        joined = Some(match joined {
            None => next,
            Some(before) if before.statement == next.statement => {
                let lines = before.lines.into_iter().chain(next.lines).collect();
                Signed::new(before.statement, lines)
            }
            Some(_) => {
                return Err(Failure::unverified(format!(
                    "{}: is of another charter than the first note",
                    path.display()
                )));
            }
        });
    }
    let signed = joined.ok_or_else(|| Failure::usage("no note"))?;
    let session = env.session()?;
    let request = |validate_only, request_id: String| AmendCharterRequest {
        note: signed.to_bytes(),
        validate_only,
        request_id,
        expect: Some(args.expect.message(None)),
    };
    let assessed = session.client.amend_charter(request(true, String::new())).await?;
    if args.mutation.dry_run {
        env.printer.print(&assessed)?;
        return Ok(Exit::Ok);
    }
    let ended = assessed.ended_proposals.len();
    let question = Question {
        danger: Danger::Irreversible,
        cluster: signed.statement.origin.network.to_string(),
        act: format!("put epoch {} in force", signed.statement.epoch),
        impact: vec![
            format!("charter     {}", signed.statement.id()),
            format!("ends        {ended} open proposals"),
        ],
        answering: None,
    };
    question.settle(&args.confirmation, None, &env.printer)?;
    let response = session.client.amend_charter(request(false, args.mutation.request_id())).await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}
