//! Frozen bytes: every released encoding still decodes, and still comes out the same.
//!
//! Only ever add to this file. A record that has to change gets a new version, a reader for the old
//! one, and a second set of bytes beside the first.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use openraft::StorageHelper;
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, TransferLeaderError,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use openraft::vote::{RaftLeaderId, RaftVote};
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::{Frontier, Hash, leaf_hash};
use quorate_attest::number::{DecisionNumber, Epoch, LeafIndex, TreeSize};
use quorate_attest::refusal::{Cause, Refusal};
use quorate_store::codec::{
    self, ReadLogId, Record, StreamAppendAnswer, TransferLeaderAnswer, VERSION,
};
use quorate_store::sign_once::{ForkEvidence, RefusedLeaf, SignedHead};
use quorate_store::{
    Entry, EntryPayload, LeaderId, LogId, Membership, PeerNode, SnapshotChunk, SnapshotHeader,
    SnapshotMeta, StoredMembership, TypeConfig, Vote,
};
use redb::{Database, TableDefinition};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The frozen bytes decode to the value, and the value still has these bytes.
fn frozen<T: Record + Debug>(value: &T, bytes: &str) {
    let bytes = unhex(bytes);
    assert_eq!(hex(&codec::encode(value)), hex(&bytes), "{value:?}");
    let decoded: T = codec::decode(&bytes).unwrap();
    assert_eq!(format!("{decoded:?}"), format!("{value:?}"));
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

fn vote(term: u64, node: u64, committed: bool) -> Vote {
    Vote::from_leader_id(LeaderId::new(term, node), committed)
}

fn members() -> Membership {
    let node = |id: u64| (id, PeerNode { name: format!("q/coordinator/{id}") });
    let nodes: BTreeMap<u64, PeerNode> = [node(1), node(2), node(4)].into();
    Membership::new(vec![[1, 2].into(), [2, 4].into()], nodes).unwrap()
}

fn meta() -> SnapshotMeta {
    let last_membership = StoredMembership::new(Some(id(2, 3)), members());
    SnapshotMeta { last_log_id: Some(id(2, 9)), last_membership }
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: id(term, index), payload: EntryPayload::Blank }
}

#[test]
fn records_of_raft_keep_their_bytes() {
    assert_eq!(VERSION, 1, "a new version needs a second set of bytes here");
    frozen(&id(2, 9), "0101 0000000000000002 0000000000000009");
    frozen(&vote(7, 3, true), "0102 0000000000000007 0000000000000003 01");
    frozen(&blank(2, 9), "0103 0000000000000002 0000000000000009 00");
    let membership = Entry { log_id: id(1, 0), payload: EntryPayload::Membership(members()) };
    frozen(
        &membership,
        "0103 0000000000000001 0000000000000000 02
         00000002 00000002 0000000000000001 0000000000000002
                  00000002 0000000000000002 0000000000000004
         00000003 0000000000000001 0000000f 712f636f6f7264696e61746f722f31
                  0000000000000002 0000000f 712f636f6f7264696e61746f722f32
                  0000000000000004 0000000f 712f636f6f7264696e61746f722f34",
    );
    let command = support::pause(3);
    let bytes = command.encode();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let normal =
        format!("0103 0000000000000001 0000000000000003 01 {}{}", hex(&length), hex(&bytes));
    frozen(&support::entry(3, command), &normal);
    frozen(
        &meta(),
        "0104 01 0000000000000002 0000000000000009 01 0000000000000002 0000000000000003
         00000002 00000002 0000000000000001 0000000000000002
                  00000002 0000000000000002 0000000000000004
         00000003 0000000000000001 0000000f 712f636f6f7264696e61746f722f31
                  0000000000000002 0000000f 712f636f6f7264696e61746f722f32
                  0000000000000004 0000000f 712f636f6f7264696e61746f722f34",
    );
    frozen(&SnapshotMeta::default(), "0104 00 00 00000000 00000000");
}

