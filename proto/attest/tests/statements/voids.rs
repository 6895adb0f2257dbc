//! *veto-final*: every proposal ends once, and a void shows why.

use quorate_attest::history::{End, LeafRefused};
use quorate_attest::leaf::{Leaf, LeafError, VoidCause};
use quorate_attest::remediation::Kind;
use quorate_attest::vote::{Verdict, Vote};

use crate::fixture::{DOMAINS, World, key_name, signed};

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
