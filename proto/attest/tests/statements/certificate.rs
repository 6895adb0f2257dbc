//! What a verifier with the charter alone refuses, whatever coordinators sign.

use quorate_attest::certificate::{
    CertificateRefused, HeadRelation, OutsideWindow, Trusted, judge_freshness, judge_window,
    relate_heads, verify_certificate,
};
use quorate_attest::head::HeadRefused;
use quorate_attest::history::LeafRefused;
use quorate_attest::leaf::{Decision, Leaf, VoidCause};
use quorate_attest::log_time::Span;
use quorate_attest::proof::ProofRefused;
use quorate_attest::remediation::Kind;

use crate::fixture::{OPERATORS, World, charter, signed};

const ALL: [u8; 4] = [1, 2, 3, 4];

fn decided() -> (World, Decision) {
    let mut world = World::new();
    let decision = world.decide();
    (world, decision)
}

/// What the verifier says of a leaf that every coordinator, all of them lying, cosigned.
fn lied(change: impl FnOnce(&mut Decision, &mut World)) -> CertificateRefused {
    let (mut world, mut decision) = decided();
    change(&mut decision, &mut world);
    let leaves = vec![world.leaves[0].clone(), Leaf::Decision(decision).to_bytes()];
    let bytes = world.certificate_of(&leaves, 1, &ALL);
    verify_certificate(&bytes, &Trusted::pin(charter()), world.now).unwrap_err()
}

#[test]
fn k_coordinators_and_m_validators_make_a_certificate() {
    let (world, decision) = decided();
    let bytes = world.certificate(1, &[1, 2, 4]);
    let certificate = verify_certificate(&bytes, &Trusted::pin(charter()), world.now).unwrap();
    assert_eq!(certificate.decision, decision);
    assert_eq!(certificate.token, decision.token());
    let cluster = decision.cluster;
    let trusted = Trusted::by_history(&world.history, &cluster);
    verify_certificate(&bytes, &trusted, world.now).unwrap();
}

#[test]
fn k_minus_one_coordinators_do_not() {
    let (world, _) = decided();
    let bytes = world.certificate(1, &[1, 2]);
    let refused = verify_certificate(&bytes, &Trusted::pin(charter()), world.now).unwrap_err();
    assert_eq!(refused.step(), 3);
    assert!(matches!(
        refused,
        CertificateRefused::Proof(ProofRefused::Head(HeadRefused::TooFewCosignatures {
            found: 2,
            threshold: 3
        }))
    ));
}

#[test]
fn every_coordinator_together_fabricates_no_decision() {
    let refused = lied(|decision, _| {
        decision.votes.lines.truncate(1);
    });
    assert_eq!(refused.step(), 6);
    assert!(matches!(refused, CertificateRefused::Judged(LeafRefused::TooFewApprovals { .. })));
    let refused = lied(|decision, _| decision.votes.lines[0].payload[5] ^= 1);
    assert!(matches!(refused, CertificateRefused::Judged(LeafRefused::Lines { .. })));
    let refused = lied(|decision, world| {
        let other = world.proposal(Kind::DeclareDead);
        decision.proposal = other;
    });
    assert_eq!(refused.step(), 6);
}

#[test]
fn a_time_in_the_future_a_foreign_head_and_a_bad_path_are_their_own_refusals() {
    let (mut world, _) = decided();
    world.wait(60);
    let bytes = world.certificate(1, &ALL);
    let early = world.now.saturating_sub(Span::from_secs(30));
    let refused = verify_certificate(&bytes, &Trusted::pin(charter()), early).unwrap_err();
    assert_eq!(refused.step(), 3);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let foreign = text.replace(
        "/1-0f0e0d0c0b0a09080706050403020100\n2\n",
        "/2-0f0e0d0c0b0a09080706050403020100\n2\n",
    );
    let refused =
        verify_certificate(foreign.as_bytes(), &Trusted::pin(charter()), world.now).unwrap_err();
    assert_eq!(refused.step(), 2);
    let moved = text.replace("\nindex 1\n", "\nindex 0\n");
    let refused =
        verify_certificate(moved.as_bytes(), &Trusted::pin(charter()), world.now).unwrap_err();
    assert_eq!(refused.step(), 4);
    let beyond = text.replace("\nindex 1\n", "\nindex 9\n");
    let refused =
        verify_certificate(beyond.as_bytes(), &Trusted::pin(charter()), world.now).unwrap_err();
    assert_eq!(refused.step(), 2);
    let bare =
        text.split_once("\nindex").map(|(_, rest)| format!("c2sp.org/tlog-proof@v1\nindex{rest}"));
    let refused = verify_certificate(bare.unwrap().as_bytes(), &Trusted::pin(charter()), world.now)
        .unwrap_err();
    assert_eq!(refused.step(), 1);
}

#[test]
fn a_certificate_holds_a_decision() {
    let (world, _) = decided();
    let bytes = world.certificate(0, &ALL);
    let refused = verify_certificate(&bytes, &Trusted::pin(charter()), world.now).unwrap_err();
    assert!(matches!(refused, CertificateRefused::NotADecision { .. }));
    assert_eq!(refused.step(), 5);
}

