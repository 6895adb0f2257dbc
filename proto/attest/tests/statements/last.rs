//! *single-effect*: an undo outside the slot can see whether its target was changed since.

use quorate_attest::history::{History, LastOn};
use quorate_attest::leaf::{Decision, Leaf, VoidCause};
use quorate_attest::log_time::Span;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;

use crate::fixture::World;

const DAY: u64 = 24 * 60 * 60;

fn last(history: &History, of: &Proposal) -> Option<LastOn> {
    history.last_on(&of.cluster, &of.target)
}

fn on(decision: &Decision) -> Option<LastOn> {
    Some(LastOn { number: decision.number, proposal: decision.proposal.id() })
}

/// An isolation that takes itself back after a minute.
fn isolate(world: &mut World) -> Proposal {
    let mut proposal = world.proposal(Kind::IsolateMember);
    proposal.param = vec!["ttl-ms 60000".parse().unwrap()];
    proposal
}

#[test]
fn a_later_decision_of_the_target_is_seen() {
    let mut world = World::new();
    let restart = world.decide();
    assert_eq!(last(&world.history, &restart.proposal), None, "nothing to take back");
    world.finish(&restart);
    let proposal = isolate(&mut world);
    let isolated = world.decide_on(&proposal);
    assert_eq!(last(&world.history, &proposal), on(&isolated));
    world.finish(&isolated);
    // Another target says nothing of this one.
    let mut other = world.proposal(Kind::Restart);
    other.target = "member:neo-3".parse().unwrap();
    let other = world.decide_on(&other);
    world.finish(&other);
    assert_eq!(last(&world.history, &proposal), on(&isolated));
    let later = world.decide();
    assert_eq!(last(&world.history, &proposal), on(&later));
}

#[test]
fn a_reissue_is_the_same_change_under_a_higher_number() {
    let mut world = World::new();
    let proposal = isolate(&mut world);
    let first = world.decide_on(&proposal);
    world.wait(603);
    let mut again = world.decision(&proposal, &crate::fixture::DOMAINS);
    again.continues = Some(first.number);
    again.expires = again.not_before.saturating_add(Span::from_secs(600));
    world.append(&Leaf::Decision(again.clone())).unwrap();
    assert_eq!(last(&world.history, &proposal), on(&again));
    assert_eq!(last(&world.history, &proposal).unwrap().proposal, proposal.id());
}

#[test]
fn a_refused_decision_changed_nothing() {
    let mut world = World::new();
    let proposal = isolate(&mut world);
    let isolated = world.decide_on(&proposal);
    world.finish(&isolated);
    let refused = world.decide();
    let mut void = world.void(&refused.proposal, VoidCause::Superseded);
    void.detail = quorate_attest::leaf::Void::refused_detail(refused.number);
    void.approve = Some(refused.votes.clone());
    world.append(&Leaf::Void(void)).unwrap();
    assert_eq!(last(&world.history, &proposal), on(&isolated));
}

#[test]
fn what_is_long_overdue_is_forgotten() {
    let mut world = World::new();
    let proposal = isolate(&mut world);
    let isolated = world.decide_on(&proposal);
    world.finish(&isolated);
    // Ten minutes to start, a minute to live, thirty days: then it is forgotten.
    world.wait(30 * DAY + 660);
    let mut other = world.proposal(Kind::Restart);
    other.target = "member:neo-3".parse().unwrap();
    let other = world.decide_on(&other);
    assert_eq!(last(&world.history, &proposal), on(&isolated), "through its last moment");
    world.finish(&other);
    world.wait(1);
    let mut other = world.proposal(Kind::Restart);
    other.target = "member:neo-3".parse().unwrap();
    world.decide_on(&other);
    assert_eq!(last(&world.history, &proposal), None);
}
