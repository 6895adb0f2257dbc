//! What must never be signed: against a veto, on a disk that was rolled back, with a wrong clock.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::{collections::BTreeMap, path::Path, sync::atomic::Ordering, time::Duration};

use quorate_attest::{
    proposal::Proposal,
    refusal::{Cause, Refusal},
    remediation::Kind,
    signed::Signed,
    text::Statement as _,
    vote::Verdict,
};
use quorate_coordinator::{Running, StartError};
use quorate_proto::{
    client::Client,
    identity::Role,
    pb::v1::{
        self as pb, DecisionState, GetStatusRequest, OpenProposalRequest, SubmitVoteRequest,
        VetoProposalRequest,
    },
};
use support::{CLUSTER, Deployment, MEMBERS, until, within};

async fn open_and_approve(deployment: &Deployment, client: &Client, nonce: u8, voters: &[&str]) {
    let proposal = deployment.proposal("ana", "n1", nonce);
    approve(deployment, client, &proposal, voters).await;
}

async fn approve(deployment: &Deployment, client: &Client, proposal: &Proposal, voters: &[&str]) {
    let request = OpenProposalRequest { text: proposal.text().into_bytes(), ..Default::default() };
    client.open_proposal(request).await.unwrap();
    for voter in voters {
        let note = deployment.vote(proposal, Verdict::Approve, voter);
        client.submit_vote(SubmitVoteRequest { note, ..Default::default() }).await.unwrap();
    }
}

async fn tell_down(deployment: &Deployment, sequence: u64) {
    for member in MEMBERS {
        let state = if member == "n1" { "down" } else { "unreachable" };
        let seen = [("n1", state), ("n2", "up"), ("n3", "up")];
        let note = deployment.observe(member, sequence, &seen);
        let client = deployment.client(Role::Agent, member);
        for (_, answer) in client.observe_everywhere(pb::ObserveRequest { note }).await {
            answer.unwrap();
        }
    }
    let client = deployment.client(Role::Reader, "eve");
    until("facts are replicated", || async {
        let request = pb::ListFactsRequest { cluster: CLUSTER.to_owned(), ..Default::default() };
        let facts = client.list_facts(request).await.ok()?.facts;
        (facts.iter().filter(|fact| fact.fresh).count() == 9).then_some(())
    })
    .await;
}

