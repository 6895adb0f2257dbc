//! Every vector gets its verdict, and every refusal names the flaw that the vector names.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod support;

use quorate_attest::checkpoint::{Checkpoint, CheckpointError};
use quorate_attest::cosignature::{Cosignature, CosignatureError, message};
use quorate_attest::id::{Digest, IdError};
use quorate_attest::key::{
    CosignSigner, KeyError, KeyType, NoteSigner, PublicKey, SecretKey, VerifierKey,
};
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::{
    Hash, HashLength, Head, MemoryHashes, empty_root, leaf_hash, prove_consistency,
    prove_inclusion, root_at, verify_consistency, verify_inclusion,
};
use quorate_attest::note::Note;
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_attest::policy::write_policy;
use quorate_attest::proof::TlogProof;
use quorate_attest::tiles::{Tile, read_bundle, write_bundle};
use serde_json::Value;
use support::reason::{
    checkpoint_reason, consistency_reason, cosignature_reason, key_reason, note_reason,
    proof_reason,
};
use support::{
    bytes, cases, content, entry, file, hash, hashes, number, plain, policy, ring, text, unhex,
};
use zeroize::Zeroizing;

fn size(value: u64) -> TreeSize {
    TreeSize::new(value).unwrap()
}

fn secret(case: &Value) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new(bytes(text(case, "seed"))))
}

#[test]
fn keys_have_their_public_half_name_id_and_file() {
    let file = file("keys");
    for case in cases(&file, "keys", 14) {
        let public = PublicKey::load(&bytes(text(&case, "public"))).unwrap();
        assert_eq!(secret(&case).public(), public);
        let name = text(&case, "name").parse().unwrap();
        let vkey = match number(&case, "type") {
            1 => NoteSigner::new(name, secret(&case)).vkey().clone(),
            _ => CosignSigner::new(name, secret(&case)).vkey().clone(),
        };
        assert_eq!(vkey.to_string(), text(&case, "vkey"));
        assert_eq!(vkey.id().to_string(), text(&case, "key_id"));

        let pem = secret(&case).to_pem();
        assert_eq!(pem.len(), 119);
        assert_eq!(SecretKey::from_pem(&pem).unwrap().public(), public);
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = unhex(text(&case, "pkcs8_v1_der"));
        assert_eq!(body, <base64ct::Base64 as base64ct::Encoding>::encode_string(&der));
    }
}

#[test]
fn verifier_keys() {
    let file = file("vkey");
    for case in cases(&file, "accept", 14) {
        let vkey: VerifierKey = text(&case, "vkey").parse().unwrap();
        assert_eq!(vkey.to_string(), text(&case, "vkey"));
        assert_eq!(vkey.name().as_str(), text(&case, "name"));
        assert_eq!(u64::from(vkey.key_type().byte()), number(&case, "type"));
        assert_eq!(vkey.public().as_bytes(), &bytes(text(&case, "public")));
    }
    for case in cases(&file, "refuse", 36) {
        let refused = text(&case, "vkey").parse::<VerifierKey>().unwrap_err();
        assert_eq!(key_reason(&refused), text(&case, "reason"), "{case}: {refused}");
    }
}

#[test]
fn odd_keys_and_signatures() {
    let file = file("ed25519");
    for weak in cases(&file, "weak_keys", 14) {
        let weak = weak.as_str().unwrap_or_else(|| text(&weak, "public")).to_owned();
        assert!(matches!(PublicKey::load(&bytes(&weak)), Err(KeyError::Weak { .. })), "{weak}");
    }
    for case in cases(&file, "cases", 8) {
        let key = PublicKey::load(&bytes(text(&case, "public")));
        assert_eq!(key.is_ok(), case["key_loads"].as_bool().unwrap(), "{case}");
        if let Ok(key) = key {
            let signed =
                key.has_signed(&unhex(text(&case, "message")), &bytes(text(&case, "signature")));
            assert_eq!(signed, case["strict"].as_bool().unwrap(), "{case}");
        }
    }
}

#[test]
fn notes() {
    let file = file("note");
    for case in cases(&file, "accept", 13) {
        let given = content(&case, "text", "hex");
        let note = Note::parse(&given).unwrap();
        assert_eq!(note.to_bytes(), given);
        assert_eq!(note.text, text(&case, "note_text"));
        let ring = ring(&case);
        let signers: Vec<&str> =
            note.open(&ring).unwrap().iter().map(|key| key.name().as_str()).collect();
        assert_eq!(Value::from(signers), case["signers"], "{case}");
    }
    for case in cases(&file, "refuse", 35) {
        let open = |note: Note| note.open(&ring(&case)).map(|signers| signers.len());
        let refused = Note::parse(&content(&case, "text", "hex")).and_then(open).unwrap_err();
        assert_eq!(note_reason(&refused), text(&case, "reason"), "{case}: {refused}");
    }
}

