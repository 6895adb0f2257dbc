//! `quorate agent`: run one, list them, enrol a new journal. Also: the operators' signed acts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_attest::id::{ClusterId, JournalInstance};
use quorate_attest::operator_statement::{Act, ActKind};
use quorate_attest::text::Statement;
use quorate_proto::pb::v1::{ListAgentsRequest, ListAgentsResponse, SubmitActRequest};
use serde::Serialize;

use super::{Env, block_on, service};
use crate::args::Mutation;
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Paper, View};
use crate::signing::{Signer, nonce, sentence};
use crate::{Done, clock, layout};

/// How long a signed act may wait to be appended.
const ACT_VALIDITY: Duration = Duration::from_secs(600);

/// Verbs of `agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the agent beside one member until SIGTERM or Ctrl-C
    #[command(after_help = "\
Examples:
  quorate agent run --config prod/agent-n4/agent.toml
  quorate agent run --config /etc/quorate/agent.toml --log-format json

QUORATE_LOG filters the log lines, for example QUORATE_LOG=debug.")]
    Run(RunArgs),
    /// List the agents of the charter, and when each was last heard
    #[command(after_help = "\
Examples:
  quorate agent list
  quorate agent list --cluster shop -o json")]
    List(ListArgs),
    /// Accept a new journal of an agent whose disk was replaced or restored
    #[command(after_help = "\
Examples:
  quorate agent enrol --new-journal agent-n4/agent.toml
  quorate agent enrol n4 --instance 5f0c3d5e8f7a4b1c9d2e6f708192a3b4 --reason 'new disk'

The first line runs where the agent runs, makes its new journal and prints the second one, which an
operator runs after making sure that no other agent with that key is alive.")]
    Enrol(EnrolArgs),
}

/// What an agent needs to start.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Its configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/quorate/agent.toml")]
    config: PathBuf,
    /// How log lines are written [default: pretty on a terminal, json elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<service::LogFormat>,
}

/// Arguments of `agent list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
}

/// Arguments of `agent enrol`.
#[derive(Debug, Args)]
pub(crate) struct EnrolArgs {
    /// The agent's id or key name
    #[arg(required_unless_present = "new_journal", conflicts_with = "new_journal")]
    agent: Option<String>,
    /// Make a new journal for the agent of this configuration; nothing is signed or sent
    #[arg(long, value_name = "FILE")]
    new_journal: Option<PathBuf>,
    /// The instance of its new journal, 32 hex digits
    #[arg(long, value_name = "HEX", required_unless_present = "new_journal")]
    instance: Option<JournalInstance>,
    /// Why, in one sentence
    #[arg(long, value_name = "SENTENCE", required_unless_present = "new_journal")]
    reason: Option<String>,
    /// The key to sign with [default: key.pem of the identity]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    mutation: Mutation,
}

/// Runs the verb.
pub(crate) fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Run(args) => service::agent(&args.config, args.log_format, service::Purpose::Real),
        Verb::List(args) => block_on(list(&args, env)),
        Verb::Enrol(args) => block_on(enrol(args, env)),
    }
}

async fn list(args: &ListArgs, env: &Env) -> Done {
    let session = env.session()?;
    let mut request = ListAgentsRequest {
        page_size: 1_000,
        cluster: args.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        consistency: session.consistency,
        ..ListAgentsRequest::default()
    };
    let mut found = ListAgentsResponse::default();
    loop {
        let page = session.client.list_agents(request.clone()).await?;
        found.agents.extend(page.agents);
        found.read = page.read;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    env.printer.print(&found)?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewJournal {
    agent: String,
    instance: String,
    journal: PathBuf,
    next_steps: Vec<String>,
}

impl View for NewJournal {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[
            ("agent", self.agent.clone()),
            ("instance", self.instance.clone()),
            ("journal", self.journal.display().to_string()),
        ]);
        paper.heading("Next, by an operator");
        for step in &self.next_steps {
            paper.line(format_args!("  {step}"));
        }
    }
}

fn new_journal(config: &Path, env: &Env) -> Done {
    let config = quorate_node::config::Config::load(config)
        .map_err(|error| service::refused(config, &error))?;
    let instance = layout::enrol(&config.data_dir, config.name.clone(), config.cluster.clone())?;
    let agent = crate::view::last(config.name.as_str());
    let step = format!("quorate agent enrol {agent} --instance {instance} --reason '…'");
    env.printer.print(&NewJournal {
        agent: config.name.to_string(),
        instance: instance.to_string(),
        journal: config.journal(),
        next_steps: vec![step],
    })?;
    Ok(Exit::Ok)
}

async fn enrol(args: EnrolArgs, env: &Env) -> Done {
    if let Some(config) = &args.new_journal {
        return new_journal(config, env);
    }
    let (Some(agent), Some(instance), Some(reason)) = (args.agent, args.instance, args.reason)
    else {
        return Err(Failure::usage("AGENT, --instance and --reason, or --new-journal"));
    };
    let session = env.session()?;
    let charter = session.charter().await?;
    let ending = format!("/agent/{}", agent);
    let line = charter
        .agent
        .iter()
        .find(|line| {
            let name = line.key.name().as_str();
            name == agent || name.ends_with(&ending)
        })
        .ok_or_else(|| Failure::usage(format!("the charter has no agent {agent}")))?;
    let act = ActOf {
        cluster: Some(line.cluster.to_string()),
        act: ActKind::Enrol,
        subject: format!("{}+{instance}", line.key.name()),
        reason,
        key: args.key,
    };
    submit_act(&session, act, &args.mutation, env).await
}

/// An act that one operator may do alone.
pub(super) struct ActOf {
    /// The cluster; none: the only one.
    pub(super) cluster: Option<String>,
    /// Which act.
    pub(super) act: ActKind,
    /// What it is about.
    pub(super) subject: String,
    /// Why.
    pub(super) reason: String,
    /// The key; none: the identity's.
    pub(super) key: Option<PathBuf>,
}

/// Signs an act and submits it; it becomes a leaf.
pub(super) async fn submit_act(
    session: &Session,
    of: ActOf,
    mutation: &Mutation,
    env: &Env,
) -> Done {
    let signer = Signer::of(of.key.as_deref(), &session.context)?;
    let charter = session.charter().await?;
    let named = of
        .cluster
        .map(ClusterId::new)
        .transpose()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let act = Act {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: session.cluster(named.as_ref(), &charter)?,
        act: of.act,
        subject: of
            .subject
            .parse()
            .map_err(|error| Failure::usage(format!("{}: {error}", of.subject)))?,
        reason: sentence("--reason", &of.reason)?,
        expires: clock::in_span(ACT_VALIDITY)?,
        nonce: nonce()?,
    };
    act.check().map_err(|error| Failure::usage(error.to_string()))?;
    let response = session
        .client
        .submit_act(SubmitActRequest {
            note: signer.sign(act).to_bytes(),
            validate_only: mutation.dry_run,
            request_id: mutation.request_id(),
        })
        .await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}
