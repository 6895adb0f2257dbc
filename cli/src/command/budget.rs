//! `quorate budget`: what is left, and when more is allowed.

use clap::{Args, Subcommand};
use quorate_attest::id::ClusterId;
use quorate_attest::operator_statement::ActKind;
use quorate_proto::pb::v1::ListBudgetsRequest;

use super::{Env, agent};
use crate::Done;
use crate::args::Mutation;
use crate::exit::Exit;

/// Verbs of `budget`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show every budget key: used, limit, next allowed, cooldown, breaker
    #[command(after_help = "\
Examples:
  quorate budget show
  quorate budget show --cluster shop -o json")]
    Show(ShowArgs),
    /// Close the breaker of a target after you have looked why attempts failed
    #[command(after_help = "\
Examples:
  quorate budget reset member:n4 --reason 'disk replaced'
  quorate budget reset member:n4 --reason 'disk replaced' --key ana.pem")]
    Reset(ResetArgs),
}

/// Arguments of `budget show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Only of this cluster; the global key is always shown
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
}

/// Arguments of `budget reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The target whose breaker is open
    target: String,
    /// Its cluster; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE")]
    reason: String,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE")]
    key: Option<std::path::PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    let session = env.session()?;
    match verb {
        Verb::Show(args) => {
            let response = session
                .client
                .list_budgets(ListBudgetsRequest {
                    cluster: args.cluster.map(|name| name.to_string()).unwrap_or_default(),
                    consistency: session.consistency,
                })
                .await?;
            env.printer.print(&response)?;
            Ok(Exit::Ok)
        }
        Verb::Reset(args) => {
            let act = agent::ActOf {
                cluster: args.cluster.map(|name| name.to_string()),
                act: ActKind::ResetBreaker,
                subject: args.target,
                reason: args.reason,
                key: args.key,
            };
            agent::submit_act(&session, act, &args.mutation, env).await
        }
    }
}