#[test]
fn checkpoints() {
    let file = file("checkpoint");
    for case in cases(&file, "accept", 8) {
        let body = text(&case, "body");
        if text(&case, "origin") == "an origin may have spaces" {
            // Legal by the standard. A log of ours always has an origin of ours.
            let refused = Checkpoint::parse(body).unwrap_err();
            assert!(matches!(refused, CheckpointError::Origin(IdError::OriginShape { .. })));
            continue;
        }
        let checkpoint = Checkpoint::parse(body).unwrap();
        assert_eq!(checkpoint.body(), body);
        assert_eq!(checkpoint.origin.to_string(), text(&case, "origin"));
        assert_eq!(checkpoint.size.get(), number(&case, "size"));
        assert_eq!(checkpoint.root, hash(text(&case, "root")));
    }
    for case in cases(&file, "refuse", 22) {
        let refused = Checkpoint::parse(text(&case, "body")).unwrap_err();
        assert_eq!(checkpoint_reason(&refused), text(&case, "reason"), "{case}: {refused}");
    }
}

#[test]
fn cosignatures() {
    let (file, keys) = (file("cosignature"), file("keys"));
    let read = |case: &Value| {
        let checkpoint = Checkpoint::parse(text(case, "body")).unwrap();
        let line = text(case, "line").trim_end().parse().unwrap();
        let vkey: VerifierKey = text(case, "vkey").parse().unwrap();
        let cosignature = Cosignature::from_line(&line)?;
        cosignature.verify(&vkey, &checkpoint)?;
        Ok::<_, CosignatureError>((cosignature, line))
    };
    for case in cases(&file, "accept", 8) {
        let (cosignature, line) = read(&case).unwrap();
        assert_eq!(cosignature.time.get(), number(&case, "time"));
        assert_eq!(message(cosignature.time, text(&case, "body")), text(&case, "message"));
        assert_eq!(cosignature.to_line(), line);
        // The same key makes the same bytes.
        let own = keys["keys"].as_array().unwrap().iter().find(|key| key["vkey"] == case["vkey"]);
        let own = own.unwrap();
        let signer = CosignSigner::new(text(own, "name").parse().unwrap(), secret(own));
        let checkpoint = Checkpoint::parse(text(&case, "body")).unwrap();
        assert_eq!(signer.cosign(&checkpoint, cosignature.time), cosignature);
    }
    for case in cases(&file, "refuse", 12) {
        let refused = read(&case).unwrap_err();
        assert_eq!(cosignature_reason(&refused), text(&case, "reason"), "{case}: {refused}");
    }
}

#[test]
fn trees_proofs_and_tiles() {
    let (merkle, inclusion) = (file("merkle"), file("inclusion"));
    for case in cases(&merkle, "leaf_hashes", 16) {
        assert_eq!(leaf_hash(text(&case, "entry").as_bytes()), hash(text(&case, "hash")));
    }
    for case in cases(&merkle, "constants", 4) {
        let computed = match text(&case, "what") {
            "root of the empty tree" => empty_root(),
            "leaf hash of the empty entry" => leaf_hash(b""),
            what if what.starts_with("leaf hash of 4c ") => leaf_hash(b"L123456"),
            // Its children are no hashes, which our node hash cannot be given: by hand.
            _ => Hash::from_bytes(*Digest::of(b"\x01N123N456").as_bytes()),
        };
        assert_eq!(computed, hash(text(&case, "hash")));
    }
    let mut log = MemoryHashes::new();
    let mut roots = cases(&merkle, "roots", 43).into_iter().peekable();
    for next in 0..=70_000 {
        if let Some(case) = roots.next_if(|case| number(case, "size") == next) {
            assert_eq!(log.head(), Head { size: size(next), root: hash(text(&case, "root")) });
        }
        log.append(&entry(next));
    }
    assert_eq!(roots.next(), None);

    for case in cases(&inclusion, "accept", 81) {
        let index = LeafIndex::new(number(&case, "index")).unwrap();
        let head = Head { size: size(number(&case, "size")), root: hash(text(&case, "root")) };
        let proof = hashes(&case).unwrap();
        assert_eq!(verify_inclusion(index, &entry(index.get()), &proof, &head), Ok(()), "{case}");
        assert_eq!(prove_inclusion(&log, index, head.size), Ok(proof));
    }
    consistency(&log);
    tiles(&log);
}

