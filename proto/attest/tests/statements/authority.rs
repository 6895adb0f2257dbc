//! *authority*: M distinct validators over one text, each counted once.

use quorate_attest::history::LeafRefused;
use quorate_attest::key::{KeyType, SecretKey};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::note::SignatureLine;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::{LinesRefused, Signed};
use quorate_attest::vote::{Verdict, Vote};

use crate::fixture::{DOMAINS, World, charter, coordinator, key_name, signed, signer};

fn decide(world: &mut World, kind: Kind, target: &str, by: &[&str]) -> Result<(), LeafRefused> {
    let mut proposal = world.proposal(kind);
    proposal.target = target.parse().unwrap();
    let decision = world.decision(&proposal, by);
    world.append(&Leaf::Decision(decision)).map(drop)
}

fn refused(kind: Kind, target: &str, by: &[&str]) -> bool {
    match decide(&mut World::new(), kind, target, by) {
        Ok(()) => false,
        Err(LeafRefused::TooFewApprovals { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_local_remediation_needs_two_of_three_domains() {
    assert!(refused(Kind::Restart, "member:neo-2", &["agent/neo-2"]));
    assert!(!refused(Kind::Restart, "member:neo-2", &["agent/neo-2", "agent/neo-3"]));
}

#[test]
fn half_of_a_failure_domain_is_no_voice() {
    assert!(refused(Kind::Restart, "peer:x", &["agent/neo-1", "agent/neo-2"]));
    assert!(!refused(Kind::Restart, "peer:x", &["agent/neo-1", "agent/neo-2", "agent/neo-4"]));
    // One of two domains of one is one voice, not two.
    assert!(refused(Kind::Restart, "peer:x", &["agent/neo-1", "agent/neo-4"]));
}

#[test]
fn the_targets_own_observer_has_no_voice_in_the_cluster_class() {
    // Without neo-4, site-a is neo-1 alone: three voices, three needed.
    let by = ["agent/neo-1", "agent/neo-2", "agent/neo-3"];
    assert!(!refused(Kind::RemoveMember, "member:neo-4", &by));
    assert!(refused(Kind::RemoveMember, "member:neo-2", &by));
    // Two voices are unanimous; an operator's approval counts in place of one.
    let by = ["agent/neo-3", "operator/ana"];
    assert!(!refused(Kind::RemoveMember, "member:neo-2", &by));
}

#[test]
fn an_irreversible_remediation_needs_two_operators_and_the_veto_span() {
    let observers = ["agent/neo-1", "agent/neo-2", "agent/neo-3", "operator/ana"];
    assert!(refused(Kind::Resync, "member:neo-4", &observers));
    let mut world = World::new();
    let proposal = world.proposal(Kind::Resync);
    let by = ["agent/neo-1", "agent/neo-2", "agent/neo-3", "operator/ana", "operator/ben"];
    let mut decision = world.decision(&proposal, &by);
    let refusal = world.refuse(&Leaf::Decision(decision.clone()));
    assert!(matches!(refusal, LeafRefused::VetoWindowOpen { .. }), "{refusal}");
    world.wait(300);
    (decision.time, decision.not_before) = (world.now, world.now);
    world.append(&Leaf::Decision(decision)).unwrap();
}

#[test]
fn the_veto_window_ends_early_once_every_operator_approved() {
    let mut world = World::new();
    let by = ["agent/neo-2", "agent/neo-3", "operator/ana", "operator/ben", "operator/chen"];
    decide(&mut world, Kind::Resync, "member:neo-4", &by).unwrap();
}

#[test]
fn a_kind_without_a_probe_is_the_operators() {
    assert!(refused(Kind::Halt, "cluster", &[&DOMAINS[..], &["operator/ana"]].concat()));
    let operators = ["operator/ana", "operator/ben", "operator/chen"];
    assert!(!refused(Kind::Halt, "cluster", &operators));
}

#[test]
fn a_vote_counts_for_the_one_text_it_signs() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let other = world.proposal(Kind::Restart);
    let good = Vote::on(&proposal, Verdict::Approve);
    let mut later = good.clone();
    later.expires = later.expires.saturating_add(Span::from_secs(1));
    let mut older = good.clone();
    older.epoch = older.epoch.next().unwrap();
    let wrong =
        [Vote::on(&other, Verdict::Approve), Vote::on(&proposal, Verdict::Reject), later, older];
    for vote in wrong {
        let mut decision = world.decision(&proposal, &DOMAINS);
        decision.votes = signed(vote, &DOMAINS);
        let refused = world.refuse(&Leaf::Decision(decision));
        assert!(matches!(refused, LeafRefused::OtherVote { .. }), "{refused}");
    }
}

#[test]
fn a_vote_moved_under_another_text_is_false() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let other = world.proposal(Kind::Restart);
    let mut decision = world.decision(&proposal, &DOMAINS);
    decision.votes.lines = signed(Vote::on(&other, Verdict::Approve), &DOMAINS).lines;
    let refused = world.refuse(&Leaf::Decision(decision));
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::BadSignature { .. })));
}

