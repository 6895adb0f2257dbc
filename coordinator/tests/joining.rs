//! Whoever was away too long, and whoever is new: both get a snapshot, catch up and cosign.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_attest::{
    certificate::{Trusted, verify_certificate},
    charter::Charter,
    signed::Signed,
    text::Statement as _,
};
use quorate_coordinator::{Running, handle::Asked};
use quorate_core::Body;
use quorate_proto::{
    client::Client,
    identity::Role,
    pb::v1::{self as pb, OpenProposalRequest, VetoProposalRequest},
};
use support::{
    Deployment,
    steps::{certificate, decide, facts_known, leader, observe_down, stop_all, until_equal},
    until, within,
};

/// Opens a proposal and has it vetoed: one leaf that holds no slot.
async fn open_and_veto(deployment: &Deployment, client: &Client, nonce: u8) {
    let proposal = deployment.proposal("ana", "n2", nonce);
    let request = OpenProposalRequest { text: proposal.text().into_bytes(), ..Default::default() };
    client.open_proposal(request).await.unwrap();
    let note = deployment.veto(&proposal, "cyd");
    client.veto_proposal(VetoProposalRequest { note, ..Default::default() }).await.unwrap();
}

/// Waits until a coordinator has cosigned a head with everything in it that it has now.
async fn cosigns(coordinator: &Running) -> u64 {
    let size = coordinator.handle().leaves().size().get();
    until("it cosigns", || async {
        let signed = coordinator.signer().state().borrow().signed;
        (signed >= size).then_some(())
    })
    .await;
    size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_away_while_the_log_was_purged_catches_up_by_a_snapshot_and_cosigns() {
    let deployment = Deployment::new(3, 0);
    for path in deployment.configs.values() {
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("snapshot_entries = 1000", "snapshot_entries = 100");
        std::fs::write(path, text).unwrap();
    }
    let mut running = deployment.start_all().await;
    let ana = deployment.client(Role::Operator, "ana");
    observe_down(&deployment, 1).await;
    facts_known(&ana, 9).await;
    decide(&deployment, &ana, 1).await;
    let (away, size_before) = {
        let away = running.remove(&3).unwrap();
        let known = (away.handle().raft_view().last_index, away.handle().leaves().size().get());
        away.shutdown().await;
        known
    };

    // More entries and leaves than the leader keeps for it.
    for nonce in 10..20 {
        open_and_veto(&deployment, &ana, nonce).await;
    }
    let here = until("a leader", || async { leader(&running) }).await;
    within("the log is purged", async {
        while running[&here].handle().raft_view().purged_index <= away {
            let ticked = running[&here].handle().propose(Asked::internally(Body::Tick)).await;
            ticked.unwrap().outcome.unwrap();
        }
    })
    .await;

    let third = deployment.start(3).await;
    within("ready again", third.ready()).await;
    running.insert(3, third);
    let reader = || deployment.client(Role::Reader, "eve");
    let (size, _) = until_equal(reader(), 3).await;
    assert!(size >= size_before + 10, "{size} leaves, {size_before} before");
    let head = |id: u64| running[&id].handle().leaves().view().unwrap().head().unwrap();
    let heads = [head(1), head(2), head(3)];
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
    open_and_veto(&deployment, &ana, 30).await;
    until_equal(reader(), 3).await;
    assert!(cosigns(&running[&3]).await > size);
    assert_eq!(running[&3].signer().state().borrow().stopped, None);
    stop_all(running).await;
}

/// Signed by every operator.
fn signed(deployment: &Deployment, charter: Charter) -> Signed<Charter> {
    let lines = deployment.operators.values().map(|operator| operator.sign(&charter));
    let lines = lines.collect();
    Signed::new(charter, lines)
}

/// The first charter of a deployment of four: only three of them are in it yet.
fn three(deployment: &Deployment) -> Signed<Charter> {
    let all = deployment.charter.statement.clone();
    let mut three = Charter { faults: 0, threshold: 2, ..all };
    three.coordinator.truncate(3);
    signed(deployment, three)
}

/// The same coordinators and numbers as `like`, as the successor of `before`.
fn next(deployment: &Deployment, before: &Charter, like: &Charter) -> Signed<Charter> {
    let epoch = before.epoch.next().unwrap();
    signed(deployment, Charter { epoch, previous: Some(before.id()), ..like.clone() })
}

fn hand_out(
    deployment: &Deployment,
    ids: impl IntoIterator<Item = u64>,
    charter: &Signed<Charter>,
) {
    for id in ids {
        std::fs::write(deployment.folder(id).join("charter.leaf"), charter.to_bytes()).unwrap();
    }
}

/// Starts these and waits until they are ready.
async fn start(
    deployment: &Deployment,
    ids: impl IntoIterator<Item = u64>,
) -> BTreeMap<u64, Running> {
    let starting = ids.into_iter().map(|id| async move { (id, deployment.start(id).await) });
    let running: BTreeMap<u64, Running> =
        futures::future::join_all(starting).await.into_iter().collect();
    for coordinator in running.values() {
        within("ready", coordinator.ready()).await;
    }
    running
}

async fn amend(deployment: &Deployment, charter: &Signed<Charter>) {
    let ana = deployment.client_of(Role::Operator, "ana", 1..=3);
    let request = pb::AmendCharterRequest { note: charter.to_bytes(), ..Default::default() };
    until("the charter is amended", || async { ana.amend_charter(request.clone()).await.ok() })
        .await;
}

/// Waits until Raft knows exactly `nodes`, of whom exactly `voters` vote.
async fn until_members(
    running: &BTreeMap<u64, Running>,
    nodes: impl IntoIterator<Item = u64>,
    voters: impl IntoIterator<Item = u64>,
) {
    let nodes: Vec<u64> = nodes.into_iter().collect();
    let voters: BTreeSet<u64> = voters.into_iter().collect();
    until("Raft follows the charter", || async {
        let view = running[&leader(running)?].handle().raft_view();
        let sets: Vec<BTreeSet<u64>> =
            view.voters.iter().map(|set| set.iter().copied().collect()).collect();
        let is_same = sets == [voters.clone()] && view.nodes.keys().copied().eq(nodes.clone());
        is_same.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_that_never_starts_can_be_amended_out_again_and_join_later() {
    let deployment = Deployment::new(4, 1);
    let (with_three, all) = (three(&deployment), deployment.charter.statement.clone());
    hand_out(&deployment, 1..=3, &with_three);
    let mut running = start(&deployment, 1..=3).await;
    let four = next(&deployment, &with_three.statement, &all);
    amend(&deployment, &four).await;
    until_members(&running, 1..=4, 1..=3).await;

    let three_again = next(&deployment, &four.statement, &with_three.statement);
    amend(&deployment, &three_again).await;
    until_members(&running, 1..=3, 1..=3).await;

    let four_again = next(&deployment, &three_again.statement, &all);
    amend(&deployment, &four_again).await;
    until_members(&running, 1..=4, 1..=3).await;
    hand_out(&deployment, [4], &four_again);
    running.extend(start(&deployment, [4]).await);
    until_members(&running, 1..=4, 1..=4).await;
    stop_all(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_restarts_asks_as_many_as_the_newest_charter_wants_and_not_the_first_one() {
    let deployment = Deployment::new(4, 1);
    let (with_three, all) = (three(&deployment), deployment.charter.statement.clone());
    hand_out(&deployment, 1..=3, &with_three);
    let mut running = start(&deployment, 1..=3).await;
    let four = next(&deployment, &with_three.statement, &all);
    amend(&deployment, &four).await;
    hand_out(&deployment, [4], &four);
    running.extend(start(&deployment, [4]).await);
    until_members(&running, 1..=4, 1..=4).await;
    until_equal(deployment.client(Role::Reader, "eve"), 4).await;
    stop_all(running).await;

    // Two of four give each other one answer: enough by the files, which are of the first charter.
    let pair = start(&deployment, [1, 2]);
    tokio::pin!(pair);
    let alone = tokio::time::timeout(Duration::from_secs(3), &mut pair).await;
    assert!(alone.is_err(), "one answer is n - k + 1 of three without liars, not of four with one");
    let (pair, third) = tokio::join!(pair, start(&deployment, [3]));
    stop_all(pair.into_iter().chain(third).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_coordinator_joins_by_the_charter_and_its_cosignature_counts() {
    let mut deployment = Deployment::new(4, 1);
    let three = three(&deployment);
    let four = next(&deployment, &three.statement, &deployment.charter.statement);
    hand_out(&deployment, 1..=3, &three);
    hand_out(&deployment, [4], &four);
    let mut running = start(&deployment, 1..=3).await;
    amend(&deployment, &four).await;
    deployment.charter = four;
    running.extend(start(&deployment, [4]).await);
    until_members(&running, 1..=4, 1..=4).await;

    // Three of four certify, and one of the first three is gone.
    let gone = (1..=3).find(|id| leader(&running) != Some(*id)).unwrap();
    running.remove(&gone).unwrap().abort().await;
    let ana = deployment.client_of(Role::Operator, "ana", running.keys().copied());
    observe_by(&deployment, &running, 1).await;
    facts_known(&ana, 9).await;
    let decision = decide(&deployment, &ana, 1).await;
    let proof = certificate(&ana, decision.leaf_index).await;
    let trusted = Trusted::pin(deployment.charter.statement.clone());
    verify_certificate(&proof, &trusted, support::now()).unwrap();
    assert!(String::from_utf8_lossy(&proof).contains("/coordinator/4 "), "its line is among them");
    let reader = deployment.client_of(Role::Reader, "eve", running.keys().copied());
    until_equal(reader, 4).await;
    stop_all(running).await;
}

/// Everybody says that n1 is down, to those who run.
async fn observe_by(deployment: &Deployment, running: &BTreeMap<u64, Running>, sequence: u64) {
    for member in support::MEMBERS {
        let own = if member == "n1" { "down" } else { "unreachable" };
        let note = deployment.observe(member, sequence, &[("n1", own), ("n2", "up"), ("n3", "up")]);
        let client = deployment.client_of(Role::Agent, member, running.keys().copied());
        for (id, answer) in client.observe_everywhere(pb::ObserveRequest { note }).await {
            answer.unwrap_or_else(|error| panic!("coordinator {id}: {error}"));
        }
    }
}
