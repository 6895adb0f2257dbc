//! `quorate proposal`: open, show and end proposals.

mod build;
mod declare;
mod list;
mod open;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_attest::id::{ClusterId, IncidentId};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_attest::vote::Veto;
use quorate_proto::pb::v1::{
    GetProposalRequest, Proposal, VetoProposalRequest, VetoProposalResponse, View,
};

use super::Env;
use crate::Done;
use crate::args::{Confirmation, Expect, Mutation, Wait};
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::time::parse_span;
use crate::signing::{Signer, sentence};

pub(super) use build::check_time_to_live;
pub(crate) use build::{Draft, open_draft};
pub(super) use list::resolve;
pub(super) use open::{danger_of, wait_for, wait_for_outcome};

/// Verbs of `proposal`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Open a proposal, or with --dry-run ask what it would mean
    #[command(after_help = "\
Examples:
  quorate proposal create restart member:n4 --reason 'does not answer' --dry-run
  quorate proposal create ban-peer member:n5 --param ttl-ms=600000 --reason 'lies' --confirm
  quorate proposal create declare-dead --survivor n1 --dead n2=attest:burnt --reason 'rack 7'")]
    Create(Box<CreateArgs>),
    /// List proposals, newest first
    #[command(after_help = "\
Examples:
  quorate proposal list
  quorate proposal list --state approved -o jsonl")]
    List(list::ListArgs),
    /// Show one proposal: votes k of n with names, and what it waits for
    #[command(after_help = "\
Examples:
  quorate proposal show 9f3c41
  quorate proposal show 9f3c41 --text > p.txt")]
    Show(ShowArgs),
    /// End a proposal you opened
    #[command(after_help = "\
Examples:
  quorate proposal withdraw 9f3c41 --reason 'n4 came back'
  quorate proposal withdraw 9f3c41 --reason 'wrong member' --key ana.pem")]
    Withdraw(EndArgs),
    /// End a proposal as an operator, also while its veto window runs
    #[command(after_help = "\
Examples:
  quorate proposal veto 9f3c41 --reason 'planned maintenance until noon'
  quorate proposal veto 9f3c41 --reason 'not now' --key ana.pem")]
    Veto(EndArgs),
}

/// Arguments of `proposal create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The kind of remediation, such as restart, ban-peer or declare-dead
    #[arg(value_parser = parse_kind)]
    pub(super) kind: Kind,
    /// What it acts on, such as member:n4 [default: the whole cluster, for a declaration]
    #[arg(required_unless_present = "survivor")]
    pub(super) target: Option<String>,
    /// The guarded cluster; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<ClusterId>,
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE")]
    pub(super) reason: String,
    /// What is being recovered from; the steps of one incident share a budget unit [default:
    /// KIND-TIME]
    #[arg(long, value_name = "NAME")]
    pub(super) incident: Option<IncidentId>,
    /// A parameter: KEY=VALUE, or KEY='VALUE MORE'
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(super) params: Vec<String>,
    #[command(flatten)]
    pub(super) declare: declare::DeclareArgs,
    /// Agents that carry it out [default: the target's or survivor's own, or all others for a ban]
    #[arg(long = "executor", value_name = "AGENT")]
    pub(super) executors: Vec<String>,
    /// Digests of evidence, sha256:…
    #[arg(long, value_name = "DIGEST")]
    pub(super) evidence: Vec<String>,
    /// How long votes may be collected
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = parse_span)]
    pub(super) expires: Duration,
    #[command(flatten)]
    pub(super) mutation: Mutation,
    #[command(flatten)]
    pub(super) expect: Expect,
    #[command(flatten)]
    pub(super) confirmation: Confirmation,
    #[command(flatten)]
    pub(super) wait: Wait,
}

fn parse_kind(word: &str) -> Result<Kind, String> {
    let known = || Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    word.parse().map_err(|_| format!("the kinds are {}", known()))
}

