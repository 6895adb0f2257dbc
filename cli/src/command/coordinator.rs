//! `quorate coordinator run`: the server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::service;
use crate::Done;

/// Verbs of `coordinator`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a coordinator until SIGTERM or Ctrl-C; never creates a data directory
    #[command(after_help = "\
Examples:
  quorate coordinator run --config prod/coordinator-1/coordinator.toml
  quorate coordinator run --config /etc/quorate/coordinator.toml --log-format json

QUORATE_LOG filters the log lines, for example QUORATE_LOG=debug.")]
    Run(RunArgs),
}

/// What a server needs to start.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Its configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/quorate/coordinator.toml")]
    pub config: PathBuf,
    /// How log lines are written [default: pretty on a terminal, json elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<service::LogFormat>,
}

/// Runs the verb.
pub(crate) fn run(verb: Verb) -> Done {
    match verb {
        Verb::Run(args) => {
            service::coordinator(&args.config, args.log_format, service::Purpose::Real)
        }
    }
}
