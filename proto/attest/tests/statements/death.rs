//! *dead-stays-dead*, *one-survivor*: what a declaration must say, and what it leaves behind.

use quorate_attest::charter::{Charter, Gate};
use quorate_attest::declaration::DeclarationRefused;
use quorate_attest::history::LeafRefused;
use quorate_attest::id::{ClusterId, Digest, MemberId};
use quorate_attest::leaf::{Leaf, Void, VoidCause};
use quorate_attest::log_time::Span;
use quorate_attest::proposal::Proposal;
use quorate_attest::quorum::{Electorate, Silenced, Voice};
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement;

use crate::fixture::{DOMAINS, OPERATORS, World, charter, key_name};

const STOP: &str = "stop:sha256:39c0745b5bfd24c1262e903f21c260439f5fe33982e092f992d888def6c1a44b";

fn identity(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// neo-1 survives, neo-2 and neo-3 are dead, neo-4 is fenced.
fn good() -> Vec<String> {
    vec![
        format!("dead neo-2 {STOP}"),
        "dead neo-3 attest:power-cut".to_owned(),
        format!("fenced neo-4 {STOP}"),
        format!("identity neo-2 {}", identity("neo-2")),
        "identity neo-3 -".to_owned(),
        format!("identity neo-4 {}", identity("neo-4")),
        "survivor neo-1".to_owned(),
    ]
}

fn declaration(world: &mut World, params: &[String]) -> Proposal {
    let mut proposal = world.proposal(Kind::DeclareDead);
    proposal.target = "cluster:neo-testnet".parse().unwrap();
    proposal.param = params.iter().map(|param| param.parse().unwrap()).collect();
    proposal.param.sort();
    proposal.expires = proposal.expires.saturating_add(Span::from_secs(3_600));
    proposal
}

/// Decides it with every operator and two of the observers left.
fn decide(world: &mut World, proposal: &Proposal) -> Result<(), LeafRefused> {
    let by = [&OPERATORS[..], &["agent/neo-1", "agent/neo-4"]].concat();
    let mut decision = world.decision(proposal, &by);
    decision.not_before = world.history.charter().earliest_start(proposal, world.now);
    decision.expires = decision.not_before.saturating_add(Span::from_secs(300));
    world.append(&Leaf::Decision(decision)).map(drop)
}

fn declared() -> World {
    let mut world = World::new();
    let proposal = declaration(&mut world, &good());
    decide(&mut world, &proposal).unwrap();
    let decision = world.history.cluster(&cluster()).unwrap().slot().cloned().unwrap();
    assert_eq!(decision.kind, Kind::DeclareDead);
    world
}

/// The declaration is carried out, so that the slot is free.
fn settled() -> World {
    use quorate_attest::agent_statement::{Answer, Effect};
    let mut world = World::new();
    let proposal = declaration(&mut world, &good());
    decide(&mut world, &proposal).unwrap();
    let Leaf::Decision(decision) = Leaf::parse(world.leaves.last().unwrap()).unwrap() else {
        panic!("a decision")
    };
    let outcome = world.outcome(&decision, "agent/neo-1", Answer::Applied, Effect::Effective);
    world.append(&Leaf::Outcome(outcome)).unwrap();
    world
}

fn cluster() -> ClusterId {
    "neo-testnet".parse().unwrap()
}

fn member(name: &str) -> MemberId {
    name.parse().unwrap()
}

fn refused(params: &[String]) -> DeclarationRefused {
    let mut world = World::new();
    let proposal = declaration(&mut world, params);
    let refused = decide(&mut world, &proposal).unwrap_err();
    let LeafRefused::Declaration(refused) = refused else { panic!("{refused}") };
    refused
}

#[test]
fn a_name_and_an_identity_are_dead_each_for_itself() {
    let world = declared();
    let history = world.history.cluster(&cluster()).unwrap();
    assert!(history.is_dead(&member("neo-2"), None));
    assert!(
        history.is_dead(&member("neo-9"), Some(&identity("neo-2"))),
        "a new name, the old disk"
    );
    assert!(history.is_dead(&member("neo-4"), Some(&identity("new"))), "the old name, a new disk");
    assert!(!history.is_dead(&member("neo-1"), Some(&identity("neo-1"))));
    let survivor = history.standing.survivor.as_ref().unwrap();
    assert_eq!(survivor.member, member("neo-1"));
}

#[test]
fn the_three_sets_are_disjoint_and_the_roster() {
    let mut missing = good();
    missing.retain(|param| !param.contains("neo-4"));
    assert!(matches!(refused(&missing), DeclarationRefused::NotRoster { .. }));
    let mut both = good();
    both.push(format!("fenced neo-2 {STOP}"));
    both.push("identity neo-2 -".to_owned());
    assert!(matches!(refused(&both), DeclarationRefused::Twice { .. }));
    let mut both = good();
    both.push(format!("fenced neo-2 {STOP}"));
    assert!(matches!(
        refused(&both),
        DeclarationRefused::Identity { .. } | DeclarationRefused::Twice { .. }
    ));
    let mut survivor = good();
    survivor.push("survivor neo-2".to_owned());
    assert!(matches!(refused(&survivor), DeclarationRefused::Survivors { found: 2 }));
    let mut dead = good();
    dead.push(format!("dead neo-1 {STOP}"));
    dead.push("identity neo-1 -".to_owned());
    assert!(matches!(refused(&dead), DeclarationRefused::Twice { .. }));
    let mut stranger = good();
    stranger.push(format!("dead neo-9 {STOP}"));
    stranger.push("identity neo-9 -".to_owned());
    assert!(matches!(refused(&stranger), DeclarationRefused::NotRoster { .. }));
}

#[test]
fn each_of_the_others_has_one_how_and_one_identity() {
    let mut without = good();
    without[0] = "dead neo-2".to_owned() + " x";
    assert!(matches!(refused(&without), DeclarationRefused::BadParam { .. }));
    let mut two = good();
    two.push("dead neo-2 attest:twice".to_owned());
    assert!(matches!(
        refused(&two),
        DeclarationRefused::Twice { .. } | DeclarationRefused::Identity { .. }
    ));
    let mut without = good();
    without.retain(|param| param != "identity neo-3 -");
    assert!(matches!(refused(&without), DeclarationRefused::Identity { .. }));
    let mut without = good();
    without.retain(|param| param != "survivor neo-1");
    assert!(matches!(refused(&without), DeclarationRefused::Survivors { found: 0 }));
}

#[test]
fn a_cluster_whose_gates_fail_open_has_no_dead() {
    let mut open = charter();
    open.cluster[0].gate = Gate::Open;
    let mut world = World::with(Charter::parse(&open.text()).unwrap());
    let proposal = declaration(&mut world, &good());
    let refused = decide(&mut world, &proposal).unwrap_err();
    assert_eq!(refused, LeafRefused::Declaration(DeclarationRefused::GateOpen));
}

#[test]
fn a_declaration_waits_until_every_gate_can_know_of_it() {
    let mut world = World::new();
    let proposal = declaration(&mut world, &good());
    let by = [&OPERATORS[..], &["agent/neo-1", "agent/neo-4"]].concat();
    let mut decision = world.decision(&proposal, &by);
    decision.expires = decision.not_before.saturating_add(Span::from_secs(300));
    let refused = world.refuse(&Leaf::Decision(decision));
    let LeafRefused::StartsTooEarly { min, .. } = refused else { panic!("{refused}") };
    let charter = charter();
    let wait = charter.max_age.saturating_add(charter.skew);
    assert_eq!(min, world.now.saturating_add(wait));
}

#[test]
fn the_dead_leave_the_electorate_and_the_fenced_stay_in_it() {
    let mut world = World::new();
    let proposal = declaration(&mut world, &good());
    let electorate =
        Electorate::of_proposal(world.history.charter(), &proposal, Silenced::NOBODY).unwrap();
    // site-a with neo-1 and neo-4, and three operators: 4 voices, 3 needed.
    assert_eq!((electorate.voices, electorate.need), (4, 3));
    assert!(electorate.has(&key_name("agent/neo-4")));
    assert!(!electorate.has(&key_name("agent/neo-2")));
}

#[test]
fn a_tombstoned_observer_has_no_voice_until_it_is_readmitted() {
    let mut world = settled();
    let voices = |world: &World| {
        let tombstoned = world.history.tombstoned(&cluster());
        let mut clone = World::new();
        let proposal = clone.proposal(Kind::Restart);
        let silenced = Silenced { tombstoned: &tombstoned };
        Electorate::of_proposal(world.history.charter(), &proposal, silenced).unwrap()
    };
    let electorate = voices(&world);
    assert_eq!(electorate.voices, 1, "only neo-1 of site-a is left");
    assert!(!electorate.has(&key_name("agent/neo-4")));
    readmit(&mut world, "neo-2", "neo-2").unwrap();
    let electorate = voices(&world);
    assert_eq!(electorate.voices, 2);
    let site_b = Voice::Domain("site-b".parse().unwrap());
    assert!(electorate.observers.contains_key(&site_b));
}

fn readmit(world: &mut World, named: &str, target: &str) -> Result<(), LeafRefused> {
    let mut proposal = world.proposal(Kind::Readmit);
    proposal.target = format!("member:{target}").parse().unwrap();
    proposal.param = ["directory /srv/neo-new", "host host-7", &format!("member {named}")]
        .iter()
        .map(|param| param.parse().unwrap())
        .collect();
    // The tombstoned vote too; until they are re-admitted it counts for nothing.
    let by = [&OPERATORS[..], &DOMAINS].concat();
    let decision = world.decision(&proposal, &by);
    world.append(&Leaf::Decision(decision)).map(drop)
}

#[test]
fn only_a_readmission_clears_a_tombstone_and_the_old_disk_stays_dead() {
    let mut world = settled();
    readmit(&mut world, "neo-2", "neo-2").unwrap();
    let history = world.history.cluster(&cluster()).unwrap();
    assert!(!history.is_dead(&member("neo-2"), None));
    assert!(history.is_dead(&member("neo-2"), Some(&identity("neo-2"))));
    let readmission = &history.standing.readmitted[&member("neo-2")];
    assert_eq!(readmission.directory.as_str(), "/srv/neo-new");
    assert_eq!(readmission.host.as_str(), "host-7");
}

#[test]
fn a_readmission_names_its_target_and_somebody_dead() {
    let mut world = settled();
    let refused = readmit(&mut world, "neo-2", "neo-3").unwrap_err();
    assert!(matches!(refused, LeafRefused::Declaration(DeclarationRefused::ReadmitsOther { .. })));
    let refused = readmit(&mut world, "neo-1", "neo-1").unwrap_err();
    assert!(matches!(refused, LeafRefused::NotDead { .. }), "{refused}");
}

#[test]
fn a_later_declaration_lists_the_former_survivor_as_dead() {
    let mut world = settled();
    let proposal = declaration(&mut world, &good());
    let by_operators = |world: &mut World, proposal: &Proposal| {
        let mut decision = world.decision(proposal, &OPERATORS);
        decision.not_before = world.history.charter().earliest_start(proposal, world.now);
        decision.expires = decision.not_before.saturating_add(Span::from_secs(300));
        world.append(&Leaf::Decision(decision)).map(drop)
    };
    let refused = by_operators(&mut world, &proposal).unwrap_err();
    assert!(matches!(refused, LeafRefused::FormerSurvivor { .. }), "{refused}");
    // Nor may somebody dead survive.
    let params: Vec<String> = good()
        .into_iter()
        .map(|param| {
            param.replace("neo-1", "neo-x").replace("neo-2", "neo-1").replace("neo-x", "neo-2")
        })
        .collect();
    let proposal = declaration(&mut world, &params);
    let refused = by_operators(&mut world, &proposal).unwrap_err();
    assert!(matches!(refused, LeafRefused::SurvivorDead { .. }), "{refused}");
}

#[test]
fn when_the_roster_is_whole_again_the_survivor_is_one_of_them() {
    use quorate_attest::agent_statement::{Answer, Effect};
    let mut world = settled();
    for name in ["neo-2", "neo-3", "neo-4"] {
        readmit(&mut world, name, name).unwrap();
        let Leaf::Decision(decision) = Leaf::parse(world.leaves.last().unwrap()).unwrap() else {
            panic!("a decision")
        };
        let outcome = world.outcome(&decision, "agent/neo-1", Answer::Applied, Effect::Effective);
        world.append(&Leaf::Outcome(outcome)).unwrap();
    }
    let history = world.history.cluster(&cluster()).unwrap();
    assert_eq!(history.standing.survivor, None);
    let proposal = declaration(&mut world, &good());
    decide(&mut world, &proposal).unwrap();
}

#[test]
fn a_reseat_readmits_one_of_the_dead_in_the_declaration() {
    let mut world = World::new();
    let mut params = good();
    let reseat = ["method reseat", "member neo-2", "host host-7", "directory /srv/neo-new"];
    params.extend(reseat.map(str::to_owned));
    let proposal = declaration(&mut world, &params);
    decide(&mut world, &proposal).unwrap();
    let history = world.history.cluster(&cluster()).unwrap();
    assert!(!history.is_dead(&member("neo-2"), None));
    assert!(history.is_dead(&member("neo-2"), Some(&identity("neo-2"))));
    assert!(history.is_dead(&member("neo-3"), None));
    let mut fenced = good();
    let reseat = ["method reseat", "member neo-4", "host host-7", "directory /srv/neo-new"];
    fenced.extend(reseat.map(str::to_owned));
    assert!(matches!(refused(&fenced), DeclarationRefused::ReadmitsOther { .. }));
}

#[test]
fn the_void_of_a_refused_declaration_raises_the_dead() {
    let mut world = declared();
    let slot = world.history.cluster(&cluster()).unwrap().slot().cloned().unwrap();
    let Leaf::Decision(decision) = Leaf::parse(world.leaves.last().unwrap()).unwrap() else {
        panic!("a decision")
    };
    let mut void = world.void(&decision.proposal, VoidCause::Superseded);
    void.detail = Void::refused_detail(slot.token.number);
    world.append(&Leaf::Void(void)).unwrap();
    let history = world.history.cluster(&cluster()).unwrap();
    assert!(!history.is_dead(&member("neo-2"), Some(&identity("neo-2"))));
    assert_eq!(history.standing.survivor, None);
}

#[test]
fn an_attestation_needs_two_operators_whatever_the_charter_says() {
    let mut weak = charter();
    let irreversible = 2;
    weak.class[irreversible].policy.operators = 1;
    weak.class[irreversible].policy.veto = Span::ZERO;
    weak.class[irreversible].policy.numerator = 1;
    let mut world = World::with(Charter::parse(&weak.text()).unwrap());
    let proposal = declaration(&mut world, &good());
    let mut decision = world.decision(&proposal, &["operator/ana", "agent/neo-1", "agent/neo-4"]);
    decision.not_before = world.history.charter().earliest_start(&proposal, world.now);
    decision.expires = decision.not_before.saturating_add(Span::from_secs(300));
    let refused = world.refuse(&Leaf::Decision(decision));
    assert!(matches!(refused, LeafRefused::AttestationUnsupported { found: 1 }), "{refused}");
}
