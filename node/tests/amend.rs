//! A charter changes while a decision is under way: it starts nothing any more, what had started is
//! probed and reported, and what never had says so, which frees the slot.

mod common;

use std::fs;

use common::instance;
use common::scene::Play;
use common::stageplay::{Stageplay, outcome};
use common::world::CLUSTER;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::Nonce;
use quorate_node::execute::Settled;
use quorate_node::journal::Phase;

fn slot_is_free(play: &Stageplay) -> bool {
    let cluster = CLUSTER.parse().expect("a cluster");
    play.world.history.cluster(&cluster).is_some_and(|cluster| cluster.slot().is_none())
}

#[tokio::test]
async fn what_was_never_started_is_declined_and_frees_the_slot() {
    for epochs in [1, 2] {
        let mut play = Stageplay::new(Play::Works);
        (0..epochs).for_each(|_| play.world.amend());
        play.believe();
        play.stand_in.0.lock().await.declines = Some("EPOCH_MISMATCH");
        let settled = outcome(play.carry_out().await);
        assert_eq!(settled, (Answer::RefusedPrecondition, Effect::None));
        assert_eq!((play.phase(1).await, play.stage.target.count()), (Some(Phase::Done), 0));
        let report = play.report(1).await;
        play.world.outcome(&report);
        assert!(slot_is_free(&play));
    }
}

#[tokio::test]
async fn what_had_started_is_probed_and_reported_and_not_repeated() {
    for (effect, wanted) in [
        (1, (Answer::AlreadyApplied, Effect::Effective)),
        (0, (Answer::Failed, Effect::Ineffective)),
    ] {
        let mut play = Stageplay::new(Play::Works);
        play.cut_off_after_start().await;
        fs::write(&play.stage.target.effects, "one line\n".repeat(effect)).expect("write");
        play.world.amend();
        play.world.amend();
        let mut play = play.restarted();
        assert_eq!(outcome(play.carry_out().await), wanted);
        assert_eq!(play.stage.target.count(), effect);
        let report = play.report(1).await;
        play.world.outcome(&report);
        assert!(slot_is_free(&play));
    }
}

#[tokio::test]
async fn what_a_clone_may_have_started_is_unknown() {
    let mut play = Stageplay::new(Play::Works);
    {
        let mut told = play.stand_in.0.lock().await;
        told.claims.insert(1, (instance().to_string(), 1, Nonce::from_bytes([9; 16])));
        told.declines = Some("EPOCH_MISMATCH");
    }
    play.world.amend();
    play.believe();
    assert_eq!(outcome(play.carry_out().await), (Answer::Unknown, Effect::Inconclusive));
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn a_continuation_goes_on_with_what_had_started() {
    let mut play = Stageplay::new(Play::Works);
    play.cut_off_after_start().await;
    play.reissued(1).await;
    play.world.amend();
    play.believe();
    play.stand_in.0.lock().await.declines = Some("EPOCH_MISMATCH");
    assert_eq!(outcome(play.carry_out().await), (Answer::Failed, Effect::Ineffective));
    let report = play.report(2).await;
    play.world.outcome(&report);
    assert!(slot_is_free(&play));
}

#[tokio::test]
async fn an_answer_that_does_not_speak_of_claims_is_no_proof_that_none_stands() {
    let mut play = Stageplay::new(Play::Works);
    play.world.amend();
    play.believe();
    play.stand_in.0.lock().await.declines = Some("NOT_AUTHORISED");
    assert!(matches!(play.carry_out().await, Settled::Waits(_)));
    assert_eq!(play.phase(1).await, Some(Phase::Accepted));
}
