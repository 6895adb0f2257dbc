//! Equivocation becomes evidence once, in whichever order it is found (R11).

use quorate_attest::agent_statement::{Answer, Effect, Report};
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::evidence::{Evidence, EvidenceKind, EvidenceRefused};
use quorate_attest::history::LeafRefused;
use quorate_attest::id::Digest;
use quorate_attest::key::VerifierKey;
use quorate_attest::leaf::Leaf;
use quorate_attest::merkle::{Hash, MemoryHashes, prove_consistency, root_at};
use quorate_attest::note::Note;
use quorate_attest::number::TreeSize;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::{Verdict, Vote};

use crate::fixture::{World, coordinator, key_name, signed, signer};

fn evidence(world: &World, kind: EvidenceKind, key: &VerifierKey, a: Note, b: Note) -> Evidence {
    Evidence {
        origin: world.history.origin().clone(),
        epoch: world.history.epoch(),
        time: world.now,
        kind,
        key: key.clone(),
        prefix: None,
        proof: Vec::new(),
        a,
        b,
    }
}

fn votes(world: &World, proposal: &Proposal, by: &str) -> Evidence {
    let note = |verdict| signed(Vote::on(proposal, verdict), &[by]).note();
    let (a, b) = (note(Verdict::Approve), note(Verdict::Reject));
    let key = signer(by).vkey().clone();
    evidence(world, EvidenceKind::Vote, &key, a, b)
}

fn refused(world: &mut World, evidence: Evidence) -> EvidenceRefused {
    let refused = world.refuse(&Leaf::Evidence(evidence));
    let LeafRefused::Evidence(refused) = refused else { panic!("{refused}") };
    refused
}

#[test]
fn who_said_both_does_not_count() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.target = "peer:x".parse().unwrap();
    let by = ["agent/neo-2", "agent/neo-3"];
    world.append(&Leaf::Evidence(votes(&world, &proposal, "agent/neo-2"))).unwrap();
    let equivocators = world.history.equivocators(&proposal.id());
    assert_eq!(equivocators, [key_name("agent/neo-2")].into());
    let decision = world.decision(&proposal, &by);
    let refused = world.refuse(&Leaf::Decision(decision));
    assert!(matches!(refused, LeafRefused::TooFewApprovals { have: 1, .. }), "{refused}");
    let decision = world.decision(&proposal, &["agent/neo-2", "agent/neo-3", "operator/ana"]);
    world.append(&Leaf::Decision(decision)).unwrap();
}

#[test]
fn evidence_is_a_leaf_once_and_in_one_order() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let good = votes(&world, &proposal, "agent/neo-2");
    let mut reversed = good.clone();
    std::mem::swap(&mut reversed.a, &mut reversed.b);
    assert_eq!(refused(&mut world, reversed), EvidenceRefused::Order);
    world.append(&Leaf::Evidence(good.clone())).unwrap();
    let again = world.refuse(&Leaf::Evidence(good));
    assert!(matches!(again, LeafRefused::EvidenceKnown), "{again}");
}

#[test]
fn one_text_twice_is_no_evidence() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let mut twice = votes(&world, &proposal, "agent/neo-2");
    twice.b = twice.a.clone();
    assert_eq!(refused(&mut world, twice), EvidenceRefused::Order);
}

#[test]
fn votes_on_two_proposals_are_no_evidence() {
    let mut world = World::new();
    let (one, two) = (world.proposal(Kind::Restart), world.proposal(Kind::Restart));
    let mut notes = [&one, &two]
        .map(|proposal| signed(Vote::on(proposal, Verdict::Approve), &["agent/neo-2"]).note());
    notes.sort_by(|a, b| a.text.cmp(&b.text));
    let [a, b] = notes;
    let key = signer("agent/neo-2").vkey().clone();
    let other = evidence(&world, EvidenceKind::Vote, &key, a, b);
    let found = refused(&mut world, other);
    assert_eq!(found, EvidenceRefused::OtherQuestion { what: "proposal" });
}

#[test]
fn both_lines_are_the_keys_own_and_good() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let good = votes(&world, &proposal, "agent/neo-2");
    let mut other = good.clone();
    other.b = signed(Vote::on(&proposal, Verdict::Reject), &["agent/neo-3"]).note();
    assert!(matches!(refused(&mut world, other), EvidenceRefused::BadSignature { .. }));
    let mut two = good.clone();
    two.b = signed(Vote::on(&proposal, Verdict::Reject), &["agent/neo-2", "agent/neo-3"]).note();
    assert!(matches!(refused(&mut world, two), EvidenceRefused::Lines { .. }));
    let stranger = votes(&world, &proposal, "agent/nobody");
    let unknown = world.refuse(&Leaf::Evidence(stranger));
    assert!(matches!(unknown, LeafRefused::EvidenceKey { .. }), "{unknown}");
}

