//! Independent implementations agree. They are oracles for good inputs only: `signed_note` verifies
//! laxly and `ct-merkle` is unaudited, so neither is ever part of the product.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod support;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use quorate_attest::key::{KeyType, VerifierKey};
use quorate_attest::merkle::{MemoryHashes, prove_consistency, prove_inclusion};
use quorate_attest::note::Note;
use quorate_attest::number::{LeafIndex, TreeSize};
use sha2::Sha256;
use signed_note::{StandardVerifier, Verifier, VerifierList};
use support::{cases, content, entry, file, text};

fn concat(hashes: &[quorate_attest::merkle::Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn ct_merkle_builds_the_same_roots_and_the_same_proofs() {
    let mut log = MemoryHashes::new();
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for next in 0..80 {
        log.append(&entry(next));
        oracle.push(entry(next));
        let (head, root) = (log.head(), oracle.root());
        assert_eq!(head.root.as_bytes().as_slice(), root.as_bytes().as_slice());
        for leaf in 0..=next {
            let index = LeafIndex::new(leaf).unwrap();
            let proof = concat(&prove_inclusion(&log, index, head.size).unwrap());
            let at = usize::try_from(leaf).unwrap();
            assert_eq!(oracle.prove_inclusion(at).as_bytes(), proof);
            let proof = InclusionProof::try_from_bytes(proof).unwrap();
            assert!(root.verify_inclusion(&entry(leaf), leaf, &proof).is_ok());

            let older = TreeSize::new(leaf + 1).unwrap();
            let proof = concat(&prove_consistency(&log, older, head.size).unwrap());
            let added = usize::try_from(next - leaf).unwrap();
            assert_eq!(oracle.prove_consistency(added).as_bytes(), proof);
            assert!(ConsistencyProof::<Sha256>::try_from_bytes(proof).is_ok());
        }
    }
}

#[test]
fn signed_note_opens_the_same_notes_with_the_same_signers() {
    for case in cases(&file("note"), "accept", 13) {
        let given = content(&case, "text", "hex");
        let verifiers = case["vkeys"].as_array().unwrap().iter().map(|vkey| {
            let verifier = StandardVerifier::new(vkey.as_str().unwrap()).unwrap();
            Box::new(verifier) as Box<dyn Verifier>
        });
        let oracle = signed_note::Note::from_bytes(&given).unwrap();
        let (verified, _) = oracle.verify(&VerifierList::new(verifiers.collect())).unwrap();
        let ours = Note::parse(&given).unwrap();
        let ring = support::ring(&case);
        let names: Vec<&str> =
            ours.open(&ring).unwrap().iter().map(|key| key.name().as_str()).collect();
        assert_eq!(names, verified.iter().map(signed_note::Signature::name).collect::<Vec<_>>());
        assert_eq!(oracle.text(), ours.text.as_bytes());
        assert_eq!(oracle.to_bytes(), ours.to_bytes());
    }
}

#[test]
fn signed_note_computes_the_same_key_ids() {
    for case in cases(&file("vkey"), "accept", 14) {
        let vkey: VerifierKey = text(&case, "vkey").parse().unwrap();
        if vkey.key_type() == KeyType::Note {
            let oracle = StandardVerifier::new(text(&case, "vkey")).unwrap();
            assert_eq!(oracle.key_id().to_be_bytes(), vkey.id().to_bytes());
            assert_eq!(oracle.name(), vkey.name().as_str());
        }
    }
}
