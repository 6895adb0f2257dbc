//! Three and four coordinators over real TLS: elect, open, vote, certify, forward, watch, restart.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeMap;

use quorate_attest::{
    certificate::{Trusted, verify_certificate},
    text::Statement as _,
    vote::Verdict,
};
use quorate_coordinator::Running;
use quorate_proto::{
    client::Client,
    identity::Role,
    pb::v1::{
        self as pb, GetCertificateRequest, GetStatusRequest, OpenProposalRequest, ProposalState,
        SubmitVoteRequest, WatchLogRequest, get_certificate_request::Of, watch_log_response::Event,
    },
};
use support::{CLUSTER, DEADLINE, Deployment, MEMBERS, until, within};

/// Everybody says that n1 is down; the others are up.
async fn observe_down(deployment: &Deployment, sequence: u64) {
    for member in MEMBERS {
        let own = if member == "n1" { "down" } else { "up" };
        let seen =
            [("n1", if member == "n1" { own } else { "unreachable" }), ("n2", "up"), ("n3", "up")];
        let note = deployment.observe(member, sequence, &seen);
        let client = deployment.client(Role::Agent, member);
        for (id, answer) in client.observe_everywhere(pb::ObserveRequest { note }).await {
            answer.unwrap_or_else(|error| panic!("coordinator {id}: {error}"));
        }
    }
}

async fn facts_known(client: &Client, count: usize) {
    until("facts are replicated", || async {
        let request = pb::ListFactsRequest { cluster: CLUSTER.to_owned(), ..Default::default() };
        let facts = client.list_facts(request).await.ok()?.facts;
        (facts.len() == count).then_some(())
    })
    .await;
}

/// Opens a restart of n1 and votes until it is decided.
async fn decide(deployment: &Deployment, client: &Client, nonce: u8) -> pb::Decision {
    let proposal = deployment.proposal("ana", "n1", nonce);
    let request = OpenProposalRequest { text: proposal.text().into_bytes(), ..Default::default() };
    let opened = client.open_proposal(request).await.unwrap();
    assert_eq!(opened.proposal.unwrap().id, proposal.id().to_string());
    let mut last = None;
    for voter in ["n2", "n3"] {
        let note = deployment.vote(&proposal, Verdict::Approve, voter);
        let request = SubmitVoteRequest { note, ..Default::default() };
        last = Some(client.submit_vote(request).await.unwrap());
    }
    let last = last.unwrap();
    assert_eq!(last.state, i32::from(ProposalState::Decided), "{:?}", last.waiting_for);
    last.decision.expect("the vote that decides answers with the decision")
}

async fn certificate(client: &Client, leaf_index: u64) -> Vec<u8> {
    let request =
        GetCertificateRequest { of: Some(Of::LeafIndex(leaf_index)), ..Default::default() };
    until("the decision is certified", || async {
        client.get_certificate(request.clone()).await.ok().map(|answer| answer.certificate)
    })
    .await
}

fn leader(running: &BTreeMap<u64, Running>) -> Option<u64> {
    running.values().find(|one| one.handle().leads()).map(|one| one.handle().own())
}

async fn stop_all(running: BTreeMap<u64, Running>) {
    for (_, coordinator) in running {
        coordinator.shutdown().await;
    }
}

