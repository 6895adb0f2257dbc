//! Trust: what coordinators send is material; only what holds is believed.

mod common;

use common::forks::{pause, world};
use common::world::{World, note_signer};
use common::{name, time};
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::evidence::{Evidence, EvidenceKind};
use quorate_attest::head::CosignedHead;
use quorate_attest::id::Digest;
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::merkle::{Head, leaf_hash};
use quorate_attest::note::Note;
use quorate_attest::number::Epoch;
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Vote};
use quorate_node::trust::{Anchor, Growth, Trust, TrustRefused};

fn fed(world: &World, source: u64, trust: &mut Trust) {
    for (index, leaf) in world.leaves.iter().enumerate() {
        trust.leaf(source, index as u64, leaf, world.now).expect("a leaf");
    }
}

#[test]
fn leaves_are_believed_only_below_a_head_of_enough_coordinators() {
    let world = world();
    let mut trust = Trust::new(Anchor::of(&world.charter));
    fed(&world, 1, &mut trust);
    assert_eq!(trust.size().get(), 0, "the word of one coordinator is nothing");
    let one = trust.head(1, &world.head(1, world.now), world.now);
    assert!(matches!(one, Err(TrustRefused::Head { .. })), "{one:?}");
    assert_eq!(trust.size().get(), 0);
    trust.begin(2);
    fed(&world, 2, &mut trust);
    let advance = trust.head(2, &world.head(2, world.now), world.now).expect("k cosignatures");
    assert_eq!((advance.grew, trust.size().get()), (Growth::Larger, 2));
    let cluster = "demo".parse().expect("a cluster");
    assert!(trust.view().order_for(&cluster, &name("n1")).is_some());
    assert!(trust.view().order_for(&cluster, &name("n2")).is_none());
}

#[test]
fn a_head_that_comes_first_waits_for_its_leaves() {
    let world = world();
    let mut trust = Trust::new(Anchor::of(&world.charter));
    let head = world.head(2, world.now);
    assert_eq!(trust.head(1, &head, world.now).expect("taken").grew, Growth::None);
    trust.leaf(1, 0, &world.leaves[0], world.now).expect("a leaf");
    assert_eq!(trust.size().get(), 0);
    let last = trust.leaf(1, 1, &world.leaves[1], world.now).expect("a leaf");
    assert_eq!((last.grew, trust.size().get()), (Growth::Larger, 2));
}

#[test]
fn a_changed_a_missing_and_a_reordered_leaf_are_refused() {
    let world = world();
    let fresh = || Trust::new(Anchor::of(&world.charter));
    let mut trust = fresh();
    let gap = trust.leaf(1, 1, &world.leaves[1], world.now);
    assert!(matches!(gap, Err(TrustRefused::Gap { expected: 0, found: 1, .. })), "{gap:?}");
    let text = String::from_utf8(world.leaves[1].clone()).expect("text");
    let changed = text.replace("expires 1790000300000", "expires 1790000300001");
    assert_ne!(text, changed);
    let mut trust = fresh();
    trust.leaf(1, 0, &world.leaves[0], world.now).expect("the charter");
    trust.leaf(1, 1, changed.as_bytes(), world.now).expect("judged at the head");
    let refused = trust.head(1, &world.head(2, world.now), world.now);
    assert!(
        matches!(refused, Err(TrustRefused::Root { .. } | TrustRefused::Leaf { .. })),
        "{refused:?}"
    );
    assert_eq!(trust.size().get(), 0);
    // The others go on.
    fed(&world, 2, &mut trust);
    trust.head(2, &world.head(2, world.now), world.now).expect("an honest coordinator");
    assert_eq!(trust.size().get(), 2);
}

#[test]
fn another_deployments_charter_is_not_believed_whatever_it_says() {
    let world = world();
    let mut anchor = Anchor::of(&world.charter);
    anchor.id = quorate_attest::id::CharterId(Digest::of(b"another charter"));
    let mut trust = Trust::new(anchor);
    fed(&world, 1, &mut trust);
    let refused = trust.head(1, &world.head(2, world.now), world.now);
    assert!(matches!(refused, Err(TrustRefused::OtherCharter { .. })), "{refused:?}");
    assert_eq!(trust.size().get(), 0);
}

#[test]
fn two_cosigned_roots_of_one_size_are_an_alarm_and_both_are_kept() {
    let world = world();
    let mut trust = world.trust();
    let other = Checkpoint::new(
        world.origin(),
        Head { size: world.history.size(), root: leaf_hash(b"another history") },
    );
    let lines = world.coordinators[1..]
        .iter()
        .map(|signer| signer.cosign(&other, world.now.to_cosign_time()).to_line());
    let policy = world.history.charter().head_policy().expect("a policy");
    let forked = CosignedHead::assemble(other.clone(), lines, &policy).to_bytes();
    let refused = trust.head(2, &forked, world.now);
    assert!(matches!(refused, Err(TrustRefused::Alarm(_))), "{refused:?}");
    let view = trust.view();
    let alarm = view.alarm().expect("the alarm stays");
    assert_eq!(alarm.heads()[1], forked);
    assert!(alarm.to_string().contains("size 2"), "{alarm}");
    let again = world.trust().alarmed(alarm.heads().clone());
    assert_eq!(again.view().alarm(), Some(alarm), "it outlives a restart");
    // Only one coordinator behind the other root is no alarm: it is nothing.
    let mut trust = world.trust();
    let head = CosignedHead::parse(&forked).expect("a head");
    let alone = CosignedHead { lines: head.lines[..1].to_vec(), ..head }.to_bytes();
    assert!(matches!(trust.head(2, &alone, world.now), Err(TrustRefused::Head { .. })));
    assert!(trust.view().alarm().is_none());
}

