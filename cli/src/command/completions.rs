//! `quorate completions SHELL`, hidden: for packages.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Env;
use crate::Done;
use crate::args::Cli;
use crate::exit::Exit;

/// The shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, env: &Env) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quorate", &mut script);
    env.printer.raw(&script)?;
    Ok(Exit::Ok)
}