#[test]
fn another_charter_of_the_same_epoch_certifies_nothing() {
    let (world, _) = decided();
    let mut other = charter();
    other.max_age = Span::from_secs(1);
    let bytes = world.certificate(1, &ALL);
    let refused = verify_certificate(&bytes, &Trusted::pin(other), world.now).unwrap_err();
    assert!(matches!(refused, CertificateRefused::Judged(LeafRefused::OtherCharter { .. })));
    assert_eq!(refused.step(), 5);
}

#[test]
fn an_older_epoch_is_judged_by_its_own_charter_and_starts_nothing() {
    let (mut world, decision) = decided();
    let old = charter();
    let mut new = old.clone();
    new.epoch = new.epoch.next().unwrap();
    new.previous = Some(old.id());
    world.append(&Leaf::Charter(signed(new.clone(), &OPERATORS))).unwrap();
    let bytes = world.certificate(1, &ALL);
    let walked = Trusted::pin(old).then(world.history.size().last_index().unwrap(), new.clone());
    verify_certificate(&bytes, &walked, world.now).unwrap();
    assert!(matches!(
        judge_window(&new, &decision, world.now),
        Err(OutsideWindow::OtherEpoch { .. })
    ));
    let refused = verify_certificate(&bytes, &Trusted::pin(new), world.now).unwrap_err();
    assert!(matches!(refused, CertificateRefused::Judged(LeafRefused::OtherEpoch { .. })));
}

#[test]
fn who_tails_the_log_knows_the_decision_that_outlived_its_charter_and_no_other() {
    let (mut world, decision) = decided();
    for _ in 0..2 {
        let mut next = world.history.charter().clone();
        next.epoch = next.epoch.next().unwrap();
        next.previous = Some(world.history.charter_id());
        world.append(&Leaf::Charter(signed(next, &OPERATORS))).unwrap();
        let trusted = Trusted::by_history(&world.history, &decision.cluster);
        let certificate =
            verify_certificate(&world.certificate(1, &ALL), &trusted, world.now).unwrap();
        assert_eq!((&certificate.decision, certificate.tally), (&decision, None));
    }
    // All coordinators lie: the same decision with one vote less is another leaf.
    let mut lied = decision.clone();
    lied.votes.lines.pop();
    let mut leaves = world.leaves.clone();
    leaves[1] = Leaf::Decision(lied).to_bytes();
    let trusted = Trusted::by_history(&world.history, &decision.cluster);
    let bytes = world.certificate_of(&leaves, 1, &ALL);
    let refused = verify_certificate(&bytes, &trusted, world.now).unwrap_err();
    assert!(matches!(refused, CertificateRefused::Judged(LeafRefused::OtherEpoch { .. })));
}

#[test]
fn what_is_early_late_or_of_an_older_epoch_is_not_started() {
    let (mut world, decision) = decided();
    let charter = charter();
    let mut amended = charter.clone();
    amended.epoch = amended.epoch.next().unwrap();
    let refused = judge_window(&amended, &decision, world.now);
    assert!(matches!(refused, Err(OutsideWindow::OtherEpoch { .. })));
    assert_eq!(judge_window(&charter, &decision, world.now), Ok(()));
    let early = decision.not_before.saturating_sub(Span::from_millis(2_001));
    assert!(matches!(judge_window(&charter, &decision, early), Err(OutsideWindow::NotYet { .. })));
    world.wait(601);
    let refused = judge_window(&charter, &decision, world.now);
    assert!(matches!(refused, Err(OutsideWindow::Expired { .. })));
}

#[test]
fn a_head_grows_stale() {
    let (world, _) = decided();
    let bytes = world.certificate(1, &[1, 2, 3]);
    let certificate = verify_certificate(&bytes, &Trusted::pin(charter()), world.now).unwrap();
    let at = |seconds| world.now.saturating_add(Span::from_secs(seconds));
    assert!(judge_freshness(&charter(), &certificate.verified, at(600)).is_ok());
    assert!(matches!(
        judge_freshness(&charter(), &certificate.verified, at(601)),
        Err(HeadRefused::Stale { .. })
    ));
    let almost = at(600).saturating_add(Span::from_millis(1));
    assert!(judge_freshness(&charter(), &certificate.verified, almost).is_err());
}

#[test]
fn one_size_and_two_roots_are_a_split_view() {
    let (mut world, decision) = decided();
    let stored = world.head(&ALL).checkpoint;
    let mut other = World::new();
    let void = other.proposal(Kind::Restart);
    other.append(&Leaf::Void(other.void(&void, VoidCause::Superseded))).unwrap();
    let fork = other.head(&ALL).checkpoint;
    assert_eq!(relate_heads(&stored, &stored), HeadRelation::Same);
    assert_eq!(relate_heads(&stored, &fork), HeadRelation::SplitView);
    world.finish(&decision);
    let newer = world.head(&ALL).checkpoint;
    assert_eq!(relate_heads(&stored, &newer), HeadRelation::Newer);
    assert_eq!(relate_heads(&newer, &stored), HeadRelation::Older);
    let mut reborn = newer.clone();
    reborn.origin.incarnation = reborn.origin.incarnation.next().unwrap();
    assert_eq!(relate_heads(&newer, &reborn), HeadRelation::OtherOrigin);
}
