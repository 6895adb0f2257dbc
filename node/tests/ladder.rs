//! *budget*, as every agent computes it: which attempt is due follows from the pinned playbook and
//! the verified log, and an observer approves that one and nothing beside it.

mod common;

use common::world::{CLUSTER, World, note_signer};
use common::{name, time};
use quorate_attest::agent_statement::{Answer, Effect, Report};
use quorate_attest::history::{AttemptEnd, History};
use quorate_attest::id::{ClusterId, Digest, KeyName, MemberId, Word};
use quorate_attest::ladder::{OnFailure, Rung};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::number::Epoch;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signatures;
use quorate_node::detect::{Agreement, Liveness, PeerFact, Settings};
use quorate_node::playbook::{Due, Playbook, Shelf};
use quorate_node::probe::Reading;
use quorate_node::vote::{Abstains, Ballot, Bench};

const SHIPPED: &str = include_str!("../../deploy/playbooks/s35-node-crash.toml");
const FRESHNESS: Span = Span::from_secs(15);

fn playbook() -> Playbook {
    Playbook::parse(SHIPPED).expect("it ships")
}

fn place() -> (ClusterId, Word) {
    (CLUSTER.parse().expect("a name"), "member:n4".parse().expect("a word"))
}

fn due<'p>(playbook: &'p Playbook, world: &World) -> Due<'p> {
    let (cluster, target) = place();
    playbook.due(&world.history, (&cluster, &target), world.now).1
}

/// What an agent opens for this rung.
fn asked(world: &mut World, rung: &Rung, incident: &str) -> Proposal {
    let lines: Vec<String> = rung.params().iter().map(ToString::to_string).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut proposal = world.proposal(Kind::Restart, "member:n4", &["n4"], &lines);
    proposal.proposer = name("n2");
    proposal.incident = incident.parse().expect("a label");
    proposal
}

/// Decides an attempt, and its executor reports that it changed nothing.
fn fail(world: &mut World, rung: &Rung, incident: &str) {
    let proposal = asked(world, rung, incident);
    world.decide(&proposal, None);
    let (cluster, _) = place();
    let number = world.history.cluster(&cluster).and_then(|known| known.number).expect("decided");
    world.advance(Span::from_secs(3));
    let report = Report {
        origin: world.origin(),
        epoch: Epoch::MIN,
        cluster,
        number,
        proposal: proposal.id(),
        agent: name("n4"),
        answer: Answer::Applied,
        effect: Effect::Ineffective,
        witness: Digest::of(b"before"),
        evidence: Vec::new(),
        started: Some(world.now),
        finished: world.now,
    };
    world.outcome(&note_signer("agent", "n4").signed(report));
}

#[test]
fn three_attempts_thirty_seconds_apart_and_then_people() {
    let playbook = playbook();
    let mut world = World::following(&[&playbook]);
    for attempt in 1..=3 {
        let Due::Attempt { step, rung } = due(&playbook, &world) else {
            panic!("attempt {attempt} is due: {:?}", due(&playbook, &world));
        };
        assert_eq!((step.kind, rung.step, rung.attempt), (Kind::Restart, 1, attempt));
        let then = if attempt < 3 { OnFailure::Retry } else { OnFailure::Escalate };
        assert_eq!(rung.on_failure, then);
        fail(&mut world, &rung, "s35-n4-1");
        if attempt < 3 {
            let until = world.now.saturating_add(Span::from_secs(30));
            assert_eq!(due(&playbook, &world), Due::Wait { until });
            world.advance(Span::from_secs(29));
            assert_eq!(due(&playbook, &world), Due::Wait { until });
            world.advance(Span::from_secs(1));
        }
    }
    world.advance(Span::from_secs(1_000_000));
    assert_eq!(due(&playbook, &world), Due::People);
    let (_, _, incident) = world.history.incidents().next().expect("one incident");
    assert!(incident.escalated.is_some());
    assert!(matches!(incident.last.ended, Some((_, AttemptEnd::Ineffective))));
    // Whoever restarts and reads the log again knows the same.
    let first = Leaf::parse(&world.leaves[0]).expect("a leaf");
    let (mut again, _) = History::found(&first, Signatures::Verify).expect("a charter");
    for leaf in &world.leaves[1..] {
        again.append_bytes(leaf, Signatures::Verify).expect("a leaf");
    }
    let (cluster, target) = place();
    assert_eq!(playbook.due(&again, (&cluster, &target), world.now).1, Due::People);
}

