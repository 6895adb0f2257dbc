//! Properties over random inputs: nothing panics, everything accepted has one spelling, proofs fit
//! what they prove, and two quorums of coordinators never stand behind two roots.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::head::{CosignedHead, HeadPolicy};
use quorate_attest::id::{ClusterId, Digest, KeyName, Origin, Sentence, Word};
use quorate_attest::key::{CosignSigner, SecretKey, VerifierKey};
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::{
    Hash, Head, MemoryHashes, empty_root, leaf_hash, node_hash, prove_consistency, prove_inclusion,
    root_at, verify_consistency, verify_inclusion,
};
use quorate_attest::note::{KeyRing, Note};
use quorate_attest::number::{FencingToken, LeafIndex, TreeSize};
use quorate_attest::proof::TlogProof;
use quorate_attest::tiles::{Tile, read_bundle, write_bundle};
use zeroize::Zeroizing;

const ORIGIN: &str = "quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100";

fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

/// RFC 6962 section 2.1 as it is written, without any frontier.
fn recursive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => leaf_hash(leaf),
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            node_hash(&recursive_root(left), &recursive_root(right))
        }
    }
}

fn signer(id: u8) -> CosignSigner {
    let name = format!("quorate.example/testnet/coordinator/{id}");
    CosignSigner::new(KeyName::new(name).unwrap(), SecretKey::from_seed(Zeroizing::new([id; 32])))
}

/// Bytes that look like what the decoders read, so that random ones get past the first check.
fn almost_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("\u{2014} ".to_owned()),
        Just("c2sp.org/tlog-proof@v1\n".to_owned()),
        Just("index 0\n".to_owned()),
        Just("extra AA==\n".to_owned()),
        Just(format!("{ORIGIN}\n1\n{}\n", empty_root())),
        Just("tile/0/x001/000.p/7".to_owned()),
        "[ -~]{0,12}",
        "\\PC{0,3}",
    ];
    let text = vec(piece, 0..10).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![text, vec(any::<u8>(), 0..64)]
}

