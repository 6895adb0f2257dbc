//! What has begun: abandoned, continued, rolled back, or lifted by its own undo. Nothing is repeated.

mod common;

use std::fs;
use std::sync::Arc;

use common::scene::{Play, Stage, open_journal};
use common::stageplay::{Stageplay, outcome};
use common::stand_in::StandIn;
use common::world::{CLUSTER, World, note_signer};
use common::{name, time, token};
use quorate_attest::agent_statement::{Answer, Effect, Report};
use quorate_attest::id::Digest;
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::number::{DecisionNumber, LeafIndex};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_node::clock::Clock;
use quorate_node::execute::Settled;
use quorate_node::journal::Phase;
use quorate_node::report::Reporter;

/// Two operators give decision 1 up.
fn abandon(world: &mut World) {
    world.advance(Span::from_secs(303));
    let mut proposal = world.proposal(Kind::Abandon, "decision:1", &[], &["stopped power-off"]);
    proposal.expires = world.now.saturating_add(Span::from_secs(600));
    world.decide(&proposal, None);
}

#[tokio::test]
async fn an_abandon_stops_a_running_action_and_it_is_never_resumed() {
    let play = Stageplay::new(Play::Hangs);
    let certificate = play.world.certificate(play.index);
    let mut later = World::new();
    let proposal = later.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
    later.decide(&proposal, None);
    abandon(&mut later);
    let watch = play.stage.executor.journal.clone();
    let give_up = async {
        let cluster: quorate_attest::id::ClusterId = CLUSTER.parse().expect("a cluster");
        loop {
            let cluster = cluster.clone();
            let started = watch
                .with(move |journal| journal.entry(&cluster, token(1)).map(|entry| entry.phase))
                .await
                .expect("the journal");
            if started == Some(Phase::Started) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        play.stage.view.send_replace(later.trust().view());
    };
    let (settled, ()) = tokio::join!(play.stage.executor.carry_out(&certificate), give_up);
    assert_eq!(settled.expect("no halt"), Settled::Abandoned);
    assert_eq!(play.phase(1).await, Some(Phase::Abandoned));
    let again = play.stage.executor.carry_out(&certificate).await.expect("no halt");
    assert!(!matches!(again, Settled::Reported(_)), "{again:?}");
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn an_agent_that_comes_back_after_an_abandon_journals_it_and_does_not_resume() {
    let directory = tempfile::tempdir().expect("directory");
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
    world.decide(&proposal, None);
    {
        // It had started when it was lost.
        let mut journal = open_journal(directory.path());
        let cluster = CLUSTER.parse().expect("a cluster");
        let entry = common::entry(1, "lost");
        journal.accept(entry).expect("accept");
        journal.ready(&cluster, token(1), None).expect("ready");
        journal.start(&cluster, token(1), time(0), None, None).expect("start");
    }
    abandon(&mut world);
    let quorum = Arc::new(StandIn::default());
    let stage = Stage::new(directory.path(), &world, Play::Works, quorum);
    assert_eq!(stage.executor.close_ended().await.expect("no halt"), 1);
    assert_eq!(stage.executor.close_ended().await.expect("no halt"), 0);
    stage.close();
    let journal = open_journal(directory.path());
    let cluster = CLUSTER.parse().expect("a cluster");
    let phase = journal.entry(&cluster, token(1)).map(|entry| entry.phase);
    assert_eq!(phase, Some(Phase::Abandoned));
}

fn number(number: u64) -> DecisionNumber {
    DecisionNumber::new(number).expect("a number")
}

#[tokio::test]
async fn harm_with_a_planned_way_back_is_undone_by_one_continuation() {
    let mut play = Stageplay::of(Play::Harms, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Harmful));
    assert_eq!(play.phase(1).await, Some(Phase::Done));
    let executor = &play.stage.executor;
    let (journal, quorum) = (executor.journal.clone(), Arc::clone(&executor.quorum));
    let reporter = Reporter::new(name("n1"), journal, quorum, executor.view.clone());
    reporter.send_pending().await.expect("a round");
    let report = play.stand_in.0.lock().await.reports[0].clone();
    play.world.outcome(&report);
    let decided = Leaf::parse(&play.world.leaves[1]).expect("the decision");
    let Leaf::Decision(decided) = decided else { panic!("leaf 1 is the decision") };
    play.index = play.world.decide(&decided.proposal, Some(number(1)));
    play.believe();
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    assert_eq!(play.stage.target.count(), 0, "as before");
    assert_eq!(play.phase(2).await, Some(Phase::Done));
    assert_eq!(play.carry_out().await, Settled::Known(Phase::Done));
}

#[tokio::test]
async fn a_continuation_of_a_started_action_probes_and_does_not_repeat() {
    for (effect, wanted) in [
        (1, (Answer::AlreadyApplied, Effect::Effective)),
        (0, (Answer::Failed, Effect::Ineffective)),
    ] {
        let mut play = Stageplay::new(Play::Works);
        // It had started when it was lost, with the witness taken before.
        let target = play.stage.target.clone();
        let certificate = play.world.certificate(play.index);
        {
            // Run up to `started` only: the target hangs until it is dropped.
            let stage = &mut play.stage;
            let hanging = common::scene::Target { play: Play::Hangs, ..target.clone() };
            let works = std::mem::replace(
                &mut stage.executor.adapters,
                quorate_node::adapters::Adapters::none().with(Arc::new(hanging)),
            );
            let running = stage.executor.carry_out(&certificate);
            let cut = tokio::time::timeout(std::time::Duration::from_millis(300), running).await;
            assert!(cut.is_err(), "it hangs");
            stage.executor.adapters = works;
        }
        assert_eq!(play.phase(1).await, Some(Phase::Started));
        fs::write(&target.effects, "one line\n".repeat(effect)).expect("write");
        let Leaf::Decision(decided) = Leaf::parse(&play.world.leaves[1]).expect("a leaf") else {
            panic!("leaf 1 is the decision")
        };
        play.index = play.world.decide(&decided.proposal, Some(number(1)));
        play.believe();
        assert_eq!(outcome(play.carry_out().await), wanted);
        assert_eq!(target.count(), effect, "nothing was repeated");
        assert_eq!(play.phase(2).await, Some(Phase::Done));
        assert_eq!(play.phase(1).await, Some(Phase::Done), "over with its continuation");
    }
}

#[tokio::test]
async fn a_continuation_of_what_this_journal_never_began_is_refused() {
    let mut play = Stageplay::new(Play::Works);
    let Leaf::Decision(decided) = Leaf::parse(&play.world.leaves[1]).expect("a leaf") else {
        panic!("leaf 1 is the decision")
    };
    play.index = play.world.decide(&decided.proposal, Some(number(1)));
    play.believe();
    let settled = outcome(play.carry_out().await);
    assert_eq!(settled, (Answer::RefusedPrecondition, Effect::None));
    assert_eq!(play.stage.target.count(), 0);
}

/// How many armed undos were settled now.
async fn undone(play: &Stageplay) -> usize {
    let executor = &play.stage.executor;
    let (now, deadline) = (executor.clock.now(), executor.deadlines.execute);
    let view = executor.view.borrow().clone();
    quorate_node::undo::run_due(&executor.journal, &executor.adapters, view, deadline, now)
        .await
        .expect("no halt")
}

/// Decision `of` is over: its executor reports that it was effective.
fn over(world: &mut World, of: u64, index: LeafIndex, agent: &str) {
    let at = usize::try_from(index.get()).expect("small");
    let Leaf::Decision(decided) = Leaf::parse(&world.leaves[at]).expect("a leaf") else {
        panic!("the leaf is the decision")
    };
    let report = Report {
        origin: decided.origin,
        epoch: decided.epoch,
        cluster: decided.cluster,
        number: number(of),
        proposal: decided.proposal.id(),
        agent: name(agent),
        answer: Answer::Applied,
        effect: Effect::Effective,
        witness: Digest::of(b"before"),
        evidence: Vec::new(),
        started: Some(world.now),
        finished: world.now,
    };
    let line = note_signer("agent", agent).sign(&report);
    world.outcome(&Signed::new(report, vec![line]));
}

/// A ban of peer x for a minute by n1, effective and over; then n2 is ordered to ban `target`.
async fn banned_then(target: &str) -> (Stageplay, LeafIndex) {
    let mut play = Stageplay::of(Play::Works, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 60000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    over(&mut play.world, 1, play.index, "n1");
    play.at(Span::from_secs(60));
    let next = play.world.proposal(Kind::BanPeer, target, &["n2"], &["ttl-ms 60000"]);
    let index = play.world.decide(&next, None);
    play.believe();
    (play, index)
}

#[tokio::test]
async fn an_undo_waits_while_another_agent_acts_on_the_cluster() {
    let (mut play, index) = banned_then("peer:y").await;
    assert_eq!(undone(&play).await, 0, "the slot is taken by another agent's action");
    assert_eq!(play.stage.target.count(), 1);
    over(&mut play.world, 2, index, "n2");
    play.believe();
    assert_eq!(undone(&play).await, 1);
    assert_eq!(play.stage.target.count(), 0, "lifted once the slot was free");
}

#[tokio::test]
async fn an_undo_is_dropped_once_another_agent_has_changed_its_target() {
    let (mut play, index) = banned_then("peer:x").await;
    assert_eq!(undone(&play).await, 0, "that decision may still be void");
    over(&mut play.world, 2, index, "n2");
    play.believe();
    assert_eq!(undone(&play).await, 1, "dropped");
    assert_eq!(play.stage.target.count(), 1, "and nothing was restored");
    assert_eq!(undone(&play).await, 0, "for good");
}

#[tokio::test]
async fn an_undo_waits_without_a_fresh_head_and_under_an_alarm() {
    let mut play = Stageplay::of(Play::Works, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 60000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    // Eleven minutes pass and no head is refreshed: another action may be under way.
    let later = play.world.now.saturating_add(Span::from_secs(660));
    play.stage.executor.clock = Clock::new(move || later);
    assert_eq!(undone(&play).await, 0, "stale");
    play.at(Span::from_secs(660));
    let heads = [play.world.head(2, play.world.now), play.world.head(2, time(0))];
    play.stage.view.send_replace(play.world.trust().alarmed(heads).view());
    assert_eq!(undone(&play).await, 0, "split view");
    assert_eq!(play.stage.target.count(), 1);
    play.believe();
    assert_eq!(undone(&play).await, 1);
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn a_ban_with_a_time_to_live_lifts_itself_once_it_is_due() {
    let mut play = Stageplay::of(Play::Works, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 60000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    assert_eq!(undone(&play).await, 0, "not yet due");
    assert_eq!(play.stage.target.count(), 1);
    play.at(Span::from_secs(60));
    assert_eq!(undone(&play).await, 1);
    assert_eq!(play.stage.target.count(), 0, "lifted");
    assert_eq!(undone(&play).await, 0, "once");
}