#[test]
fn a_proposal_binds_cluster_charter_epoch_and_origin() {
    let mut world = World::new();
    let good = world.proposal(Kind::Restart);
    let mut proposal = good.clone();
    proposal.charter = quorate_attest::id::CharterId::of_text("another of the same epoch");
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::OtherCharter { .. }), "{refused}");
    let mut proposal = good.clone();
    proposal.epoch = proposal.epoch.next().unwrap();
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::OtherEpoch { .. }), "{refused}");
    let mut proposal = good.clone();
    proposal.origin.incarnation = proposal.origin.incarnation.next().unwrap();
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::OtherOrigin { .. }), "{refused}");
    let mut decision = world.decision(&good, &DOMAINS);
    decision.cluster = "other".parse().unwrap();
    let refused = world.refuse(&Leaf::Decision(decision));
    assert!(matches!(refused, LeafRefused::OtherCluster { .. }), "{refused}");
    let mut proposal = good;
    proposal.cluster = "other".parse().unwrap();
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::UnknownCluster { .. }), "{refused}");
}

fn is_lines(refused: &LeafRefused, check: impl Fn(&LinesRefused) -> bool) -> bool {
    matches!(refused, LeafRefused::Lines { source, .. } if check(source))
}

/// Refuses a decision whose approve note has these lines.
fn with_lines(change: impl Fn(&mut Vec<SignatureLine>, &Signed<Vote>)) -> LeafRefused {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let mut decision = world.decision(&proposal, &DOMAINS);
    let votes = decision.votes.clone();
    change(&mut decision.votes.lines, &votes);
    world.refuse(&Leaf::Decision(decision))
}

#[test]
fn one_line_three_times_is_refused() {
    let refused = with_lines(|lines, _| {
        lines.insert(1, lines[0].clone());
        lines.insert(1, lines[0].clone());
    });
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::NotAscending { .. })));
}

#[test]
fn lines_out_of_order_are_refused() {
    let refused = with_lines(|lines, _| lines.swap(0, 1));
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::NotAscending { .. })));
}

#[test]
fn a_line_of_nobody_is_refused_inside_a_leaf() {
    let refused = with_lines(|lines, votes| {
        let stranger = quorate_attest::key::NoteSigner::new(
            key_name("operator/zoe"),
            SecretKey::from_seed(zeroize::Zeroizing::new([7; 32])),
        );
        lines.push(stranger.sign(&votes.statement));
    });
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::UnknownKey { .. })));
}

#[test]
fn a_known_name_with_another_key_is_nobody() {
    let refused = with_lines(|lines, votes| {
        let impostor = quorate_attest::key::NoteSigner::new(
            key_name("operator/ana"),
            SecretKey::from_seed(zeroize::Zeroizing::new([7; 32])),
        );
        lines.push(impostor.sign(&votes.statement));
    });
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::UnknownKey { .. })));
}

