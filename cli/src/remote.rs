//! What coordinators answer, as failures of a command.

use std::io;

use quorate_proto::client::CallError;
use quorate_proto::exit_code::ExitCode;
use quorate_proto::problem::Problem;

use crate::exit::Exit;
use crate::failure::{Facts, Failure, LocalReason, chain};

impl From<ExitCode> for Exit {
    fn from(code: ExitCode) -> Self {
        match code {
            ExitCode::Ok => Exit::Ok,
            ExitCode::Error => Exit::Error,
            ExitCode::Usage => Exit::Usage,
            ExitCode::Negative => Exit::Negative,
            ExitCode::NoQuorum => Exit::NoQuorum,
            ExitCode::RateLimited => Exit::RateLimited,
            ExitCode::NotConfirmed => Exit::NotConfirmed,
            ExitCode::Precondition => Exit::Precondition,
            ExitCode::NotAuthorised => Exit::NotAuthorised,
            ExitCode::WaitTimedOut => Exit::WaitTimedOut,
        }
    }
}

impl From<&Problem> for Failure {
    fn from(problem: &Problem) -> Self {
        let object = problem.document().error;
        let help = problem.fact("command").map_or(object.help, str::to_owned);
        Failure::from(Facts {
            exit: problem.exit_code().into(),
            code: object.code,
            reason: object.reason,
            message: object.message,
            metadata: object.metadata,
            next_allowed: object.next_allowed,
            remedy: Some(problem.code().row().remedy),
            help: Some(help),
        })
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let exit = error.exit_code().into();
        let message = chain(&error);
        let bare = |code: &str, reason: &str| {
            Failure::from(Facts {
                exit,
                code: code.to_owned(),
                reason: reason.to_owned(),
                message: message.clone(),
                metadata: std::collections::BTreeMap::new(),
                next_allowed: None,
                remedy: None,
                help: None,
            })
        };
        match &error {
            CallError::Refused(problem) => problem.as_ref().into(),
            CallError::Unreachable { .. } => bare("UNAVAILABLE", "NO_QUORUM")
                .help("`--stale` reads from any coordinator that answers"),
            CallError::OutcomeUnknown { request_id, .. } if request_id.is_empty() => {
                bare("UNAVAILABLE", "NO_QUORUM")
                    .help("`--stale` reads from any coordinator that answers")
            }
            CallError::OutcomeUnknown { request_id, .. } => bare("UNAVAILABLE", "OUTCOME_UNKNOWN")
                .with("request_id", request_id)
                .help(again(request_id)),
            CallError::Status(status) => {
                let code = format!("{:?}", status.code());
                bare(&code, &code)
            }
        }
    }
}

/// The command as typed, with the request id that makes a repetition harmless.
fn again(request_id: &str) -> String {
    let mut words: Vec<String> = vec!["quorate".to_owned()];
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        if word == "--request-id" {
            arguments.next();
        } else if !word.starts_with("--request-id=") {
            words.push(if word.contains(' ') { format!("'{word}'") } else { word });
        }
    }
    words.extend(["--request-id".to_owned(), request_id.to_owned()]);
    words.join(" ")
}

/// Ctrl-C, or the reason why it cannot be listened for.
pub(crate) fn interrupted(error: Option<io::Error>) -> Failure {
    match error {
        None => Failure::local(LocalReason::Interrupted, "interrupted; what was sent goes on"),
        Some(error) => Failure::local(LocalReason::FileFailed, format!("no signals: {error}")),
    }
}