proptest! {
    #[test]
    fn no_decoder_panics_and_each_has_one_spelling(bytes in almost_text()) {
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_bytes(), bytes.clone());
            prop_assert!(note.open(&KeyRing::default()).is_err());
        }
        if let Ok(proof) = TlogProof::parse(&bytes) {
            prop_assert_eq!(proof.to_bytes(), bytes.clone());
        }
        if let Ok(entries) = read_bundle(&bytes) {
            prop_assert_eq!(write_bundle(entries).unwrap(), bytes.clone());
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            fn one_spelling<T: std::str::FromStr + ToString>(text: &str) -> bool {
                text.parse::<T>().map_or(true, |value| value.to_string() == text)
            }
            prop_assert!(one_spelling::<Tile>(text));
            prop_assert!(one_spelling::<VerifierKey>(text));
            prop_assert!(one_spelling::<Origin>(text));
            prop_assert!(one_spelling::<Digest>(text));
            prop_assert!(one_spelling::<FencingToken>(text));
            prop_assert!(one_spelling::<TreeSize>(text));
            prop_assert!(one_spelling::<ClusterId>(text));
            prop_assert!(one_spelling::<Word>(text));
            prop_assert!(one_spelling::<Sentence>(text));
            if let Ok(checkpoint) = Checkpoint::parse(text) {
                prop_assert_eq!(checkpoint.body(), text);
            }
        }
        drop(borsh::from_slice::<quorate_attest::merkle::Frontier>(&bytes));
    }

    #[test]
    fn numbers_come_back_from_their_text(value in 0..=i64::MAX as u64) {
        let size = TreeSize::new(value).unwrap();
        prop_assert_eq!(size.to_string().parse::<TreeSize>().unwrap(), size);
        prop_assert!(TreeSize::new(value + (1 << 63)).is_err());
    }

    #[test]
    fn the_frontier_has_the_root_of_the_definition_and_proofs_fit_one_place(
        leaves in vec(vec(any::<u8>(), 0..4), 1..70),
        older in 1_usize..70,
        index in 0_usize..70,
        flip in 0_usize..256,
    ) {
        let (older, index) = (1 + older % leaves.len(), index % leaves.len());
        let (older, index) = (older.min(leaves.len()), index as u64);
        let mut log = MemoryHashes::new();
        leaves.iter().for_each(|leaf| log.append(leaf));
        let head = log.head();
        prop_assert_eq!(head.root, recursive_root(&leaves));
        let older = TreeSize::new(older as u64).unwrap();
        let older = Head { size: older, root: root_at(&log, older).unwrap() };
        prop_assert_eq!(older.root, recursive_root(&leaves[..older.size.get() as usize]));

        let at = LeafIndex::new(index).unwrap();
        let proof = prove_inclusion(&log, at, head.size).unwrap();
        let entry = &leaves[index as usize];
        prop_assert_eq!(verify_inclusion(at, entry, &proof, &head), Ok(()));
        let proof_older = prove_consistency(&log, older.size, head.size).unwrap();
        prop_assert_eq!(verify_consistency(&older, &head, &proof_older), Ok(()));

        // Any one bit of any hash matters.
        for at_hash in 0..proof.len() {
            let mut bent = proof.clone();
            bent[at_hash] = flipped(&bent[at_hash], flip);
            prop_assert!(verify_inclusion(at, entry, &bent, &head).is_err());
        }
        for at_hash in 0..proof_older.len() {
            let mut bent = proof_older.clone();
            bent[at_hash] = flipped(&bent[at_hash], flip);
            prop_assert!(verify_consistency(&older, &head, &bent).is_err());
        }
        let wrong = Head { root: flipped(&older.root, flip), ..older };
        prop_assert!(verify_consistency(&wrong, &head, &proof_older).is_err());
    }

    /// Sections 5 and 6 of the rules: k = ⌊(n+f)/2⌋ + 1, and an honest coordinator signs one root.
    #[test]
    fn two_quorums_never_stand_behind_two_roots(
        (n, f) in prop_oneof![Just((3_u8, 0_u8)), Just((4, 1)), Just((5, 1)), Just((7, 2))],
        choice in vec(any::<bool>(), 7),
        rotate in 0_u8..7,
    ) {
        let signers: Vec<CosignSigner> = (0..n).map(signer).collect();
        let vkeys = signers.iter().map(|signer| signer.vkey().clone());
        let k = usize::from((n + f) / 2 + 1);
        let policy = HeadPolicy::new(origin(), vkeys, [], k).unwrap();
        let time = CosignTime::new(1_790_000_000).unwrap();
        let certified = [b"left", b"rite"].map(|leaf| {
            let head = Head { size: TreeSize::new(1).unwrap(), root: leaf_hash(leaf) };
            let checkpoint = Checkpoint::new(origin(), head);
            let lines = signers.iter().enumerate().filter_map(|(at, signer)| {
                // f of them lie and sign both; the others sign one each.
                let liar = (at + usize::from(rotate)) % usize::from(n) < usize::from(f);
                let signs = liar || choice[at] == (leaf == b"left");
                signs.then(|| signer.cosign(&checkpoint, time).to_line())
            });
            CosignedHead::assemble(checkpoint.clone(), lines, &policy).verify(&policy, time).is_ok()
        });
        prop_assert_ne!(certified, [true, true]);
    }

    #[test]
    fn assembling_drops_what_is_false_and_keeps_what_is_good(
        times in vec(1_790_000_000_u64..1_790_000_100, 4),
        bend in vec(any::<bool>(), 4),
        repeat in 0_usize..4,
    ) {
        let signers: Vec<CosignSigner> = (0..4).map(signer).collect();
        let vkeys = signers.iter().map(|signer| signer.vkey().clone());
        let policy = HeadPolicy::new(origin(), vkeys, [], 1).unwrap();
        let head = Head { size: TreeSize::new(1).unwrap(), root: leaf_hash(b"leaf") };
        let checkpoint = Checkpoint::new(origin(), head);
        let mut lines: Vec<_> = signers.iter().zip(&times).map(|(signer, time)| {
            signer.cosign(&checkpoint, CosignTime::new(*time).unwrap()).to_line()
        }).collect();
        for (line, bend) in lines.iter_mut().zip(&bend) {
            line.payload[71] ^= u8::from(*bend);
        }
        lines.push(lines[repeat].clone());
        lines.push(signer(9).cosign(&checkpoint, CosignTime::MIN).to_line());
        lines.reverse();
        let good = bend.iter().filter(|bend| !**bend).count();
        let head = CosignedHead::assemble(checkpoint, lines, &policy);
        prop_assert_eq!(head.lines.len(), good);
        prop_assert_eq!(CosignedHead::parse(&head.to_bytes()).ok(), (good > 0).then(|| head.clone()));
        if good > 0 {
            let verified = head.verify(&policy, CosignTime::MAX).unwrap();
            let newest = times.iter().zip(&bend).filter(|(_, bend)| !**bend).map(|(time, _)| time);
            prop_assert_eq!(verified.as_of().get(), *newest.max().unwrap());
            let names: Vec<_> = head.lines.iter().map(|line| &line.name).collect();
            prop_assert!(names.is_sorted());
        }
    }
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}
