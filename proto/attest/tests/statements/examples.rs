//! The worked examples of the format: each parses, re-encodes to itself, and is judged good.

use quorate_attest::certificate::{Trusted, verify_certificate};
use quorate_attest::history::{End, History};
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::signed::{Signatures, Signed};
use quorate_attest::text::Statement;
use quorate_attest::vote::{Verdict, Vote};

use crate::fixture::{CHARTER, at, charter};

const DECISION: &[u8] = include_bytes!("../vectors/examples/decision.leaf");
const VOID: &[u8] = include_bytes!("../vectors/examples/void.leaf");
const ACT: &[u8] = include_bytes!("../vectors/examples/act.leaf");
const VOTE: &[u8] = include_bytes!("../vectors/examples/vote.note");
const CERTIFICATE: &[u8] = include_bytes!("../vectors/examples/decision.tlog-proof");

#[test]
fn every_example_re_encodes_to_itself() {
    for bytes in [CHARTER, DECISION, VOID, ACT] {
        assert_eq!(Leaf::parse(bytes).unwrap().to_bytes(), bytes);
    }
    let vote = Signed::<Vote>::parse(VOTE).unwrap();
    assert_eq!(vote.to_bytes(), VOTE);
    assert_eq!(vote.statement.verdict, Verdict::Approve);
}

#[test]
fn the_ids_are_the_digests_of_the_texts() {
    let id = "sha256:c8318de481255c9bb76f9837d6f3afceb05195c634b17c77c1e307190f3f170f";
    assert_eq!(charter().id().to_string(), id);
    let Leaf::Decision(decision) = Leaf::parse(DECISION).unwrap() else { panic!("a decision") };
    let id = "sha256:4bc34386b30df90b80d186b6dddb4ad5d8490b5bb02e265bfc02dceda6656ceb";
    assert_eq!(decision.proposal.id().to_string(), id);
    assert_eq!(decision.proposal.id().digest(), decision.proposal.digest());
    assert_eq!(decision.votes.statement, Vote::on(&decision.proposal, Verdict::Approve));
}

#[test]
fn the_examples_make_one_log() {
    let charter = Leaf::parse(CHARTER).unwrap();
    let (mut history, _) = History::found(&charter, Signatures::Verify).unwrap();
    let (leaf, recorded) = history.append_bytes(DECISION, Signatures::Verify).unwrap();
    assert_eq!(recorded.index.get(), 1);
    let cluster = leaf.cluster().unwrap().clone();
    let slot = history.cluster(&cluster).unwrap().slot().unwrap().clone();
    assert_eq!(slot.token.to_string(), "1.1");
    assert_eq!(slot.awaited.len(), 2);
    let (leaf, _) = history.append_bytes(VOID, Signatures::Verify).unwrap();
    let Leaf::Void(void) = leaf else { panic!("a void") };
    assert_eq!(history.ended(&void.proposal.id()).unwrap().end, End::Void(VoidCause::Vetoed));
    // The root that the example certificate's coordinators cosigned.
    assert_eq!(history.root().to_string(), "taDH+PfT8DEhyB0d/+mQuZDLDbQyWV6Vgj9r7rV9pXI=");
    history.append_bytes(ACT, Signatures::Verify).unwrap();
    assert_eq!(history.size().get(), 4);
}

#[test]
fn the_certificate_verifies_with_the_charter_alone() {
    let certificate = verify_certificate(CERTIFICATE, &Trusted::pin(charter()), at(120)).unwrap();
    assert_eq!(certificate.token.to_string(), "1.1");
    let tally = certificate.tally.unwrap();
    assert_eq!((tally.have, tally.need), (4, 3));
    assert_eq!(certificate.verified.cosigned().len(), 3);
}

#[test]
fn no_changed_byte_of_the_certificate_keeps_its_meaning() {
    let trusted = Trusted::pin(charter());
    let good = verify_certificate(CERTIFICATE, &trusted, at(120)).unwrap();
    // Every byte of the checkpoint and proof lines, and a sample of the long base64 of the leaf.
    for index in (0..CERTIFICATE.len()).filter(|index| *index > 3_700 || index % 17 == 0) {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = CERTIFICATE.to_vec();
            bytes[index] ^= flip;
            if let Ok(other) = verify_certificate(&bytes, &trusted, at(120)) {
                // A line whose key is no longer known is ignored: the log line is not needed.
                assert_eq!(other.decision, good.decision, "byte {index}");
                assert_eq!(other.verified.checkpoint(), good.verified.checkpoint());
                assert!(other.verified.cosigned().len() >= 3, "byte {index}");
            }
        }
    }
}

#[test]
fn no_changed_byte_of_a_leaf_is_another_good_leaf() {
    for bytes in [CHARTER, DECISION, VOID, ACT] {
        for index in 0..bytes.len() {
            for flip in [0x01, 0x80] {
                let mut changed = bytes.to_vec();
                changed[index] ^= flip;
                if let Ok(leaf) = Leaf::parse(&changed) {
                    assert_eq!(leaf.to_bytes(), changed, "what parses has one spelling");
                }
            }
            let mut shorter = bytes.to_vec();
            shorter.remove(index);
            if let Ok(leaf) = Leaf::parse(&shorter) {
                assert_eq!(leaf.to_bytes(), shorter);
            }
        }
    }
}

#[test]
fn no_changed_byte_of_a_signed_text_keeps_its_signatures() {
    for index in 0..DECISION.len() {
        let mut changed = DECISION.to_vec();
        changed[index] ^= 0x01;
        let Ok(Leaf::Decision(decision)) = Leaf::parse(&changed) else { continue };
        let (mut history, _) =
            History::found(&Leaf::parse(CHARTER).unwrap(), Signatures::Trust).unwrap();
        if history.append_bytes(&changed, Signatures::Verify).is_ok() {
            // Only the header is the coordinators' own; everything below it is signed.
            let Leaf::Decision(good) = Leaf::parse(DECISION).unwrap() else { panic!() };
            assert_eq!(decision.proposal, good.proposal, "byte {index}");
            assert_eq!(decision.votes, good.votes, "byte {index}");
        }
    }
}
