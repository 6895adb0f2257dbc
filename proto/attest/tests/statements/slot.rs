//! *single-effect*, *token-monotone*: one decision under way, freed by state and by nothing else.

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::history::{End, LeafRefused, Orders};
use quorate_attest::id::Digest;
use quorate_attest::leaf::{Decision, Leaf, Void, VoidCause};
use quorate_attest::log_time::Span;
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::{Param, Proposal};
use quorate_attest::remediation::Kind;

use crate::fixture::{DOMAINS, World, key_name};

fn continuation(world: &World, of: &Decision) -> Decision {
    let mut next = world.decision(&of.proposal, &DOMAINS);
    next.continues = Some(of.number);
    next.expires = next.not_before.saturating_add(Span::from_secs(600));
    next
}

fn abandon(world: &mut World, number: DecisionNumber) -> Proposal {
    let mut proposal = world.proposal(Kind::Abandon);
    proposal.target = format!("decision:{number}").parse().unwrap();
    proposal.executor.clear();
    proposal.param = vec![Param::new("stopped".parse().unwrap(), "kill-9".parse().unwrap())];
    proposal
}

fn rollback(world: &mut World) -> Decision {
    let mut proposal = world.proposal(Kind::Restart);
    let digest = Digest::of(b"rollback").to_string().parse().unwrap();
    proposal.param = vec![Param::new("rollback".parse().unwrap(), digest)];
    world.decide_on(&proposal)
}

fn slot(world: &World) -> Option<quorate_attest::history::Slot> {
    let cluster = "neo-testnet".parse().unwrap();
    world.history.cluster(&cluster).and_then(|history| history.slot().cloned())
}

#[test]
fn a_decision_takes_the_slot_and_its_outcome_frees_it() {
    let mut world = World::new();
    let decision = world.decide();
    assert_eq!(slot(&world).unwrap().token, decision.token());
    let recorded = world.finish(&decision);
    assert_eq!(recorded.freed, Some(decision.number));
    assert_eq!(slot(&world), None);
    assert_eq!(world.decide().token().to_string(), "1.2");
}

#[test]
fn no_clock_frees_a_slot() {
    let mut world = World::new();
    let decision = world.decide();
    world.wait(1_000_000);
    let proposal = world.proposal(Kind::Restart);
    let next = world.decision(&proposal, &DOMAINS);
    let refused = world.refuse(&Leaf::Decision(next));
    assert!(matches!(refused, LeafRefused::SlotTaken { holder, .. } if holder == decision.number));
}

#[test]
fn every_executor_is_awaited_and_none_answers_twice() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.executor.push(key_name("agent/neo-2"));
    let decision = world.decide_on(&proposal);
    let first = world.outcome(&decision, "agent/neo-1", Answer::Applied, Effect::Effective);
    world.append(&Leaf::Outcome(first.clone())).unwrap();
    assert!(slot(&world).is_some());
    let refused = world.refuse(&Leaf::Outcome(first));
    assert!(matches!(refused, LeafRefused::NotAwaited { .. }), "{refused}");
    let other = world.outcome(&decision, "agent/neo-3", Answer::Applied, Effect::Effective);
    let refused = world.refuse(&Leaf::Outcome(other));
    assert!(matches!(refused, LeafRefused::NotAwaited { .. }), "{refused}");
    let second = world.outcome(&decision, "agent/neo-2", Answer::Failed, Effect::None);
    assert_eq!(world.append(&Leaf::Outcome(second)).unwrap().freed, Some(decision.number));
}

#[test]
fn a_report_is_believed_from_its_own_agent_only() {
    let mut world = World::new();
    let decision = world.decide();
    let mut outcome = world.outcome(&decision, "agent/neo-1", Answer::Applied, Effect::Effective);
    outcome.report.lines =
        crate::fixture::signed(outcome.report.statement.clone(), &["agent/neo-2"]).lines;
    let refused = world.refuse(&Leaf::Outcome(outcome));
    assert!(matches!(refused, LeafRefused::Lines { what: "report", .. }), "{refused}");
}

#[test]
fn inconclusive_and_unknown_reports_keep_the_slot() {
    for (answer, effect) in
        [(Answer::Applied, Effect::Inconclusive), (Answer::Unknown, Effect::Effective)]
    {
        let mut world = World::new();
        let decision = world.decide();
        let outcome = world.outcome(&decision, "agent/neo-1", answer, effect);
        let refused = world.refuse(&Leaf::Outcome(outcome));
        assert!(matches!(refused, LeafRefused::NotTerminal { .. }), "{refused}");
    }
}

