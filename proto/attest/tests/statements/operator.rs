//! Overrides, pauses and acts: operators only, in time, and one leaf for one text.

use quorate_attest::history::LeafRefused;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::operator_statement::{ActKind, Pause, Scope};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::LinesRefused;

use crate::fixture::{World, key_name, signed};

#[test]
fn an_override_covers_one_proposal_for_at_most_an_hour() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let other = world.proposal(Kind::Restart);
    let mut lift = world.lift("storm", &proposal);
    lift.expires = world.now.saturating_add(Span::from_secs(61 * 60));
    world.append(&Leaf::Override(signed(lift.clone(), &["operator/ana"]))).unwrap();
    let in_force = |at| world.history.overrides_for(&proposal.id(), at).count();
    assert_eq!(in_force(world.now), 0, "61 minutes ahead it does not cover yet");
    assert_eq!(in_force(world.now.saturating_add(Span::from_secs(60))), 1);
    assert_eq!(in_force(lift.expires), 1);
    assert_eq!(in_force(lift.expires.saturating_add(Span::from_millis(1))), 0);
    assert_eq!(world.history.overrides_for(&other.id(), lift.expires).count(), 0);
}

#[test]
fn some_rules_need_two_operators_and_some_cannot_be_lifted() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    for rule in ["quorum-floor", "partition-not-death"] {
        let lift = world.lift(rule, &proposal);
        let refused = world.refuse(&Leaf::Override(signed(lift.clone(), &["operator/ana"])));
        assert!(matches!(refused, LeafRefused::TooFewOperators { need: 2, found: 1 }));
        let two = signed(lift, &["operator/ana", "operator/ben"]);
        world.append(&Leaf::Override(two)).unwrap();
    }
    for rule in ["one-survivor", "tombstone", "dead-stays-dead"] {
        let lift = signed(world.lift(rule, &proposal), &["operator/ana", "operator/ben"]);
        let refused = world.refuse(&Leaf::Override(lift));
        assert!(matches!(refused, LeafRefused::NoOverride { .. }), "{refused}");
    }
}

#[test]
fn agents_lift_nothing() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let lift = world.lift("storm", &proposal);
    let refused = world.refuse(&Leaf::Override(signed(lift, &["agent/neo-1"])));
    let unknown =
        matches!(refused, LeafRefused::Lines { source: LinesRefused::UnknownKey { .. }, .. });
    assert!(unknown, "{refused}");
}

#[test]
fn an_ended_proposal_is_past_lifting() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    world.append(&Leaf::Void(world.void(&proposal, VoidCause::Superseded))).unwrap();
    let lift = signed(world.lift("storm", &proposal), &["operator/ana"]);
    let refused = world.refuse(&Leaf::Override(lift));
    assert!(matches!(refused, LeafRefused::AlreadyEnded { .. }), "{refused}");
}

#[test]
fn one_text_makes_one_leaf_whoever_signs_it_next() {
    let mut world = World::new();
    let act = world.act(ActKind::Close, "incident-1");
    world.append(&Leaf::Act(signed(act.clone(), &["operator/ana"]))).unwrap();
    for by in ["operator/ana", "operator/ben"] {
        let refused = world.refuse(&Leaf::Act(signed(act.clone(), &[by])));
        assert!(matches!(refused, LeafRefused::StatementKnown), "{refused}");
    }
}

#[test]
fn an_expired_text_is_refused_before_it_is_forgotten() {
    let mut world = World::new();
    let act = world.act(ActKind::Close, "incident-1");
    world.append(&Leaf::Act(signed(act.clone(), &["operator/ana"]))).unwrap();
    world.wait(601);
    let decision = world.decide();
    world.finish(&decision);
    assert!(!world.history.has_text(&quorate_attest::text::Statement::digest(&act)));
    let refused = world.refuse(&Leaf::Act(signed(act, &["operator/ana"])));
    assert!(matches!(refused, LeafRefused::StatementExpired { .. }), "{refused}");
}

