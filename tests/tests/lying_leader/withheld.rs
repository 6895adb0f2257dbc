//! (f) What the leader keeps to itself: facts and vetoes go to every coordinator, not through it.

use std::time::Duration;

use quorate_attest::refusal::Cause;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_core::Body;
use quorate_proto::pb::v1::VetoProposalRequest;
use quorate_tests::client::{Party, vote_note};
use quorate_tests::liar::branch::Branch;
use quorate_tests::wait;

use crate::stage::{HONEST, Stage, WITHIN};

/// Only the honest ones answer, and each within this time.
const CALL_WITHIN: Duration = Duration::from_secs(2);

/// `restart` of n3, approved by the agents of n1 and n2, by facts that say n3 is down.
pub(crate) fn restart_of_n3(stage: &Stage, branch: &mut Branch) -> u64 {
    let up = [("n1", "up"), ("n2", "up")];
    drop(branch.take(Body::Observe(stage.observation("n1", 1, &up))));
    drop(branch.take(Body::Observe(stage.observation("n3", 1, &[("n3", "down")]))));
    let agents: Vec<Party> = ["n1", "n2"].map(|member| stage.agent(member)).into();
    let proposal = stage.draft(&agents[0], Kind::Restart, "member:n3");
    stage.decide(branch, &proposal, &agents)
}

/// The control: without a contradiction that decision is certified.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_facts_that_nobody_contradicts_is_certified() {
    let stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = restart_of_n3(&stage, &mut branch);
    stage.liar.feed(&HONEST, &branch).await;
    stage.cosigned(&branch.checkpoint(branch.size()), &HONEST).await;
    stage.liar.shows(&branch, index).await.expect("a good certificate");
}

/// A contradicting observation, withheld.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_fresher_contradicting_fact_does_not_cosign() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = restart_of_n3(&stage, &mut branch);
    stage.tells(&HONEST, "n3", 2, &[("n3", "up")]).await;
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.refused(index, Cause::Contradicted, &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
}

/// The same, and the leader delivers the observation right behind the decision.
#[tokio::test(flavor = "multi_thread")]
async fn a_contradicting_fact_delivered_too_late_was_withheld() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = restart_of_n3(&stage, &mut branch);
    let fresher = stage.tells(&HONEST, "n3", 2, &[("n3", "up")]).await;
    drop(branch.take(Body::Observe(fresher)));
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.refused(index, Cause::Contradicted, &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
}

/// The same, and the leader puts a made-up observation with a higher sequence into the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_fact_hides_no_real_one() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let mut forged = stage.observation("n3", 1_000, &[("n3", "down")]);
    forged.lines[0].payload = vec![7; 64];
    drop(branch.take(Body::Observe(stage.observation("n1", 1, &[("n1", "up"), ("n2", "up")]))));
    drop(branch.take(Body::Observe(forged)));
    let agents: Vec<Party> = ["n1", "n2"].map(|member| stage.agent(member)).into();
    let proposal = stage.draft(&agents[0], Kind::Restart, "member:n3");
    let index = stage.decide(&mut branch, &proposal, &agents);
    stage.tells(&HONEST, "n3", 2, &[("n3", "up")]).await;
    stage.liar.feed(&HONEST, &branch).await;
    stage.applied(branch.size(), &HONEST).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.refused(index, Cause::Contradicted, &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
}

/// A veto, withheld.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_veto_does_not_cosign() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let proposal = stage.halt("service:a");
    drop(branch.take(Body::Open(proposal.clone())));
    stage.liar.feed(&HONEST, &branch).await;
    let note = stage.veto(&stage.operators[2], &proposal);
    let request = VetoProposalRequest { note: note.to_bytes(), ..Default::default() };
    let client = stage.operators[2].client.clone().with_deadline(CALL_WITHIN);
    drop(client.veto_everywhere(request).await);
    // All three had approved before one of them changed their mind.
    for voter in &stage.operators {
        drop(branch.take(Body::Vote(vote_note(voter, &proposal, Verdict::Approve))));
    }
    let (index, _) = branch.decision();
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.refused(index, Cause::Vetoed, &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;

    // Three refusals are n − k + 1 + f. Without the liar the others void it, and the slot is free.
    stage.liar.falls_silent();
    let ended = wait::until_or(WITHIN, || async {
        let found = stage.operators[0].decision(&stage.deployment.cluster, 1).await.ok()?;
        (found.state() == quorate_proto::pb::v1::DecisionState::Voided).then_some(())
    })
    .await;
    assert!(ended.is_some(), "decision 1 is not voided\n{}", stage.deployment.logs());
}
