//! Too few coordinators: a follower without a leader, and what comes of it.

use quorate_attest::text::Statement as _;
use quorate_attest::vote::Verdict;
use quorate_proto::pb::v1::log_client::LogClient;
use quorate_proto::pb::v1::proposals_client::ProposalsClient;
use quorate_proto::pb::v1::status_client::StatusClient;
use quorate_proto::pb::v1::votes_client::VotesClient;
use quorate_proto::pb::v1::{
    Consistency, GetCheckpointRequest, GetStatusRequest, OpenProposalRequest, SubmitVoteRequest,
};
use quorate_proto::problem::Problem;
use quorate_tests::client::vote_note;
use quorate_tests::wait;
use tonic::{Code, Status};

use crate::site::{Site, WITHIN, material, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_a_leader_says_so_and_when_to_ask_again() {
    let mut site = Site::begin().await;
    let proposal = site.halt("service:a");
    site.open(&proposal).await;
    let survivor =
        *site.deployment.coordinators.keys().find(|id| **id != site.leader).expect("one");
    for (id, coordinator) in &mut site.deployment.coordinators {
        if *id != survivor {
            coordinator.process.kill();
        }
    }
    let folder = site.deployment.root.join("operators/o1");
    let channel = site.connect(&material(&folder), survivor);

    // First it may still believe in the leader: then the outcome is unknown, or it cannot be reached.
    let note = vote_note(&site.operators[1], &proposal, Verdict::Approve).to_bytes();
    let vote = || SubmitVoteRequest { note: note.clone(), ..Default::default() };
    let no_quorum = wait::until("NO_QUORUM", WITHIN, || async {
        let status =
            VotesClient::new(channel.clone()).submit_vote(vote()).await.expect_err("no leader");
        let reason = reason(&status);
        let expected = ["NO_QUORUM", "NOT_LEADER", "OUTCOME_UNKNOWN"];
        assert!(expected.contains(&reason.as_str()), "{status:?}");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        (reason == "NO_QUORUM").then_some(status)
    })
    .await;
    let expected = refusal("NO_QUORUM", Code::Unavailable, 4, &[]).timed();
    expected.check("a vote without a quorum", &no_quorum);
    let text = site.halt("service:b").text().into_bytes();
    let request = OpenProposalRequest { text, ..Default::default() };
    let status = ProposalsClient::new(channel.clone()).open_proposal(request).await;
    expected.check("a proposal without a quorum", &status.expect_err("no leader"));
    let request = GetCheckpointRequest::default();
    let status = LogClient::new(channel.clone()).get_checkpoint(request).await;
    expected.check("a current read without a quorum", &status.expect_err("no leader"));

    // What may be stale is answered, and says that it is.
    let consistency = Consistency::Stale.into();
    let request = GetStatusRequest { consistency, with_hashes: true };
    let answered = StatusClient::new(channel.clone()).get_status(request).await;
    let status = answered.expect("a stale answer").into_inner();
    assert_eq!(status.read.map(|read| read.consistency()), Some(Consistency::Stale));

    // Nothing was lost, and the vote was not counted by a minority.
    for coordinator in site.deployment.coordinators.values_mut() {
        if !coordinator.process.is_running() {
            coordinator.process.start();
        }
    }
    site.leader = site.deployment.leader().await;
    let found = site.operators[0].proposal(&proposal.id()).await.expect("an answer");
    let tally = found.and_then(|found| found.tally).expect("the proposal is still open");
    assert!(tally.have <= 1, "{tally:?}");
    site.is_well().await;
}

fn reason(status: &Status) -> String {
    let problem = Problem::from_status(status);
    problem.map(|problem| problem.code().reason().to_owned()).unwrap_or_default()
}
