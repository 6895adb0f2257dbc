//! Orders against a real journal and real certificates: what is done, what is refused, and that a
//! log which moves on stops what has not started and ends what has.

mod common;

use std::fs;
use std::sync::Arc;

use common::scene::{Play, Stage};
use common::stageplay::{Stageplay, outcome};
use common::world::note_signer;
use common::{instance, name, time};
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::head::CosignedHead;
use quorate_attest::id::Nonce;
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::number::Epoch;
use quorate_attest::operator_statement::{Automation, Pause, Scope};
use quorate_attest::proof::TlogProof;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_node::clock::Clock;
use quorate_node::execute::Settled;
use quorate_node::journal::Phase;
use quorate_node::report::{Reporter, Round};

#[tokio::test]
async fn a_certified_decision_is_claimed_started_verified_and_reported_once() {
    let play = Stageplay::new(Play::Works);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    assert_eq!(play.stage.target.count(), 1);
    assert_eq!(play.stand_in.0.lock().await.claims.len(), 1);
    assert_eq!(play.carry_out().await, Settled::Known(Phase::Done), "the journal answers");
    assert_eq!(play.stage.target.count(), 1);
    let executor = &play.stage.executor;
    let view = executor.view.clone();
    let quorum = Arc::clone(&executor.quorum);
    let reporter = Reporter::new(name("n1"), executor.journal.clone(), quorum, view);
    play.stand_in.0.lock().await.answers_left = Some(0);
    assert_eq!(reporter.send_pending().await.expect("a round"), Round::SomePending);
    play.stand_in.0.lock().await.answers_left = None;
    assert_eq!(reporter.send_pending().await.expect("a round"), Round::AllDelivered);
    assert_eq!(reporter.send_pending().await.expect("a round"), Round::AllDelivered);
    let told = play.stand_in.0.lock().await;
    assert_eq!(told.reports.len(), 1, "acknowledged once, sent no more");
    let report = &told.reports[0];
    assert_eq!(report.statement.effect, Effect::Effective);
    report.verify(&play.world.charter.statement.agent_ring()).expect("signed by the agent");
}

