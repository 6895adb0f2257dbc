//! One action under several numbers: it is started under the first one or not at all, and every later
//! one goes on from what this journal, and the claims of this agent, say of it.

mod common;

use std::fs;

use common::scene::Play;
use common::stageplay::{Stageplay, outcome};
use common::world::note_signer;
use common::{instance, name};
use quorate_attest::agent_statement::{Answer, Effect, Report};
use quorate_attest::id::Nonce;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
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
    for held in [false, true] {
        let mut play = harmed().await;
        play.plays(Play::Dark);
        assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Inconclusive));
        // Somebody bans again by hand, then the rollback is re-issued.
        fs::write(&play.stage.target.effects, "by hand\n").expect("write");
        play.plays(Play::Works);
        play.reissued(2).await;
        if !held {
            play.stand_in.0.lock().await.before.clear();
        }
        assert_eq!(outcome(play.carry_out().await), (Answer::Failed, Effect::Ineffective));
        assert_eq!(play.stage.target.count(), 1, "not repeated; held: {held}");
    }
}

/// A ban that did harm and whose rollback, decision 2, is ordered.
async fn harmed() -> Stageplay {
    let mut play = Stageplay::of(Play::Harms, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Harmful));
    let report = play.report(1).await;
    play.world.outcome(&report);
    play.reissued(1).await;
    // What answered for the action holds no claim on its rollback.
    play.stand_in.0.lock().await.before.clear();
    play
}

#[tokio::test]
async fn a_rollback_that_is_done_is_answered_and_not_repeated() {
    for held in [false, true] {
        let mut play = harmed().await;
        assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
        assert_eq!(play.stage.target.count(), 0, "as before");
        let first = play.report(2).await.statement;
        // Somebody bans again by hand; the report got lost, and the rollback is re-issued twice.
        fs::write(&play.stage.target.effects, "by hand\n").expect("write");
        for number in [2, 3] {
            play.reissued(number).await;
            if !held {
                play.stand_in.0.lock().await.before.clear();
            }
            let settled = outcome(play.carry_out().await);
            assert_eq!(settled, (Answer::Applied, Effect::Effective), "held: {held}");
            assert_eq!(play.stage.target.count(), 1, "not repeated; held: {held}");
            let again = play.report(number + 1).await.statement;
            assert_eq!((again.started, again.evidence), (first.started, first.evidence.clone()));
        }
    }
}

