//! A lying follower: what it forwards to an honest leader is verified like anything from outside.

use std::time::Duration;

use quorate_attest::vote::Verdict;
use quorate_core::{Body, MachineVersion};
use quorate_proto::problem::Problem;
use quorate_tests::client::vote_note;
use quorate_tests::wait;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::stage::{HONEST, Stage, WITHIN};

fn reason(status: &Status) -> &'static str {
    Problem::from_status(status).map_or("", |problem| problem.code().reason())
}

/// The state hash once nothing moves it any more: after an election each coordinator tells once what
/// it supports, and tries again every second until it could.
async fn quiet_hash(stage: &Stage, leader: u64) -> String {
    wait::until("a state that stays as it is", WITHIN, || async {
        let before = stage.status(leader).await.state_hash;
        sleep(Duration::from_millis(2_500)).await;
        let after = stage.status(leader).await.state_hash;
        (before == after).then_some(after)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lying_follower_forwards_never_reaches_the_log() {
    let mut stage = Stage::begin().await;
    stage.liar.falls_silent();
    let leader = stage.honest_leader().await;
    let proposal = stage.halt("service:a");
    let opened = stage.operators[0].open_proposal(&proposal).await;
    opened.unwrap_or_else(|error| panic!("{error}\n{}", stage.deployment.logs()));
    let before = quiet_hash(&stage, leader).await;

    let voter = &stage.operators[1];
    let name = voter.name.as_str();
    let forged = Body::Vote(stage.forged_vote(voter, &proposal));
    let mut fact = stage.observation("n1", 1, &[("n1", "down")]);
    fact.lines[0].payload = vec![7; 64];
    let another = stage.halt("service:b");
    let support = Body::Support { coordinator: 2, version: MachineVersion(9) };
    let rows: [(&str, Body, &str, Code); 6] = [
        ("a forged vote", forged, name, Code::InvalidArgument),
        ("a forged fact", Body::Observe(fact), "", Code::InvalidArgument),
        ("a proposal in another's name", Body::Open(another), name, Code::PermissionDenied),
        ("what another coordinator supports", support, "", Code::PermissionDenied),
        ("a tick", Body::Tick, "", Code::PermissionDenied),
        (
            "a first charter",
            Body::Found(stage.deployment.charter.clone()),
            "",
            Code::PermissionDenied,
        ),
    ];
    for (what, body, caller, code) in rows {
        let status = stage.liar.forwards(leader, &body, caller).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
        let now = stage.status(leader).await;
        assert_eq!(now.state_hash, before, "{what}");
    }
    let forged = Body::Vote(stage.forged_vote(voter, &proposal));
    let status = stage.liar.forwards(leader, &forged, name).await.expect_err("forged");
    assert_eq!(reason(&status), "SIGNATURE_INVALID");

    // What is genuine passes, whoever hands it on: authority is in the text.
    let genuine = Body::Vote(vote_note(voter, &proposal, Verdict::Approve));
    stage.liar.forwards(leader, &genuine, name).await.expect("a good vote");
    for voter in [&stage.operators[0], &stage.operators[2]] {
        voter.vote(&proposal, Verdict::Approve).await.expect("a vote");
    }
    let number = stage.operators[0].decided(&proposal.id(), WITHIN).await;
    let cluster = &stage.deployment.cluster;
    let decision = stage.operators[0].decision(cluster, number).await.expect("the decision");
    stage.certified(decision.leaf_index + 1, &HONEST).await;
}
