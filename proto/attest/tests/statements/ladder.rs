//! *budget*: a crash loop is restarted three times, with the pause between, and then people are
//! asked once: read off the leaves alone, whoever reads them.

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::charter::PlaybookLine;
use quorate_attest::history::{AttemptEnd, Incident, LeafRefused, RungNotDue};
use quorate_attest::id::Digest;
use quorate_attest::ladder::{OnFailure, PARAMS, Rto, Rung, Severity};
use quorate_attest::leaf::{Decision, Leaf, Void, VoidCause};
use quorate_attest::log_time::Span;
use quorate_attest::operator_statement::ActKind;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;

use crate::fixture::{OPERATORS, World, charter, signed};

const PAUSE: u64 = 30;

fn world() -> World {
    let mut charter = charter();
    let digest = Digest::of(b"a playbook");
    charter.playbook = vec![PlaybookLine { playbook: "s35".parse().unwrap(), digest }];
    World::with(charter)
}

/// Restart three times, thirty seconds apart, then ask people.
fn rung(step: u32, attempt: u32, on_failure: OnFailure) -> Rung {
    Rung {
        playbook: "s35".parse().unwrap(),
        digest: Digest::of(b"a playbook"),
        step,
        attempt,
        attempts: 3,
        pause: Span::from_secs(PAUSE),
        quiet: Span::from_secs(600),
        on_failure,
        severity: Severity::P2,
        rto: Some(Rto { target: Span::from_secs(120), max: Span::from_secs(900) }),
    }
}

fn nth(attempt: u32) -> Rung {
    rung(1, attempt, if attempt < 3 { OnFailure::Retry } else { OnFailure::Escalate })
}

fn proposal(world: &mut World, rung: &Rung, incident: &str) -> Proposal {
    let mut proposal = world.proposal(Kind::Restart);
    proposal.incident = incident.parse().unwrap();
    proposal.param = rung.params();
    proposal.param.sort();
    proposal
}

fn fail(world: &mut World, decision: &Decision) {
    world.wait(5);
    let outcome = world.outcome(decision, "agent/neo-1", Answer::Applied, Effect::Ineffective);
    world.append(&Leaf::Outcome(outcome)).unwrap();
}

fn refuse(world: &mut World, rung: &Rung, incident: &str) -> RungNotDue {
    let proposal = proposal(world, rung, incident);
    let decision = world.decision(&proposal, &crate::fixture::DOMAINS);
    let refused = world.refuse(&Leaf::Decision(decision));
    let LeafRefused::RungNotDue(why) = refused else {
        panic!("refused for another reason: {refused}")
    };
    why
}

fn incident<'w>(world: &'w World, id: &str) -> Option<&'w Incident> {
    world.history.incident(&"neo-testnet".parse().unwrap(), &id.parse().unwrap())
}

fn crash_loop(world: &mut World, id: &str) {
    for attempt in 1..=3 {
        let next = proposal(world, &nth(attempt), id);
        let decision = world.decide_on(&next);
        assert!(incident(world, id).unwrap().escalated.is_none());
        fail(world, &decision);
        world.wait(PAUSE);
    }
}

#[test]
fn a_crash_loop_is_restarted_three_times_and_people_are_asked_once() {
    let mut world = world();
    crash_loop(&mut world, "s35-neo-4.1");
    let found = incident(&world, "s35-neo-4.1").unwrap().clone();
    assert_eq!((found.attempts, found.last.rung.attempt), (3, 3));
    let escalation = found.escalated.unwrap();
    assert_eq!(escalation.severity, Severity::P2);
    assert_eq!(escalation.number, found.last.number);
    assert_eq!(Some(escalation.since), found.last.ended.map(|(at, _)| at));

    // Neither again, nor further, nor under another name, however long one waits.
    world.wait(1_000_000);
    assert_eq!(refuse(&mut world, &nth(3), "s35-neo-4.1"), RungNotDue::Escalated);
    assert_eq!(refuse(&mut world, &nth(1), "s35-neo-4.1"), RungNotDue::Escalated);
    assert_eq!(refuse(&mut world, &nth(1), "s35-neo-4.9"), RungNotDue::OtherIncident);
    let escalated = world.history.incidents().filter(|(_, _, found)| found.escalated.is_some());
    assert_eq!(escalated.count(), 1);

    // Another machine that reads the same leaves says the same (replay-equal).
    let mut again = world_of(&world.leaves);
    assert_eq!(again.incidents().count(), 1);
    assert_eq!(again.hash(), world.history.hash());
    // A snapshot carries it.
    again = borsh::from_slice(&borsh::to_vec(&world.history).unwrap()).unwrap();
    assert_eq!(again, world.history);

    // An operator closes it: the next crash is a new incident.
    let close = world.act(ActKind::Close, "s35-neo-4.1");
    world.append(&Leaf::Act(signed(close, &OPERATORS[..1]))).unwrap();
    assert!(incident(&world, "s35-neo-4.1").is_none());
    let next = proposal(&mut world, &nth(1), "s35-neo-4.4");
    world.decide_on(&next);
}

fn world_of(leaves: &[Vec<u8>]) -> quorate_attest::history::History {
    use quorate_attest::history::History;
    use quorate_attest::signed::Signatures;
    let first = Leaf::parse(&leaves[0]).unwrap();
    let (mut history, _) = History::found(&first, Signatures::Verify).unwrap();
    for leaf in &leaves[1..] {
        history.append_bytes(leaf, Signatures::Verify).unwrap();
    }
    history
}

