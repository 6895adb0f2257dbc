//! `quorate automation`: pause and resume what has not started.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_attest::id::ClusterId;
use quorate_attest::log_time::LogTime;
use quorate_attest::operator_statement::{Automation, Pause, Scope};
use quorate_attest::signed::Signed;
use quorate_proto::pb::v1::SubmitPauseRequest;

use super::Env;
use crate::args::Mutation;
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::time::parse_span;
use crate::signing::{Signer, nonce, sentence};
use crate::{Done, clock};

/// How long a signed statement may wait to be appended.
const VALIDITY: Duration = Duration::from_secs(600);

/// Verbs of `automation`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Stop what has not started; never an abandon, an undo or a continuation
    #[command(after_help = "\
Examples:
  quorate automation pause --reason 'CHG-1234' --for 2h
  quorate automation pause --reason 'CHG-1234' --for 2h --cluster shop")]
    Pause(PauseArgs),
    /// End your own pause of a cluster, or of all; two operators together end everybody's
    #[command(after_help = "\
Examples:
  quorate automation resume --reason 'CHG-1234 done'
  quorate automation resume --reason 'CHG-1234 done' --cluster shop
  quorate automation resume --reason 'chen is away' --print > ana.note
  quorate automation resume --note ana.note --context ben")]
    Resume(ResumeArgs),
}

/// Arguments of `automation pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE")]
    reason: String,
    /// How long; it ends by itself
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Duration,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `automation resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Why, in one sentence
    #[arg(
        long,
        value_name = "SENTENCE",
        required_unless_present = "note",
        conflicts_with = "note"
    )]
    reason: Option<String>,
    /// Add a signature to a resume that another operator began: together they end every pause there
    #[arg(long, value_name = "FILE", conflicts_with = "cluster")]
    note: Option<PathBuf>,
    /// Print the note for the next operator instead of submitting it
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    common: Common,
}

/// What both need.
#[derive(Debug, Args)]
struct Common {
    /// Only this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    let session = env.session()?;
    match verb {
        Verb::Pause(args) => {
            let signer = Signer::of(args.common.key.as_deref(), &session.context)?;
            let until = Some(clock::in_span(args.span)?);
            let pause = begin(&session, Automation::Paused, &args.common, &args.reason, until);
            submit(&session, &signer.sign(pause.await?), &args.common.mutation, env).await
        }
        Verb::Resume(args) => {
            let signer = Signer::of(args.common.key.as_deref(), &session.context)?;
            let signed = match (&args.note, &args.reason) {
                (Some(path), _) => signer.add_to::<Pause>(path)?,
                (None, Some(reason)) => {
                    let resume = begin(&session, Automation::Running, &args.common, reason, None);
                    signer.sign(resume.await?)
                }
                (None, None) => return Err(Failure::usage("--reason, or --note")),
            };
            if args.print {
                env.printer.raw(&signed.to_bytes())?;
                return Ok(Exit::Ok);
            }
            submit(&session, &signed, &args.common.mutation, env).await
        }
    }
}

async fn begin(
    session: &Session,
    automation: Automation,
    common: &Common,
    reason: &str,
    until: Option<LogTime>,
) -> Result<Pause, Failure> {
    let charter = session.charter().await?;
    if let Some(cluster) = common.cluster.as_ref().filter(|name| charter.cluster(name).is_none()) {
        return Err(Failure::usage(format!("the charter has no cluster {cluster}")));
    }
    Ok(Pause {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: common.cluster.clone().map_or(Scope::All, Scope::Cluster),
        automation,
        until,
        reason: sentence("--reason", reason)?,
        expires: clock::in_span(VALIDITY)?,
        nonce: nonce()?,
    })
}

async fn submit(session: &Session, note: &Signed<Pause>, mutation: &Mutation, env: &Env) -> Done {
    let request = SubmitPauseRequest {
        note: note.to_bytes(),
        validate_only: mutation.dry_run,
        request_id: mutation.request_id(),
    };
    let response = session.client.submit_pause(request).await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}
