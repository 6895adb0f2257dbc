//! `quorate gate`: may this member start, and how? Then it becomes the member's own command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use quorate_node::clock::Clock;
use quorate_node::config::Config;
use quorate_node::gate::{Allowed, Gate, Means, Refusal, Start};
use quorate_proto::error_code::ErrorCode;
use serde::Serialize;

use super::{Env, service};
use crate::Done;
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason, chain};
use crate::output::{Paper, View};

/// What the gate stands in front of.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate gate --config /etc/quorate/agent.toml -- etcd --data-dir /var/lib/etcd
  quorate gate --config agent.toml --alone-argument=--force-new-cluster -- etcd --data-dir n1
  quorate gate --config /etc/quorate/agent.toml

The last line starts nothing and answers by its exit code, as ExecCondition= of systemd asks:
0 lets the unit start, 7 skips it. A start alone is permitted once, by a declare-dead decision
that its agent is carrying out; only then the arguments of --alone-argument are appended.")]
pub(crate) struct GateArgs {
    /// The configuration of the agent beside this member
    #[arg(long, value_name = "FILE", default_value = "/etc/quorate/agent.toml")]
    config: PathBuf,
    /// An argument that makes the command start alone; appended only when that is permitted
    #[arg(long = "alone-argument", value_name = "ARG", allow_hyphen_values = true)]
    alone_arguments: Vec<OsString>,
    /// The member's start command and its arguments; no shell is involved
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    start: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_as_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    warnings: Vec<String>,
}

impl View for Answer {
    fn draw(&self, paper: &mut Paper) {
        let unknown = || "unknown".to_owned();
        paper.facts(&[
            ("start", self.start.to_owned()),
            ("head as of", self.head_as_of.clone().unwrap_or_else(unknown)),
            ("identity", self.identity.clone().unwrap_or_else(|| "-".to_owned())),
        ]);
        for warning in &self.warnings {
            paper.line(format_args!("warning: {warning}"));
        }
    }
}

/// Decides, and becomes the command if it may start.
pub(crate) fn run(args: &GateArgs, env: &Env) -> Done {
    let config =
        Config::load(&args.config).map_err(|error| service::refused(&args.config, &error))?;
    let gate = Gate::of(&config, Clock::system())
        .map_err(|error| Failure::local(LocalReason::ConfigInvalid, chain(&error)))?;
    let means = match args.command.first() {
        Some(program) if !args.alone_arguments.is_empty() => Means::Alone { program },
        Some(_) | None => Means::Ordinary,
    };
    let allowed = gate.decide(means).map_err(|refusal| failure(&refusal, &config))?;
    let Some((program, arguments)) = args.command.split_first() else {
        env.printer.print(&answer(&allowed))?;
        return Ok(Exit::Ok);
    };
    for warning in &allowed.warnings {
        env.printer.say(format!("gate: {warning}"));
    }
    let mut command = Command::new(program);
    command.args(arguments);
    if let Start::Alone(token) = allowed.start {
        env.printer.say(format!("gate: {} starts alone under decision {token}", config.member));
        command.args(&args.alone_arguments);
    }
    // The same process goes on under another program: a pid file that names it stays right.
    Err(Failure::file(program.as_ref(), command.exec()))
}

fn answer(allowed: &Allowed) -> Answer {
    Answer {
        start: match allowed.start {
            Start::Ordinary => "ordinary",
            Start::Alone(_) => "alone",
        },
        head_as_of: allowed.as_of.map(|time| time.utc().to_string()),
        identity: allowed.identity.map(|identity| identity.to_string()),
        warnings: allowed.warnings.clone(),
    }
}

/// The refusal with its reason, its facts and what changes it.
fn failure(refusal: &Refusal, config: &Config) -> Failure {
    let member = &config.member;
    let readmit = format!(
        "quorate proposal create readmit member:{member} --param member={member} \
         --param host=HOST --param directory=EMPTY_DIRECTORY --reason '…'"
    );
    let words = chain(refusal);
    let closed =
        |why: &str, words: &str| Failure::local(LocalReason::GateClosed, words).with("why", why);
    let failure = match refusal {
        Refusal::DeclaredDead { decision, dead_since, .. } => {
            let mut failure =
                Failure::known(ErrorCode::DeclaredDead, words).with("decision", decision);
            if let Some(since) = dead_since {
                failure = failure.with("since", since.utc());
            }
            failure.help(readmit)
        }
        Refusal::DeadIdentity { decision, identity, .. } => {
            Failure::known(ErrorCode::DeclaredDead, words)
                .with("decision", decision)
                .with("identity", identity)
                .help("start it on an empty directory; this one stays as evidence")
        }
        Refusal::NotReadmittedHere { what, wanted, .. } => closed("readmission", &words)
            .with("what", what)
            .with("wanted", wanted)
            .help(readmit),
        Refusal::NotMember { .. } => closed("roster", &words)
            .help("operators add a member with `quorate charter amend`"),
        Refusal::NothingKnown { .. } => closed("nothing-known", &words)
            .help("start its agent and let it reach the coordinators: `quorate agent run`"),
        Refusal::Stale { as_of, .. } => closed("stale", &words)
            .with("as_of", as_of.utc())
            .help("let its agent reach the coordinators; `quorate status` says whether they have a quorum"),
        Refusal::Alarm { .. } => closed("alarm", &words)
            .help("operators find out who signed both heads, then enrol a new journal of the agent"),
        Refusal::AgentFailed { .. } => {
            closed("agent", &words).help("look at the agent's log and its disk")
        }
        Refusal::Reserved { token, .. } => closed("reserved", &words)
            .with("token", token)
            .help("quorate action current"),
        Refusal::Alone(alone) => Failure::known(ErrorCode::StartAloneRefused, words)
            .with("why", alone.why())
            .help("quorate action current"),
        Refusal::Place { .. } => closed("directory", &words)
            .help("the configuration's [gate] directory names it; its owner can read and write it"),
    };
    failure.with("cluster", &config.cluster).with("member", member)
}