#[test]
fn numbers_rise_by_one() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    for number in [2, 7] {
        let mut decision = world.decision(&proposal, &DOMAINS);
        decision.number = DecisionNumber::new(number).unwrap();
        let refused = world.refuse(&Leaf::Decision(decision));
        assert!(matches!(refused, LeafRefused::WrongNumber { .. }), "{refused}");
    }
    let decision = world.decide();
    world.finish(&decision);
    let proposal = world.proposal(Kind::Restart);
    let mut again = world.decision(&proposal, &DOMAINS);
    again.number = decision.number;
    let refused = world.refuse(&Leaf::Decision(again));
    assert!(matches!(refused, LeafRefused::WrongNumber { .. }), "{refused}");
}

#[test]
fn one_vote_set_makes_one_decision() {
    let mut world = World::new();
    let decision = world.decide();
    world.finish(&decision);
    let again = world.decision(&decision.proposal, &DOMAINS);
    let refused = world.refuse(&Leaf::Decision(again));
    assert!(matches!(refused, LeafRefused::AlreadyEnded { .. }), "{refused}");
}

#[test]
fn a_forgotten_proposal_cannot_be_decided_again_because_it_is_expired() {
    let mut world = World::new();
    let decision = world.decide();
    world.finish(&decision);
    world.wait(601);
    let other = world.decide();
    world.finish(&other);
    assert_eq!(world.history.ended(&decision.proposal.id()), None);
    assert_eq!(world.history.remembered(), 1);
    let mut again = world.decision(&decision.proposal, &DOMAINS);
    let refused = world.refuse(&Leaf::Decision(again.clone()));
    assert!(matches!(refused, LeafRefused::TimesOutOfOrder { .. }), "{refused}");
    again.expires = again.not_before.saturating_add(Span::from_secs(60));
    let refused = world.refuse(&Leaf::Decision(again));
    assert!(matches!(refused, LeafRefused::OutlivesProposal { .. }), "{refused}");
}

#[test]
fn a_lost_executor_is_ordered_to_continue_under_a_higher_token() {
    let mut world = World::new();
    let first = world.decide();
    // Past the votes' expiry: the executor resumes only what its own journal shows.
    world.wait(3_000);
    let second = continuation(&world, &first);
    world.append(&Leaf::Decision(second.clone())).unwrap();
    world.wait(603);
    let third = continuation(&world, &second);
    world.append(&Leaf::Decision(third.clone())).unwrap();
    let stale = world.outcome(&first, "agent/neo-1", Answer::Applied, Effect::Effective);
    let refused = world.refuse(&Leaf::Outcome(stale));
    assert!(matches!(refused, LeafRefused::OutcomeStale { .. }), "{refused}");
    assert_eq!(world.finish(&third).freed, Some(third.number));
}

#[test]
fn only_what_holds_the_slot_is_continued_and_only_as_it_was() {
    let mut world = World::new();
    let first = world.decide();
    let other = world.proposal(Kind::Restart);
    let mut decision = world.decision(&other, &DOMAINS);
    decision.continues = Some(first.number);
    let refused = world.refuse(&Leaf::Decision(decision));
    assert!(matches!(refused, LeafRefused::ContinuesOther { .. }), "{refused}");
    world.wait(603);
    let second = continuation(&world, &first);
    world.append(&Leaf::Decision(second)).unwrap();
    // `first` was continued already: a second continuation of it is refused.
    let again = continuation(&world, &first);
    let refused = world.refuse(&Leaf::Decision(again));
    assert!(matches!(refused, LeafRefused::NotContinuable { .. }), "{refused}");
}

#[test]
fn harm_with_a_planned_rollback_keeps_the_slot_until_one_continuation_rolled_back() {
    let mut world = World::new();
    let first = rollback(&mut world);
    let harm = world.outcome(&first, "agent/neo-1", Answer::Applied, Effect::Harmful);
    assert_eq!(world.append(&Leaf::Outcome(harm)).unwrap().freed, None);
    let taken = slot(&world).unwrap();
    assert_eq!((taken.awaited.len(), taken.harmful.len()), (0, 1));
    let second = continuation(&world, &first);
    world.append(&Leaf::Decision(second.clone())).unwrap();
    assert_eq!(slot(&world).unwrap().orders, Orders::Rollback);
    // The rollback's own report is terminal, whatever it says.
    let outcome = world.outcome(&second, "agent/neo-1", Answer::Applied, Effect::Harmful);
    assert_eq!(world.append(&Leaf::Outcome(outcome)).unwrap().freed, Some(second.number));
    let third = continuation(&world, &second);
    let refused = world.refuse(&Leaf::Decision(third));
    assert!(matches!(refused, LeafRefused::NotContinuable { .. }), "{refused}");
}

