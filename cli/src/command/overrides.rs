//! `quorate override`: one named rule, one proposal, at most an hour, in the log before the first
//! counted vote.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_attest::id::RuleName;
use quorate_attest::operator_statement::{OVERRIDE_MAX, Override};
use quorate_proto::pb::v1::{ListOverridesRequest, SubmitOverrideRequest};

use super::{Env, proposal};
use crate::args::Mutation;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::time::{ms_of, parse_span};
use crate::signing::{Signer, nonce, sentence};
use crate::{Done, clock};

/// Verbs of `override`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Sign an override, and submit it once enough operators have signed
    #[command(after_help = "\
Examples:
  quorate override sign --rule min-healthy --proposal 9f3c41 --for 30m --reason 'last healthy site'
  quorate override sign --rule quorum-floor --proposal 9f3c41 --reason 'one disk' --print > ana.note
  quorate override sign --note ana.note --key ben.pem")]
    Sign(SignArgs),
    /// List the overrides in force
    #[command(after_help = "\
Examples:
  quorate override list
  quorate override list --proposal 9f3c41 -o json")]
    List(ListArgs),
}

/// Arguments of `override sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The named rule; one-survivor cannot be overridden
    #[arg(long, value_name = "RULE", required_unless_present = "note", conflicts_with = "note")]
    rule: Option<RuleName>,
    /// The one proposal it holds for
    #[arg(long, value_name = "ID", required_unless_present = "note", conflicts_with = "note")]
    proposal: Option<String>,
    /// How long, at most an hour
    #[arg(long = "for", value_name = "SPAN", default_value = "30m", value_parser = parse_span)]
    span: Duration,
    /// Why, in one sentence
    #[arg(
        long,
        value_name = "SENTENCE",
        required_unless_present = "note",
        conflicts_with = "note"
    )]
    reason: Option<String>,
    /// Add a signature to an override that another operator began
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
    /// Print the note for the next operator instead of submitting it
    #[arg(long)]
    print: bool,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// Arguments of `override list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only for this proposal
    #[arg(long, value_name = "ID")]
    proposal: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    let session = env.session()?;
    match verb {
        Verb::Sign(args) => sign(args, env).await,
        Verb::List(args) => {
            let proposal_id = match &args.proposal {
                Some(typed) => proposal::resolve(&session, typed).await?,
                None => String::new(),
            };
            let response = session
                .client
                .list_overrides(ListOverridesRequest {
                    proposal_id,
                    consistency: session.consistency,
                })
                .await?;
            env.printer.print(&response)?;
            Ok(Exit::Ok)
        }
    }
}

async fn sign(args: SignArgs, env: &Env) -> Done {
    let session = env.session()?;
    let signer = Signer::of(args.key.as_deref(), &session.context)?;
    let signed = match &args.note {
        Some(path) => signer.add_to::<Override>(path)?,
        None => signer.sign(begin(&args, &session).await?),
    };
    if args.print {
        env.printer.raw(&signed.to_bytes())?;
        return Ok(Exit::Ok);
    }
    let response = session
        .client
        .submit_override(SubmitOverrideRequest {
            note: signed.to_bytes(),
            validate_only: args.mutation.dry_run,
            request_id: args.mutation.request_id(),
        })
        .await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}

async fn begin(args: &SignArgs, session: &crate::connect::Session) -> Result<Override, Failure> {
    let missing = || Failure::usage("--rule, --proposal and --reason, or --note");
    let (Some(rule), Some(typed), Some(reason)) = (&args.rule, &args.proposal, &args.reason) else {
        return Err(missing());
    };
    if ms_of(args.span) > OVERRIDE_MAX.get() {
        return Err(Failure::usage("--for: an override lasts at most an hour"));
    }
    if Override::operators_needed(rule).is_none() {
        return Err(Failure::usage(format!("the rule {rule} cannot be overridden")));
    }
    let id = proposal::resolve(session, typed).await?;
    let (statement, _) = proposal::statement(session, &id).await?;
    Ok(Override {
        origin: statement.origin.clone(),
        epoch: statement.epoch,
        cluster: statement.cluster.clone(),
        rule: rule.clone(),
        scope: statement.id(),
        reason: sentence("--reason", reason)?,
        expires: clock::in_span(args.span)?,
        nonce: nonce()?,
    })
}
