//! *veto-final*: every proposal ends once, and a void shows why.

use quorate_attest::history::{End, LeafRefused};
use quorate_attest::id::KeyName;
use quorate_attest::key::{CosignSigner, SecretKey};
use quorate_attest::leaf::{Leaf, LeafError, Void, VoidCause};
use quorate_attest::number::LeafIndex;
use quorate_attest::refusal::{Cause, Refusal};
use quorate_attest::remediation::Kind;
use quorate_attest::vote::{Verdict, Vote};
use zeroize::Zeroizing;

use crate::fixture::{DOMAINS, OPERATORS, World, coordinator, key_name, signed};

#[test]
fn a_vetoed_proposal_is_never_decided() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let mut void = world.void(&proposal, VoidCause::Vetoed);
    void.veto = Some(world.veto(&proposal, &["operator/ana"]));
    world.append(&Leaf::Void(void)).unwrap();
    let ended = world.history.ended(&proposal.id()).unwrap();
    assert_eq!(ended.end, End::Void(VoidCause::Vetoed));
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::AlreadyEnded { .. }), "{refused}");
}

#[test]
fn a_proposal_ends_in_one_leaf() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let void = world.void(&proposal, VoidCause::Superseded);
    world.append(&Leaf::Void(void.clone())).unwrap();
    let refused = world.refuse(&Leaf::Void(void));
    assert!(matches!(refused, LeafRefused::AlreadyEnded { .. }), "{refused}");
    let decision = world.decide();
    let void = world.void(&decision.proposal, VoidCause::Superseded);
    let refused = world.refuse(&Leaf::Void(void));
    assert!(matches!(refused, LeafRefused::AlreadyEnded { .. }), "{refused}");
}

#[test]
fn a_void_shows_its_cause() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    for cause in [VoidCause::Vetoed, VoidCause::Withdrawn, VoidCause::Rejected, VoidCause::Expired]
    {
        let refused = world.refuse(&Leaf::Void(world.void(&proposal, cause)));
        assert!(matches!(refused, LeafRefused::CauseNotShown { .. }), "{refused}");
    }
    world.wait(600);
    world.append(&Leaf::Void(world.void(&proposal, VoidCause::Expired))).unwrap();
}

#[test]
fn the_proposer_withdraws_and_nobody_else() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.target = "member:neo-3".parse().unwrap();
    let mut void = world.void(&proposal, VoidCause::Withdrawn);
    void.veto = Some(world.veto(&proposal, &["agent/neo-2"]));
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::Lines { what: "veto note", .. }), "{refused}");
    void.veto = Some(world.veto(&proposal, &["operator/ana"]));
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::CauseNotShown { .. }), "{refused}");
    void.veto = Some(world.veto(&proposal, &["agent/neo-1"]));
    world.append(&Leaf::Void(void)).unwrap();
}

#[test]
fn a_veto_by_the_key_to_be_revoked_does_not_count() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::RevokeKey);
    proposal.target = format!("key:{}", key_name("operator/ana")).parse().unwrap();
    let mut void = world.void(&proposal, VoidCause::Vetoed);
    void.veto = Some(world.veto(&proposal, &["operator/ana"]));
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::CauseNotShown { .. }), "{refused}");
    void.veto = Some(world.veto(&proposal, &["operator/ana", "operator/ben"]));
    world.append(&Leaf::Void(void)).unwrap();
}

#[test]
fn the_window_does_not_wait_for_the_key_to_be_revoked() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::RevokeKey);
    proposal.target = format!("key:{}", key_name("operator/ana")).parse().unwrap();
    // Three operators, three needed: so revoking one of three needs the others and a fourth voice.
    let by = ["operator/ben", "operator/chen"];
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &by)));
    assert!(matches!(refused, LeafRefused::TooFewApprovals { .. }), "{refused}");
}

#[test]
fn a_proposer_withdraws_its_own_even_where_its_veto_would_not_count() {
    let mut world = World::new();
    let mut own_member = world.proposal(Kind::RemoveMember);
    own_member.target = "member:neo-1".parse().unwrap();
    let mut own_key = world.proposal(Kind::RevokeKey);
    own_key.target = format!("key:{}", key_name("operator/ana")).parse().unwrap();
    own_key.proposer = key_name("operator/ana");
    for (proposal, by) in [(own_member, "agent/neo-1"), (own_key, "operator/ana")] {
        let mut void = world.void(&proposal, VoidCause::Vetoed);
        void.veto = Some(world.veto(&proposal, &[by]));
        let refused = world.refuse(&Leaf::Void(void.clone()));
        assert!(matches!(refused, LeafRefused::CauseNotShown { .. }), "{refused}");
        void.cause = VoidCause::Withdrawn;
        world.append(&Leaf::Void(void)).unwrap();
    }
}

#[test]
fn no_veto_ends_an_abandon_but_its_proposer_withdraws_it() {
    let mut world = World::new();
    let number = world.decide().number;
    let mut abandon = world.proposal(Kind::Abandon);
    abandon.target = format!("decision:{number}").parse().unwrap();
    abandon.executor.clear();
    abandon.param = vec!["stopped power".parse().unwrap()];
    abandon.proposer = key_name("operator/ana");
    let mut void = world.void(&abandon, VoidCause::Vetoed);
    void.veto = Some(world.veto(&abandon, &["operator/ben", "operator/chen"]));
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::CauseNotShown { .. }), "{refused}");
    void.cause = VoidCause::Withdrawn;
    void.veto = Some(world.veto(&abandon, &["operator/ana"]));
    world.append(&Leaf::Void(void)).unwrap();
}

