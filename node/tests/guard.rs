//! The guard: no validator signs two texts for one question, whatever happens to its process.

mod common;

use std::fs;
use std::io::Write as _;
use std::thread;

use common::{proposal, signer, time};
use quorate_attest::number::Epoch;
use quorate_attest::vote::{Verdict, Vote};
use quorate_node::vote::{Guard, GuardError};

fn vote(tag: &str, verdict: Verdict) -> Vote {
    Vote {
        origin: "quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100"
            .parse()
            .expect("origin"),
        epoch: Epoch::MIN,
        proposal: proposal(tag),
        verdict,
        expires: time(0),
    }
}

#[test]
fn the_same_text_is_signed_again_and_another_one_never() {
    let directory = tempfile::tempdir().expect("directory");
    let key = directory.path().join("vote.pem");
    let first = Guard::beside(&key).sign_vote(&signer("n1"), vote("a", Verdict::Approve));
    let again = Guard::beside(&key).sign_vote(&signer("n1"), vote("a", Verdict::Approve));
    assert_eq!(first.expect("first").to_bytes(), again.expect("again").to_bytes());
    let other = Guard::beside(&key).sign_vote(&signer("n1"), vote("a", Verdict::Reject));
    let Err(GuardError::SignedOtherwise { before, .. }) = other else {
        panic!("two verdicts were signed");
    };
    assert!(before.contains("verdict approve"), "{before}");
    Guard::beside(&key)
        .sign_vote(&signer("n1"), vote("b", Verdict::Reject))
        .expect("another question");
}

#[test]
fn another_expiry_is_another_text() {
    let directory = tempfile::tempdir().expect("directory");
    let guard = Guard::beside(&directory.path().join("vote.pem"));
    guard.sign_vote(&signer("n1"), vote("a", Verdict::Approve)).expect("first");
    let other = Vote { expires: time(1), ..vote("a", Verdict::Approve) };
    let refused = guard.sign_vote(&signer("n1"), other);
    assert!(matches!(refused, Err(GuardError::SignedOtherwise { .. })), "{refused:?}");
}

#[test]
fn a_torn_end_was_never_released_and_does_not_stop_the_key() {
    let directory = tempfile::tempdir().expect("directory");
    let key = directory.path().join("vote.pem");
    let guard = Guard::beside(&key);
    guard.sign_vote(&signer("n1"), vote("a", Verdict::Approve)).expect("first");
    let path = directory.path().join("vote.pem.guard");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("open");
    file.write_all(b"vote quorate.example/tes").expect("a torn line");
    guard.sign_vote(&signer("n1"), vote("b", Verdict::Approve)).expect("after the torn end");
    let other = guard.sign_vote(&signer("n1"), vote("a", Verdict::Reject));
    assert!(matches!(other, Err(GuardError::SignedOtherwise { .. })), "{other:?}");
    let other = guard.sign_vote(&signer("n1"), vote("b", Verdict::Reject));
    assert!(matches!(other, Err(GuardError::SignedOtherwise { .. })), "{other:?}");
}

#[test]
fn a_damaged_line_stops_every_signature() {
    let directory = tempfile::tempdir().expect("directory");
    let guard = Guard::beside(&directory.path().join("vote.pem"));
    guard.sign_vote(&signer("n1"), vote("a", Verdict::Approve)).expect("first");
    let path = directory.path().join("vote.pem.guard");
    let whole = fs::read(&path).expect("read");
    // Every byte but the line end, whose loss makes the line a torn one.
    for at in 0..whole.len() - 1 {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).expect("write");
        let refused = guard.sign_vote(&signer("n1"), vote("b", Verdict::Approve));
        let refused = refused.expect_err("a damaged guard signs nothing");
        assert!(
            matches!(refused, GuardError::Damaged { .. } | GuardError::Disk { .. }),
            "byte {at}: {refused}"
        );
    }
}

#[test]
fn two_signers_at_once_are_one_after_the_other() {
    let directory = tempfile::tempdir().expect("directory");
    let key = directory.path().join("vote.pem");
    for round in 0..20 {
        let tag = format!("round {round}");
        let signed: Vec<bool> = thread::scope(|scope| {
            let sign = |verdict| {
                let (guard, tag) = (Guard::beside(&key), &tag);
                scope.spawn(move || guard.sign_vote(&signer("n1"), vote(tag, verdict)).is_ok())
            };
            let both = [sign(Verdict::Approve), sign(Verdict::Reject)];
            both.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        assert_eq!(signed.iter().filter(|signed| **signed).count(), 1, "{tag}");
    }
}
