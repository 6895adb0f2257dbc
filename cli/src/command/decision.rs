//! `quorate decision`: what was decided, proof of it, and the operators' acknowledgement.

use clap::{Args, Subcommand};
use quorate_attest::id::ClusterId;
use quorate_attest::number::FencingToken;
use quorate_attest::operator_statement::ActKind;
use quorate_proto::pb::v1::get_certificate_request::Of;
use quorate_proto::pb::v1::watch_decisions_response::Event;
use quorate_proto::pb::v1::{
    Decision, DecisionRef, GetCertificateRequest, GetDecisionRequest, ListDecisionsRequest,
    ListDecisionsResponse, View, WatchDecisionsRequest,
};

use super::{Env, agent};
use crate::Done;
use crate::args::{Mutation, Wait};
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::view::Plain;

/// Verbs of `decision`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List decisions, newest first
    #[command(after_help = "\
Examples:
  quorate decision list
  quorate decision list --unacknowledged -o json")]
    List(ListArgs),
    /// Show one decision: token, votes, who executed it, with what effect
    #[command(after_help = "\
Examples:
  quorate decision show 1
  quorate decision show 1 --wait
  quorate decision show shop/1 -o yaml")]
    Show(ShowArgs),
    /// Print decisions as they are made and change, until Ctrl-C
    #[command(after_help = "\
Examples:
  quorate decision watch
  quorate decision watch --from 42 -o jsonl")]
    Watch(WatchArgs),
    /// Acknowledge a decision or an ended proposal: automation may act on the target again
    #[command(after_help = "\
Examples:
  quorate decision ack 1 --comment 'disk replaced, CHG-1234'
  quorate decision ack sha256:4bc34386b30d --comment 'seen'

After a decision its cooldown ends; after a vetoed, rejected or withdrawn proposal automation may
open its like again.")]
    Ack(AckArgs),
    /// Print the certificate: a C2SP tlog-proof file that anyone can check offline
    #[command(after_help = "\
Examples:
  quorate decision certificate 1 > 1.tlog-proof
  quorate decision certificate shop/1 -o json")]
    Certificate(CertificateArgs),
}

/// Arguments of `decision list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// Only of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only with this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only those that no operator has acknowledged
    #[arg(long)]
    unacknowledged: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

/// Arguments of `decision show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// NUMBER, CLUSTER/NUMBER, or the fencing token INCARNATION.NUMBER
    decision: String,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `decision certificate`.
#[derive(Debug, Args)]
pub(crate) struct CertificateArgs {
    /// NUMBER, CLUSTER/NUMBER, or the fencing token INCARNATION.NUMBER
    decision: String,
}

/// Arguments of `decision watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// First leaf index to look at; the last line printed says where to resume
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    from: u64,
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Arguments of `decision ack`.
#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    /// NUMBER, CLUSTER/NUMBER, the fencing token INCARNATION.NUMBER, or a proposal id sha256:…
    decision: String,
    /// What was found and done; it is signed and stays in the log
    #[arg(long, value_name = "SENTENCE")]
    comment: String,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE")]
    key: Option<std::path::PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::List(args) => list(&args, env).await,
        Verb::Show(args) => show(&args, env).await,
        Verb::Watch(args) => watch(&args, env).await,
        Verb::Ack(args) => ack(args, env).await,
        Verb::Certificate(args) => certificate(&args, env).await,
    }
}

/// A decision from what was typed.
pub(super) async fn named(
    session: &Session,
    typed: &str,
    cluster: Option<&ClusterId>,
) -> Result<DecisionRef, Failure> {
    let (cluster, rest) = match typed.split_once('/') {
        Some((cluster, rest)) => {
            let cluster = ClusterId::new(cluster)
                .map_err(|error| Failure::usage(format!("decision {typed}: {error}")))?;
            (Some(cluster), rest)
        }
        None => (cluster.cloned(), typed),
    };
    let number = match rest.parse::<FencingToken>() {
        Ok(token) => token.number.get(),
        Err(_) => rest.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
            Failure::usage(format!("{typed:?} is no decision: NUMBER, CLUSTER/NUMBER or TOKEN"))
        })?,
    };
    let cluster = match cluster.or_else(|| session.context.cluster.clone()) {
        Some(cluster) => cluster,
        None => session.cluster(None, &session.charter().await?)?,
    };
    Ok(DecisionRef { cluster: cluster.to_string(), number })
}

