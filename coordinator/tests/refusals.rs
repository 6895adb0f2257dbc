//! What a caller must never get through: each with its documented status and reason, over real TLS.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use quorate_attest::{text::Statement as _, vote::Verdict};
use quorate_proto::{
    client::{CallError, Client},
    error_code::ErrorCode,
    identity::Role,
    pb::v1::{self as pb, GetStatusRequest, OpenProposalRequest, SubmitVoteRequest},
};
use std::collections::BTreeMap;

use quorate_coordinator::Running;
use support::{CLUSTER, Deployment, cluster, until};

/// The reason of a refusal of ours.
fn reason<T: std::fmt::Debug>(answer: Result<T, CallError>) -> ErrorCode {
    let error = answer.unwrap_err();
    let problem = error.problem().unwrap_or_else(|| panic!("no reason of ours: {error}"));
    problem.code()
}

async fn hash(client: &Client, id: u64) -> String {
    client.status_of(id, true).await.unwrap().state_hash
}

/// The state hash once the coordinators have told each other what they support.
async fn quiet_hash(running: &BTreeMap<u64, Running>, client: &Client, id: u64) -> String {
    until("everybody supports a version", || async {
        let known = running[&id].handle().machine(|machine| {
            let versions = machine.state().versions();
            (1..=3).all(|id| versions.supported_by(id).is_some())
        });
        known.await.unwrap().then_some(())
    })
    .await;
    hash(client, id).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_their_reason_and_change_nothing() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let ana = deployment.client(Role::Operator, "ana");
    let leader = ana.get_status(GetStatusRequest::default()).await.unwrap().leader_id;
    let proposal = deployment.proposal("ana", "n1", 1);
    let open = |text: Vec<u8>| OpenProposalRequest { text, ..Default::default() };
    ana.open_proposal(open(proposal.text().into_bytes())).await.unwrap();
    let before = quiet_hash(&running, &ana, leader).await;

    let vote = |note: Vec<u8>| SubmitVoteRequest { note, ..Default::default() };
    let good = deployment.vote(&proposal, Verdict::Approve, "ana");

    // One flipped bit of the signature.
    let mut forged = good.clone();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(reason(ana.submit_vote(vote(forged)).await), ErrorCode::SignatureInvalid);
    // Not a note, not canonical, too large.
    assert_eq!(reason(ana.submit_vote(vote(b"hello".to_vec())).await), ErrorCode::Malformed);
    let huge = vote([good.clone(), vec![b'\n'; 40_000]].concat());
    assert_eq!(reason(ana.submit_vote(huge).await), ErrorCode::Malformed);
    // A stranger's key, another log, another epoch.
    let other = Deployment::with(3, 0, |charter| charter.origin.salt = [8; 16]);
    let foreign = other.vote(&other.proposal("ana", "n1", 1), Verdict::Approve, "ana");
    assert_eq!(reason(ana.submit_vote(vote(foreign)).await), ErrorCode::WrongOrigin);
    let mut later = proposal.clone();
    later.epoch = later.epoch.next().unwrap();
    let later = deployment.vote(&later, Verdict::Approve, "ana");
    assert_eq!(reason(ana.submit_vote(vote(later)).await), ErrorCode::EpochMismatch);
    let unknown = deployment.vote(&deployment.proposal("ana", "n1", 9), Verdict::Approve, "ana");
    assert_eq!(reason(ana.submit_vote(vote(unknown)).await), ErrorCode::UnknownProposal);
    // Proposals in another's name, for no member, without canonical form, reusing an id.
    let ben = deployment.client(Role::Operator, "ben");
    let stolen = deployment.proposal("ana", "n2", 2);
    assert_eq!(
        reason(ben.open_proposal(open(stolen.text().into_bytes())).await),
        ErrorCode::NotYours
    );
    let mut nobody = deployment.proposal("ana", "n1", 3);
    nobody.target = "member:n9".parse().unwrap();
    let answer = ana.open_proposal(open(nobody.text().into_bytes())).await;
    assert_eq!(reason(answer), ErrorCode::UnknownTarget);
    let spaced = proposal.text().replace("kind ", "kind  ").into_bytes();
    let code = reason(ana.open_proposal(open(spaced)).await);
    assert!(matches!(code, ErrorCode::Malformed | ErrorCode::NotCanonical), "{code}");
    let bad_id = OpenProposalRequest {
        text: proposal.text().into_bytes(),
        request_id: "not-a-uuid".to_owned(),
        ..Default::default()
    };
    assert_eq!(reason(ana.open_proposal(bad_id).await), ErrorCode::Malformed);
    // Lists and indexes.
    let page = pb::ListLeavesRequest { page_size: -1, ..Default::default() };
    assert_eq!(reason(ana.list_leaves(page).await), ErrorCode::Malformed);
    let page = pb::ListLeavesRequest { page_token: "zz".to_owned(), ..Default::default() };
    assert_eq!(reason(ana.list_leaves(page).await), ErrorCode::PageTokenInvalid);
    let leaf = pb::GetLeafRequest { index: 1_000_000, ..Default::default() };
    assert_eq!(reason(ana.get_leaf(leaf).await), ErrorCode::IndexOutOfRange);
    let decision = pb::GetDecisionRequest {
        decision: Some(pb::DecisionRef { cluster: CLUSTER.to_owned(), number: 7 }),
        ..Default::default()
    };
    assert_eq!(reason(ana.get_decision(decision).await), ErrorCode::UnknownDecision);
    // Expectations that do not hold.
    let expecting = OpenProposalRequest {
        text: deployment.proposal("ana", "n2", 4).text().into_bytes(),
        expect: Some(pb::Expectations { epoch: Some(2), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(reason(ana.open_proposal(expecting).await), ErrorCode::ExpectationFailed);
    // Roles.
    let eve = deployment.client(Role::Reader, "eve");
    assert_eq!(reason(eve.submit_vote(vote(good.clone())).await), ErrorCode::RoleNotAllowed);
    let agent = deployment.client(Role::Agent, "n1");
    let note = deployment.observe("n2", 1, &[("n1", "down")]);
    let told = agent.observe_everywhere(pb::ObserveRequest { note }).await;
    for (_, answer) in told {
        assert_eq!(reason(answer), ErrorCode::NotYours);
    }
    assert_eq!(hash(&ana, leader).await, before, "a refusal changed the state");

    // The same request twice has one effect, and the id serves nothing else.
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned();
    let twice = SubmitVoteRequest { note: good, request_id: id.clone(), ..Default::default() };
    let first = ana.submit_vote(twice.clone()).await.unwrap();
    let second = ana.submit_vote(twice).await.unwrap();
    assert_eq!(first.tally, second.tally);
    let reused = SubmitVoteRequest {
        note: deployment.vote(&proposal, Verdict::Approve, "ben"),
        request_id: id,
        ..Default::default()
    };
    assert_eq!(reason(ana.submit_vote(reused).await), ErrorCode::RequestIdReused);
    // Two verdicts of one key: evidence, and neither counts.
    let against = deployment.vote(&proposal, Verdict::Reject, "ana");
    assert_eq!(reason(ana.submit_vote(vote(against)).await), ErrorCode::Equivocation);
    let shown = ana
        .list_leaves(pb::ListLeavesRequest {
            kinds: vec![pb::LeafKind::Evidence.into()],
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(shown.leaves.len(), 1);
    assert_eq!(cluster().as_str(), CLUSTER);
    for (_, one) in running {
        one.shutdown().await;
    }
}