#[test]
fn a_coordinators_cosignature_is_no_vote() {
    let refused = with_lines(|lines, _| {
        let head = quorate_attest::checkpoint::Checkpoint::parse(
            "quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100\n0\n\
             47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        )
        .unwrap();
        let time = quorate_attest::log_time::CosignTime::new(1_790_000_000).unwrap();
        lines.push(coordinator(1).cosign(&head, time).to_line());
    });
    assert_eq!(coordinator(1).vkey().key_type(), KeyType::Cosignature);
    assert!(is_lines(&refused, |source| {
        matches!(source, LinesRefused::UnknownKey { .. } | LinesRefused::NotAscending { .. })
    }));
}

#[test]
fn one_false_line_spoils_the_note() {
    let refused = with_lines(|lines, _| lines[0].payload[0] ^= 1);
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::BadSignature { .. })));
}

#[test]
fn a_note_without_lines_is_no_leaf() {
    let refused = with_lines(|lines, _| lines.clear());
    assert!(matches!(refused, LeafRefused::Form(_)), "{refused}");
}

#[test]
fn an_observer_of_another_cluster_is_no_validator_here() {
    let mut charter = charter();
    let mut text = quorate_attest::text::Statement::text(&charter);
    let key = signer("agent/etcd-1").vkey().to_string();
    let keys = ["agent/etcd-2", "agent/etcd-3"].map(|name| signer(name).vkey().to_string());
    text = text.replace(
        "cluster neo-testnet neo closed\n",
        "cluster etcd etcd closed\ncluster neo-testnet neo closed\n",
    );
    text = text.replace(
        "member neo-testnet neo-1 site-a\n",
        "member etcd e-1 -\nmember etcd e-2 -\nmember etcd e-3 -\nmember neo-testnet neo-1 site-a\n",
    );
    text = text.replace(
        "agent neo-testnet neo-1 ",
        &format!(
            "agent etcd e-1 observer {key}\nagent etcd e-2 observer {}\n\
             agent etcd e-3 observer {}\nagent neo-testnet neo-1 ",
            keys[0], keys[1]
        ),
    );
    charter = quorate_attest::text::Statement::parse(&text).unwrap();
    let mut world = World::with(charter);
    let by = ["agent/etcd-1", "agent/neo-1", "agent/neo-2", "agent/neo-3"];
    let refused = decide(&mut world, Kind::Restart, "member:neo-4", &by).unwrap_err();
    assert!(is_lines(&refused, |source| matches!(source, LinesRefused::UnknownKey { .. })));
}

#[test]
fn the_times_of_a_decision_rise() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let good = world.decision(&proposal, &DOMAINS);
    let second = Span::from_secs(1);
    let mut late = good.clone();
    late.approved = late.time.saturating_add(second);
    let mut early = good.clone();
    early.not_before = early.time.saturating_sub(second);
    let mut empty = good.clone();
    empty.expires = empty.not_before;
    for decision in [late, early, empty] {
        let refused = world.refuse(&Leaf::Decision(decision));
        assert!(matches!(refused, LeafRefused::TimesOutOfOrder { .. }), "{refused}");
    }
    let mut long = good.clone();
    long.expires = long.expires.saturating_add(second);
    let refused = world.refuse(&Leaf::Decision(long));
    assert!(matches!(refused, LeafRefused::OutlivesProposal { .. }), "{refused}");
}

#[test]
fn a_decision_does_not_outlive_the_start_window_of_its_class() {
    let mut world = World::new();
    let mut proposal = world.proposal(Kind::Restart);
    proposal.expires = proposal.expires.saturating_add(Span::from_secs(3_600));
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::OutlivesWindow { .. }), "{refused}");
}

#[test]
fn log_time_never_falls() {
    let mut world = World::new();
    let decision = world.decide();
    world.finish(&decision);
    let proposal = world.proposal(Kind::Restart);
    let mut decision = world.decision(&proposal, &DOMAINS);
    decision.time = decision.time.saturating_sub(Span::from_millis(1));
    decision.approved = decision.time;
    let refused = world.refuse(&Leaf::Decision(decision));
    assert!(matches!(refused, LeafRefused::TimeFell { .. }), "{refused}");
}
