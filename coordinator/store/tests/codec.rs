//! What the codec refuses: everything openraft would panic on, and every second spelling.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use openraft::raft::{AppendEntriesRequest, VoteRequest};
use openraft::vote::{RaftLeaderId, RaftVote};
use quorate_core::MachineVersion;
use quorate_store::codec::{self, CodecError, NUMBER_MAX, StreamAppendAnswer};
use quorate_store::{
    Entry, EntryPayload, LeaderId, LogId, Proposed, SnapshotChunk, TypeConfig, Vote,
};
use support::{disk::Chance, entry, found, history, pause};

type Append = AppendEntriesRequest<TypeConfig>;

fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

fn leader(term: u64) -> Vote {
    Vote::from_leader_id(LeaderId::new(term, 3), true)
}

fn append(entries: Vec<Entry>) -> Append {
    Append { vote: leader(1), prev_log_id: None, entries, leader_commit: Some(id(1, 0)) }
}

fn refused<T: codec::Record + std::fmt::Debug>(bytes: &[u8]) -> CodecError {
    codec::decode::<T>(bytes).unwrap_err()
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let bytes = codec::encode(&append(history(3)));
    codec::decode::<Append>(&bytes).unwrap();
    for length in 0..bytes.len() {
        refused::<Append>(&bytes[..length]);
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(refused::<Append>(&longer), CodecError::Trailing { extra: 1 });
}

#[test]
fn whatever_is_accepted_has_exactly_these_bytes() {
    let original = codec::encode(&append(history(2)));
    let mut chance = Chance::new(5);
    let mut accepted = 0;
    for _ in 0..4_000 {
        let mut bytes = original.clone();
        let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
        bytes[at] = bytes[at].wrapping_add(1 + u8::try_from(chance.below(255)).unwrap());
        if let Ok(request) = codec::decode::<Append>(&bytes) {
            assert_eq!(codec::encode(&request), bytes);
            assert_ne!(bytes, original);
            accepted += 1;
        }
    }
    // Numbers may change into other numbers; that is all.
    assert!(accepted > 0);
}

#[test]
fn numbers_above_u63_are_refused() {
    let mut bytes = codec::encode(&id(NUMBER_MAX, NUMBER_MAX));
    assert_eq!(codec::decode::<LogId>(&bytes).unwrap(), id(NUMBER_MAX, NUMBER_MAX));
    bytes[2] = 0x80;
    assert!(matches!(refused::<LogId>(&bytes), CodecError::Bounds { field: "term", .. }));
}

#[test]
fn another_version_or_kind_is_refused() {
    let mut bytes = codec::encode(&id(1, 2));
    assert!(matches!(refused::<Vote>(&bytes), CodecError::Kind { found: 1, expected: 2 }));
    bytes[0] = 2;
    assert_eq!(refused::<LogId>(&bytes), CodecError::Version { found: 2 });
    bytes[0] = 0;
    assert_eq!(refused::<LogId>(&bytes), CodecError::Version { found: 0 });
}

#[test]
fn an_append_that_contradicts_itself_is_refused() {
    let blank = |term, index| Entry { log_id: id(term, index), payload: EntryPayload::Blank };
    let base = Append {
        vote: leader(5),
        prev_log_id: Some(id(3, 9)),
        entries: vec![blank(3, 10), blank(5, 11)],
        leader_commit: Some(id(3, 9)),
    };
    let is_refused = |request: &Append, expected: &str| {
        let bytes = codec::encode(request);
        let error = refused::<Append>(&bytes);
        let CodecError::Inconsistent { field, .. } = error else { panic!("{error}") };
        assert_eq!(field, expected);
    };
    codec::decode::<Append>(&codec::encode(&base)).unwrap();
    let candidate = Vote::from_leader_id(LeaderId::new(5, 3), false);
    is_refused(&Append { vote: candidate, ..base.clone() }, "vote");
    is_refused(&Append { entries: vec![blank(3, 11)], ..base.clone() }, "entries");
    is_refused(&Append { entries: vec![blank(3, 10), blank(3, 10)], ..base.clone() }, "entries");
    is_refused(&Append { entries: vec![blank(2, 10)], ..base.clone() }, "entries");
    is_refused(&Append { entries: vec![blank(6, 10)], ..base.clone() }, "entries");
    is_refused(&Append { prev_log_id: None, ..base.clone() }, "entries");
    is_refused(&Append { leader_commit: Some(id(6, 1)), ..base.clone() }, "commit");
    // The first entries of a log, and a heartbeat, have nothing before them.
    let first = Append { prev_log_id: None, entries: vec![blank(3, 0)], ..base.clone() };
    codec::decode::<Append>(&codec::encode(&first)).unwrap();
    let heartbeat = Append { prev_log_id: None, entries: Vec::new(), ..base };
    codec::decode::<Append>(&codec::encode(&heartbeat)).unwrap();
}

#[test]
fn a_vote_request_of_an_elected_leader_is_refused() {
    let request = VoteRequest::<TypeConfig>::new(leader(5), None);
    let error = refused::<VoteRequest<TypeConfig>>(&codec::encode(&request));
    assert!(matches!(error, CodecError::Inconsistent { field: "vote", .. }));
}

#[test]
fn a_membership_without_voters_or_out_of_order_is_refused() {
    let hex = |text: &str| -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    };
    let head = "0103 0000000000000001 0000000000000000 02";
    let one = "0000000000000001";
    let two = "0000000000000002";
    for bad in [
        format!("{head} 00000000 00000000"),
        format!("{head} 00000001 00000000 00000000"),
        format!("{head} 00000001 00000001 {one} 00000000"),
        format!("{head} 00000001 00000002 {two} {one} 00000002 {one} 00000000 {two} 00000000"),
        format!("{head} 00000001 00000002 {one} {one} 00000001 {one} 00000000"),
        format!("{head} 00000003"),
        format!("{head} 00000001 00000001 {one} 00000001 {one} 00000001 ff"),
    ] {
        refused::<Entry>(&hex(&bad));
    }
    let good = format!("{head} 00000001 00000001 {one} 00000001 {one} 00000000");
    codec::decode::<Entry>(&hex(&good)).unwrap();
}