#[test]
fn an_act_is_about_something_of_its_own_cluster() {
    let mut world = World::new();
    let decision = world.decide();
    let instance = "000102030405060708090a0b0c0d0e0f";
    let enrol = |agent: &str| format!("{}+{instance}", key_name(agent));
    for (act, subject) in [
        (ActKind::Ack, "1.2".to_owned()),
        (ActKind::Ack, "2.1".to_owned()),
        (ActKind::Enrol, enrol("agent/other")),
        (ActKind::Enrol, enrol("operator/ana")),
    ] {
        let act = world.act(act, &subject);
        let refused = world.refuse(&Leaf::Act(signed(act, &["operator/ana"])));
        assert!(matches!(refused, LeafRefused::SubjectElsewhere { .. }), "{refused}");
    }
    for (act, subject) in [
        (ActKind::Ack, "1.1".to_owned()),
        (ActKind::Ack, decision.proposal.id().to_string()),
        (ActKind::Enrol, enrol("agent/neo-1")),
        (ActKind::ResetBreaker, "member:neo-4".to_owned()),
    ] {
        let act = signed(world.act(act, &subject), &["operator/ana"]);
        world.append(&Leaf::Act(act)).unwrap();
    }
    let mut act = world.act(ActKind::Close, "incident-1");
    act.cluster = "other".parse().unwrap();
    let refused = world.refuse(&Leaf::Act(signed(act, &["operator/ana"])));
    assert!(matches!(refused, LeafRefused::UnknownCluster { .. }), "{refused}");
}

#[test]
fn a_pause_holds_until_its_end_or_until_it_is_lifted() {
    let mut world = World::new();
    let cluster = "neo-testnet".parse().unwrap();
    let until = world.now.saturating_add(Span::from_secs(60));
    let pause = signed(world.pause("*", "paused", Some(until)), &["operator/ana"]);
    world.append(&Leaf::Pause(pause)).unwrap();
    assert!(world.history.paused(&cluster, world.now).is_some());
    assert!(world.history.paused(&cluster, until).is_none());
    let pause = signed(world.pause("neo-testnet", "paused", None), &["operator/ana"]);
    world.append(&Leaf::Pause(pause)).unwrap();
    assert!(world.history.paused(&cluster, until).is_some());
    let running = signed(world.pause("neo-testnet", "running", None), &["operator/ana"]);
    world.append(&Leaf::Pause(running)).unwrap();
    assert!(world.history.paused(&cluster, until).is_none());
    assert_eq!(world.history.pauses(world.now).count(), 1);
}

#[test]
fn two_people_each_hold_a_pause_and_lift_their_own() {
    let mut world = World::new();
    let mut say = |automation: &str, by: &[&str]| {
        let pause = signed(world.pause("*", automation, None), by);
        world.append(&Leaf::Pause(pause)).unwrap();
        let holders = world.history.pause_holders(&Scope::All, world.now);
        let holders: Vec<String> =
            holders.map(|name| name.as_str().rsplit('/').next().unwrap().to_owned()).collect();
        (holders.join(" "), world.history.pauses(world.now).count())
    };
    assert_eq!(say("paused", &["operator/ana"]), ("ana".to_owned(), 1));
    assert_eq!(say("paused", &["operator/ben"]), ("ana ben".to_owned(), 2));
    assert_eq!(say("running", &["operator/ana"]), ("ben".to_owned(), 1));
    assert_eq!(say("running", &["operator/ana"]), ("ben".to_owned(), 1), "nothing of hers");
    // One text of two people is one pause, held until both have lifted it.
    assert_eq!(say("paused", &["operator/ana", "operator/ben"]), ("ana ben".to_owned(), 1));
    assert_eq!(say("running", &["operator/ben"]), ("ana".to_owned(), 1));
    assert_eq!(say("running", &["operator/ben", "operator/chen"]), (String::new(), 0), "two lift");
}

#[test]
fn a_pause_of_two_is_held_by_whoever_neither_lifted_nor_replaced_it() {
    let mut world = World::new();
    let say = |world: &mut World, automation: &str, until: Option<LogTime>, by: &[&str]| {
        let pause = world.pause("*", automation, until);
        world.append(&Leaf::Pause(signed(pause.clone(), by))).unwrap();
        pause
    };
    let holders = |world: &World, pause: &Pause| {
        let names = world.history.holders_of(pause);
        names.map(|name| name.as_str().rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ["operator/ana", "operator/ben", "operator/chen"];
    let first = say(&mut world, "paused", None, &all);
    assert_eq!(holders(&world, &first), ["ana", "ben", "chen"]);
    say(&mut world, "running", None, &["operator/ana"]);
    assert_eq!(holders(&world, &first), ["ben", "chen"], "she has lifted her part");
    let later = world.now.saturating_add(Span::from_secs(60));
    let second = say(&mut world, "paused", Some(later), &["operator/ben"]);
    assert_eq!(holders(&world, &first), ["chen"], "he holds a newer one instead");
    assert_eq!(holders(&world, &second), ["ben"]);
    assert_eq!(world.history.pauses(world.now).count(), 2);
}
