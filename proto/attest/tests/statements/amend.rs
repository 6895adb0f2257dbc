//! The root of trust: only a quorum of operators, of the old and of the new charter, changes it.

use quorate_attest::charter::{Charter, CharterError};
use quorate_attest::history::LeafRefused;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::operator_statement::IncarnationStatement;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::LinesRefused;
use quorate_attest::text::{Statement, TextError};

use crate::fixture::{DOMAINS, OPERATORS, World, charter, coordinator, signed, signer};

/// The next epoch of the world's charter.
fn next(world: &World) -> Charter {
    let mut charter = world.history.charter().clone();
    charter.epoch = charter.epoch.next().unwrap();
    charter.previous = Some(world.history.charter_id());
    charter
}

/// The next epoch with other operators: ana stays, dora and emil replace ben and chen.
fn replaced(world: &World) -> Charter {
    let mut charter = next(world);
    charter.operator.truncate(1);
    for name in ["operator/dora", "operator/emil"] {
        let mut line = charter.operator[0].clone();
        line.key = signer(name).vkey().clone();
        charter.operator.push(line);
    }
    charter
}

#[test]
fn the_thresholds_of_both_charters_are_met() {
    let mut world = World::new();
    let charter = replaced(&world);
    let leaf = |by: &[&str]| Leaf::Charter(signed(charter.clone(), by));
    let refused = world.refuse(&leaf(&["operator/dora", "operator/emil"]));
    assert!(matches!(refused, LeafRefused::CharterThreshold { which: "old", .. }), "{refused}");
    let refused = world.refuse(&leaf(&["operator/ben", "operator/chen"]));
    assert!(matches!(refused, LeafRefused::CharterThreshold { which: "new", .. }), "{refused}");
    world.append(&leaf(&["operator/ana", "operator/ben", "operator/dora"])).unwrap();
    assert_eq!(world.history.epoch().get(), 2);
    assert_eq!(world.history.charter_id(), charter.id());
}

#[test]
fn agents_and_coordinators_change_no_charter() {
    let mut world = World::new();
    let charter = next(&world);
    let refused = world.refuse(&Leaf::Charter(signed(charter, &DOMAINS)));
    let unknown =
        matches!(refused, LeafRefused::Lines { source: LinesRefused::UnknownKey { .. }, .. });
    assert!(unknown, "{refused}");
}

#[test]
fn epochs_follow_one_another() {
    let mut world = World::new();
    let mut skipped = next(&world);
    skipped.epoch = skipped.epoch.next().unwrap();
    let refused = world.refuse(&Leaf::Charter(signed(skipped, &OPERATORS)));
    assert!(matches!(refused, LeafRefused::OtherEpoch { .. }), "{refused}");
    let mut other = next(&world);
    other.previous = Some(quorate_attest::id::CharterId::of_text("another"));
    let refused = world.refuse(&Leaf::Charter(signed(other, &OPERATORS)));
    assert!(matches!(refused, LeafRefused::PreviousCharter { .. }), "{refused}");
}

#[test]
fn a_proposal_of_the_old_epoch_ends_in_a_void_and_starts_nothing() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let charter = next(&world);
    world.append(&Leaf::Charter(signed(charter, &OPERATORS))).unwrap();
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::OtherEpoch { .. }), "{refused}");
    let refused = world.refuse(&Leaf::Void(world.void(&proposal, VoidCause::Superseded)));
    assert!(matches!(refused, LeafRefused::OtherCharter { .. }), "{refused}");
    world.append(&Leaf::Void(world.void(&proposal, VoidCause::Epoch))).unwrap();
}

#[test]
fn a_decision_of_an_older_epoch_is_reported_on_but_not_continued() {
    let mut world = World::new();
    let decision = world.decide();
    let charter = next(&world);
    world.append(&Leaf::Charter(signed(charter, &OPERATORS))).unwrap();
    let mut again = world.decision(&decision.proposal, &DOMAINS);
    again.continues = Some(decision.number);
    let refused = world.refuse(&Leaf::Decision(again));
    assert!(matches!(refused, LeafRefused::OtherEpoch { .. }), "{refused}");
    assert_eq!(world.finish(&decision).freed, Some(decision.number));
    assert_eq!(world.decide().number.get(), 2, "numbers go on through epochs");
}