#[test]
fn messages_keep_their_bytes() {
    let append = AppendEntriesRequest::<TypeConfig> {
        vote: vote(7, 3, true),
        prev_log_id: Some(id(6, 4)),
        entries: vec![blank(6, 5), blank(7, 6)],
        leader_commit: Some(id(6, 5)),
    };
    frozen(
        &append,
        "0105 0000000000000007 0000000000000003 01
         01 0000000000000006 0000000000000004
         00000002 0000000000000006 0000000000000005 00 0000000000000007 0000000000000006 00
         01 0000000000000006 0000000000000005",
    );
    frozen(&StreamAppendAnswer(Ok(None)), "0106 00 00");
    frozen(
        &StreamAppendAnswer(Err(StreamAppendError::Conflict(id(6, 4)))),
        "0106 01 0000000000000006 0000000000000004",
    );
    frozen(
        &StreamAppendAnswer(Err(StreamAppendError::HigherVote(vote(8, 2, false)))),
        "0106 02 0000000000000008 0000000000000002 00",
    );
    let request = VoteRequest::<TypeConfig> {
        vote: vote(8, 2, false),
        last_log_id: Some(id(7, 6)),
        leadership_transfer: true,
    };
    frozen(
        &request,
        "0107 0000000000000008 0000000000000002 00 01 0000000000000007 0000000000000006 01",
    );
    frozen(
        &VoteResponse::<TypeConfig>::new(vote(8, 2, false), None, true),
        "0108 0000000000000008 0000000000000002 00 01 00",
    );
    frozen(
        &TransferLeaderRequest::<TypeConfig>::new(vote(7, 3, true), 2, Some(id(7, 6))),
        "0109 0000000000000007 0000000000000003 01 0000000000000002
         01 0000000000000007 0000000000000006",
    );
    frozen(&TransferLeaderAnswer(Ok(())), "010a 00");
    let (expected, actual) = (vote(7, 3, true), vote(8, 2, false));
    frozen(
        &TransferLeaderAnswer(Err(TransferLeaderError::VoteChanged { expected, actual })),
        "010a 01 0000000000000007 0000000000000003 01 0000000000000008 0000000000000002 00",
    );
    let (expected, actual) = (Some(id(7, 6)), None);
    frozen(
        &TransferLeaderAnswer(Err(TransferLeaderError::LogNotFlushed { expected, actual })),
        "010a 02 01 0000000000000007 0000000000000006 00",
    );
    frozen(
        &SnapshotResponse::<TypeConfig>::new(vote(8, 2, false)),
        "010b 0000000000000008 0000000000000002 00",
    );
    frozen(&ReadLogId::from_log_id(id(7, 6)), "010c 0000000000000007 0000000000000006");
}

#[test]
fn snapshots_keep_their_bytes() {
    let header = SnapshotHeader {
        meta: SnapshotMeta::default(),
        state_bytes: 5,
        state_digest: [0xab; 32],
        leaves: 3,
        root: Hash::from_bytes([0xcd; 32]),
    };
    let (ab, cd) = ("ab".repeat(32), "cd".repeat(32));
    frozen(
        &header,
        &format!("010d 00 00 00000000 00000000 0000000000000005 {ab} 0000000000000003 {cd}"),
    );
    frozen(&SnapshotChunk::State(vec![1, 2, 3]), "010e 00 00000003 010203");
    frozen(
        &SnapshotChunk::Leaves { first: 7, leaves: vec![vec![1], vec![]] },
        "010e 01 0000000000000007 00000002 00000001 01 00000000",
    );
}

fn signed_head() -> SignedHead {
    let root = Hash::from_bytes([0xcd; 32]);
    let checkpoint =
        Checkpoint { origin: support::origin(), size: TreeSize::new(3).unwrap(), root };
    let time = CosignTime::new(1_790_000_000).unwrap();
    SignedHead {
        size: checkpoint.size,
        root,
        text: checkpoint.body(),
        cosignature: support::signer(7).cosign(&checkpoint, time),
    }
}

