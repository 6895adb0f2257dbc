//! [`Problem`] to `tonic::Status` with `google.rpc` details, and back.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error_code::{ErrorCode, Retry};
use crate::pb::v1::Assessment;
use crate::problem::{DOMAIN, Problem};

const ASSESSMENT_URL: &str = "type.googleapis.com/quorate.v1.Assessment";

/// An assessment beyond this does not travel with an error: the header block is bounded.
const ASSESSMENT_BYTES_MAX: usize = 2_048;

/// All facts together; what does not fit is left out, last key first.
const FACTS_BYTES_MAX: usize = 4_096;

/// What a client waits after a retryable refusal that names no delay.
const RETRY_DEFAULT: Duration = Duration::from_millis(100);

/// Shortest delay that is ever asked for.
const RETRY_MIN: Duration = Duration::from_millis(10);

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let code = Code::from(problem.code().grpc());
        let message = problem.to_string();
        let mut details = ErrorDetails::new();
        details.set_error_info(problem.code().reason(), DOMAIN, bounded_facts(&problem));
        if let Some(delay) = retry_delay(&problem) {
            details.set_retry_info(Some(delay));
        }
        details.add_help_link(problem.code().row().meaning, problem.code().help());
        // The status message adds who, when and how to the sentence; a client of ours wants it bare.
        details.set_localized_message("en", problem.message());
        add_violation(&mut details, &problem);
        let status = Self::with_error_details(code, &*message, details);
        match problem.assessed() {
            Some(assessment) => with_assessment(status, assessment),
            None => status,
        }
    }
}

fn bounded_facts(problem: &Problem) -> HashMap<String, String> {
    let mut left = FACTS_BYTES_MAX;
    problem
        .metadata()
        .iter()
        .take_while(|(key, value)| {
            let fits = left.checked_sub(key.len() + value.len());
            left = fits.unwrap_or(0);
            fits.is_some()
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The delay of `RetryInfo`: what the refusal says, else a default for what soon goes by.
fn retry_delay(problem: &Problem) -> Option<Duration> {
    let default = match problem.code().retry() {
        Retry::Soon => Some(RETRY_DEFAULT),
        Retry::Later => Some(RETRY_MIN),
        Retry::Never => None,
    };
    problem.delay().or(default).map(|delay| delay.max(RETRY_MIN))
}

/// At most one of the standard violation messages, whichever fits the code (AIP-193).
fn add_violation(details: &mut ErrorDetails, problem: &Problem) {
    if let Some(rule) = problem.fact("rule") {
        let subject = problem.fact("facts").unwrap_or_default();
        details.add_precondition_failure_violation(rule, subject, problem.message());
    } else if let Some(field) = problem.fact("field") {
        details.add_bad_request_violation(field, problem.message());
    } else if let Some(key) = problem.fact("key")
        && problem.code().grpc() == crate::grpc_code::GrpcCode::ResourceExhausted
    {
        details.add_quota_failure_violation(key, problem.message());
    }
}

/// Adds an assessment to the details, if it is small enough to travel in a header.
fn with_assessment(status: Status, assessment: &Assessment) -> Status {
    let value = assessment.encode_to_vec();
    if value.len() > ASSESSMENT_BYTES_MAX {
        return status;
    }
    let Ok(mut rich) = tonic_types::Status::decode(status.details()) else {
        return status;
    };
    rich.details.push(prost_types::Any { type_url: ASSESSMENT_URL.to_owned(), value });
    Status::with_details_and_metadata(
        status.code(),
        status.message(),
        rich.encode_to_vec().into(),
        MetadataMap::new(),
    )
}

impl Problem {
    /// Reads a refusal of ours back from a status. `None` if the status is not one: made by tonic
    /// itself, by a proxy, or with a reason that this version does not know.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.check_error_details().ok()?;
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let code = ErrorCode::from_reason(&info.reason)?;
        let sentence =
            details.localized_message().map_or(status.message(), |text| text.message.as_str());
        let mut problem = Self::new(code, sentence)
            .with_all(info.metadata.iter().map(|(key, value)| (key.clone(), value.clone())));
        if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
            problem = problem.retry_after(delay);
        }
        match assessment_of(status) {
            Some(assessment) => Some(problem.assessment(assessment)),
            None => Some(problem),
        }
    }
}

fn assessment_of(status: &Status) -> Option<Assessment> {
    let rich = tonic_types::Status::decode(status.details()).ok()?;
    let any = rich.details.iter().find(|any| any.type_url == ASSESSMENT_URL)?;
    Assessment::decode(any.value.as_slice()).ok()
}
