//! Every byte of every accepted vector deleted, repeated, swapped and flipped: whatever is still
//! accepted says the same.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::cosignature::Cosignature;
use quorate_attest::key::VerifierKey;
use quorate_attest::note::{Note, SignatureLine};
use quorate_attest::proof::TlogProof;
use support::{cases, content, file, policy, ring, text, unhex};

/// All single-byte mutations, and every line deleted, repeated and swapped with the next.
fn mutations(bytes: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for at in 0..bytes.len() {
        let (before, after) = (&bytes[..at], &bytes[at + 1..]);
        all.insert([before, after].concat());
        all.insert([before, &[bytes[at], bytes[at]], after].concat());
        for mask in [0x01, 0x04, 0x20, 0x80] {
            all.insert([before, &[bytes[at] ^ mask], after].concat());
        }
        if at + 1 < bytes.len() {
            let mut swapped = bytes.to_vec();
            swapped.swap(at, at + 1);
            all.insert(swapped);
        }
    }
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() {
        let (before, after) = (lines[..at].concat(), lines[at + 1..].concat());
        all.insert([before.as_slice(), &after].concat());
        all.insert([before.as_slice(), lines[at], lines[at], &after].concat());
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            all.insert(swapped.concat());
        }
    }
    all.remove(bytes);
    all
}

#[test]
fn a_mutated_verifier_key_never_loads() {
    for case in cases(&file("vkey"), "accept", 14) {
        for mutated in mutations(text(&case, "vkey").as_bytes()) {
            let loaded = std::str::from_utf8(&mutated).ok().map(str::parse::<VerifierKey>);
            assert!(!matches!(loaded, Some(Ok(_))), "{:?}", String::from_utf8(mutated));
        }
    }
}

#[test]
fn a_mutated_note_opens_for_the_same_text_or_not_at_all() {
    let (mut refused, mut opened) = (0, 0);
    for case in cases(&file("note"), "accept", 13) {
        let ring = ring(&case);
        for mutated in mutations(&content(&case, "text", "hex")) {
            let Ok(note) = Note::parse(&mutated) else {
                refused += 1;
                continue;
            };
            assert_eq!(note.to_bytes(), mutated, "one note, one spelling");
            let Ok(signers) = note.open(&ring) else {
                refused += 1;
                continue;
            };
            // Lines may come in another order, be unknown, or be missing: the signed text stays, and
            // nobody is a signer who was none.
            opened += 1;
            assert_eq!(note.text, text(&case, "note_text"));
            let known = case["signers"].as_array().unwrap();
            assert!(signers.iter().all(|key| known.contains(&key.name().as_str().into())));
        }
    }
    assert!(opened > 100 && refused > opened, "{opened} opened, {refused} refused");
}

#[test]
fn a_mutated_checkpoint_is_refused_or_another_checkpoint() {
    for case in cases(&file("checkpoint"), "accept", 8) {
        for mutated in mutations(text(&case, "body").as_bytes()) {
            let Ok(mutated) = String::from_utf8(mutated) else { continue };
            if let Ok(checkpoint) = Checkpoint::parse(&mutated) {
                assert_eq!(checkpoint.body(), mutated, "one checkpoint, one spelling");
            }
        }
    }
}

#[test]
fn a_mutated_cosignature_never_verifies() {
    for case in cases(&file("cosignature"), "accept", 8) {
        let vkey: VerifierKey = text(&case, "vkey").parse().unwrap();
        let (line, body) = (text(&case, "line").trim_end(), text(&case, "body"));
        let checkpoint = Checkpoint::parse(body).unwrap();
        let verify = |line: &str, checkpoint: &Checkpoint| {
            let line: Result<SignatureLine, _> = line.parse();
            let cosignature = Cosignature::from_line(&line.ok()?).ok()?;
            cosignature.verify(&vkey, checkpoint).ok()
        };
        assert!(verify(line, &checkpoint).is_some());
        for mutated in mutations(line.as_bytes()) {
            let verified = std::str::from_utf8(&mutated).ok().and_then(|l| verify(l, &checkpoint));
            assert_eq!(verified, None, "{:?}", String::from_utf8(mutated));
        }
        for mutated in mutations(body.as_bytes()) {
            let other = std::str::from_utf8(&mutated).ok().map(Checkpoint::parse);
            if let Some(Ok(other)) = other {
                assert_eq!(verify(line, &other), None, "{other}");
            }
        }
    }
}

#[test]
fn a_mutated_proof_proves_the_same_or_nothing() {
    let file = file("proof");
    let (policy, latest) = policy(&file);
    let (mut refused, mut accepted) = (0, 0);
    for case in cases(&file, "accept", 8) {
        let given = content(&case, "proof", "proof_hex");
        let entry = unhex(text(&case, "entry"));
        let original = TlogProof::parse(&given).unwrap();
        let head = original.verify_entry(&entry, &policy, latest).unwrap();
        for mutated in mutations(&given) {
            let Ok(proof) = TlogProof::parse(&mutated) else {
                refused += 1;
                continue;
            };
            assert_eq!(proof.to_bytes(), mutated, "one proof, one spelling");
            // As a certificate, and for a caller who knows the entry already.
            let verdicts =
                [proof.verify(&policy, latest), proof.verify_entry(&entry, &policy, latest)];
            for (verdict, proven) in
                verdicts.into_iter().zip([proof.entry().unwrap_or_default(), &entry])
            {
                let Ok(still) = verdict else {
                    refused += 1;
                    continue;
                };
                accepted += 1;
                assert_eq!(proof.index(), original.index());
                assert_eq!(proven, entry, "what is proven is the entry");
                assert_eq!(still.checkpoint(), head.checkpoint());
                for (name, time) in still.cosigned() {
                    assert_eq!(head.cosigned().get(name), Some(time));
                }
            }
        }
    }
    assert!(accepted > 100 && refused > accepted, "{accepted} accepted, {refused} refused");
}
