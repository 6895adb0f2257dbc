//! Doubt: a head that k coordinators signed, and that what was sent under it does not lead to.

mod common;

use common::forks::{fork, pause, told_of, world};
use quorate_attest::id::Nonce;
use quorate_attest::log_time::Span;
use quorate_attest::merkle::prove_consistency;
use quorate_attest::number::TreeSize;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_node::trust::{Anchor, Trust, TrustRefused};

#[test]
fn a_cosigned_head_that_its_leaves_do_not_lead_to_stops_the_agent_and_is_kept() {
    // Whether the leaf of the other side is lawful here or not, its head is seen.
    let lawful = fork(|fork| pause(fork, 1));
    let unlawful = fork(|fork| {
        let proposal = fork.proposal(Kind::Restart, "member:n2", &["n2"], &[]);
        let proposal = Proposal { nonce: Nonce::from_bytes([1; 16]), ..proposal };
        fork.decide(&proposal, Some(quorate_attest::number::DecisionNumber::MIN));
    });
    for (what, side) in [("root", lawful), ("leaf", unlawful)] {
        let world = world();
        let mut trust = world.trust();
        let refused = told_of(&mut trust, &side);
        match what {
            "root" => assert!(matches!(refused, TrustRefused::Root { .. }), "{refused:?}"),
            _ => assert!(matches!(refused, TrustRefused::Leaf { .. }), "{refused:?}"),
        }
        let view = trust.view();
        let doubt = view.alarm().expect("nothing starts");
        assert_eq!(doubt.heads(), &[world.head(2, world.now), side.head(2, side.now)], "{what}");
        let sizes = trust.doubted().expect("somebody has to account for it");
        assert_eq!((sizes.from.get(), sizes.to.get()), (2, 3));
        // No proof of the other side holds; a false one changes nothing.
        let two = TreeSize::new(2).expect("a size");
        let proof = prove_consistency(&side.hashes, two, side.history.size()).expect("a proof");
        trust.account(&proof);
        trust.account(&[]);
        assert!(trust.view().alarm().is_some());
        trust.overdue(side.now.saturating_add(Span::from_secs(59))).expect("there is time");
        let late = trust.overdue(side.now.saturating_add(Span::from_secs(60)));
        assert!(matches!(late, Err(TrustRefused::Alarm(_))), "{late:?}");
        assert!(trust.doubted().is_none());
        trust.overdue(side.now.saturating_add(Span::from_secs(99))).expect("told once");
        assert!(trust.view().alarm().is_some(), "for good");
    }
}

#[test]
fn a_belief_that_grows_over_a_doubted_head_of_another_root_is_an_alarm() {
    let mut world = world();
    let mut trust = world.trust();
    let _refused = told_of(&mut trust, &fork(|fork| pause(fork, 1)));
    pause(&mut world, 2);
    trust.leaf(1, 2, &world.leaves[2], world.now).expect("the next leaf");
    let grown = trust.head(1, &world.head(2, world.now), world.now);
    assert!(matches!(grown, Err(TrustRefused::Alarm(_))), "{grown:?}");
}

#[test]
fn false_leaves_under_a_true_head_stop_the_agent_only_until_it_is_accounted_for() {
    for by_proof in [true, false] {
        let mut world = world();
        let mut trust = world.trust();
        let mut liar = fork(|_| {});
        pause(&mut liar, 2);
        pause(&mut world, 1);
        // A true head, and under it a leaf that is not the log's.
        trust.head(2, &world.head(2, world.now), world.now).expect("it waits for its leaves");
        trust.leaf(2, 2, &liar.leaves[2], world.now).expect_err("a false leaf");
        assert!(trust.view().alarm().is_some());
        if by_proof {
            let two = TreeSize::new(2).expect("a size");
            let size = world.history.size();
            trust.account(&prove_consistency(&world.hashes, two, size).expect("a proof"));
            assert_eq!(trust.size(), two);
        } else {
            trust.leaf(1, 2, &world.leaves[2], world.now).expect("the true leaf");
            trust.head(1, &world.head(2, world.now), world.now).expect("the true head");
            assert_eq!(trust.size().get(), 3);
        }
        assert!(trust.view().alarm().is_none(), "by proof: {by_proof}");
        assert!(trust.doubted().is_none());
    }
}

#[test]
fn a_doubt_from_before_a_restart_stops_the_agent_until_it_is_accounted_for() {
    let mut world = world();
    let before = world.trust();
    pause(&mut world, 1);
    let heads = [before.pinned().expect("a belief").head, world.head(2, world.now)];
    let pinned = before.pinned().expect("a belief");
    let much_later = world.now.saturating_add(Span::from_secs(3_600));
    let again = || {
        let trust = Trust::resume(Anchor::of(&world.charter), &pinned).expect("resumed");
        trust.doubting(heads.clone(), much_later)
    };
    let mut trust = again();
    assert_eq!(trust.view().alarm().expect("nothing starts").heads(), &heads);
    assert_eq!(trust.in_doubt(), Some(&heads));
    trust.overdue(much_later).expect("nobody was asked while it was down");
    let late = trust.overdue(much_later.saturating_add(Span::from_secs(60)));
    assert!(matches!(late, Err(TrustRefused::Alarm(_))), "{late:?}");

    let mut trust = again();
    let two = TreeSize::new(2).expect("a size");
    let proof = prove_consistency(&world.hashes, two, world.history.size()).expect("a proof");
    trust.account(&proof);
    assert!(trust.view().alarm().is_none() && trust.in_doubt().is_none());

    // Heads that cannot be read are never accounted for.
    let trust = Trust::resume(Anchor::of(&world.charter), &pinned).expect("resumed");
    let unreadable = trust.doubting([heads[0].clone(), b"no head".to_vec()], much_later);
    assert!(unreadable.view().alarm().is_some() && unreadable.doubted().is_none());
}

#[test]
fn a_belief_that_has_outgrown_a_doubt_is_accounted_for_backwards() {
    let mut world = world();
    pause(&mut world, 1);
    let doubted = world.head(2, world.now);
    pause(&mut world, 2);
    let pinned = world.trust().pinned().expect("a belief");
    let trust = Trust::resume(Anchor::of(&world.charter), &pinned).expect("resumed");
    let mut trust = trust.doubting([pinned.head.clone(), doubted], world.now);
    let sizes = trust.doubted().expect("somebody has to account for it");
    assert_eq!((sizes.from.get(), sizes.to.get()), (3, 4));
    trust.account(&[]);
    assert!(trust.view().alarm().is_some());
    trust.account(&prove_consistency(&world.hashes, sizes.from, sizes.to).expect("a proof"));
    assert!(trust.view().alarm().is_none());
}

#[test]
fn a_head_of_too_few_that_its_leaves_do_not_lead_to_is_nothing() {
    let world = world();
    let mut trust = world.trust();
    let side = fork(|fork| pause(fork, 1));
    trust.head(2, &side.head(1, side.now), side.now).expect("it waits for its leaves");
    let refused = trust.leaf(2, 2, &side.leaves[2], side.now).expect_err("not believed");
    assert!(matches!(refused, TrustRefused::Head { .. }), "{refused:?}");
    assert!(trust.view().alarm().is_none());
}