#[test]
fn lengths_are_bounded_before_anything_is_allocated() {
    let mut bytes = codec::encode(&SnapshotChunk::State(vec![0; 16]));
    bytes[3..7].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(refused::<SnapshotChunk>(&bytes), CodecError::Bounds { .. }));
    let mut bytes = codec::encode(&append(Vec::new()));
    let at = bytes.len() - 4 - 17;
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(refused::<Append>(&bytes), CodecError::Bounds { field: "entries", .. }));
    let huge = vec![0; codec::MESSAGE_BYTES_MAX + 1];
    assert!(matches!(refused::<StreamAppendAnswer>(&huge), CodecError::Bounds { .. }));
}

#[test]
fn a_command_for_a_newer_machine_is_told_from_garbage() {
    let mut command = pause(1);
    command.version = MachineVersion(MachineVersion::SUPPORTED.0 + 1);
    let bytes = codec::encode(&entry(1, command));
    let error = refused::<Entry>(&bytes);
    assert!(matches!(error, CodecError::TooNew { needed: 2, supported: 1 }), "{error}");
    let mut bytes = codec::encode(&entry(1, pause(1)));
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    assert!(matches!(refused::<Entry>(&bytes), CodecError::Part { part: "command", .. }));
}

#[test]
fn a_command_above_its_bound_never_becomes_an_entry() {
    let proposed = Proposed::new(found()).unwrap();
    assert!(proposed.bytes().len() < codec::COMMAND_BYTES_MAX);
    let entry = Entry { log_id: id(1, 0), payload: EntryPayload::Normal(proposed) };
    let decoded: Entry = codec::decode(&codec::encode(&entry)).unwrap();
    assert_eq!(decoded, entry);
}