#[test]
fn nothing_is_re_issued_while_somebody_can_still_start_it() {
    let mut world = World::new();
    let first = world.decide();
    // Ten minutes to start, and two seconds of skew: not later is still too early.
    world.wait(602);
    let refused = world.refuse(&Leaf::Decision(continuation(&world, &first)));
    let after = first.expires.saturating_add(Span::from_secs(2));
    let number = first.number;
    assert_eq!(refused, LeafRefused::ContinuesTooEarly { number, after });
    world.now = after.saturating_add(Span::from_millis(1));
    world.append(&Leaf::Decision(continuation(&world, &first))).unwrap();
}

#[test]
fn nothing_is_rolled_back_beside_an_executor_that_is_awaited() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.executor.push(key_name("agent/neo-2"));
    let digest = Digest::of(b"rollback").to_string().parse().unwrap();
    proposal.param = vec![Param::new("rollback".parse().unwrap(), digest)];
    let first = world.decide_on(&proposal);
    let harm =
        |world: &World, of| world.outcome(of, "agent/neo-1", Answer::Applied, Effect::Harmful);
    let none = |world: &World, of| world.outcome(of, "agent/neo-2", Answer::Failed, Effect::None);
    world.append(&Leaf::Outcome(harm(&world, &first))).unwrap();
    let refused = world.refuse(&Leaf::Decision(continuation(&world, &first)));
    assert!(matches!(refused, LeafRefused::ContinuesTooEarly { .. }), "{refused}");
    world.wait(603);
    let second = continuation(&world, &first);
    world.append(&Leaf::Decision(second.clone())).unwrap();
    assert_eq!(slot(&world).unwrap().orders, Orders::Action, "the other one may still act");
    // Everybody has answered: the rollback is ordered without a wait, and once.
    world.append(&Leaf::Outcome(harm(&world, &second))).unwrap();
    world.append(&Leaf::Outcome(none(&world, &second))).unwrap();
    let third = continuation(&world, &second);
    world.append(&Leaf::Decision(third.clone())).unwrap();
    assert_eq!(slot(&world).unwrap().orders, Orders::Rollback);
    let refused = world.refuse(&Leaf::Decision(continuation(&world, &third)));
    assert!(matches!(refused, LeafRefused::ContinuesTooEarly { .. }), "{refused}");
    world.wait(603);
    world.append(&Leaf::Decision(continuation(&world, &third))).unwrap();
    assert_eq!(slot(&world).unwrap().orders, Orders::Rollback);
}

#[test]
fn harm_without_a_planned_rollback_is_terminal() {
    let mut world = World::new();
    let decision = world.decide();
    let harm = world.outcome(&decision, "agent/neo-1", Answer::Applied, Effect::Harmful);
    assert_eq!(world.append(&Leaf::Outcome(harm)).unwrap().freed, Some(decision.number));
}

#[test]
fn two_operators_abandon_what_nobody_can_start_any_more() {
    let mut world = World::new();
    let decision = world.decide();
    let early = abandon(&mut world, decision.number);
    let by = ["operator/ana", "operator/ben"];
    let refused = world.refuse(&Leaf::Decision(world.decision(&early, &by)));
    assert!(matches!(refused, LeafRefused::AbandonTooEarly { .. }), "{refused}");
    world.wait(603);
    let proposal = abandon(&mut world, decision.number);
    let one = world.decision(&proposal, &["operator/ana", "agent/neo-1", "agent/neo-2"]);
    let refused = world.refuse(&Leaf::Decision(one));
    assert!(matches!(refused, LeafRefused::TooFewApprovals { .. }), "{refused}");
    let two = world.decision(&proposal, &by);
    let recorded = world.append(&Leaf::Decision(two)).unwrap();
    assert_eq!(recorded.freed, Some(decision.number));
    assert_eq!(world.decide().token().to_string(), "1.3");
}

