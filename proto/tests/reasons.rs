//! The error table: complete, alphabetical, documented; and every refusal survives the wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_proto::error_code::{ErrorCode, Retry};
use quorate_proto::exit_code::ExitCode;
use quorate_proto::pb::v1::{Assessment, Refusal, Tally, TallyState, Voter};
use quorate_proto::problem::{DOMAIN, Problem, TEXT_BYTES_MAX};
use quorate_proto::wkt::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What scripts rely on, written down a second time: reason, gRPC code, exit code.
const PROMISED: &str = "
ALREADY_DECLARED FAILED_PRECONDITION 7
BREAKER_OPEN FAILED_PRECONDITION 7
BUDGET_EXHAUSTED RESOURCE_EXHAUSTED 5
CALLER_LIMITED RESOURCE_EXHAUSTED 5
CERTIFICATE_INVALID INVALID_ARGUMENT 3
CERTIFICATE_NOT_ACCEPTED UNAUTHENTICATED 8
COOLDOWN RESOURCE_EXHAUSTED 5
DECLARED_DEAD FAILED_PRECONDITION 7
DRILL_MISMATCH INVALID_ARGUMENT 3
DUPLICATE_KEY INVALID_ARGUMENT 2
EPOCH_MISMATCH FAILED_PRECONDITION 7
EQUIVOCATION FAILED_PRECONDITION 7
EXPECTATION_FAILED ABORTED 7
EXPIRY_OUT_OF_RANGE INVALID_ARGUMENT 2
FORK_DETECTED DATA_LOSS 3
INDEX_OUT_OF_RANGE OUT_OF_RANGE 2
JOURNAL_ROLLED_BACK FAILED_PRECONDITION 7
MALFORMED INVALID_ARGUMENT 2
NOT_CANONICAL INVALID_ARGUMENT 2
NOT_CERTIFIED_YET UNAVAILABLE 4
NOT_LEADER UNAVAILABLE 4
NOT_YOURS PERMISSION_DENIED 8
NO_CLIENT_CERTIFICATE UNAUTHENTICATED 8
NO_QUORUM UNAVAILABLE 4
OUTCOME_UNKNOWN UNAVAILABLE 4
OUTSIDE_WINDOW FAILED_PRECONDITION 7
OVERLOADED RESOURCE_EXHAUSTED 5
PAGE_TOKEN_INVALID INVALID_ARGUMENT 2
PROPOSAL_CLOSED FAILED_PRECONDITION 7
REPLICA_FAULTED UNAVAILABLE 4
REPORT_CONFLICT FAILED_PRECONDITION 7
REQUEST_ID_REUSED INVALID_ARGUMENT 2
ROLE_NOT_ALLOWED PERMISSION_DENIED 8
RULE_REFUSED FAILED_PRECONDITION 7
SIGNATURE_INVALID INVALID_ARGUMENT 3
SLOT_BUSY FAILED_PRECONDITION 7
SNAPSHOT_INVALID INVALID_ARGUMENT 3
STALE_EVIDENCE FAILED_PRECONDITION 7
STALE_TOKEN FAILED_PRECONDITION 7
START_ALONE_REFUSED FAILED_PRECONDITION 7
STORE_QUOTA RESOURCE_EXHAUSTED 1
UNKNOWN_DECISION NOT_FOUND 1
UNKNOWN_PROPOSAL NOT_FOUND 1
UNKNOWN_TARGET NOT_FOUND 1
UNKNOWN_VALIDATOR PERMISSION_DENIED 8
WEAK_KEY INVALID_ARGUMENT 3
WRONG_ORIGIN INVALID_ARGUMENT 3
WRONG_PROPOSAL INVALID_ARGUMENT 3
";

#[test]
fn the_table_says_what_was_promised() {
    let promised: BTreeSet<String> = PROMISED.trim().lines().map(str::to_owned).collect();
    let present: BTreeSet<String> = ErrorCode::ALL
        .iter()
        .map(|code| format!("{} {} {}", code.reason(), code.grpc().name(), code.exit().code()))
        .collect();
    assert_eq!(present, promised);
}

#[test]
fn every_row_is_complete_and_in_its_place() {
    let reasons: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.reason()).collect();
    let variants: Vec<String> = ErrorCode::ALL.iter().map(|code| format!("{code:?}")).collect();
    assert!(variants.is_sorted(), "keep the table alphabetised");
    assert_eq!(reasons.iter().collect::<BTreeSet<_>>().len(), reasons.len());
    for &code in ErrorCode::ALL {
        let row = code.row();
        assert_eq!(ErrorCode::from_reason(row.reason), Some(code));
        assert!(row.reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
        assert_ne!(row.exit, ExitCode::Ok, "{code}");
        assert!(row.meaning.ends_with('.') && row.remedy.ends_with('.'), "{code}");
        assert_eq!(row.grpc.name().to_lowercase().replace('_', ""), debug_name(code), "{code}");
        for key in row.metadata {
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code} {key}");
        }
        let heals = row.metadata.contains(&"next_allowed") && code != ErrorCode::RuleRefused;
        assert!(!heals || row.retry == Retry::Later, "{code} says when, so it heals by time");
    }
    assert_eq!(ErrorCode::from_reason("NO_SUCH_REASON"), None);
}