async fn list(args: &ListArgs, env: &Env) -> Done {
    let session = env.session()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut request = ListDecisionsRequest {
        cluster: args.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: args.kind.clone().unwrap_or_default(),
        target: args.target.clone().unwrap_or_default(),
        unacknowledged: args.unacknowledged,
        consistency: session.consistency,
        ..ListDecisionsRequest::default()
    };
    let mut found = ListDecisionsResponse::default();
    loop {
        let left = limit.saturating_sub(found.decisions.len()).min(1_000);
        request.page_size = i32::try_from(left).unwrap_or(1_000);
        let page = session.client.list_decisions(request.clone()).await?;
        found.decisions.extend(page.decisions);
        found.read = page.read;
        found.next_page_token = page.next_page_token.clone();
        if page.next_page_token.is_empty() || found.decisions.len() >= limit {
            break;
        }
        request.page_token = page.next_page_token;
    }
    env.printer.print(&found)?;
    Ok(Exit::Ok)
}

async fn one(session: &Session, of: DecisionRef, view: View) -> Result<Decision, Failure> {
    let response = session
        .client
        .get_decision(GetDecisionRequest {
            decision: Some(of),
            consistency: session.consistency,
            view: view.into(),
        })
        .await?;
    Ok(response.decision.unwrap_or_default())
}

async fn show(args: &ShowArgs, env: &Env) -> Done {
    let session = env.session()?;
    let of = named(&session, &args.decision, None).await?;
    if let Some(limit) = args.wait.span() {
        return super::proposal::wait_for_outcome(&session, of, limit, env).await;
    }
    let decision = one(&session, of, View::Full).await?;
    env.printer.print(&decision)?;
    Ok(Exit::Ok)
}

async fn watch(args: &WatchArgs, env: &Env) -> Done {
    let session = env.session()?;
    let mut watch = session.client.watch(WatchDecisionsRequest {
        from_index: args.from,
        cluster: args.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        view: View::Basic.into(),
        ..WatchDecisionsRequest::default()
    });
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let event = tokio::select! {
            event = watch.next() => event?,
            stopped = tokio::signal::ctrl_c() => {
                let from = watch.position().from_index;
                env.printer.say(format!("resume with: quorate decision watch --from {from}"));
                return Err(crate::remote::interrupted(stopped.err()));
            }
        };
        if let Some(Event::Decision(decision)) = event.event {
            env.printer.event(&decision)?;
            seen += 1;
        }
    }
    Ok(Exit::Ok)
}

async fn ack(args: AckArgs, env: &Env) -> Done {
    let session = env.session()?;
    let (cluster, subject) = if args.decision.starts_with("sha256:") {
        let id = super::proposal::resolve(&session, &args.decision).await?;
        let (statement, _) = super::proposal::statement(&session, &id).await?;
        (statement.cluster.to_string(), id)
    } else {
        let of = named(&session, &args.decision, None).await?;
        let decision = one(&session, of, View::Basic).await?;
        (decision.cluster, decision.token)
    };
    let act = agent::ActOf {
        cluster: Some(cluster),
        act: ActKind::Ack,
        subject,
        reason: args.comment,
        key: args.key,
    };
    agent::submit_act(&session, act, &args.mutation, env).await
}

async fn certificate(args: &CertificateArgs, env: &Env) -> Done {
    let session = env.session()?;
    let of = named(&session, &args.decision, None).await?;
    let response = session
        .client
        .get_certificate(GetCertificateRequest {
            of: Some(Of::Decision(of)),
            consistency: session.consistency,
        })
        .await?;
    match env.printer.format() {
        // The file itself is the answer; programs that want JSON get it with its context.
        Format::Table => env.printer.raw(&response.certificate)?,
        Format::Json | Format::Jsonl | Format::Yaml => env.printer.print(&Plain(&response))?,
    }
    Ok(Exit::Ok)
}
