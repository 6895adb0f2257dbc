//! What coordinators answer, as failures of a command.

use std::io;

use quorate_proto::client::{Attempt, Attempts, CallError};
use quorate_proto::error_code::ErrorCode;
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
        match &error {
            CallError::Refused(problem) => problem.as_ref().into(),
            CallError::Unreachable { attempts } => no_quorum(attempts),
            CallError::OutcomeUnknown { request_id, attempts } if request_id.is_empty() => {
                no_quorum(attempts)
            }
            CallError::NotServed { .. } => Failure::local(LocalReason::NotServed, chain(&error)),
            CallError::OutcomeUnknown { request_id, .. } => {
                Failure::known(ErrorCode::OutcomeUnknown, chain(&error))
                    .with("request_id", request_id)
                    .help(again(request_id))
            }
            CallError::Status(status) => {
                let code = format!("{:?}", status.code());
                Failure::bare(error.exit_code().into(), &code, &code, chain(&error))
            }
        }
    }
}

/// Who answered, who did not and why, and what brings them back.
fn no_quorum(attempts: &Attempts) -> Failure {
    let (answered, silent): (Vec<_>, Vec<_>) = attempts.0.iter().partition(|one| one.answered);
    let (have, all) = (answered.len(), attempts.0.len());
    let list = |some: &[&Attempt]| {
        let mut some: Vec<_> = some.iter().map(|one| (one.id, plainly(one))).collect();
        some.sort();
        some.iter().map(|(id, why)| format!("{id} ({why})")).collect::<Vec<_>>().join(", ")
    };
    let message = if silent.is_empty() {
        format!("{have} of {all} coordinators answered, none could serve: {}", list(&answered))
    } else {
        let majority = all / 2 + 1;
        format!(
            "{have} of {all} coordinators answered, a majority is {majority}; not answering: {}",
            list(&silent)
        )
    };
    let start = "start the others: `quorate coordinator run --config …`";
    let help = if have == 0 {
        start.to_owned()
    } else {
        format!("{start}; `--stale` reads from any coordinator that answers")
    };
    Failure::known(ErrorCode::NoQuorum, message).help(help)
}

/// The reason without the address, which the id stands for, and without the system's number.
fn plainly(attempt: &Attempt) -> String {
    let why = attempt.why.rsplit(&format!("{}: ", attempt.address)).next().unwrap_or_default();
    let why = why.split(" (os error").next().unwrap_or_default();
    let mut letters = why.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, why: &str, answered: bool) -> Attempt {
        let address = format!("127.0.0.1:77{id:02}");
        Attempt { id, why: why.replace("ADDRESS", &address), address, answered }
    }

    #[test]
    fn a_missing_majority_is_counted_and_the_silent_ones_are_named_by_id() {
        let refused = "cannot connect to ADDRESS: Connection refused (os error 111)";
        let mut attempts = Attempts(vec![
            attempt(3, refused, false),
            attempt(1, "no leader is known", true),
            attempt(2, refused, false),
        ]);
        let failure = no_quorum(&attempts);
        assert_eq!(
            failure.message,
            "1 of 3 coordinators answered, a majority is 2; not answering: 2 (connection refused), 3 \
             (connection refused)"
        );
        assert!(failure.help.as_ref().is_some_and(|help| help.contains("--stale")));
        attempts.0.retain(|attempt| attempt.answered);
        let failure = no_quorum(&attempts);
        assert!(failure.message.ends_with("none could serve: 1 (no leader is known)"));
    }
}
