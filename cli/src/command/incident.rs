//! `quorate incident`: what is being recovered from, how far, and whether people are asked.

use clap::{Args, Subcommand};
use quorate_attest::id::{ClusterId, IncidentId};
use quorate_attest::operator_statement::ActKind;
use quorate_proto::pb::v1::{Incident, ListIncidentsRequest};

use super::{Env, agent};
use crate::Done;
use crate::args::Mutation;
use crate::exit::Exit;
use crate::failure::Failure;

/// Incidents asked for at once.
const PAGE: i32 = 1_000;

/// Verbs of `incident`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List incidents: playbook, newest attempt, severity, since when people are asked
    #[command(after_help = "\
Examples:
  quorate incident list
  quorate incident list --escalated -o json")]
    List(ListArgs),
    /// Show one incident
    #[command(after_help = "\
Examples:
  quorate incident show s35-n4-7
  quorate incident show s35-n4-7 -o json")]
    Show(ShowArgs),
    /// Close an incident after you have looked: its playbook may begin anew
    #[command(after_help = "\
Examples:
  quorate incident close s35-n4-7 --reason 'bad disk, replaced'
  quorate incident close s35-n4-7 --reason 'bad disk, replaced' --key ana.pem")]
    Close(CloseArgs),
}

/// Arguments of `incident list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// Only those that people are asked about
    #[arg(long)]
    escalated: bool,
}

/// Arguments of `incident show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The incident
    incident: IncidentId,
}

/// Arguments of `incident close`.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    /// The incident
    incident: IncidentId,
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
    let request = |cluster: Option<&ClusterId>| ListIncidentsRequest {
        page_size: PAGE,
        page_token: String::new(),
        cluster: cluster.map(ToString::to_string).unwrap_or_default(),
        consistency: session.consistency,
    };
    match verb {
        Verb::List(args) => {
            let mut answer = session.client.list_incidents(request(args.cluster.as_ref())).await?;
            answer.incidents.retain(|incident| !args.escalated || incident.escalated.is_some());
            env.printer.print(&answer)?;
            Ok(Exit::Ok)
        }
        Verb::Show(args) => {
            let answer = session.client.list_incidents(request(None)).await?;
            let id = args.incident.as_str();
            let found: Option<Incident> = answer.incidents.into_iter().find(|one| one.id == id);
            let found = found.ok_or_else(|| {
                Failure::usage(format!("no incident {id} in the log")).help("quorate incident list")
            })?;
            env.printer.print(&found)?;
            Ok(Exit::Ok)
        }
        Verb::Close(args) => {
            let act = agent::ActOf {
                cluster: args.cluster.map(|name| name.to_string()),
                act: ActKind::Close,
                subject: args.incident.to_string(),
                reason: args.reason,
                key: args.key,
            };
            agent::submit_act(&session, act, &args.mutation, env).await
        }
    }
}
