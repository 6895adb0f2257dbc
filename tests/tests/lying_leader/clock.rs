//! The leader stamps log time: what a wrong clock of its can and cannot do.

use std::time::Duration;

use quorate_attest::log_time::Span;
use quorate_attest::refusal::Cause;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_core::Body;
use quorate_proto::pb::v1::VetoProposalRequest;
use quorate_tests::client::{now, vote_note};

use crate::stage::{HONEST, Stage};

/// (d) A clock an hour ahead.
#[tokio::test(flavor = "multi_thread")]
async fn entries_from_an_hour_ahead_are_refused_at_the_door() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let hour = Span::from_secs(3_600);
    let proposal = stage.halt("service:a");
    drop(branch.take_at(now().saturating_add(hour), Body::Open(proposal.clone())));
    for voter in &stage.operators {
        let vote = vote_note(voter, &proposal, Verdict::Approve);
        drop(branch.take_at(now().saturating_add(hour), Body::Vote(vote)));
    }
    let (index, _) = branch.decision();
    stage.liar.give(&HONEST, &branch);
    for id in HONEST {
        let (code, why) = stage.liar.feed_of(id).refused().await;
        assert_eq!(code, tonic::Code::Aborted, "{why}");
        assert!(why.contains("ahead of this coordinator's clock"), "{why}");
    }
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
    for id in HONEST {
        assert_eq!(stage.status(id).await.log_size, 1, "nothing of it was applied");
    }

    // The log's time has not moved: without the liar the others go on at once.
    stage.liar.falls_silent();
    let proposal = stage.halt("service:b");
    let opened = stage.operators[0].open_proposal(&proposal).await;
    opened.unwrap_or_else(|error| panic!("{error}\n{}", stage.deployment.logs()));
    for voter in &stage.operators {
        voter.vote(&proposal, Verdict::Approve).await.expect("a vote");
    }
    let number = stage.operators[0].decided(&proposal.id(), Duration::from_secs(30)).await;
    let cluster = &stage.deployment.cluster;
    let decision = stage.operators[0].decision(cluster, number).await.expect("a decision");
    let time = decision.time.expect("a time").seconds;
    let clock = i64::try_from(now().get() / 1_000).expect("seconds");
    assert!((clock - time).abs() < 60, "log time {time}, clock {clock}");
    // That is another head of the same size, so the liar's never gets a signature.
    stage.certified(decision.leaf_index + 1, &HONEST).await;
    assert_eq!(decision.leaf_index, index);
    stage.only(&head, &[1]).await;
}

/// (d) A clock an hour behind. Log time never falls, so the log begins an hour ago too.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_dated_an_hour_back_is_refused_by_whoever_found_the_leader_calm() {
    let mut stage = Stage::unfounded(3).await;
    let before = now().saturating_sub(Span::from_secs(3_600));
    let mut branch = stage.base.clone();
    drop(branch.take_at(before, Body::Found(stage.deployment.charter.clone())));
    stage.liar.feed(&HONEST, &branch).await;
    // What each of them was shown late is no lie: an hour-old leaf is cosigned.
    stage.cosigned(&branch.checkpoint(1), &HONEST).await;
    // Some seconds of an idle leader: each has noted several times that nothing was on its way.
    for id in HONEST {
        stage.liar.feed_of(id).beats(50).await;
    }
    let proposal = stage.halt("service:a");
    drop(branch.take_at(before, Body::Open(proposal.clone())));
    for voter in &stage.operators {
        let vote = vote_note(voter, &proposal, Verdict::Approve);
        drop(branch.take_at(before, Body::Vote(vote)));
    }
    let (index, decision) = branch.decision();
    assert_eq!(decision.time, before, "dated back");
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.refused(index, Cause::Clock, &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
}

/// (c) Approvals dated back, so that the veto window seems to be over.
#[tokio::test(flavor = "multi_thread")]
async fn a_veto_window_lasts_by_the_clocks_of_those_who_cosign() {
    let mut stage = Stage::unfounded(5).await;
    let charter = stage.deployment.charter.clone();
    let veto = charter.statement.policy(&stage.deployment.cluster, Kind::ActivateRegion.class());
    let window = veto.expect("a policy").veto;
    assert!(window >= Span::from_secs(60), "the window is longer than this test");
    let before = now().saturating_sub(window).saturating_sub(Span::from_secs(1));

    let mut branch = stage.base.clone();
    drop(branch.take_at(before, Body::Found(charter.clone())));
    let proposal = stage.draft(&stage.operators[0], Kind::ActivateRegion, "region:east");
    drop(branch.take_at(before, Body::Open(proposal.clone())));
    for voter in &stage.operators[..4] {
        let vote = vote_note(voter, &proposal, Verdict::Approve);
        drop(branch.take_at(before, Body::Vote(vote)));
    }
    drop(branch.take(Body::Tick));
    let (index, decision) = branch.decision();
    assert!(decision.approved < now().saturating_sub(window), "dated back");
    stage.liar.feed(&HONEST, &branch).await;
    stage.applied(branch.size(), &HONEST).await;

    // The fifth operator learns of it only now, and is in time.
    let note = stage.veto(&stage.operators[4], &proposal);
    let request = VetoProposalRequest { note: note.to_bytes(), ..Default::default() };
    let client = stage.operators[4].client.clone().with_deadline(Duration::from_secs(2));
    drop(client.veto_everywhere(request).await);
    stage.refused(index, Cause::Vetoed, &HONEST).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
}
