//! `quorate vote`: a person's verdict. Signing and submitting may happen on different machines.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quorate_attest::note::{Note, SignatureLine};
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_attest::vote::{Verdict, Vote};
use quorate_node::vote::{Guard, GuardError};
use quorate_proto::pb::v1::SubmitVoteRequest;

use super::{Env, proposal};
use crate::Done;
use crate::args::{Confirmation, Expect, Mutation, Wait};
use crate::confirm::{Danger, Question};
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason, chain};
use crate::files;
use crate::signing::Signer;

/// Verbs of `vote`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Approve a proposal; the answer means: verified, replicated, on disk at a majority
    #[command(after_help = "\
Examples:
  quorate vote approve 9f3c41 --key ana.pem
  quorate vote approve --note ana.note")]
    Approve(CastArgs),
    /// Reject a proposal
    #[command(after_help = "\
Examples:
  quorate vote reject 9f3c41 --key ana.pem
  quorate vote reject --note ana.note")]
    Reject(CastArgs),
    /// Sign a vote on a machine without a network; the note goes to standard output
    #[command(after_help = "\
Examples:
  quorate vote sign --key ana.pem p.txt > ana.note
  quorate vote sign --reject --key ana.pem p.txt > ana.note

p.txt comes from `quorate proposal show ID --text`. The key's guard file, beside the key, makes sure
that it never signs two verdicts on one proposal: it must travel with the key.")]
    Sign(SignArgs),
}

/// Arguments of `vote approve` and `vote reject`.
#[derive(Debug, Args)]
pub(crate) struct CastArgs {
    /// The proposal: its id, or the beginning of it
    #[arg(required_unless_present = "notes", conflicts_with = "notes")]
    id: Option<String>,
    /// Votes signed elsewhere, by one or several people
    #[arg(long = "note", value_name = "FILE")]
    notes: Vec<PathBuf>,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE", conflicts_with = "notes")]
    key: Option<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
    #[command(flatten)]
    expect: Expect,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `vote sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The proposal's exact text, `-` for standard input
    text: PathBuf,
    /// The key to sign with
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Reject instead of approving
    #[arg(long)]
    reject: bool,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Approve(args) => cast(args, Verdict::Approve, env).await,
        Verb::Reject(args) => cast(args, Verdict::Reject, env).await,
        Verb::Sign(args) => sign_offline(&args, env),
    }
}

impl From<GuardError> for Failure {
    fn from(error: GuardError) -> Self {
        let reason = match &error {
            GuardError::SignedOtherwise { .. } => LocalReason::WouldEquivocate,
            GuardError::Damaged { .. } | GuardError::Disk { .. } => LocalReason::FileFailed,
        };
        Failure::local(reason, chain(&error))
    }
}

/// The verdict that the guard remembers, if it refused because of one.
fn signed_before(error: &GuardError) -> Option<Verdict> {
    let GuardError::SignedOtherwise { before, .. } = error else { return None };
    Vote::parse(before).ok().map(|vote| vote.verdict)
}

/// Signs through the guard beside the key: durable before it is released, the other verdict never.
/// What no coordinator would open is not signed: such a text came by another way.
fn signed(signer: &Signer, proposal: &Proposal, verdict: Verdict) -> Result<Signed<Vote>, Failure> {
    proposal::check_time_to_live(proposal).map_err(|mut failure| {
        failure.message = format!("nobody opens this proposal: {}", failure.message);
        failure.help("its proposer makes another one with `quorate proposal create`")
    })?;
    let vote = Vote::on(proposal, verdict);
    Guard::beside(signer.path()).sign_vote(signer.inner(), vote).map_err(
        |error| match signed_before(&error) {
            Some(before) => Failure::local(
                LocalReason::WouldEquivocate,
                format!(
                    "this key has already signed {} on {}; it never signs a second verdict",
                    before.to_string().to_uppercase(),
                    proposal.id()
                ),
            ),
            None => error.into(),
        },
    )
}

fn sign_offline(args: &SignArgs, env: &Env) -> Done {
    let text = files::read_text(&args.text)?;
    let proposal = Proposal::parse(&text).map_err(|error| {
        Failure::unverified(format!("{}: {error}", args.text.display()))
            .help("quorate proposal show ID --text")
    })?;
    let verdict = if args.reject { Verdict::Reject } else { Verdict::Approve };
    let signer = Signer::open(&args.key)?;
    let note = signed(&signer, &proposal, verdict)?;
    env.printer.say(format!(
        "{} has signed {verdict}: {} {} in {} ({})",
        signer.name(),
        proposal.kind,
        proposal.target,
        proposal.cluster,
        proposal.id()
    ));
    env.printer.raw(&note.to_bytes())?;
    Ok(Exit::Ok)
}

async fn cast(args: CastArgs, verdict: Verdict, env: &Env) -> Done {
    let session = env.session()?;
    let note = if let Some(id) = &args.id {
        let signer = Signer::of(args.key.as_deref(), &session.context)?;
        let id = proposal::resolve(&session, id).await?;
        let (statement, _) = proposal::statement(&session, &id).await?;
        confirm(&args, verdict, &statement, env)?;
        signed(&signer, &statement, verdict)?
    } else {
        join(&args.notes, verdict)?
    };
    let request = SubmitVoteRequest {
        note: note.to_bytes(),
        validate_only: args.mutation.dry_run,
        request_id: args.mutation.request_id(),
        expect: Some(args.expect.message(Some(&args.confirmation))),
    };
    let response = session.client.submit_vote(request).await?;
    env.printer.print(&response)?;
    match args.wait.span() {
        Some(limit) => proposal::wait_for(&session, &response.proposal_id, limit, env).await,
        None => Ok(Exit::Ok),
    }
}

/// Approving what cannot be undone asks first; every other vote is one person's word among several.
fn confirm(
    args: &CastArgs,
    verdict: Verdict,
    statement: &Proposal,
    env: &Env,
) -> Result<(), Failure> {
    let danger = proposal::danger_of(statement.kind.class());
    if verdict == Verdict::Reject || danger < Danger::Irreversible || args.mutation.dry_run {
        return Ok(());
    }
    let question = Question {
        danger,
        cluster: statement.cluster.to_string(),
        act: format!("approve {} {}", statement.kind, statement.target),
        impact: vec![format!("reason      {}", statement.reason)],
        answering: None,
    };
    question.settle(&args.confirmation, args.expect.expect_answering, &env.printer).map(drop)
}

/// Puts the lines of several notes under their one text.
fn join(paths: &[PathBuf], verdict: Verdict) -> Result<Signed<Vote>, Failure> {
    let mut joined: Option<(String, Vec<SignatureLine>)> = None;
    for path in paths {
        let note = Note::parse(&files::read_bytes(path)?).map_err(|error| wrong(path, &error))?;
        match &mut joined {
            None => joined = Some((note.text, note.lines)),
            Some((text, lines)) if *text == note.text => lines.extend(note.lines),
            Some(_) => {
                return Err(Failure::unverified(format!(
                    "{}: is a vote on another text than the first note",
                    path.display()
                )));
            }
        }
    }
    let (text, lines) = joined.ok_or_else(|| Failure::usage("no note"))?;
    let vote = Vote::parse(&text)
        .map_err(|error| Failure::unverified(format!("the note is no vote: {error}")))?;
    if vote.verdict != verdict {
        return Err(Failure::usage(format!(
            "the note says {}, the command {verdict}",
            vote.verdict
        )));
    }
    Ok(Signed::new(vote, lines))
}

fn wrong(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::unverified(format!("{}: {}", path.display(), chain(error)))
}