#[test]
fn a_refreshed_head_makes_the_log_fresh_again_and_an_old_one_does_not() {
    let world = world();
    let mut trust = world.trust();
    let later = world.now.saturating_add(Span::from_secs(601));
    assert!(!trust.view().is_fresh(later), "older than the charter's maximal age");
    let old = trust.head(1, &world.head(2, world.now), later).expect("an old head");
    assert_eq!(old.grew, Growth::None);
    assert!(!trust.view().is_fresh(later));
    let fresh = trust.head(1, &world.head(2, later), later).expect("a new one");
    assert_eq!(fresh.grew, Growth::Fresher);
    assert!(trust.view().is_fresh(later));
    let ahead = later.saturating_add(Span::from_secs(3_600));
    let future = trust.head(1, &world.head(2, ahead), later);
    assert!(matches!(future, Err(TrustRefused::Head { .. })), "{future:?}");
}

#[test]
fn what_was_pinned_is_taken_up_again_and_a_changed_pin_is_not() {
    let mut world = world();
    let trust = world.trust();
    let pinned = trust.pinned().expect("something is believed");
    let anchor = Anchor::of(&world.charter);
    let mut resumed = Trust::resume(anchor.clone(), &pinned).expect("resumed");
    assert_eq!(resumed.size(), trust.size());
    let proposal = world.proposal(Kind::Quiesce, "service:a", &["n1"], &[]);
    world.advance(Span::from_secs(400));
    let before = world.leaves.len();
    let pause_free = world.history.cluster(&"demo".parse().expect("cluster")).is_some();
    assert!(pause_free);
    // A void of the second proposal is the next leaf.
    let void = quorate_attest::leaf::Void {
        origin: world.origin(),
        epoch: Epoch::MIN,
        time: world.now,
        cluster: "demo".parse().expect("a cluster"),
        cause: quorate_attest::leaf::VoidCause::Superseded,
        detail: "-".parse().expect("a sentence"),
        proposal,
        approve: None,
        reject: None,
        veto: None,
    };
    world.append(&Leaf::Void(void));
    resumed.begin(1);
    resumed.leaf(1, before as u64, &world.leaves[before], world.now).expect("the next leaf");
    resumed.head(1, &world.head(2, world.now), world.now).expect("its head");
    assert_eq!(resumed.size(), world.history.size());
    let mut other = pinned.clone();
    other.head = world.head(2, world.now);
    assert!(Trust::resume(anchor.clone(), &other).is_err(), "the head of other leaves");
    let mut cut = pinned;
    cut.history.pop();
    assert!(Trust::resume(anchor, &cut).is_err());
}

#[test]
fn a_slow_coordinator_does_not_hold_back_what_another_has_shown() {
    let world = world();
    let mut trust = Trust::new(Anchor::of(&world.charter));
    trust.leaf(2, 0, &world.leaves[0], world.now).expect("a slow one");
    fed(&world, 1, &mut trust);
    trust.head(1, &world.head(2, world.now), world.now).expect("a quick one");
    assert_eq!(trust.size().get(), 2);
    trust.leaf(2, 1, &world.leaves[1], world.now).expect("believed already");
    let same = trust.head(2, &world.head(2, world.now), world.now).expect("the same head");
    assert_eq!(same.grew, Growth::None);
}

#[test]
fn evidence_in_the_verified_log_is_told_with_the_key_it_speaks_against() {
    let mut world = world();
    let proposal = world.proposal(Kind::BanPeer, "member:n4", &["n1"], &["ttl-ms 600000"]);
    let signer = note_signer("agent", "n4");
    let note = |verdict| {
        let vote = Vote::on(&proposal, verdict);
        Note { text: vote.text(), lines: vec![signer.sign(&vote)] }
    };
    let (mut a, mut b) = (note(Verdict::Approve), note(Verdict::Reject));
    if a.text > b.text {
        std::mem::swap(&mut a, &mut b);
    }
    let evidence = Evidence {
        origin: world.origin(),
        epoch: Epoch::MIN,
        time: time(0),
        kind: EvidenceKind::Vote,
        key: signer.vkey().clone(),
        prefix: None,
        proof: Vec::new(),
        a,
        b,
    };
    world.append(&Leaf::Evidence(evidence));
    let mut trust = Trust::new(Anchor::of(&world.charter));
    fed(&world, 1, &mut trust);
    let advance = trust.head(1, &world.head(2, world.now), world.now).expect("a head");
    let digest = Digest::of(world.leaves.last().expect("a leaf"));
    assert_eq!(advance.evidence, [(digest, name("n4"))]);
}

#[test]
fn a_source_that_goes_back_is_refused_and_cannot_make_the_agent_lose_count() {
    let mut world = world();
    let mut trust = world.trust();
    trust.begin(2);
    pause(&mut world, 1);
    pause(&mut world, 2);
    let above = [(2, world.leaves[2].clone()), (3, world.leaves[3].clone())];
    for (index, leaf) in &above {
        trust.leaf(2, *index, leaf, world.now).expect("the next leaf");
    }
    // It holds two leaves above the belief; a step back to a believed one would count them away.
    for index in [0, 1, 2, 3, u64::MAX] {
        let back = trust.leaf(2, index, &world.leaves[0], world.now);
        assert!(matches!(back, Err(TrustRefused::Gap { expected: 4, .. })), "{index}: {back:?}");
    }
    for (index, leaf) in &above {
        trust.leaf(1, *index, leaf, world.now).expect("another source");
    }
    let grown = trust.head(1, &world.head(2, world.now), world.now).expect("its head");
    assert_eq!((grown.grew, trust.size().get()), (Growth::Larger, 4));
}
