//! The binary `quorate`: parse, call, print.
//!
//! Reading order: [`args`] what can be typed, [`command`] one file per noun, [`output`] and
//! [`failure`] what is printed, [`exit`] how the process ends, [`demo`] a real cluster, hurt and
//! healed.

mod args;
mod clock;
mod command;
mod confirm;
mod connect;
mod demo;
mod exit;
mod failure;
mod files;
mod layout;
mod output;
mod remote;
mod signing;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::refused(&error).into(),
    };
    let printer = cli.printer();
    match command::run(cli, printer) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            printer.fail(&failure);
            failure.exit.into()
        }
    }
}

/// What a command returns: how to end, or why not.
type Done = Result<Exit, Failure>;