fn refused_leaf() -> RefusedLeaf {
    let refusal = Refusal {
        origin: support::origin(),
        epoch: Epoch::MIN,
        cluster: "etcd".parse().unwrap(),
        number: DecisionNumber::MIN,
        leaf: LeafIndex::new(5).unwrap(),
        cause: Cause::Vetoed,
    };
    let line = support::signer(7).refuse(&refusal, CosignTime::new(1_790_000_000).unwrap());
    RefusedLeaf { refusal, line, settled: Some(TreeSize::new(7).unwrap()) }
}

#[test]
fn what_was_signed_keeps_its_bytes() {
    frozen(&signed_head(), SIGNED_HEAD);
    frozen(&refused_leaf(), REFUSED_LEAF);
    let evidence = ForkEvidence {
        signed: signed_head(),
        own_root: Hash::from_bytes([0xef; 32]),
        time: CosignTime::new(1_790_000_001).unwrap(),
        is_final: true,
    };
    let signed = SIGNED_HEAD.trim().strip_prefix("0110").unwrap();
    let ef = "ef".repeat(32);
    frozen(&evidence, &format!("0112 {signed} {ef} 000000006ab13b81 01"));
}

const SIGNED_HEAD: &str = "
    01100000000000000003cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
    cdcd0000006a71756f726174652e6578616d706c652f746573746e65742f312d3066306530643063
    3062306130393038303730363035303430333032303130300a330a7a63334e7a63334e7a63334e7a
    63334e7a63334e7a63334e7a63334e7a63334e7a63334e7a63334e7a63303d0a0000002571756f72
    6174652e6578616d706c652f746573746e65742f636f6f7264696e61746f722f31e298fce7000000
    48000000006ab13b80a840507117386e3dbe908e33bf249e26134cf579816cd79db6eb0edfaa1411
    bec2a7a6a6809689b77cff1ef45e96af0d30d4e8e07a039e23fca774ab9c73f30f
";
const REFUSED_LEAF: &str = "
    01110000008771756f726174652d7265667573616c2f76310a6f726967696e2071756f726174652e
    6578616d706c652f746573746e65742f312d30663065306430633062306130393038303730363035
    303430333032303130300a65706f636820310a636c757374657220657463640a6e756d6265722031
    0a6c65616620350a6361757365207665746f65640a0000002571756f726174652e6578616d706c65
    2f746573746e65742f636f6f7264696e61746f722f31e298fce700000048000000006ab13b80ae45
    01284e3d72edbc0fcec6dfd1caa79927163ef3c14f40e7763a43dd064f3a3620cb463cd2ba738104
    583f8e095db9a1252e7d1cca89afd8f1db2802a7580a010000000000000007
