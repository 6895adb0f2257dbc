//! Every message that was ever released still decodes to the same value.
//!
//! `tests/frozen/` holds one file for each: hexadecimal bytes. A file is only ever added:
//! `UPDATE_FROZEN=1 cargo test -p quorate-proto --test frozen_bytes` writes the missing ones and
//! touches no other.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Debug;
use std::path::PathBuf;

use prost::Message;
use quorate_proto::pb::raft::v1 as raft;
use quorate_proto::pb::v1::{self as pb, watch_log_response};
use quorate_proto::wkt::{Duration, Timestamp};

fn check<M: Message + Default + PartialEq + Debug>(name: &str, value: &M) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/frozen/{name}.hex"));
    if std::env::var_os("UPDATE_FROZEN").is_some() && !path.exists() {
        let hex: String = value.encode_to_vec().iter().map(|b| format!("{b:02x}")).collect();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, hex + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let digits = text.trim();
    assert!(!digits.is_empty(), "{} is missing; run with UPDATE_FROZEN=1", path.display());
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(&M::decode(bytes.as_slice()).unwrap(), value, "{name}");
    assert_eq!(value.encode_to_vec(), bytes, "{name}: old programs get what they always got");
}

const AT: Timestamp = Timestamp { seconds: 1_790_000_000, nanos: 250_000_000 };
const REQUEST_ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

fn tally() -> pb::Tally {
    let voter = |name: &str, role: pb::ValidatorRole| pb::Voter {
        name: name.to_owned(),
        role: role.into(),
        domain: "rack-1".to_owned(),
        key_id: "0a1b2c3d".to_owned(),
        excluded: String::new(),
    };
    pb::Tally {
        state: pb::TallyState::Won.into(),
        have: 3,
        need: 3,
        voices: 4,
        operators_have: 1,
        operators_need: 0,
        approved: vec![voter("q/agent/n1", pb::ValidatorRole::Observer)],
        rejected: vec![],
        missing: vec![voter("q/operator/alice", pb::ValidatorRole::Operator)],
        excluded: vec![],
    }
}

fn decision() -> pb::Decision {
    pb::Decision {
        cluster: "prod".to_owned(),
        number: 7,
        token: "1.7".to_owned(),
        state: pb::DecisionState::Executing.into(),
        proposal_id: "sha256:00".to_owned(),
        incident: "i1".to_owned(),
        kind: "restart".to_owned(),
        class: pb::ActionClass::Local.into(),
        target: "n4".to_owned(),
        epoch: 2,
        continues: 6,
        time: Some(AT),
        approved: Some(AT),
        not_before: Some(AT),
        expires: Some(AT),
        leaf_index: 41,
        executions: vec![pb::Execution {
            agent: "q/agent/n4".to_owned(),
            claimed: true,
            instance: "00ff".to_owned(),
            sequence: 9,
            claimed_at: Some(AT),
            answer: "applied".to_owned(),
            effect: "effective".to_owned(),
            terminal: true,
            started: Some(AT),
            finished: Some(AT),
            leaf_index: Some(0),
        }],
        approved_by: vec!["q/agent/n1".to_owned()],
        acknowledged: true,
        acknowledged_by: "q/operator/alice".to_owned(),
        acknowledgement: "seen".to_owned(),
        refused_by: vec!["q/coordinator/4".to_owned()],
        leaf: b"leaf".to_vec(),
        continued_by: 0,
        certificate: b"proof".to_vec(),
    }
}

fn envelope() -> raft::Envelope {
    raft::Envelope { origin: "q/1-00".to_owned(), from: 1, to: 3 }
}

#[test]
fn what_callers_send() {
    let expect = pb::Expectations {
        epoch: Some(2),
        leader_id: Some(1),
        token: Some("1.6".to_owned()),
        answering: Some(0),
        cluster: Some("prod".to_owned()),
    };
    let request_id = REQUEST_ID.to_owned();
    check(
        "open_proposal_request",
        &pb::OpenProposalRequest {
            text: b"quorate-proposal/v1\n".to_vec(),
            validate_only: true,
            request_id: request_id.clone(),
            expect: Some(expect.clone()),
        },
    );
    check(
        "submit_vote_request",
        &pb::SubmitVoteRequest {
            note: b"quorate-vote/v1\n".to_vec(),
            validate_only: true,
            request_id: request_id.clone(),
            expect: Some(expect),
        },
    );
    check("observe_request", &pb::ObserveRequest { note: b"fact".to_vec() });
    check(
        "claim_request",
        &pb::ClaimRequest { note: b"claim".to_vec(), request_id: request_id.clone() },
    );
    check("report_request", &pb::ReportRequest { note: b"report".to_vec(), request_id });
    check(
        "watch_log_request",
        &pb::WatchLogRequest { from_index: 42, view: pb::View::Full.into() },
    );
}

