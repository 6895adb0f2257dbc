//! `quorate automation`: pause and resume what has not started.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_attest::id::ClusterId;
use quorate_attest::operator_statement::{Automation, Pause, Scope};
use quorate_proto::pb::v1::SubmitPauseRequest;

use super::Env;
use crate::args::Mutation;
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
    /// End the pauses of a cluster, or of all
    #[command(after_help = "\
Examples:
  quorate automation resume --reason 'CHG-1234 done'
  quorate automation resume --reason 'CHG-1234 done' --cluster shop")]
    Resume(ResumeArgs),
}

/// Arguments of `automation pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// How long; it ends by itself
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Duration,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `automation resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    common: Common,
}

/// What both need.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE")]
    reason: String,
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
    let (automation, span, common) = match verb {
        Verb::Pause(args) => (Automation::Paused, Some(args.span), args.common),
        Verb::Resume(args) => (Automation::Running, None, args.common),
    };
    let session = env.session()?;
    let signer = Signer::of(common.key.as_deref(), &session.context)?;
    let charter = session.charter().await?;
    if let Some(cluster) = common.cluster.as_ref().filter(|name| charter.cluster(name).is_none()) {
        return Err(Failure::usage(format!("the charter has no cluster {cluster}")));
    }
    let pause = Pause {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: common.cluster.map_or(Scope::All, Scope::Cluster),
        automation,
        until: span.map(clock::in_span).transpose()?,
        reason: sentence("--reason", &common.reason)?,
        expires: clock::in_span(VALIDITY)?,
        nonce: nonce()?,
    };
    let response = session
        .client
        .submit_pause(SubmitPauseRequest {
            note: signer.sign(pause).to_bytes(),
            validate_only: common.mutation.dry_run,
            request_id: common.mutation.request_id(),
        })
        .await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}