#[test]
fn rejected_means_that_no_vote_can_win_it_any_more() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::RemoveMember);
    let reject = Vote::on(&proposal, Verdict::Reject);
    let mut void = world.void(&proposal, VoidCause::Rejected);
    // Three voices and three operators can approve, three are needed: two rejections do not do.
    void.reject = Some(signed(reject.clone(), &["agent/neo-1", "agent/neo-2"]));
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::CauseNotShown { .. }), "{refused}");
    let by = ["agent/neo-1", "agent/neo-2", "operator/ana", "operator/ben"];
    void.reject = Some(signed(reject, &by));
    void.approve = Some(signed(Vote::on(&proposal, Verdict::Approve), &["agent/neo-3"]));
    world.append(&Leaf::Void(void)).unwrap();
}

#[test]
fn a_reject_note_is_no_approve_note() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let mut void = world.void(&proposal, VoidCause::Superseded);
    void.approve = Some(signed(Vote::on(&proposal, Verdict::Reject), &["agent/neo-1"]));
    void.reject = Some(signed(Vote::on(&proposal, Verdict::Approve), &["agent/neo-1"]));
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::Form(LeafError::ExtraBlock { .. })), "{refused}");
    void.approve = Some(signed(Vote::on(&proposal, Verdict::Approve), &["agent/neo-1"]));
    void.reject = void.approve.clone();
    let refused = world.refuse(&Leaf::Void(void));
    assert!(matches!(refused, LeafRefused::Form(LeafError::ExtraBlock { .. })), "{refused}");
}

#[test]
fn a_veto_of_another_proposal_is_none() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let other = world.proposal(Kind::Restart);
    let mut void = world.void(&proposal, VoidCause::Vetoed);
    void.veto = Some(world.veto(&other, &["operator/ana"]));
    let refused = world.refuse(&Leaf::Void(void));
    assert!(matches!(refused, LeafRefused::OtherVeto { .. }), "{refused}");
}

#[test]
fn a_new_charter_does_not_save_a_refused_decision() {
    let mut world = World::new();
    let decision = world.decide();
    let mut charter = world.history.charter().clone();
    charter.epoch = charter.epoch.next().unwrap();
    charter.previous = Some(world.history.charter_id());
    world.append(&Leaf::Charter(signed(charter, &OPERATORS))).unwrap();
    let mut void = world.void(&decision.proposal, VoidCause::Vetoed);
    void.approve = Some(decision.votes.clone());
    // Not as the end of a proposal of the old epoch: it is decided.
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::OtherCharter { .. }), "{refused}");
    void.detail = Void::refused_detail(decision.number.next().unwrap());
    let refused = world.refuse(&Leaf::Void(void.clone()));
    assert!(matches!(refused, LeafRefused::NotRefusable { .. }), "{refused}");
    void.detail = Void::refused_detail(decision.number);
    let recorded = world.append(&Leaf::Void(void)).unwrap();
    assert_eq!(recorded.freed, Some(decision.number));
}

/// The next epoch, in which coordinator 4 is `replacement`.
fn amend(world: &mut World, replacement: &CosignSigner) {
    let mut charter = world.history.charter().clone();
    charter.epoch = charter.epoch.next().unwrap();
    charter.previous = Some(world.history.charter_id());
    charter.coordinator[3] = replacement.vkey().clone();
    world.append(&Leaf::Charter(signed(charter, &OPERATORS))).unwrap();
}

#[test]
fn enough_coordinators_refuse_under_both_charters() {
    let mut world = World::new();
    let epoch = world.history.epoch();
    let tally = |world: &World, ids: &[u8]| {
        let names: Vec<KeyName> =
            ids.iter().map(|id| coordinator(*id).vkey().name().clone()).collect();
        let tally = world.history.refusers(epoch).unwrap().tally(|name| names.contains(name));
        (tally.have, tally.need)
    };
    assert_eq!(tally(&world, &[1, 2, 4]), (3, 3));
    assert_eq!(tally(&world, &[1, 2, 5]), (2, 3), "5 is no coordinator yet");
    amend(&mut world, &coordinator(5));
    assert_eq!(tally(&world, &[1, 2, 3]), (3, 3));
    // 3 and 5 could certify a head that holds the amendment, with one that lies.
    assert_eq!(tally(&world, &[1, 2, 4]), (2, 3));
    assert_eq!(tally(&world, &[1, 2, 5]), (2, 3), "under the charter of the decision");
    assert_eq!(tally(&world, &[1, 2, 4, 5]), (3, 3));
    amend(&mut world, &coordinator(6));
    assert!(world.history.refusers(epoch).is_none(), "two charters later it is only abandoned");
}

#[test]
fn a_name_that_two_charters_give_is_the_older_ones() {
    let mut world = World::new();
    let epoch = world.history.epoch();
    let newer = CosignSigner::new(
        coordinator(4).vkey().name().clone(),
        SecretKey::from_seed(Zeroizing::new([4; 32])),
    );
    let older = world.decide().number;
    amend(&mut world, &newer);
    let refusers = world.history.refusers(epoch).unwrap();
    let line = |by: &CosignSigner| {
        let refusal = Refusal {
            origin: world.history.origin().clone(),
            epoch,
            cluster: "neo-testnet".parse().unwrap(),
            number: older,
            leaf: LeafIndex::new(1).unwrap(),
            cause: Cause::Clock,
        };
        by.refuse(&refusal, world.now.to_cosign_time())
    };
    assert_eq!(refusers.of_line(&line(&coordinator(4))), Some(coordinator(4).vkey()));
    assert_eq!(refusers.of_line(&line(&newer)), None);
    let names = [1, 2, 4].map(|id| coordinator(id).vkey().name().clone());
    let tally = refusers.tally(|name| names.contains(name));
    assert_eq!((tally.have, tally.need), (2, 3), "the newer key has not refused");
}
