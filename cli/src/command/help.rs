//! `quorate help`: of a command, and the two tables that scripts rely on.

use clap::{Args, CommandFactory};
use quorate_proto::error_code::{ErrorCode, Retry};
use serde::Serialize;

use super::Env;
use crate::Done;
use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason};
use crate::output::{Paper, Tone, View, items};

/// A topic.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate help proposal create
  quorate help exit-codes")]
pub(crate) struct HelpArgs {
    /// A command, `exit-codes` or `reasons`
    topic: Vec<String>,
}

#[derive(Serialize)]
struct ExitCodes {
    codes: Vec<ExitCodeRow>,
}

#[derive(Serialize)]
struct ExitCodeRow {
    code: u8,
    meaning: &'static str,
}

impl View for ExitCodes {
    fn draw(&self, paper: &mut Paper) {
        let rows = self.codes.iter().map(|row| vec![row.code.to_string(), row.meaning.to_owned()]);
        paper.table(&["code", "meaning"], rows.collect());
        paper.line("");
        let gate =
            "`--dry-run` ends with the code that the real call under `--wait` would end with.";
        paper.line(paper.tone(Tone::Dim, gate));
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.codes)
    }
}

#[derive(Serialize)]
struct Reasons {
    reasons: Vec<ReasonRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReasonRow {
    reason: &'static str,
    exit: u8,
    code: String,
    retry: &'static str,
    meaning: String,
    remedy: String,
}

impl View for Reasons {
    fn draw(&self, paper: &mut Paper) {
        let rows = self.reasons.iter().map(|row| {
            vec![
                row.reason.to_owned(),
                row.exit.to_string(),
                row.code.clone(),
                row.retry.to_owned(),
                row.meaning.clone(),
            ]
        });
        paper.table(&["reason", "exit", "code", "retry", "meaning"], rows.collect());
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.reasons)
    }
}

/// Prints the help that is asked for.
pub(crate) fn run(args: &HelpArgs, env: &Env) -> Done {
    let words: Vec<&str> = args.topic.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["exit-codes"] => {
            let codes = Exit::ALL
                .into_iter()
                .map(|exit| ExitCodeRow { code: exit.code(), meaning: exit.meaning() })
                .collect();
            env.printer.print(&ExitCodes { codes })?;
        }
        ["reasons"] => env.printer.print(&reasons())?,
        path => env.printer.raw(of_command(path)?.as_bytes())?,
    }
    Ok(Exit::Ok)
}

/// The reasons of the coordinators and of this program, in one alphabetical table.
fn reasons() -> Reasons {
    let remote = ErrorCode::ALL.iter().map(|code| ReasonRow {
        reason: code.reason(),
        exit: code.exit().code(),
        code: code.row().grpc.name().to_owned(),
        retry: match code.retry() {
            Retry::Never => "never",
            Retry::Later => "later",
            Retry::Soon => "soon",
        },
        meaning: code.row().meaning.to_owned(),
        remedy: code.row().remedy.to_owned(),
    });
    let local = LocalReason::ALL.iter().map(|reason| ReasonRow {
        reason: reason.word(),
        exit: reason.exit().code(),
        code: "LOCAL".to_owned(),
        retry: "never",
        meaning: reason.meaning().to_owned(),
        remedy: String::new(),
    });
    let mut reasons: Vec<ReasonRow> = remote.chain(local).collect();
    reasons.sort_by_key(|row| row.reason);
    Reasons { reasons }
}

fn of_command(path: &[&str]) -> Result<String, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    for word in path {
        let names: Vec<String> =
            found.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        if !names.iter().any(|name| name == word) {
            return Err(Failure::usage(format!("there is no command `{}`", path.join(" ")))
                .with("known", names.join(" "))
                .help("quorate help"));
        }
        found = found.find_subcommand_mut(word).ok_or_else(|| Failure::usage("no such command"))?;
    }
    Ok(found.render_help().to_string())
}

#[cfg(test)]
mod reference;

#[cfg(test)]
mod tests {
    use quorate_proto::client::{Attempts, CallError};

    use super::*;

    #[test]
    fn every_reason_of_a_coordinator_and_of_this_program_is_listed_once() {
        let listed: Vec<&str> = reasons().reasons.iter().map(|row| row.reason).collect();
        assert!(listed.windows(2).all(|pair| pair[0] < pair[1]), "{listed:?}");
        assert_eq!(listed.len(), ErrorCode::ALL.len() + LocalReason::ALL.len());
        let remote = ErrorCode::ALL.iter().map(|code| code.reason());
        for reason in remote.chain(LocalReason::ALL.iter().map(|reason| reason.word())) {
            assert!(listed.contains(&reason), "{reason}");
        }
    }

    #[test]
    fn what_the_client_finds_out_by_itself_has_a_listed_reason_and_exit_code() {
        let listed = reasons().reasons;
        let attempts = Attempts::default;
        let unknown = |request_id: &str| CallError::OutcomeUnknown {
            request_id: request_id.to_owned(),
            attempts: attempts(),
        };
        for (error, reason) in [
            (CallError::NotServed { address: "10.0.0.1:7701".to_owned() }, "NOT_SERVED"),
            (CallError::Unreachable { attempts: attempts() }, "NO_QUORUM"),
            (unknown(""), "NO_QUORUM"),
            (unknown("6f1c"), "OUTCOME_UNKNOWN"),
        ] {
            let exit = Exit::from(error.exit_code());
            let failure = Failure::from(error);
            assert_eq!((failure.reason.as_str(), failure.exit), (reason, exit));
            let row = listed.iter().find(|row| row.reason == reason);
            let row = row.map(|row| (row.exit, row.code.as_str()));
            assert_eq!(row, Some((exit.code(), failure.code.as_str())), "{reason}");
        }
    }
}
