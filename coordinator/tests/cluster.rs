//! Three and four coordinators over real TLS: elect, open, vote, certify, forward, watch, restart.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use quorate_attest::{
    certificate::{Trusted, verify_certificate},
    text::Statement as _,
    vote::Verdict,
};
use quorate_proto::{
    identity::Role,
    pb::v1::{
        self as pb, GetStatusRequest, OpenProposalRequest, SubmitVoteRequest, WatchLogRequest,
        watch_log_response::Event,
    },
};
use support::{
    CLUSTER, DEADLINE, Deployment,
    steps::{certificate, decide, facts_known, leader, observe_down, stop_all, until_equal},
    until, within,
};

async fn term(client: &quorate_proto::client::Client) -> u64 {
    until("the term is known", || async {
        let listed = client.list_coordinators(pb::ListCoordinatorsRequest::default()).await.ok()?;
        (listed.term > 0).then_some(listed.term)
    })
    .await
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
    until("everybody is listed with the term it follows in", || async {
        let listed =
            operator.list_coordinators(pb::ListCoordinatorsRequest::default()).await.ok()?;
        let follows = |one: &pb::Coordinator| one.term == listed.term && one.term > 0;
        listed.coordinators.iter().all(follows).then_some(())
    })
    .await;

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
    let term = term(&client).await;
    for (_, coordinator) in running {
        coordinator.abort().await;
    }
    let running = deployment.start_all().await;
    // Whoever led may have sent what its disk has lost: nobody leads again without an election.
    assert!(self::term(&client).await > term, "a term went on after its leader's end");
    let after = certificate(&client, decision.leaf_index).await;
    let trusted = Trusted::pin(deployment.charter.statement.clone());
    verify_certificate(&after, &trusted, support::now()).unwrap();
    stop_all(running).await;
}
