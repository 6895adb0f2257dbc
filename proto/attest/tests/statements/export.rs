//! A whole log verifies offline, and a damaged one names its first bad entry.

use quorate_attest::export::{
    ExportRefused, ExportVerifier, HEADER, Root, VerifiedExport, export_leaf,
};
use quorate_attest::log_time::CosignTime;
use quorate_attest::number::LeafIndex;

use crate::fixture::{World, charter};

/// A log of one charter, three decisions and their outcomes, with its head.
fn exported() -> (World, Vec<u8>) {
    let mut world = World::new();
    for _ in 0..3 {
        let decision = world.decide();
        world.finish(&decision);
    }
    let mut file = format!("{HEADER}\n");
    for (index, leaf) in world.leaves.iter().enumerate() {
        file += &export_leaf(LeafIndex::new(index as u64).unwrap(), leaf);
    }
    let mut bytes = file.into_bytes();
    bytes.extend(world.head(&[1, 2, 3, 4]).to_bytes());
    (world, bytes)
}

fn verify(bytes: &[u8], chunk: usize, root: Root) -> Result<VerifiedExport, ExportRefused> {
    let mut verifier = ExportVerifier::new(root);
    for chunk in bytes.chunks(chunk) {
        verifier.push(chunk, |_, _| {})?;
    }
    verifier.finish(CosignTime::new(1_790_001_000).unwrap())
}

#[test]
fn an_export_verifies_in_chunks_of_any_size() {
    let (world, bytes) = exported();
    for chunk in [1, 7, 4_096, bytes.len()] {
        let verified = verify(&bytes, chunk, Root::Pinned(charter().id())).unwrap();
        assert_eq!(verified.history, world.history);
        assert_eq!(verified.head.cosigned().len(), 4);
    }
}

#[test]
fn every_leaf_is_seen_once_and_in_order() {
    let (world, bytes) = exported();
    let mut seen = Vec::new();
    let mut verifier = ExportVerifier::new(Root::OwnCharter);
    verifier.push(&bytes, |index, leaf| seen.push((index.get(), leaf.to_bytes()))).unwrap();
    let expected: Vec<_> = (0..).zip(world.leaves.clone()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn every_changed_byte_is_found_and_its_entry_named() {
    let (world, bytes) = exported();
    let mut start = HEADER.len() + 1;
    let lines: Vec<usize> =
        bytes[start..].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    for (index, length) in lines.iter().take(world.leaves.len()).enumerate() {
        for at in (start..start + length).filter(|at| at % 131 == 0 || *at < start + 60) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x01;
            let refused = verify(&changed, changed.len(), Root::OwnCharter).unwrap_err();
            let entry = refused.entry().map(LeafIndex::get);
            assert_eq!(entry, Some(index as u64), "byte {at}: {refused}");
        }
        start += length;
    }
    for at in start..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        if let Ok(verified) = verify(&changed, changed.len(), Root::OwnCharter) {
            // One coordinator's line that names nobody any more, of four where three are needed.
            assert_eq!(verified.head.cosigned().len(), 3, "byte {at}");
        }
    }
}

#[test]
fn a_cut_reordered_or_extended_export_is_refused() {
    let (world, bytes) = exported();
    for keep in [0, 5, HEADER.len() + 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(verify(&bytes[..keep], 4_096, Root::OwnCharter).is_err(), "{keep} bytes");
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(3, 4);
    let refused = verify((lines.join("\n") + "\n").as_bytes(), 4_096, Root::OwnCharter);
    assert_eq!(refused.unwrap_err().entry().map(LeafIndex::get), Some(2));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(world.leaves.len());
    let refused = verify((lines.join("\n") + "\n").as_bytes(), 4_096, Root::OwnCharter);
    assert!(matches!(refused, Err(ExportRefused::OtherHead { .. })));
}

#[test]
fn a_log_of_another_charter_is_refused_at_its_first_entry() {
    let (_, bytes) = exported();
    let pinned = Root::Pinned(quorate_attest::id::CharterId::of_text("another"));
    let refused = verify(&bytes, 4_096, pinned).unwrap_err();
    assert!(matches!(refused, ExportRefused::OtherCharter { .. }));
    assert_eq!(refused.entry(), Some(LeafIndex::MIN));
}

#[test]
fn a_head_without_k_cosignatures_is_refused() {
    let (world, bytes) = exported();
    let text = String::from_utf8(bytes).unwrap();
    let keep = text.lines().count() - 2;
    let cut: String = text.lines().take(keep).map(|line| format!("{line}\n")).collect();
    let refused = verify(cut.as_bytes(), 4_096, Root::OwnCharter).unwrap_err();
    assert!(matches!(refused, ExportRefused::Head(_)), "{refused}");
    assert_eq!(refused.entry(), None);
    assert_eq!(world.history.size().get(), 7);
}