fn report(world: &World, effect: Effect) -> Report {
    Report {
        origin: world.history.origin().clone(),
        epoch: world.history.epoch(),
        cluster: "neo-testnet".parse().unwrap(),
        number: quorate_attest::number::DecisionNumber::MIN,
        proposal: quorate_attest::id::ProposalId::of_text("p"),
        agent: key_name("agent/neo-1"),
        answer: Answer::Applied,
        effect,
        witness: Digest::of(b"w"),
        evidence: Vec::new(),
        started: None,
        finished: world.now,
    }
}

#[test]
fn two_terminal_reports_are_evidence_and_harm_then_an_end_is_not() {
    let mut world = World::new();
    let pair = |one: Effect, two: Effect, world: &World| {
        let mut notes =
            [one, two].map(|effect| signed(report(world, effect), &["agent/neo-1"]).note());
        notes.sort_by(|a, b| a.text.cmp(&b.text));
        let [a, b] = notes;
        evidence(world, EvidenceKind::Report, signer("agent/neo-1").vkey(), a, b)
    };
    let harm = pair(Effect::Harmful, Effect::Effective, &world);
    assert_eq!(refused(&mut world, harm), EvidenceRefused::NotTerminal);
    let open = pair(Effect::Inconclusive, Effect::Effective, &world);
    assert_eq!(refused(&mut world, open), EvidenceRefused::NotTerminal);
    let both = pair(Effect::Effective, Effect::Ineffective, &world);
    world.append(&Leaf::Evidence(both)).unwrap();
}

fn log(leaves: &[&str]) -> MemoryHashes {
    let mut log = MemoryHashes::new();
    leaves.iter().for_each(|leaf| log.append(leaf.as_bytes()));
    log
}

fn head(world: &World, size: usize, root: Hash) -> Note {
    let checkpoint = Checkpoint {
        origin: world.history.origin().clone(),
        size: TreeSize::new(size as u64).unwrap(),
        root,
    };
    let line = coordinator(1).cosign(&checkpoint, world.now.to_cosign_time()).to_line();
    Note { text: checkpoint.body(), lines: vec![line] }
}

#[test]
fn two_roots_of_one_size_are_evidence() {
    let mut world = World::new();
    let mut notes =
        [log(&["a", "b"]), log(&["a", "c"])].map(|log| head(&world, 2, log.head().root));
    notes.sort_by(|a, b| a.text.cmp(&b.text));
    let [a, b] = notes;
    let key = coordinator(1).vkey().clone();
    let fork = evidence(&world, EvidenceKind::Head, &key, a.clone(), b.clone());
    let mut reversed = fork.clone();
    std::mem::swap(&mut reversed.a, &mut reversed.b);
    assert_eq!(refused(&mut world, reversed), EvidenceRefused::Order);
    let same = evidence(&world, EvidenceKind::Head, &key, a.clone(), a);
    assert_eq!(refused(&mut world, same), EvidenceRefused::Consistent);
    let mut other = fork.clone();
    other.key = coordinator(2).vkey().clone();
    assert!(matches!(refused(&mut world, other), EvidenceRefused::Cosignature(_)));
    world.append(&Leaf::Evidence(fork)).unwrap();
}

#[test]
fn heads_of_unequal_size_need_a_proof_that_they_fork() {
    let mut world = World::new();
    let (mine, theirs) = (log(&["a", "b", "c"]), log(&["a", "x", "c", "d", "e"]));
    let (three, five) = (TreeSize::new(3).unwrap(), TreeSize::new(5).unwrap());
    let a = head(&world, 3, mine.head().root);
    let b = head(&world, 5, theirs.head().root);
    let key = coordinator(1).vkey().clone();
    let bare = evidence(&world, EvidenceKind::Head, &key, a, b);
    assert_eq!(refused(&mut world, bare.clone()), EvidenceRefused::Proof);
    let mut fork = bare;
    fork.prefix = Some(root_at(&theirs, three).unwrap());
    fork.proof = prove_consistency(&theirs, three, five).unwrap();
    let mut wrong = fork.clone();
    wrong.prefix = Some(log(&["z"]).head().root);
    assert!(matches!(refused(&mut world, wrong), EvidenceRefused::BadProof(_)));
    let bytes = Leaf::Evidence(fork.clone()).to_bytes();
    assert_eq!(Leaf::parse(&bytes).unwrap(), Leaf::Evidence(fork.clone()));
    world.append(&Leaf::Evidence(fork)).unwrap();
}

#[test]
fn consistent_heads_are_never_evidence() {
    let mut world = World::new();
    let log = log(&["a", "b", "c", "d", "e"]);
    let (three, five) = (TreeSize::new(3).unwrap(), TreeSize::new(5).unwrap());
    let root = root_at(&log, three).unwrap();
    let (a, b) = (head(&world, 3, root), head(&world, 5, log.head().root));
    let key = coordinator(1).vkey().clone();
    let mut honest = evidence(&world, EvidenceKind::Head, &key, a, b);
    honest.prefix = Some(root);
    honest.proof = prove_consistency(&log, three, five).unwrap();
    assert_eq!(refused(&mut world, honest), EvidenceRefused::Consistent);
}