/// The name that tonic gives the code's number.
fn debug_name(code: ErrorCode) -> String {
    format!("{:?}", Code::from(code.grpc())).to_lowercase()
}

#[test]
fn every_refusal_survives_the_wire() {
    for &code in ErrorCode::ALL {
        let problem = code
            .row()
            .metadata
            .iter()
            .fold(Problem::new(code, format!("{code} because of a test")), |problem, key| {
                problem.with(key, "1")
            });
        let status = Status::from(problem.clone());
        assert_eq!(status.code(), Code::from(code.grpc()));
        assert!(status.message().contains(code.row().remedy), "who can change it");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().domain, DOMAIN);
        assert!(details.help().unwrap().links[0].url.ends_with(&code.reason().to_lowercase()));
        assert_eq!(details.retry_info().is_some(), code.retry() != Retry::Never, "{code}");

        let read = Problem::from_status(&status).unwrap();
        assert_eq!(read.code(), code);
        assert_eq!(read.message(), problem.message());
        assert_eq!(read.metadata(), problem.metadata());
        assert_eq!(read.exit_code(), code.exit());
    }
}

#[test]
fn a_refusal_in_time_says_when_and_for_how_long() {
    let now: Timestamp = "2026-01-31T01:20:22Z".parse().unwrap();
    let at: Timestamp = "2026-01-31T01:21:21.5Z".parse().unwrap();
    let problem = Problem::new(ErrorCode::BudgetExhausted, "the global budget is 1 per 60 s")
        .with("key", "global")
        .next_allowed(at, now)
        .command("quorate charter amend");
    assert_eq!(
        problem.to_string(),
        "the global budget is 1 per 60 s. Next allowed at 2026-01-31T01:21:21.5Z. Time heals it; \
         the budget is a number of the charter, which the operators can amend. \
         Command: quorate charter amend"
    );
    let read = Problem::from_status(&Status::from(problem)).unwrap();
    assert_eq!(read.allowed_at(), Some(at));
    assert_eq!(read.delay(), Some(Duration::from_millis(59_500)));
    assert!(!read.is_retryable(), "the caller decides whether to wait for a minute");
    let refusal = Refusal::from(&read);
    assert_eq!((refusal.reason.as_str(), refusal.next_allowed), ("BUDGET_EXHAUSTED", Some(at)));
    let passed = Problem::new(ErrorCode::Cooldown, "x").next_allowed(now, at);
    assert_eq!(passed.delay(), Some(Duration::ZERO), "a time that has passed is no wait");
}

#[test]
fn an_error_document_has_the_documented_members() {
    let problem =
        Problem::new(ErrorCode::RuleRefused, "n7 answered").with("rule", "partition-not-death");
    let json = serde_json::to_value(problem.document()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"error": {
            "code": "FAILED_PRECONDITION",
            "reason": "RULE_REFUSED",
            "message": "n7 answered",
            "metadata": {"rule": "partition-not-death"},
            "help": "docs/reference/reasons.md#rule_refused",
        }})
    );
}

#[test]
fn an_assessment_travels_with_the_refusal_of_a_dry_run() {
    let tally = Tally { state: TallyState::Pending.into(), need: 3, ..Tally::default() };
    let assessment = Assessment { tally: Some(tally), members: 5, ..Assessment::default() };
    let problem = Problem::new(ErrorCode::RuleRefused, "below quorum")
        .with("rule", "quorum-floor")
        .assessment(assessment.clone());
    let read = Problem::from_status(&Status::from(problem)).unwrap();
    assert_eq!(read.assessed(), Some(&assessment));
}

#[test]
fn no_refusal_outgrows_the_header_block() {
    let long = "é".repeat(100_000);
    let voter = Voter { name: long.clone(), ..Voter::default() };
    let tally = Tally { missing: vec![voter; 64], ..Tally::default() };
    let mut problem = Problem::new(ErrorCode::RuleRefused, long.clone())
        .command(&long)
        .assessment(Assessment { tally: Some(tally), ..Assessment::default() });
    for at in 0..200 {
        problem = problem.with(&format!("key_{at}"), &long);
    }
    assert!(problem.message().len() <= TEXT_BYTES_MAX);
    let mut headers = http::HeaderMap::new();
    Status::from(problem).add_header(&mut headers).unwrap();
    let bytes: usize = headers.iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
    assert!(bytes < 16 * 1024, "{bytes}");
}

#[test]
fn a_status_that_is_not_ours_is_no_refusal_of_ours() {
    assert_eq!(Problem::from_status(&Status::unavailable("connection reset")), None);
    let mut foreign = tonic_types::ErrorDetails::new();
    foreign.set_error_info("NOT_LEADER", "example.com", std::collections::HashMap::new());
    let status = Status::with_error_details(Code::Unavailable, "x", foreign);
    assert_eq!(Problem::from_status(&status), None);
    let torn = Status::with_details(Code::Unavailable, "x", vec![0xff, 0xff].into());
    assert_eq!(Problem::from_status(&torn), None);
}
