//! One file per noun. Each parses its arguments, calls, and prints; nothing is decided here.

mod action;
mod agent;
mod automation;
mod budget;
mod charter;
mod completions;
mod coordinator;
mod decision;
mod gate;
mod help;
mod incident;
mod init;
mod key;
mod log;
mod overrides;
mod playbook;
mod proposal;
mod quorum;
pub(crate) mod service;
mod status;
mod vote;

use clap::Subcommand;

pub(crate) use init::parse_count;
pub(crate) use log::{export_to, replay};
pub(crate) use proposal::{Draft, open_draft};

use crate::args::{Cli, Global};
use crate::demo;
use crate::failure::{Failure, LocalReason};
use crate::output::Printer;
use crate::{Done, remote};

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch a real cluster being hurt and healed, in real processes on this machine
    Demo(demo::DemoArgs),
    /// Write a charter, keys and one directory per coordinator, agent and operator
    Init(init::InitArgs),
    /// Run a coordinator
    #[command(subcommand)]
    Coordinator(coordinator::Verb),
    /// Run an agent beside a member; list and enrol agents
    #[command(subcommand)]
    Agent(agent::Verb),
    /// Stand in front of a member's start command: may it start, and how?
    Gate(gate::GateArgs),
    /// Open, show and end proposals
    #[command(subcommand)]
    Proposal(proposal::Verb),
    /// Vote on a proposal, also signed on another machine
    #[command(subcommand)]
    Vote(vote::Verb),
    /// See decisions, their certificates, and acknowledge them
    #[command(subcommand)]
    Decision(decision::Verb),
    /// The decision log: read, prove, export, verify offline, replay
    #[command(subcommand)]
    Log(log::Verb),
    /// The action in effect; re-issue or give up a stuck one
    #[command(subcommand)]
    Action(action::Verb),
    /// Pause and resume what has not started
    #[command(subcommand)]
    Automation(automation::Verb),
    /// The root of trust: show, sign and amend it
    #[command(subcommand)]
    Charter(charter::Verb),
    /// The coordinators: list, add, remove, hand leadership over
    #[command(subcommand)]
    Quorum(quorum::Verb),
    /// Make and show keys
    #[command(subcommand)]
    Key(key::Verb),
    /// What is left of the budgets, and when more is allowed
    #[command(subcommand)]
    Budget(budget::Verb),
    /// What is being recovered from, how far, and whether people are asked
    #[command(subcommand)]
    Incident(incident::Verb),
    /// Read playbooks and say what is wrong with them; works without a network
    #[command(subcommand)]
    Playbook(playbook::Verb),
    /// Everything a person looks at first
    Status(status::StatusArgs),
    /// Override one named rule for one proposal
    #[command(subcommand, name = "override")]
    Overrides(overrides::Verb),
    /// This help, or the help of a command, `exit-codes` or `reasons`
    Help(help::HelpArgs),
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions(completions::CompletionsArgs),
}

/// What every command gets: where to print, and how to reach coordinators.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    /// Options that every command knows.
    pub global: Global,
    /// Where to print.
    pub printer: Printer,
}

/// Runs the command that was typed.
///
/// # Errors
/// Whatever the command refuses; the failure carries the exit code.
pub(crate) fn run(cli: Cli, printer: Printer) -> Done {
    let env = Env { global: cli.global, printer };
    match cli.command {
        Command::Help(args) => help::run(&args, &env),
        Command::Completions(args) => completions::run(&args, &env),
        Command::Key(verb) => key::run(verb, &env),
        Command::Init(args) => init::run(args, &env),
        Command::Playbook(verb) => playbook::run(verb, &env),
        Command::Demo(args) => demo::run(args, &env),
        Command::Coordinator(verb) => coordinator::run(verb),
        Command::Agent(verb) => agent::run(verb, &env),
        Command::Gate(args) => gate::run(&args, &env),
        Command::Proposal(verb) => block_on(proposal::run(verb, &env)),
        Command::Vote(verb) => block_on(vote::run(verb, &env)),
        Command::Decision(verb) => block_on(decision::run(verb, &env)),
        Command::Log(verb) => block_on(log::run(verb, &env)),
        Command::Incident(verb) => block_on(incident::run(verb, &env)),
        Command::Action(verb) => block_on(action::run(verb, &env)),
        Command::Automation(verb) => block_on(automation::run(verb, &env)),
        Command::Charter(verb) => block_on(charter::run(verb, &env)),
        Command::Quorum(verb) => block_on(quorum::run(verb, &env)),
        Command::Budget(verb) => block_on(budget::run(verb, &env)),
        Command::Status(args) => block_on(status::run(args, &env)),
        Command::Overrides(verb) => block_on(overrides::run(verb, &env)),
    }
}

/// Runs one call to its end, or until Ctrl-C: a command that waits leaves what it started alone.
pub(crate) fn block_on(command: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(LocalReason::FileFailed, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            // The command first: a watch has its own words for the end.
            biased;
            done = command => done,
            signal = tokio::signal::ctrl_c() => Err(remote::interrupted(signal.err())),
        }
    })
}