/// Arguments of `proposal show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The proposal: its id, or the beginning of it
    id: String,
    /// Print the exact text that validators sign, and nothing else
    #[arg(long)]
    text: bool,
}

/// Arguments of `proposal withdraw` and `proposal veto`.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// The proposal: its id, or the beginning of it
    id: String,
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE")]
    reason: String,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Create(args) => open::create(*args, env).await,
        Verb::List(args) => list::run(&args, env).await,
        Verb::Show(args) => show(&args, env).await,
        Verb::Withdraw(args) | Verb::Veto(args) => end(&args, env).await,
    }
}

async fn show(args: &ShowArgs, env: &Env) -> Done {
    let session = env.session()?;
    let id = resolve(&session, &args.id).await?;
    let response = session
        .client
        .get_proposal(GetProposalRequest {
            id,
            consistency: session.consistency,
            view: View::Full.into(),
        })
        .await?;
    if args.text {
        let text = response.proposal.unwrap_or_default().text;
        env.printer.raw(&text)?;
    } else {
        env.printer.print(&response)?;
        if let Some(proposal) = &response.proposal {
            for line in crate::view::next_votes(proposal, &session.context.contexts) {
                env.printer.say(line);
            }
        }
    }
    Ok(Exit::Ok)
}

/// The parsed statement of a proposal that a coordinator holds; its id is recomputed, not believed.
pub(super) async fn statement(
    session: &Session,
    id: &str,
) -> Result<(quorate_attest::proposal::Proposal, Proposal), Failure> {
    let response = session
        .client
        .get_proposal(GetProposalRequest {
            id: id.to_owned(),
            consistency: session.consistency,
            view: View::Full.into(),
        })
        .await?;
    let message = response.proposal.unwrap_or_default();
    let text = String::from_utf8(message.text.clone())
        .map_err(|_| Failure::unverified("the proposal's text is no text"))?;
    let statement = quorate_attest::proposal::Proposal::parse(&text)
        .map_err(|error| Failure::unverified(format!("the proposal's text: {error}")))?;
    if statement.id().to_string() != id {
        return Err(Failure::unverified("the coordinator answered with another proposal")
            .with("have", statement.id())
            .with("want", id));
    }
    Ok((statement, message))
}

/// Veto and withdrawal are one statement; the signer's key says which it is.
async fn end(args: &EndArgs, env: &Env) -> Done {
    let session = env.session()?;
    let signer = Signer::of(args.key.as_deref(), &session.context)?;
    let id = resolve(&session, &args.id).await?;
    let (proposal, _) = statement(&session, &id).await?;
    let veto: Signed<Veto> = signer.sign(Veto {
        origin: proposal.origin.clone(),
        epoch: proposal.epoch,
        proposal: proposal.id(),
        reason: sentence("--reason", &args.reason)?,
    });
    let request = VetoProposalRequest {
        note: veto.to_bytes(),
        validate_only: args.mutation.dry_run,
        request_id: args.mutation.request_id(),
    };
    let response = send_veto(&session, request, env).await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}

/// Tells every coordinator: whoever holds the veto refuses to cosign, whatever the leader does.
async fn send_veto(
    session: &Session,
    request: VetoProposalRequest,
    env: &Env,
) -> Result<VetoProposalResponse, Failure> {
    if request.validate_only {
        return Ok(session.client.veto_proposal(request).await?);
    }
    let everywhere = session.client.clone().with_deadline(Duration::from_secs(3));
    let answers = everywhere.veto_everywhere(request.clone()).await;
    let (mut held, mut ended) = (0, None);
    for (_, answer) in answers {
        if let Ok(response) = answer {
            held += 1;
            if response.proposal.is_some() {
                ended = Some(response);
            }
        }
    }
    if held > 0 {
        let all = session.context.endpoints.len();
        env.printer.say(format!("held by {held} of {all} coordinators"));
    }
    match ended {
        Some(response) => Ok(response),
        // Nobody ended it yet: the leader's own answer says why, or does it now.
        None => Ok(session.client.veto_proposal(request).await?),
    }
}