#[test]
fn what_coordinators_answer() {
    let read = pb::ReadState {
        coordinator_id: 2,
        applied_index: 99,
        age: Some(Duration { seconds: 2, nanos: 100_000_000 }),
        consistency: pb::Consistency::Stale.into(),
        log_time: Some(AT),
    };
    let head = pb::Head {
        origin: "q/1-00".to_owned(),
        size: 42,
        root: vec![1; 32],
        note: b"note".to_vec(),
        cosigners: vec!["q/coordinator/1".to_owned()],
        threshold: 2,
        time: Some(AT),
    };
    check("decision", &decision());
    check(
        "submit_vote_response",
        &pb::SubmitVoteResponse {
            proposal_id: "sha256:00".to_owned(),
            state: pb::ProposalState::Approved.into(),
            tally: Some(tally()),
            already_counted: vec!["q/agent/n1".to_owned()],
            waiting_for: vec![pb::Refusal {
                reason: "BUDGET_EXHAUSTED".to_owned(),
                message: "one per 60 s".to_owned(),
                rule: String::new(),
                metadata: [("key".to_owned(), "global".to_owned())].into(),
                next_allowed: Some(AT),
                command: "quorate budget show".to_owned(),
            }],
            decision: Some(decision()),
            applied_index: 99,
        },
    );
    check(
        "get_certificate_response",
        &pb::GetCertificateResponse {
            certificate: b"c2sp.org/tlog-proof@v1\n".to_vec(),
            leaf_index: 41,
            head: Some(head.clone()),
            token: "1.7".to_owned(),
            read: Some(read),
        },
    );
    let leaf = pb::Leaf {
        index: 41,
        kind: pb::LeafKind::Decision.into(),
        cluster: "prod".to_owned(),
        time: Some(AT),
        hash: vec![2; 32],
        summary: "decision 7".to_owned(),
        certified: true,
        content: b"leaf".to_vec(),
        proof: b"proof".to_vec(),
    };
    let heartbeat = pb::Heartbeat { size: 43, certified_size: 42, read: Some(read) };
    for (name, event) in [
        ("watch_log_leaf", watch_log_response::Event::Leaf(leaf)),
        ("watch_log_head", watch_log_response::Event::Head(head)),
        ("watch_log_heartbeat", watch_log_response::Event::Heartbeat(heartbeat)),
    ] {
        check(name, &pb::WatchLogResponse { event: Some(event) });
    }
}

#[test]
fn what_coordinators_say_to_each_other() {
    check(
        "raft_message",
        &raft::Message {
            origin: "q/1-00".to_owned(),
            from: 1,
            to: 3,
            codec: 1,
            body: vec![0, 1, 2].into(),
        },
    );
    check(
        "raft_propose_request",
        &raft::ProposeRequest {
            envelope: Some(envelope()),
            codec: 1,
            body: vec![3, 4].into(),
            caller: "q/operator/alice".to_owned(),
            request_id: vec![5; 16].into(),
        },
    );
    check(
        "raft_propose_response",
        &raft::ProposeResponse { codec: 1, reply: vec![6].into(), term: 7, index: 8 },
    );
    check(
        "raft_offer_request",
        &raft::OfferRequest {
            envelope: Some(envelope()),
            heads: vec![b"head".to_vec().into()],
            refusals: vec![b"refusal".to_vec().into()],
            vetoes: vec![b"veto".to_vec().into()],
            observations: vec![b"fact".to_vec().into()],
        },
    );
    check(
        "raft_own_head_response",
        &raft::OwnHeadResponse {
            head: b"head".to_vec().into(),
            acknowledged_index: 9,
            voted_term: 10,
        },
    );
}