async fn stop_all(running: BTreeMap<u64, Running>) {
    for (_, coordinator) in running {
        coordinator.shutdown().await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn certified(client: &Client) -> u64 {
    let status = client.get_status(GetStatusRequest::default()).await.unwrap();
    status.head.map_or(0, |head| head.size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_restored_from_a_copy_exits_before_it_signs_or_votes() {
    let deployment = Deployment::new(3, 0);
    let mut running = deployment.start_all().await;
    let ana = deployment.client(Role::Operator, "ana");
    let data = deployment.folder(3).join("data");
    let kept = deployment.directory.path().join("copy-of-3");

    // A copy of a stopped coordinator's disk.
    running.remove(&3).unwrap().shutdown().await;
    copy(&data, &kept);
    let third = deployment.start(3).await;
    within("ready again", third.ready()).await;
    running.insert(3, third);

    // It signs larger heads.
    tell_down(&deployment, 1).await;
    open_and_approve(&deployment, &ana, 1, &["n2", "n3"]).await;
    let target = until("certified", || async {
        let size = certified(&ana).await;
        (size >= 2).then_some(size)
    })
    .await;
    until("it has cosigned that head too", || async {
        let signed = running[&3].signer().state().borrow().signed;
        (signed >= target).then_some(())
    })
    .await;
    let before = running[&1].handle().applied_index();

    // Its disk goes back in time.
    running.remove(&3).unwrap().shutdown().await;
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&kept, &data).unwrap();
    let refused = within("an answer of its peers", Box::pin(deployment.try_start(3))).await;
    let Err(StartError::RolledBack(found)) = refused else { panic!("it takes part again") };
    assert!(found.theirs > found.own, "{found}");
    assert!(running[&1].handle().applied_index() >= before);
    stop_all(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_veto_that_only_cosigners_hold_keeps_a_decision_from_being_certified() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let ana = deployment.client(Role::Operator, "ana");
    tell_down(&deployment, 1).await;
    let proposal = deployment.proposal("ana", "n1", 1);
    let veto = deployment.veto(&proposal, "cyd");
    // Held by everybody before the machine knows the proposal: the log refuses it, they keep it.
    let told = deployment
        .client(Role::Operator, "cyd")
        .veto_everywhere(VetoProposalRequest { note: veto, ..Default::default() })
        .await;
    assert!(told.iter().all(|(_, answer)| answer.is_err()), "there is nothing to veto yet");
    approve(&deployment, &ana, &proposal, &["n2", "n3"]).await;
    // All three refuse; n - k + 1 + f = 2 refusals void it, and the log goes on.
    let decision = until("the decision is void", || async {
        let request = pb::GetDecisionRequest {
            decision: Some(pb::DecisionRef { cluster: CLUSTER.to_owned(), number: 1 }),
            ..Default::default()
        };
        let decision = ana.get_decision(request).await.ok()?.decision?;
        (decision.state == i32::from(DecisionState::Voided)).then_some(decision)
    })
    .await;
    let size = until("a head with the void is certified", || async {
        let size = certified(&ana).await;
        (size > decision.leaf_index + 1).then_some(size)
    })
    .await;
    assert!(size >= 3);
    stop_all(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_an_hour_ahead_moves_nobody() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let ana = deployment.client(Role::Operator, "ana");
    let status = ana.get_status(GetStatusRequest::default()).await.unwrap();
    let old = status.leader_id;
    deployment.shifts[&old].store(3_600_000, Ordering::Relaxed);
    // Its writes are refused at the followers' doors, until somebody else leads.
    let answer = ana
        .clone()
        .with_deadline(Duration::from_secs(25))
        .open_proposal(OpenProposalRequest {
            text: deployment.proposal("ana", "n1", 1).text().into_bytes(),
            ..Default::default()
        })
        .await;
    assert!(answer.is_ok(), "{answer:?}");
    let status = ana.get_status(GetStatusRequest::default()).await.unwrap();
    assert_ne!(status.leader_id, old);
    let log_time = status.read.unwrap().log_time.unwrap().seconds;
    let now = i64::try_from(support::now().get() / 1_000).unwrap();
    assert!(log_time < now + 5, "log time was moved by {} s", log_time - now);
    stop_all(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_an_hour_behind_gets_no_decision_certified() {
    const HOUR_MS: i64 = 3_600_000;
    let deployment = Deployment::new(4, 1);
    let set = |id: u64, shift_ms: i64| deployment.shifts[&id].store(shift_ms, Ordering::Relaxed);
    // Everybody is an hour behind, so the log begins an hour ago.
    (1..=4).for_each(|id| set(id, -HOUR_MS));
    let running = deployment.start_all().await;
    let ana = deployment.client(Role::Operator, "ana");
    until("the charter is certified", || async { (certified(&ana).await >= 1).then_some(()) })
        .await;
    // Whoever follows has its clock set right.
    let slow = ana.get_status(GetStatusRequest::default()).await.unwrap().leader_id;
    let followers: Vec<&Running> =
        running.values().filter(|one| one.handle().own() != slow).collect();
    followers.iter().for_each(|one| set(one.handle().own(), 0));
    let soon = support::now();
    for one in &followers {
        until("it has found the leader calm", || async {
            one.signer().state().borrow().calm.filter(|at| *at >= soon)
        })
        .await;
    }
    assert!(running[&slow].handle().leads(), "it leads all the while");

    // Operators approve what rests on no facts: only its date is wrong.
    let mut proposal = deployment.proposal_of("ana", Kind::Halt, "n1", 1);
    proposal.target = "service:a".parse().unwrap();
    approve(&deployment, &ana, &proposal, &["ana", "ben", "cyd"]).await;
    for one in &followers {
        let refusal = until("it refuses", || async {
            let own = |refusal: &Signed<Refusal>| {
                refusal.lines[0].name.ends_with(&format!("/{}", one.handle().own()))
            };
            one.signer().refusals().await.into_iter().find(own)
        })
        .await;
        assert_eq!(refusal.statement.cause, Cause::Clock);
    }
    until("the decision is void", || async {
        let request = pb::GetDecisionRequest {
            decision: Some(pb::DecisionRef { cluster: CLUSTER.to_owned(), number: 1 }),
            ..Default::default()
        };
        let decision = ana.get_decision(request).await.ok()?.decision?;
        (decision.state == i32::from(DecisionState::Voided)).then_some(())
    })
    .await;
    stop_all(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_is_not_dialed_in_a_hot_loop() {
    let deployment = Deployment::new(3, 0);
    let mut running = deployment.start_all().await;
    let leader = running.values().find(|one| one.handle().leads()).unwrap().handle().own();
    let dead = (1..=3).find(|id| *id != leader).unwrap();
    running.remove(&dead).unwrap().abort().await;
    let peers = running[&leader].handle().peers().clone();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = peers.dials(dead);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let dials = peers.dials(dead) - before;
    // Heartbeats every 100 ms, the log lane and the exchange backing off: tens, not thousands.
    assert!(dials < 100, "{dials} dials in 3 s");
    assert!(dials > 0, "the test measures nothing");
    stop_all(running).await;
}
