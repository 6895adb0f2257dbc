//! One action under several numbers: it is started under the first one or not at all, and every later
//! one goes on from what this journal, and the claims of this agent, say of it.

mod common;

use std::fs;

use common::instance;
use common::scene::Play;
use common::stageplay::{Stageplay, outcome};
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::Nonce;
use quorate_attest::remediation::Kind;
use quorate_node::execute::Settled;
use quorate_node::journal::Phase;

#[tokio::test]
async fn what_was_only_accepted_is_not_started_by_a_continuation() {
    let mut play = Stageplay::new(Play::Works);
    play.stand_in.0.lock().await.answers_left = Some(0);
    assert!(matches!(play.carry_out().await, Settled::Waits(_)));
    play.stand_in.0.lock().await.answers_left = None;
    assert_eq!(play.phase(1).await, Some(Phase::Accepted));
    play.reissued(1).await;
    let settled = outcome(play.carry_out().await);
    assert_eq!(settled, (Answer::RefusedPrecondition, Effect::None));
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn what_a_lost_journal_claimed_under_an_earlier_number_is_unknown() {
    let mut play = Stageplay::new(Play::Works);
    {
        let mut told = play.stand_in.0.lock().await;
        told.instance = Some(instance().to_string());
        told.claims.insert(1, ("0".repeat(32), 5, Nonce::from_bytes([9; 16])));
    }
    play.reissued(1).await;
    assert_eq!(outcome(play.carry_out().await), (Answer::Unknown, Effect::Inconclusive));
    assert_eq!(play.stage.target.count(), 0);
}

#[tokio::test]
async fn a_number_that_was_missed_or_never_claimed_hides_nothing_that_was_started() {
    for missed in [true, false] {
        let mut play = Stageplay::new(Play::Works);
        play.cut_off_after_start().await;
        fs::write(&play.stage.target.effects, "one line\n").expect("write");
        play.reissued(1).await;
        if !missed {
            play.stand_in.0.lock().await.answers_left = Some(0);
            assert!(matches!(play.carry_out().await, Settled::Waits(_)));
            play.stand_in.0.lock().await.answers_left = None;
            assert_eq!(play.phase(2).await, Some(Phase::Accepted));
        }
        play.reissued(2).await;
        let settled = outcome(play.carry_out().await);
        assert_eq!(settled, (Answer::AlreadyApplied, Effect::Effective), "missed: {missed}");
        assert_eq!(play.stage.target.count(), 1, "not repeated");
    }
}

#[tokio::test]
async fn unknown_and_unknown_again_then_harmful_is_rolled_back() {
    let mut play = Stageplay::of(Play::Dark, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    let open = Effect::Inconclusive;
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, open));
    play.reissued(1).await;
    assert_eq!(outcome(play.carry_out().await), (Answer::Unknown, open));
    play.plays(Play::Harms);
    play.reissued(2).await;
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Harmful));
    let report = play.report(3).await;
    play.world.outcome(&report);
    play.reissued(3).await;
    // What answered for the action may carry its rollback out: it holds no claim on that.
    play.stand_in.0.lock().await.before.clear();
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    assert_eq!(play.stage.target.count(), 0, "as before");
    for number in 1..=4 {
        assert_eq!(play.phase(number).await, Some(Phase::Done), "{number}");
    }
}

#[tokio::test]
async fn a_rollback_that_had_started_is_probed_and_not_repeated() {
    let mut play = Stageplay::of(Play::Harms, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Harmful));
    let report = play.report(1).await;
    play.world.outcome(&report);
    play.reissued(1).await;
    play.stand_in.0.lock().await.before.clear();
    play.plays(Play::Dark);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Inconclusive));
    // Somebody bans again by hand, then the rollback is re-issued.
    fs::write(&play.stage.target.effects, "by hand\n").expect("write");
    play.plays(Play::Works);
    play.reissued(2).await;
    play.stand_in.0.lock().await.before.clear();
    assert_eq!(outcome(play.carry_out().await), (Answer::Failed, Effect::Ineffective));
    assert_eq!(play.stage.target.count(), 1, "not repeated");
}