#[test]
fn a_running_attempt_is_waited_for() {
    let playbook = playbook();
    let mut world = World::following(&[&playbook]);
    let Due::Attempt { rung, .. } = due(&playbook, &world) else { panic!("the first is due") };
    let proposal = asked(&mut world, &rung, "s35-n4-1");
    world.decide(&proposal, None);
    world.advance(Span::from_secs(1_000));
    assert_eq!(due(&playbook, &world), Due::Running);
}

/// What observer n1 votes, when it and `others` see n4 down.
fn vote(
    world: &World,
    shelf: &Shelf,
    others: &[&str],
    proposal: &Proposal,
) -> Result<Ballot, Abstains> {
    let mut liveness = Liveness::new(Settings { failures: 3, freshness: FRESHNESS });
    let member: MemberId = "n4".parse().expect("a member");
    for _ in 0..3 {
        liveness.observe(&member, Reading::Down, world.now);
    }
    let mut agreement = Agreement::default();
    for other in others {
        let (agent, member) = (name(other), member.clone());
        agreement.take(PeerFact { agent, member, reading: Reading::Down, observed: world.now });
    }
    let (cluster, _) = place();
    let own: KeyName = name("n1");
    let bench = Bench {
        history: &world.history,
        name: &own,
        cluster: &cluster,
        liveness: &liveness,
        agreement: &agreement,
        freshness: FRESHNESS,
        shelf,
        now: world.now,
    };
    bench.judge(proposal)
}

#[test]
fn an_observer_approves_the_attempt_that_is_due_and_nothing_beside_it() {
    let playbook = playbook();
    let mut world = World::following(&[&playbook]);
    let shelf = Shelf::new(vec![playbook.clone()]);
    let Due::Attempt { rung, .. } = due(&playbook, &world) else { panic!("the first is due") };
    let good = asked(&mut world, &rung, "s35-n4-1");
    assert_eq!(vote(&world, &shelf, &["n2"], &good), Ok(Ballot::Approve));
    let not_due = |answer: Result<Ballot, Abstains>, why: &str| {
        assert!(matches!(answer, Err(Abstains::NotDue { .. })), "{why}: {answer:?}");
    };
    not_due(vote(&world, &shelf, &[], &good), "nobody else sees it, the playbook wants two");
    not_due(vote(&world, &Shelf::default(), &["n2"], &good), "this agent has no such file");
    for (why, wrong) in [
        ("another attempt", Rung { attempt: 2, ..rung.clone() }),
        ("more attempts", Rung { attempts: 10, ..rung.clone() }),
        ("no pause", Rung { pause: Span::ZERO, ..rung.clone() }),
        (
            "another severity",
            Rung { severity: quorate_attest::ladder::Severity::P4, ..rung.clone() },
        ),
    ] {
        let proposal = asked(&mut world, &wrong, "s35-n4-1");
        not_due(vote(&world, &shelf, &["n2"], &proposal), why);
    }
    // Automation has no restart beside the playbook; a person may.
    let mut beside = world.proposal(Kind::Restart, "member:n4", &["n4"], &[]);
    assert_eq!(vote(&world, &shelf, &["n2"], &beside), Ok(Ballot::Approve), "ana's");
    beside.proposer = name("n2");
    not_due(vote(&world, &shelf, &["n2"], &beside), "an agent's, outside the playbook");

    fail(&mut world, &rung, "s35-n4-1");
    world.advance(Span::from_secs(30));
    let Due::Attempt { rung: second, .. } = due(&playbook, &world) else { panic!("the second") };
    let renamed = asked(&mut world, &second, "s35-n4-2");
    not_due(vote(&world, &shelf, &["n2"], &renamed), "the incident has its name");
    let next = asked(&mut world, &second, "s35-n4-1");
    assert_eq!(vote(&world, &shelf, &["n2"], &next), Ok(Ballot::Approve));
}

#[test]
fn what_the_charter_does_not_pin_is_not_followed() {
    let playbook = playbook();
    let world = World::new();
    let shelf = Shelf::new(vec![playbook]);
    let suspicion = quorate_node::detect::Suspicion {
        member: "n4".parse().expect("a member"),
        reading: Reading::Down,
        since: time(0),
        failures: 3,
    };
    let cluster: ClusterId = CLUSTER.parse().expect("a name");
    let charter = world.history.charter();
    assert!(shelf.for_member(charter, &cluster, &suspicion).is_none());
}