fn consistency(log: &MemoryHashes) {
    let file = file("consistency");
    let heads = |case: &Value| {
        let head = |size_key: &str, root_key: &str| Head {
            size: size(number(case, size_key)),
            root: hash(text(case, root_key)),
        };
        (head("size1", "root1"), head("size2", "root2"))
    };
    for case in cases(&file, "accept", 59) {
        let ((older, newer), proof) = (heads(&case), hashes(&case).unwrap());
        assert_eq!(verify_consistency(&older, &newer, &proof), Ok(()), "{case}");
        assert_eq!(prove_consistency(log, older.size, newer.size), Ok(proof));
        assert_eq!(root_at(log, newer.size), Ok(newer.root));
    }
    for case in cases(&file, "refuse", 14) {
        let (older, newer) = heads(&case);
        let reason = match hashes(&case) {
            Err(HashLength::WrongLength { .. } | HashLength::BadBase64) => "bad-hash-length",
            Ok(proof) => {
                consistency_reason(&verify_consistency(&older, &newer, &proof).unwrap_err())
            }
        };
        assert_eq!(reason, text(&case, "reason"), "{case}");
    }
}

fn tiles(log: &MemoryHashes) {
    let file = file("tiles");
    for case in cases(&file, "paths", 10) {
        let path = format!("tile/0/{}", text(&case, "path"));
        let tile: Tile = path.parse().unwrap();
        assert_eq!(tile.start(), number(&case, "index") * 256);
        assert_eq!(tile.to_string(), path);
    }
    for tree in cases(&file, "trees", 8) {
        let of_size: Vec<Tile> = Tile::of_size(size(number(&tree, "size"))).collect();
        let given = tree["tiles"].as_array().unwrap();
        if number(&tree, "size") < 70_000 {
            assert_eq!(of_size.len(), given.len());
        }
        for case in given {
            let tile: Tile = text(case, "path").parse().unwrap();
            assert!(of_size.contains(&tile), "{tile}");
            let bytes = tile.read_hashes(log).unwrap().unwrap();
            assert_eq!(bytes.len() as u64, number(case, "bytes"));
            let digest = Digest::of(&bytes).to_string();
            assert_eq!(digest, format!("sha256:{}", text(case, "sha256")));
        }
    }
    let entries: Vec<Vec<u8>> = (0..3).map(entry).collect();
    let bundle = write_bundle(entries.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(bundle, unhex(text(&file["bundle"], "hex")));
    assert_eq!(read_bundle(&bundle).unwrap(), entries);
    assert_eq!(read_bundle(&plain("standard/entries-000.p-7")).unwrap().len(), 7);
}

#[test]
fn proofs() {
    let file = file("proof");
    let (policy, latest) = policy(&file);
    for case in cases(&file, "accept", 8) {
        let given = content(&case, "proof", "proof_hex");
        let proof = TlogProof::parse(&given).unwrap();
        assert_eq!(proof.to_bytes(), given);
        let entry = unhex(text(&case, "entry"));
        assert_eq!(proof.entry().is_ok(), case["entry_in_extra"].as_bool().unwrap());
        let head = proof.verify_entry(&entry, &policy, latest).unwrap();
        assert_eq!(proof.index().get(), number(&case, "index"));
        assert_eq!(head.checkpoint().size.get(), number(&case, "size"));
        assert_eq!(head.checkpoint().root, hash(text(&case, "root")));
        assert_eq!(head.cosigned().len() as u64, number(&case, "cosigners"));
    }
    let oldest = number(&file["policy"], "now") - number(&file["policy"], "max_age");
    let oldest = CosignTime::new(oldest).unwrap();
    for case in cases(&file, "refuse", 46) {
        let fresh = case["fresh"].as_bool().unwrap_or(false);
        let refused = TlogProof::parse(&content(&case, "proof", "proof_hex"))
            .and_then(|proof| proof.verify(&policy, latest))
            .and_then(|head| if fresh { Ok(head.fresh_since(oldest)?) } else { Ok(()) })
            .unwrap_err();
        assert_eq!(proof_reason(&refused), text(&case, "reason"), "{case}: {refused}");
    }
}

#[test]
fn plain_files_for_shell_tools() {
    let (policy, latest) = policy(&file("proof"));
    assert_eq!(write_policy(&policy, None).into_bytes(), plain("standard/policy"));
    assert!(policy.coordinators().all(|key| key.key_type() == KeyType::Cosignature));
    let proof = TlogProof::parse(&plain("standard/leaf5.tlog-proof")).unwrap();
    assert_eq!(proof.entry().unwrap(), plain("standard/entry5"));
    assert_eq!(proof.head().to_bytes(), plain("standard/checkpoint"));
    assert!(proof.verify(&policy, latest).is_ok());
}