";

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Writes the rows every file of format 1 has.
fn identify(database: &Database, rows: &[(&str, Vec<u8>)]) {
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("format", [0, 0, 0, 1].as_slice()).unwrap();
        meta.insert("origin", support::origin().to_string().as_bytes()).unwrap();
        meta.insert("node", [0, 0, 0, 0, 0, 0, 0, 1].as_slice()).unwrap();
        for (key, value) in rows {
            meta.insert(*key, value.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Files as format 1 lays them out, written without the store's own code.
fn write_format_1(directory: &Path) {
    let raft = Database::create(directory.join("raft.redb")).unwrap();
    identify(
        &raft,
        &[
            ("vote", unhex("0102 0000000000000007 0000000000000003 01")),
            ("purged", unhex("0101 0000000000000006 0000000000000004")),
            ("committed", unhex("0101 0000000000000006 0000000000000005")),
        ],
    );
    let transaction = raft.begin_write().unwrap();
    {
        let log: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
        let mut log = transaction.open_table(log).unwrap();
        let entry = unhex("0103 0000000000000006 0000000000000005 00");
        log.insert(5, entry.as_slice()).unwrap();
        let entry = unhex("0103 0000000000000007 0000000000000006 00");
        log.insert(6, entry.as_slice()).unwrap();
        let snapshot: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("snapshot");
        transaction.open_table(snapshot).unwrap();
    }
    transaction.commit().unwrap();

    let leaves = Database::create(directory.join("leaves.redb")).unwrap();
    let mut frontier = Frontier::new();
    let transaction = leaves.begin_write().unwrap();
    {
        let leaf: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("leaf");
        let mut leaf = transaction.open_table(leaf).unwrap();
        let hash: TableDefinition<'_, (u8, u64), &[u8; 32]> = TableDefinition::new("hash");
        let mut hash = transaction.open_table(hash).unwrap();
        let incoming: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("incoming");
        transaction.open_table(incoming).unwrap();
        for (index, bytes) in (0..).zip([b"one", b"two", b"six"]) {
            leaf.insert(index, bytes.as_slice()).unwrap();
            for node in frontier.append(leaf_hash(bytes)) {
                hash.insert((node.level, node.index), node.hash.as_bytes()).unwrap();
            }
        }
    }
    transaction.commit().unwrap();
    // Size, u64 little-endian; the number of hashes, u32 little-endian; the hashes.
    let mut row = vec![3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
    let pair = quorate_attest::merkle::node_hash(&leaf_hash(b"one"), &leaf_hash(b"two"));
    row.extend_from_slice(pair.as_bytes());
    row.extend_from_slice(leaf_hash(b"six").as_bytes());
    identify(&leaves, &[("frontier", row)]);

    let sign_once = Database::create(directory.join("sign_once.redb")).unwrap();
    identify(&sign_once, &[("signer", support::key(7).to_string().into_bytes())]);
    let transaction = sign_once.begin_write().unwrap();
    {
        let origin = support::origin().to_string();
        let head: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
        let mut head = transaction.open_table(head).unwrap();
        head.insert(origin.as_str(), unhex(SIGNED_HEAD).as_slice()).unwrap();
        let refusal: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("refusal");
        let mut refusal = transaction.open_table(refusal).unwrap();
        refusal.insert((origin.as_str(), 5), unhex(REFUSED_LEAF).as_slice()).unwrap();
        let evidence: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("evidence");
        transaction.open_table(evidence).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn files_of_format_1_open() {
    let directory = tempfile::tempdir().unwrap();
    write_format_1(directory.path());
    let mut store = support::reopen(directory.path());
    assert!(!store.is_pristine);
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(id(6, 4)));
    assert_eq!(state.last_log_id, Some(id(7, 6)));
    assert_eq!(store.log.read_committed().await.unwrap(), Some(id(6, 5)));
    let mut reader = store.log.get_log_reader().await;
    assert_eq!(reader.read_vote().await.unwrap(), Some(vote(7, 3, true)));
    let entries = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries, vec![blank(6, 5), blank(7, 6)]);
    assert_eq!(store.sign_once.head().await.unwrap(), Some(signed_head()));
    assert_eq!(store.sign_once.refusals().await.unwrap(), vec![refused_leaf()]);
    // Purged without a snapshot: what openraft must not make up.
    let mut helper = StorageHelper::new(&mut store.log, &mut store.state_machine).with_id(1);
    assert!(helper.get_initial_state().await.is_err());
    support::close(store).await;
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_format_1(directory.path());
    let leaves = Database::create(directory.path().join("leaves.redb")).unwrap();
    let transaction = leaves.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", [0, 0, 0, 2].as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(leaves);
    let disk = quorate_store::Disk::from(directory.path());
    let Err(refused) = quorate_store::Store::open(&disk, support::options()) else {
        panic!("a format from the future was opened");
    };
    assert!(matches!(refused, quorate_store::OpenError::Format { found: 2, .. }), "{refused}");
}