async fn life(n: u64, faults: u32) {
    let deployment = Deployment::new(n, faults);
    let mut running = deployment.start_all().await;
    let operator = deployment.client(Role::Operator, "ana");
    // A coordinator serves before the first leader has put the charter into the log.
    let status = until("the charter is in the log", || async {
        let status = operator.get_status(GetStatusRequest::default()).await.ok()?;
        (!status.origin.is_empty()).then_some(status)
    })
    .await;
    assert_eq!((u64::from(status.coordinators), status.faults), (n, faults));

    observe_down(&deployment, 1).await;
    facts_known(&operator, 9).await;
    let decision = decide(&deployment, &operator, 1).await;
    assert_eq!((decision.number, decision.token.as_str()), (1, "1.1"));

    // A certificate that the charter alone verifies.
    let proof = certificate(&operator, decision.leaf_index).await;
    let trusted = Trusted::pin(deployment.charter.statement.clone());
    verify_certificate(&proof, &trusted, support::now()).unwrap();

    // A follower forwards, and names what it wrote.
    let follower = running.keys().copied().find(|id| Some(*id) != leader(&running)).unwrap();
    let alone = deployment.client_of(Role::Operator, "ben", [follower]);
    let note = deployment.vote(&deployment.proposal("ana", "n1", 1), Verdict::Approve, "ben");
    let refused = alone.submit_vote(SubmitVoteRequest { note, ..Default::default() }).await;
    assert!(refused.is_err(), "it was decided before");
    let other = deployment.proposal("ben", "n2", 2);
    let request = OpenProposalRequest { text: other.text().into_bytes(), ..Default::default() };
    let opened = alone.open_proposal(request).await.unwrap();
    assert!(opened.applied_index > 0);

    // kill the leader: nothing is lost, somebody else leads.
    let old = leader(&running).unwrap();
    running.remove(&old).unwrap().abort().await;
    let rest: Vec<u64> = running.keys().copied().collect();
    let client = deployment.client_of(Role::Operator, "ana", rest.clone());
    until("a new leader", || async { leader(&running) }).await;
    let shown = client
        .get_decision(pb::GetDecisionRequest {
            decision: Some(pb::DecisionRef { cluster: CLUSTER.to_owned(), number: 1 }),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(shown.decision.unwrap().token, "1.1");
    let vote = deployment.vote(&other, Verdict::Approve, "n3");
    let voted = client.submit_vote(SubmitVoteRequest { note: vote, ..Default::default() }).await;
    assert_eq!(voted.unwrap().tally.unwrap().have, 1);

    // It comes back under its id and catches up.
    let returned = deployment.start(old).await;
    within("ready again", returned.ready()).await;
    running.insert(old, returned);
    let states: Vec<_> = futures::future::join_all(running.keys().map(|id| {
        let client = deployment.client(Role::Reader, "eve");
        async move { until_equal(client, *id).await }
    }))
    .await;
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{states:?}");
    stop_all(running).await;
}

/// The state hash of one coordinator once it has applied what the others have.
async fn until_equal(client: Client, id: u64) -> (u64, String) {
    let target = until("a leader's answer", || async {
        client.get_status(GetStatusRequest::default()).await.ok()
    })
    .await
    .log_size;
    until("caught up", || async {
        let status = client.status_of(id, true).await.ok()?;
        (status.log_size >= target).then_some((status.log_size, status.ledger_hash))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_coordinators_live_through_the_loss_of_their_leader() {
    Box::pin(life(3, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_coordinators_certify_with_three() {
    Box::pin(life(4, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_resumes_by_index_without_a_gap() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let client = deployment.client(Role::Reader, "eve");
    observe_down(&deployment, 1).await;
    facts_known(&client, 9).await;
    decide(&deployment, &deployment.client(Role::Operator, "ana"), 1).await;
    let mut seen = Vec::new();
    let mut watch = client.watch(WatchLogRequest { from_index: 0, ..Default::default() });
    let certified = within("a certified head", async {
        loop {
            match watch.next().await.unwrap().event {
                Some(Event::Leaf(leaf)) => seen.push(leaf.index),
                Some(Event::Head(head)) if head.size >= 2 => return head.size,
                Some(Event::Head(_) | Event::Heartbeat(_)) | None => {}
            }
        }
    })
    .await;
    assert_eq!(seen, (0..certified).collect::<Vec<_>>());
    // Another one goes on where this one stopped.
    let mut later = client.watch(WatchLogRequest { from_index: 1, ..Default::default() });
    let first = tokio::time::timeout(DEADLINE, later.next()).await.unwrap().unwrap().event;
    assert!(matches!(first, Some(Event::Leaf(leaf)) if leaf.index == 1));
    stop_all(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_at_once_lose_nothing() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let client = deployment.client(Role::Operator, "ana");
    observe_down(&deployment, 1).await;
    facts_known(&client, 9).await;
    let decision = decide(&deployment, &client, 1).await;
    let before = certificate(&client, decision.leaf_index).await;
    assert!(!before.is_empty());
    for (_, coordinator) in running {
        coordinator.abort().await;
    }
    let running = deployment.start_all().await;
    let after = certificate(&client, decision.leaf_index).await;
    let trusted = Trusted::pin(deployment.charter.statement.clone());
    verify_certificate(&after, &trusted, support::now()).unwrap();
    stop_all(running).await;
}
