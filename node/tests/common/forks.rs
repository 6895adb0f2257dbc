//! A log with one decision, what may follow it, and the other side of a fork.

use quorate_attest::id::Nonce;
use quorate_attest::leaf::Leaf;
use quorate_attest::number::Epoch;
use quorate_attest::operator_statement::{Automation, Pause, Scope};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_node::trust::{Growth, Trust, TrustRefused};

use super::time;
use super::world::{World, note_signer};

/// One decision: a restart of n1.
pub fn world() -> World {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
    world.decide(&proposal, None);
    world
}

/// A lawful leaf after any other: a pause.
pub fn pause(world: &mut World, nonce: u8) {
    let pause = Pause {
        origin: world.origin(),
        epoch: Epoch::MIN,
        cluster: Scope::All,
        automation: Automation::Paused,
        until: None,
        reason: "maintenance".parse().expect("a sentence"),
        expires: time(60_000),
        nonce: Nonce::from_bytes([nonce; 16]),
    };
    let line = note_signer("operator", "ana").sign(&pause);
    world.append(&Leaf::Pause(Signed::new(pause, vec![line])));
}

/// The other side of a fork after leaf 0, one leaf longer than [`world`]: k keys signed it too.
pub fn fork(after: impl FnOnce(&mut World)) -> World {
    let mut fork = World::new();
    let proposal = fork.proposal(Kind::Restart, "member:n2", &["n2"], &[]);
    fork.decide(&proposal, None);
    after(&mut fork);
    fork
}

pub fn told_of(trust: &mut Trust, side: &World) -> TrustRefused {
    let head = side.head(2, side.now);
    let first = trust.head(2, &head, side.now).expect("it waits for its leaves");
    assert_eq!(first.grew, Growth::None);
    assert!(trust.view().alarm().is_none());
    trust.leaf(2, 2, &side.leaves[2], side.now).expect_err("they do not lead there")
}
