//! `quorate action`: the remediation in effect; going on with a stuck one, and giving it up.

use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_attest::id::ClusterId;
use quorate_attest::proposal::Param;
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement;
use quorate_proto::pb::v1::{
    DecisionRef, ListActionsRequest, OpenProposalRequest, ReissueActionRequest,
};

use super::{Env, decision, proposal};
use crate::Done;
use crate::args::{Confirmation, Expect, Mutation, Wait};
use crate::confirm::{Danger, Question};
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason};
use crate::signing::sentence;
use crate::view::next_votes;

/// Verbs of `action`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the remediation that holds each cluster's slot
    #[command(after_help = "\
Examples:
  quorate action current
  quorate action current --cluster shop -o json")]
    Current(CurrentArgs),
    /// Re-issue a stuck decision to the same executors, under the next fencing token
    #[command(after_help = "\
Examples:
  quorate action reissue 1 --dry-run
  quorate action reissue shop/1 --confirm --wait

For an executor that was away and is back: it goes on with what its journal says it started, and
starts nothing anew. One that never comes back is given up with `quorate action abandon`.")]
    Reissue(ReissueArgs),
    /// Propose to give up a decision whose executor is lost; two operators must approve
    #[command(after_help = "\
Examples:
  quorate action abandon 1 --stopped 'power-off:rack7' --reason 'n4 burnt down' --confirm=shop
  quorate action abandon shop/1 --stopped 'disk-removed' --reason 'agent lost' --dry-run

The operators vouch with their keys that the executor acts no longer: `--stopped` says how that is
known.")]
    Abandon(AbandonArgs),
}

/// Arguments of `action current`.
#[derive(Debug, Args)]
pub(crate) struct CurrentArgs {
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
}

/// Arguments of `action reissue`.
#[derive(Debug, Args)]
pub(crate) struct ReissueArgs {
    /// NUMBER, CLUSTER/NUMBER, or the fencing token INCARNATION.NUMBER
    decision: String,
    /// Its cluster; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    #[command(flatten)]
    mutation: Mutation,
    #[command(flatten)]
    expect: Expect,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `action abandon`.
#[derive(Debug, Args)]
pub(crate) struct AbandonArgs {
    /// NUMBER, CLUSTER/NUMBER, or the fencing token INCARNATION.NUMBER
    decision: String,
    /// Its cluster; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// How the executor was stopped, in one word
    #[arg(long, value_name = "WORD")]
    stopped: String,
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE")]
    reason: String,
    #[command(flatten)]
    mutation: Mutation,
    #[command(flatten)]
    expect: Expect,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    wait: Wait,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Current(args) => {
            let session = env.session()?;
            let response = session
                .client
                .list_actions(ListActionsRequest {
                    cluster: args.cluster.map(|name| name.to_string()).unwrap_or_default(),
                    consistency: session.consistency,
                })
                .await?;
            env.printer.print(&response)?;
            Ok(Exit::Ok)
        }
        Verb::Reissue(args) => reissue(args, env).await,
        Verb::Abandon(args) => abandon(args, env).await,
    }
}

async fn reissue(args: ReissueArgs, env: &Env) -> Done {
    let session = env.session()?;
    let of = decision::named(&session, &args.decision, args.cluster.as_ref()).await?;
    if !args.mutation.dry_run {
        let question = Question {
            danger: Danger::Cluster,
            cluster: of.cluster.clone(),
            act: format!("re-issue decision {}/{}", of.cluster, of.number),
            impact: vec!["executors   the same: each goes on from its own journal".to_owned()],
            answering: None,
        };
        question.settle(&args.confirmation, args.expect.expect_answering, &env.printer)?;
    }
    let cluster = of.cluster.clone();
    let response = session
        .client
        .reissue_action(ReissueActionRequest {
            decision: Some(of),
            validate_only: args.mutation.dry_run,
            request_id: args.mutation.request_id(),
            expect: Some(args.expect.message(Some(&args.confirmation))),
        })
        .await?;
    env.printer.print(&response)?;
    match args.wait.span().filter(|_| !args.mutation.dry_run) {
        Some(limit) => {
            let of = DecisionRef { cluster, number: response.number };
            proposal::wait_for_outcome(&session, of, limit, env).await
        }
        None => Ok(Exit::Ok),
    }
}

async fn abandon(args: AbandonArgs, env: &Env) -> Done {
    let session = env.session()?;
    let charter = session.charter().await?;
    let of = decision::named(&session, &args.decision, args.cluster.as_ref()).await?;
    let proposer = session.identity.as_ref().map(quorate_proto::identity::Identity::key_name);
    let proposer = proposer
        .ok_or_else(|| Failure::local(LocalReason::ConfigInvalid, "proposing needs an identity"))?;
    let word = |flag: &str, text: &str| {
        text.parse().map_err(|error| Failure::usage(format!("{flag} {text}: {error}")))
    };
    let stopped = "stopped".parse().map_err(|_| Failure::usage("the parameter's key"))?;
    let cluster =
        ClusterId::new(of.cluster.as_str()).map_err(|error| Failure::usage(error.to_string()))?;
    let draft = proposal::Draft {
        kind: Kind::Abandon,
        target: word("decision", &format!("decision:{}", of.number))?,
        cluster: cluster.clone(),
        reason: sentence("--reason", &args.reason)?,
        incident: None,
        params: vec![Param::new(stopped, word("--stopped", &args.stopped)?)],
        executors: Vec::new(),
        evidence: Vec::new(),
        expires: Duration::from_secs(3_600),
    };
    let statement = proposal::open_draft(draft, &charter, proposer)?;
    if !args.mutation.dry_run {
        let question = Question {
            danger: Danger::Irreversible,
            cluster: cluster.to_string(),
            act: format!("abandon decision {}/{}", of.cluster, of.number),
            impact: vec![
                format!("frees       the slot of {}: another action may start", of.cluster),
                format!("stopped     {} (you vouch for it)", args.stopped),
            ],
            answering: None,
        };
        question.settle(&args.confirmation, args.expect.expect_answering, &env.printer)?;
    }
    let response = session
        .client
        .open_proposal(OpenProposalRequest {
            text: statement.text().into_bytes(),
            validate_only: args.mutation.dry_run,
            request_id: args.mutation.request_id(),
            expect: Some(args.expect.message(Some(&args.confirmation))),
        })
        .await?;
    env.printer.print(&response)?;
    let Some(opened) = response.proposal.filter(|_| !args.mutation.dry_run) else {
        return Ok(Exit::Ok);
    };
    for line in next_votes(&opened, &session.context.contexts) {
        env.printer.say(line);
    }
    match args.wait.span() {
        Some(limit) => proposal::wait_for(&session, &opened.id, limit, env).await,
        None => Ok(Exit::Ok),
    }
}