#[tokio::test]
async fn a_journal_that_is_behind_its_own_agent_rolls_nothing_back() {
    let mut play = Stageplay::of(Play::Harms, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    play.cut_off_after_start().await;
    // The log knows of harm that this journal, an older copy, has not finished.
    let copy = Stageplay::of(Play::Harms, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    assert_eq!(outcome(copy.carry_out().await), (Answer::Applied, Effect::Harmful));
    play.world.outcome(&copy.report(1).await);
    play.reissued(1).await;
    play.stand_in.0.lock().await.before.clear();
    fs::write(&play.stage.target.effects, "by the other one\n").expect("write");
    assert_eq!(outcome(play.carry_out().await), (Answer::Unknown, Effect::Inconclusive));
    assert_eq!(play.carry_out().await, Settled::Known(Phase::Unknown), "for good");
    assert_eq!(play.stage.target.count(), 1);
}

#[tokio::test]
async fn who_started_nothing_rolls_nothing_back() {
    let (kind, both) = (Kind::BanPeer, ["n1", "n2"]);
    let mut play = Stageplay::of(Play::NotNeeded, kind, "peer:x", &both, &["ttl-ms 600000"]);
    let nothing = (Answer::RefusedPrecondition, Effect::None);
    assert_eq!(outcome(play.carry_out().await), nothing);
    let own = play.report(1).await;
    let harm = Report {
        agent: name("n2"),
        answer: Answer::Applied,
        effect: Effect::Harmful,
        started: Some(play.world.now),
        ..own.statement.clone()
    };
    let line = note_signer("agent", "n2").sign(&harm);
    play.world.outcome(&own);
    play.world.outcome(&Signed::new(harm, vec![line]));
    play.reissued(1).await;
    play.stand_in.0.lock().await.before.clear();
    play.plays(Play::Works);
    fs::write(&play.stage.target.effects, "somebody else's\n").expect("write");
    assert_eq!(outcome(play.carry_out().await), nothing);
    assert_eq!(play.stage.target.count(), 1, "not touched");
    play.reissued(2).await;
    assert_eq!(outcome(play.carry_out().await), nothing, "and says so again");
    assert_eq!(play.stage.target.count(), 1);
}

impl Stageplay {
    /// The claim on `number` arrives, and the process dies before it knows.
    async fn cut_off_after_claim(&mut self, number: u64) {
        self.stand_in.0.lock().await.answers_left = Some(0);
        assert!(matches!(self.carry_out().await, Settled::Waits(_)));
        assert_eq!(self.phase(number).await, Some(Phase::Accepted));
        let mut told = self.stand_in.0.lock().await;
        told.answers_left = None;
        let claimant = (instance().to_string(), told.highest, Nonce::from_bytes([9; 16]));
        told.claims.insert(number, claimant);
    }
}

#[tokio::test]
async fn what_was_claimed_and_perhaps_started_is_probed_under_a_later_number() {
    for (effect, wanted) in [
        (1, (Answer::AlreadyApplied, Effect::Effective)),
        (0, (Answer::Failed, Effect::Ineffective)),
    ] {
        for missed in [true, false] {
            let mut play = Stageplay::new(Play::Works);
            play.cut_off_after_claim(1).await;
            fs::write(&play.stage.target.effects, "one line\n".repeat(effect)).expect("write");
            play.reissued(1).await;
            if !missed {
                play.cut_off_after_claim(2).await;
            }
            play.reissued(2).await;
            assert_eq!(outcome(play.carry_out().await), wanted, "missed: {missed}");
            assert_eq!(play.stage.target.count(), effect, "nothing was started");
            assert_eq!(play.carry_out().await, Settled::Known(Phase::Done));
        }
    }
}

#[tokio::test]
async fn a_rollback_that_was_claimed_and_perhaps_started_is_probed_under_a_later_number() {
    for (banned, wanted) in [
        (0, (Answer::AlreadyApplied, Effect::Effective)),
        (1, (Answer::Failed, Effect::Ineffective)),
    ] {
        let mut play = harmed().await;
        play.cut_off_after_claim(2).await;
        fs::write(&play.stage.target.effects, "a ban\n".repeat(banned)).expect("write");
        play.reissued(2).await;
        assert_eq!(outcome(play.carry_out().await), wanted);
        assert_eq!(play.stage.target.count(), banned, "nothing was started");
    }
}

#[tokio::test]
async fn a_rollback_that_only_a_copy_of_this_journal_claimed_is_unknown() {
    let mut play = harmed().await;
    {
        let mut told = play.stand_in.0.lock().await;
        let claimant = (instance().to_string(), told.highest, Nonce::from_bytes([9; 16]));
        told.claims.insert(2, claimant);
    }
    play.reissued(2).await;
    assert_eq!(outcome(play.carry_out().await), (Answer::Unknown, Effect::Inconclusive));
    assert_eq!(play.carry_out().await, Settled::Known(Phase::Unknown), "for good");
    assert_eq!(play.stage.target.count(), 1);
}

#[tokio::test]
async fn an_order_read_before_the_log_had_it_is_read_again() {
    let mut play = Stageplay::of(Play::Harms, Kind::BanPeer, "peer:x", &["n1"], &["ttl-ms 600000"]);
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Harmful));
    play.world.outcome(&play.report(1).await);
    play.index = play.world.reissue(1);
    // The log arrives while the order waits for the journal.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let busy = play.stage.executor.journal.with(move |_| held.recv());
    let arrives = async {
        play.learn();
        release.send(()).expect("the journal is busy");
    };
    let (_busy, settled, ()) = tokio::join!(busy, play.carry_out(), arrives);
    assert!(matches!(settled, Settled::Waits(_)), "{settled:?}");
    assert_eq!(outcome(play.carry_out().await), (Answer::Applied, Effect::Effective));
    assert_eq!(play.stage.target.count(), 0, "as before");
}