#[test]
fn an_abandon_names_the_holder_and_how_it_was_stopped() {
    let mut world = World::new();
    let by = ["operator/ana", "operator/ben"];
    let proposal = abandon(&mut world, DecisionNumber::MIN);
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &by)));
    assert!(matches!(refused, LeafRefused::NothingToAbandon { holder: None }), "{refused}");
    world.decide();
    world.wait(603);
    let mut proposal = abandon(&mut world, DecisionNumber::new(2).unwrap());
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &by)));
    assert!(matches!(refused, LeafRefused::NothingToAbandon { holder: Some(_) }), "{refused}");
    proposal.target = "decision:1".parse().unwrap();
    proposal.param.clear();
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &by)));
    assert!(matches!(refused, LeafRefused::AbandonWithoutStop), "{refused}");
}

fn refused_void(world: &World, decision: &Decision) -> Void {
    let mut void = world.void(&decision.proposal, VoidCause::Vetoed);
    void.detail = Void::refused_detail(decision.number);
    void
}

#[test]
fn a_refused_decision_is_void_and_frees_its_slot() {
    let mut world = World::new();
    let decision = world.decide();
    let void = refused_void(&world, &decision);
    let recorded = world.append(&Leaf::Void(void.clone())).unwrap();
    assert_eq!(recorded.freed, Some(decision.number));
    let refused = world.refuse(&Leaf::Void(void));
    assert!(matches!(refused, LeafRefused::NotRefusable { .. }), "{refused}");
    // The number is spent, and the proposal is at its end.
    let again = world.decision(&decision.proposal, &DOMAINS);
    assert_eq!(again.number.get(), 2);
    let refused = world.refuse(&Leaf::Decision(again));
    assert!(matches!(refused, LeafRefused::AlreadyEnded { .. }), "{refused}");
    assert_eq!(world.decide().number.get(), 2);
}

#[test]
fn a_decision_that_somebody_answered_for_is_never_void() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.executor.push(key_name("agent/neo-2"));
    let decision = world.decide_on(&proposal);
    let outcome = world.outcome(&decision, "agent/neo-1", Answer::Applied, Effect::Effective);
    world.append(&Leaf::Outcome(outcome)).unwrap();
    let refused = world.refuse(&Leaf::Void(refused_void(&world, &decision)));
    assert!(matches!(refused, LeafRefused::NotRefusable { .. }), "{refused}");
}

#[test]
fn the_void_of_a_continuation_gives_the_slot_back_to_what_it_continued() {
    let mut world = World::new();
    let first = world.decide();
    world.wait(603);
    let second = continuation(&world, &first);
    world.append(&Leaf::Decision(second.clone())).unwrap();
    let recorded = world.append(&Leaf::Void(refused_void(&world, &second))).unwrap();
    assert_eq!(recorded.freed, None);
    assert_eq!(slot(&world).unwrap().token, first.token());
    // The older one is not the newest decision, so it cannot be void any more.
    let refused = world.refuse(&Leaf::Void(refused_void(&world, &first)));
    assert!(matches!(refused, LeafRefused::NotRefusable { .. }), "{refused}");
    let third = continuation(&world, &first);
    assert_eq!(third.number.get(), 3);
    world.append(&Leaf::Decision(third.clone())).unwrap();
    assert_eq!(world.finish(&third).freed, Some(third.number));
}

#[test]
fn the_void_of_a_continuation_is_not_the_end_of_what_runs_again() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    // Open for longer than its decision, so that the end is still remembered.
    proposal.expires = world.now.saturating_add(Span::from_secs(3_600));
    let mut first = world.decision(&proposal, &DOMAINS);
    first.expires = first.not_before.saturating_add(Span::from_secs(600));
    world.append(&Leaf::Decision(first.clone())).unwrap();
    world.wait(603);
    let second = continuation(&world, &first);
    world.append(&Leaf::Decision(second.clone())).unwrap();
    world.append(&Leaf::Void(refused_void(&world, &second))).unwrap();
    let end = |world: &World| world.history.ended(&proposal.id()).unwrap().end;
    assert_eq!(end(&world), End::Decided(first.number));
    world.finish(&first);
    assert_eq!(end(&world), End::Decided(first.number));
}

#[test]
fn executors_are_agents_of_the_cluster_and_an_abandon_has_none() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.executor = vec![key_name("operator/ana")];
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::ExecutorUnknown { .. }), "{refused}");
    proposal.executor.clear();
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::Executors { found: 0, .. }), "{refused}");
}