fn error(charter: &Charter) -> CharterError {
    match Charter::parse(&charter.text()) {
        Err(TextError::Charter(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn k_follows_from_n_and_f() {
    for (n, f, k) in
        [(3, 0, 2), (4, 0, 3), (4, 1, 3), (5, 0, 3), (5, 1, 4), (7, 0, 4), (7, 1, 5), (7, 2, 5)]
    {
        let mut charter = charter();
        charter.coordinator = (1..=n).map(|id| coordinator(id).vkey().clone()).collect();
        (charter.faults, charter.threshold) = (f, k);
        Charter::parse(&charter.text()).unwrap();
        charter.threshold = k - 1;
        assert!(matches!(error(&charter), CharterError::Threshold { .. }));
        charter.threshold = k + 1;
        assert!(matches!(error(&charter), CharterError::Threshold { .. }));
    }
}

#[test]
fn other_numbers_of_coordinators_and_liars_are_refused() {
    for n in [1, 2, 6, 8] {
        let mut charter = charter();
        charter.coordinator = (1..=n).map(|id| coordinator(id).vkey().clone()).collect();
        assert!(matches!(error(&charter), CharterError::Coordinators { .. }));
    }
    for (n, f) in [(3, 1), (4, 2), (5, 2), (7, 3)] {
        let mut charter = charter();
        charter.coordinator = (1..=n).map(|id| coordinator(id).vkey().clone()).collect();
        charter.faults = f;
        assert!(matches!(error(&charter), CharterError::Faults { .. }));
    }
}

#[test]
fn a_key_has_one_name_and_one_role() {
    let mut charter = charter();
    charter.operator[1].key = charter.operator[0].key.clone();
    assert!(matches!(error(&charter), CharterError::SameKey { .. }));
    let mut charter = self::charter();
    charter.agent[0].key = signer("operator/dora").vkey().clone();
    assert!(matches!(error(&charter), CharterError::KeyNameForm { .. }));
    let mut charter = self::charter();
    charter.operator[0].key = coordinator(1).vkey().clone();
    assert!(matches!(error(&charter), CharterError::KeyType { .. } | CharterError::SameKey { .. }));
    // One secret under a coordinator's and a validator's name is still one key.
    let mut charter = self::charter();
    let public = charter.coordinator[0].public().clone();
    let name = signer("operator/dora").vkey().name().clone();
    charter.operator[0].key =
        quorate_attest::key::VerifierKey::new(name, quorate_attest::key::KeyType::Note, public);
    assert!(matches!(error(&charter), CharterError::SameKey { .. }));
}

#[test]
fn two_keys_of_one_name_are_refused() {
    let mut charter = charter();
    let name = charter.operator[0].key.name().clone();
    let public = signer("operator/dora").vkey().public().clone();
    charter.operator[1].key =
        quorate_attest::key::VerifierKey::new(name, quorate_attest::key::KeyType::Note, public);
    assert!(matches!(error(&charter), CharterError::SameName { .. }));
}

#[test]
fn a_charter_class_of_one_is_refused() {
    let mut charter = charter();
    charter.class[0].policy.min = 1;
    assert!(matches!(error(&charter), CharterError::CharterClassWeak));
    let mut charter = self::charter();
    charter.class[0].policy.numerator = 0;
    assert!(matches!(error(&charter), CharterError::CharterClassWeak));
}

#[test]
fn an_unreachable_class_is_refused() {
    let mut charter = charter();
    charter.class[2].policy.operators = 4;
    assert!(matches!(error(&charter), CharterError::Unreachable { .. }));
    let mut charter = self::charter();
    charter.class[3].policy.min = 7;
    assert!(matches!(error(&charter), CharterError::Unreachable { .. }));
    // One operator can never change the charter.
    let mut charter = self::charter();
    charter.operator.truncate(1);
    assert!(matches!(error(&charter), CharterError::CharterUnreachable { .. }));
}

#[test]
fn warnings_name_whose_loss_blocks_what() {
    assert!(
        charter().warnings().iter().all(|warning| !warning.to_string().is_empty()),
        "each warning says something"
    );
    let mut two = charter();
    two.operator.truncate(2);
    let two = Charter::parse(&two.text()).unwrap();
    assert!(two.warnings().iter().any(|warning| warning.to_string().contains("charter")));
    assert!(two.warnings().len() > charter().warnings().len());
}

fn incarnation(world: &World, charter: &Charter) -> IncarnationStatement {
    IncarnationStatement {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        old_origin: world.history.origin().clone(),
        size: world.history.size(),
        root: world.history.root(),
        charter: charter.id(),
        reason: "the quorum was lost".parse().unwrap(),
    }
}

/// The next charter under the next origin.
fn reborn(world: &World) -> Charter {
    let mut charter = next(world);
    charter.origin.incarnation = charter.origin.incarnation.next().unwrap();
    charter.origin.salt = [9; 16];
    charter.log.clear();
    charter
}

#[test]
fn an_incarnation_goes_on_under_a_new_origin_with_the_charter_it_names() {
    let mut world = World::new();
    let decision = world.decide();
    let charter = reborn(&world);
    let statement = incarnation(&world, &charter);
    world.append(&Leaf::Incarnation(signed(statement, &OPERATORS))).unwrap();
    // Nothing comes between the incarnation and its charter.
    let proposal = world.proposal(Kind::Restart);
    let refused = world.refuse(&Leaf::Void(world.void(&proposal, VoidCause::Superseded)));
    assert!(matches!(refused, LeafRefused::CharterExpected { .. }), "{refused}");
    let mut other = charter.clone();
    other.max_age = quorate_attest::log_time::Span::from_secs(1);
    let refused = world.refuse(&Leaf::Charter(signed(other, &OPERATORS)));
    assert!(matches!(refused, LeafRefused::IncarnationCharter { .. }), "{refused}");
    world.append(&Leaf::Charter(signed(charter, &OPERATORS))).unwrap();
    // Numbers and the slot survive; what is stuck can be reported on under the new origin.
    assert_eq!(world.finish(&decision).freed, Some(decision.number));
    assert_eq!(world.decide().token().to_string(), "2.2");
}

#[test]
fn an_incarnation_continues_this_log_and_no_other() {
    let mut world = World::new();
    world.decide();
    let charter = reborn(&world);
    let good = incarnation(&world, &charter);
    let refused = world.refuse(&Leaf::Incarnation(signed(good.clone(), &["operator/ana"])));
    assert!(matches!(refused, LeafRefused::CharterThreshold { which: "old", .. }), "{refused}");
    let mut jump = good.clone();
    jump.origin.incarnation = jump.origin.incarnation.next().unwrap();
    let refused = world.refuse(&Leaf::Incarnation(signed(jump, &OPERATORS)));
    assert!(matches!(refused, LeafRefused::IncarnationOrigin { .. }), "{refused}");
    let mut cut = good.clone();
    cut.size = cut
        .size
        .last_index()
        .map(|index| quorate_attest::number::TreeSize::new(index.get()).unwrap())
        .unwrap();
    let refused = world.refuse(&Leaf::Incarnation(signed(cut, &OPERATORS)));
    assert!(matches!(refused, LeafRefused::IncarnationHead { .. }), "{refused}");
    let mut fork = good;
    fork.root = quorate_attest::merkle::empty_root();
    let refused = world.refuse(&Leaf::Incarnation(signed(fork, &OPERATORS)));
    assert!(matches!(refused, LeafRefused::IncarnationHead { .. }), "{refused}");
}

#[test]
fn an_incarnation_needs_the_new_charters_operators_too() {
    let mut world = World::new();
    let mut charter = reborn(&world);
    charter.operator.truncate(1);
    for name in ["operator/dora", "operator/emil"] {
        let mut line = charter.operator[0].clone();
        line.key = signer(name).vkey().clone();
        charter.operator.push(line);
    }
    let both = ["operator/ana", "operator/ben", "operator/dora"];
    let statement = incarnation(&world, &charter);
    let mut old_only = World::new();
    let leaf = Leaf::Incarnation(signed(statement.clone(), &["operator/ben", "operator/chen"]));
    old_only.append(&leaf).unwrap();
    let refused = old_only.refuse(&Leaf::Charter(signed(charter.clone(), &both)));
    assert!(matches!(refused, LeafRefused::CharterThreshold { which: "new", .. }), "{refused}");
    world.append(&Leaf::Incarnation(signed(statement, &both))).unwrap();
    world.append(&Leaf::Charter(signed(charter, &both))).unwrap();
}