#[tokio::test]
async fn an_order_for_another_agent_leaves_no_trace() {
    let play = Stageplay::of(Play::Works, Kind::Restart, "member:n2", &["n2"], &[]);
    assert!(matches!(play.carry_out().await, Settled::NotTaken(_)));
    assert_eq!(play.phase(1).await, None);
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn too_few_cosignatures_a_false_leaf_and_garbage_start_nothing() {
    let play = Stageplay::new(Play::Works);
    let good = play.world.certificate(play.index);
    let proof = TlogProof::parse(&good).expect("a proof");
    let one = CosignedHead::parse(&play.world.head(1, play.world.now)).expect("a head");
    let entry = proof.entry().expect("an entry").to_vec();
    let rebuilt = |entry: Vec<u8>, head| {
        TlogProof::new(entry, proof.index(), proof.hashes().to_vec(), head)
            .expect("shape")
            .to_bytes()
    };
    let text = String::from_utf8(entry.clone()).expect("text");
    let later = text.replace("expires 1790000300000", "expires 1790000300001");
    assert_ne!(text, later);
    for (what, bytes) in [
        ("k - 1", rebuilt(entry, one)),
        ("a changed leaf", rebuilt(later.into_bytes(), proof.head().clone())),
        ("nothing", Vec::new()),
        ("a cut file", good[..good.len() - 7].to_vec()),
    ] {
        let settled = play.stage.executor.carry_out(&bytes).await.expect("no halt");
        assert!(matches!(settled, Settled::NotTaken(_)), "{what}: {settled:?}");
    }
    assert_eq!((play.phase(1).await, play.stage.target.count()), (None, 0));
}

#[tokio::test]
async fn an_expired_order_is_never_started_and_its_slot_is_freed_by_a_report() {
    let mut play = Stageplay::new(Play::Works);
    play.at(Span::from_secs(301));
    let settled = outcome(play.carry_out().await);
    assert_eq!(settled, (Answer::RefusedPrecondition, Effect::None));
    assert_eq!((play.phase(1).await, play.stage.target.count()), (Some(Phase::Done), 0));
}

#[tokio::test]
async fn a_claim_that_comes_too_late_waits_and_then_frees_the_slot() {
    let mut play = Stageplay::new(Play::Works);
    play.stand_in.0.lock().await.declines = Some("OUTSIDE_WINDOW");
    assert!(matches!(play.carry_out().await, Settled::Waits(_)), "by its own clock it is in time");
    play.at(Span::from_secs(301));
    let settled = outcome(play.carry_out().await);
    assert_eq!(settled, (Answer::RefusedPrecondition, Effect::None));
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn an_agent_whose_clock_is_an_hour_off_starts_nothing() {
    for off in [Span::from_secs(3_600), Span::ZERO] {
        let mut play = Stageplay::new(Play::Works);
        let now = if off == Span::ZERO {
            play.world.now.saturating_sub(Span::from_secs(3_600))
        } else {
            play.world.now.saturating_add(off)
        };
        play.stage.executor.clock = Clock::new(move || now);
        let settled = play.carry_out().await;
        assert!(
            !matches!(settled, Settled::Reported(ref o) if o.effect != Effect::None),
            "{settled:?}"
        );
        assert_eq!(play.stage.target.count(), 0, "{off:?}");
    }
}

#[tokio::test]
async fn nothing_starts_under_a_head_older_than_the_charter_allows() {
    let mut play = Stageplay::new(Play::Works);
    let certificate = play.world.certificate(play.index);
    // Eleven minutes pass, no head is refreshed; the window is longer here than the head's age.
    let now = play.world.now.saturating_add(Span::from_secs(660));
    play.stage.executor.clock = Clock::new(move || now);
    let settled = play.stage.executor.carry_out(&certificate).await.expect("no halt");
    assert!(matches!(settled, Settled::Waits(_)), "{settled:?}");
    assert_eq!((play.phase(1).await, play.stage.target.count()), (None, 0));
}

#[tokio::test]
async fn a_pause_stops_what_has_not_started() {
    let mut play = Stageplay::new(Play::Works);
    let pause = Pause {
        origin: play.world.origin(),
        epoch: Epoch::MIN,
        cluster: Scope::All,
        automation: Automation::Paused,
        until: None,
        reason: "maintenance".parse().expect("a sentence"),
        expires: time(60_000),
        nonce: quorate_attest::id::Nonce::from_bytes([1; 16]),
    };
    let line = note_signer("operator", "ana").sign(&pause);
    play.world.append(&Leaf::Pause(Signed::new(pause, vec![line])));
    play.believe();
    assert!(matches!(play.carry_out().await, Settled::Waits(_)));
    assert_eq!((play.phase(1).await, play.stage.target.count()), (None, 0));
}

#[tokio::test]
async fn what_is_fixed_already_is_not_done_again() {
    let play = Stageplay::new(Play::NotNeeded);
    let settled = outcome(play.carry_out().await);
    assert_eq!(settled, (Answer::RefusedPrecondition, Effect::None));
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn a_target_that_only_says_yes_is_ineffective() {
    let play = Stageplay::new(Play::Pretends);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Ineffective));
}

#[tokio::test]
async fn a_silent_quorum_means_no_claim_and_no_start() {
    let play = Stageplay::new(Play::Works);
    play.stand_in.0.lock().await.answers_left = Some(0);
    assert!(matches!(play.carry_out().await, Settled::Waits(_)));
    assert_eq!((play.phase(1).await, play.stage.target.count()), (Some(Phase::Accepted), 0));
    play.stand_in.0.lock().await.answers_left = None;
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    assert_eq!(play.stage.target.count(), 1);
}

#[tokio::test]
async fn a_journal_of_yesterday_is_refused_by_its_claim() {
    let mut play = Stageplay::new(Play::Works);
    let path = play.directory.path().join("journal.redb");
    let yesterday = fs::read(&path).expect("a copy of the disk");
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    // The disk comes back as it was; the order comes again.
    let Stageplay { directory, world, stand_in, stage, index } = play;
    stage.close();
    fs::write(&path, yesterday).expect("restore");
    let stage = Stage::new(directory.path(), &world, Play::Works, Arc::new(stand_in.clone()));
    play = Stageplay { directory, world, stand_in, stage, index };
    let settled = play.carry_out().await;
    // The claim that stands is of an entry this journal does not have: probe, never execute.
    let unknown = matches!(&settled, Settled::RolledBack(_))
        || matches!(&settled, Settled::Reported(outcome) if outcome.answer == Answer::Unknown);
    assert!(unknown, "{settled:?}");
    assert_eq!(play.stage.target.count(), 1, "the effect happened once");
}

#[tokio::test]
async fn a_restored_journal_that_has_gone_on_since_is_refused_too() {
    let mut play = Stageplay::new(Play::Works);
    // The machine has recorded a later sequence of this very instance.
    {
        let mut told = play.stand_in.0.lock().await;
        told.instance = Some(instance().to_string());
        told.highest = 1_000;
    }
    assert!(matches!(play.carry_out().await, Settled::RolledBack(_)));
    // Another instance holds the enrolment: this disk is a clone.
    {
        let mut told = play.stand_in.0.lock().await;
        told.highest = 0;
        told.instance = Some("0".repeat(32));
    }
    assert!(matches!(play.carry_out().await, Settled::RolledBack(_)));
    assert_eq!((play.phase(1).await, play.stage.target.count()), (Some(Phase::Accepted), 0));
    // Refused is refused, also when its time is over: no report that nothing was done.
    play.at(Span::from_secs(301));
    assert!(matches!(play.carry_out().await, Settled::RolledBack(_)));
    assert!(play.stand_in.0.lock().await.reports.is_empty());
}

fn other_process() -> Nonce {
    Nonce::from_bytes([9; 16])
}

#[tokio::test]
async fn a_disk_copied_between_the_claim_and_the_start_executes_once() {
    let play = Stageplay::new(Play::Works);
    // The claim is on its way, nobody answers: all that was done is in the journal.
    play.stand_in.0.lock().await.answers_left = Some(0);
    assert!(matches!(play.carry_out().await, Settled::Waits(_)));
    play.stand_in.0.lock().await.answers_left = None;
    let Stageplay { directory, world, stand_in, stage, index } = play;
    stage.close();
    let path = directory.path().join("journal.redb");
    let copy = fs::read(&path).expect("a copy of the disk");
    let stage = Stage::new(directory.path(), &world, Play::Works, Arc::new(stand_in.clone()));
    let play = Stageplay { directory, world, stand_in, stage, index };
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    let Stageplay { directory, world, stand_in, stage, index } = play;
    stage.close();
    fs::write(&path, copy).expect("the copy");
    let stage = Stage::new(directory.path(), &world, Play::Works, Arc::new(stand_in.clone()));
    let play = Stageplay { directory, world, stand_in, stage, index };
    // Probed against the witness from before the claim: the effect is found, not repeated.
    assert_eq!(outcome(play.carry_out().await), (Answer::AlreadyApplied, Effect::Effective));
    assert_eq!(play.stage.target.count(), 1, "the effect happened once");
}

#[tokio::test]
async fn a_claim_asked_again_by_the_same_process_starts_with_its_newest_witness() {
    let play = Stageplay::new(Play::Hangs);
    play.stand_in.0.lock().await.answers_left = Some(0);
    assert!(matches!(play.carry_out().await, Settled::Waits(_)));
    play.stand_in.0.lock().await.answers_left = None;
    // Somebody else changes the target while nobody answers.
    fs::write(&play.stage.target.effects, "by hand\n").expect("write");
    let certificate = play.world.certificate(play.index);
    let running = play.stage.executor.carry_out(&certificate);
    let cut = tokio::time::timeout(std::time::Duration::from_millis(300), running).await;
    assert!(cut.is_err(), "it hangs");
    assert_eq!(play.phase(1).await, Some(Phase::Started));
    // What was there before the start is not taken for its effect.
    assert_eq!(outcome(play.carry_out().await), (Answer::Failed, Effect::Ineffective));
}

#[tokio::test]
async fn an_own_claim_without_an_entry_is_unknown_and_never_executed() {
    let play = Stageplay::new(Play::Works);
    play.stand_in.0.lock().await.claims.insert(1, (instance().to_string(), 1, other_process()));
    assert_eq!(outcome(play.carry_out().await), (Answer::Unknown, Effect::Inconclusive));
    assert_eq!((play.phase(1).await, play.stage.target.count()), (Some(Phase::Unknown), 0));
    // Its own witness may be from after the other's effect: no later probe is measured against it.
    assert_eq!(play.carry_out().await, Settled::Known(Phase::Unknown));
}

#[tokio::test]
async fn an_outcome_nobody_can_measure_stays_open_until_it_can_be() {
    let mut play = Stageplay::new(Play::Dark);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Inconclusive));
    assert_eq!(play.phase(1).await, Some(Phase::Unknown));
    assert_eq!(play.carry_out().await, Settled::Known(Phase::Unknown), "said once");
    let Stageplay { directory, world, stand_in, stage, index } = play;
    stage.close();
    let stage = Stage::new(directory.path(), &world, Play::Works, Arc::new(stand_in.clone()));
    play = Stageplay { directory, world, stand_in, stage, index };
    assert_eq!(outcome(play.carry_out().await), (Answer::AlreadyApplied, Effect::Effective));
    assert_eq!((play.phase(1).await, play.stage.target.count()), (Some(Phase::Done), 1));
}