#[test]
fn attempts_follow_each_other_after_their_pause() {
    let mut world = world();
    assert_eq!(refuse(&mut world, &nth(2), "a"), RungNotDue::NotFirst { found: (1, 2) });
    let first = proposal(&mut world, &nth(1), "a");
    let first = world.decide_on(&first);
    fail(&mut world, &first);
    let ended = world.now;
    let early = RungNotDue::Pause {
        pause: Span::from_secs(PAUSE),
        next_allowed: ended.saturating_add(Span::from_secs(PAUSE)),
    };
    assert_eq!(refuse(&mut world, &nth(2), "a"), early);
    world.wait(PAUSE - 1);
    assert_eq!(refuse(&mut world, &nth(2), "a"), early);
    world.wait(1);
    let out_of_order = RungNotDue::Order { after: (1, 1), found: (1, 3) };
    assert_eq!(refuse(&mut world, &nth(3), "a"), out_of_order);
    assert_eq!(refuse(&mut world, &nth(2), "b"), RungNotDue::OtherIncident);
    let second = proposal(&mut world, &nth(2), "a");
    let second = world.decide_on(&second);
    // While it runs, the slot alone refuses; once more of the same is no way around either.
    fail(&mut world, &second);
    world.wait(PAUSE);
    assert_eq!(
        refuse(&mut world, &nth(2), "a"),
        RungNotDue::Order { after: (1, 2), found: (1, 2) }
    );
}

#[test]
fn a_success_ends_the_incident_only_after_its_quiet() {
    let mut world = world();
    let first = proposal(&mut world, &nth(1), "a");
    let first = world.decide_on(&first);
    world.finish(&first);
    assert_eq!(incident(&world, "a").unwrap().last.ended, Some((world.now, AttemptEnd::Effective)));
    world.wait(599);
    assert_eq!(refuse(&mut world, &nth(1), "b"), RungNotDue::OtherIncident);
    let again = proposal(&mut world, &nth(2), "a");
    let again = world.decide_on(&again);
    world.finish(&again);
    world.wait(600);
    let fresh = proposal(&mut world, &nth(1), "b");
    world.decide_on(&fresh);
    assert!(incident(&world, "a").is_none(), "over, and forgotten");
}

#[test]
fn a_refused_decision_was_no_attempt_and_harm_asks_people_at_once() {
    let mut world = world();
    let first = proposal(&mut world, &nth(1), "a");
    let refused = world.decide_on(&first);
    let mut void = world.void(&refused.proposal, VoidCause::Superseded);
    void.detail = Void::refused_detail(refused.number);
    void.approve = Some(refused.votes.clone());
    world.append(&Leaf::Void(void)).unwrap();
    assert!(incident(&world, "a").is_none());
    let first = proposal(&mut world, &nth(1), "a");
    let first = world.decide_on(&first);
    let harm = world.outcome(&first, "agent/neo-1", Answer::Applied, Effect::Harmful);
    world.append(&Leaf::Outcome(harm)).unwrap();
    let found = incident(&world, "a").unwrap();
    assert_eq!(found.last.rung.on_failure, OnFailure::Retry);
    assert!(found.escalated.is_some(), "nobody tries again what did harm");
}

#[test]
fn a_step_opens_by_the_failure_of_the_last_attempt_before_it() {
    let mut world = world();
    let last = Rung { attempts: 1, ..rung(1, 1, OnFailure::Next) };
    let first = proposal(&mut world, &last, "a");
    let first = world.decide_on(&first);
    fail(&mut world, &first);
    world.wait(PAUSE);
    assert!(incident(&world, "a").unwrap().escalated.is_none());
    let again = Rung { attempts: 1, ..rung(1, 1, OnFailure::Next) };
    assert!(matches!(refuse(&mut world, &again, "a"), RungNotDue::Order { .. }));
    let second = Rung { attempts: 1, ..rung(2, 1, OnFailure::Escalate) };
    let second = proposal(&mut world, &second, "a");
    let second = world.decide_on(&second);
    fail(&mut world, &second);
    assert!(incident(&world, "a").unwrap().escalated.is_some());
}

#[test]
fn a_rung_that_does_not_fit_or_is_not_pinned_is_refused() {
    let mut world = world();
    let good = nth(1);
    let good_text = proposal(&mut world, &good, "a");
    assert_eq!(Rung::of(&good_text), Ok(Some(good.clone())));
    let mut unpinned = good.clone();
    unpinned.digest = Digest::of(b"another file");
    let mut wrong = vec![unpinned];
    wrong.push(Rung { attempts: 1, on_failure: OnFailure::Retry, ..nth(1) });
    wrong.push(Rung { on_failure: OnFailure::Escalate, ..nth(1) });
    wrong.push(Rung { attempts: 11, ..nth(1) });
    wrong.push(Rung { step: 17, ..nth(1) });
    let (target, max) = (Span::from_secs(2), Span::from_secs(1));
    wrong.push(Rung { rto: Some(Rto { target, max }), ..nth(1) });
    for rung in wrong {
        let proposal = proposal(&mut world, &rung, "a");
        let decision = world.decision(&proposal, &crate::fixture::DOMAINS);
        let refused = world.refuse(&Leaf::Decision(decision));
        let fits = matches!(refused, LeafRefused::Rung(_) | LeafRefused::PlaybookNotPinned { .. });
        assert!(fits, "{rung:?}: {refused}");
    }
    // One parameter missing, or one alone, is no rung.
    for left_out in &PARAMS[..4] {
        let mut some = good_text.clone();
        some.param.retain(|param| param.key.as_str() != *left_out);
        assert!(Rung::of(&some).is_err(), "{left_out} is missing");
        some.param = good.params();
        some.param.retain(|param| param.key.as_str() == *left_out);
        assert!(Rung::of(&some).is_err(), "{left_out} alone");
    }
}
