//! A snapshot as a liar sends it: true leaves, and any state.

use quorate_attest::charter::Charter;
use quorate_attest::id::Digest;
use quorate_proto::pb::raft::v1::raft_client::RaftClient;
use quorate_proto::pb::raft::v1::snapshot_answer::Answer;
use quorate_proto::pb::raft::v1::snapshot_part::Part;
use quorate_proto::pb::raft::v1::{Message, SnapshotAnswer, SnapshotPart};
use quorate_store::codec::encode;
use quorate_store::{
    LogId, Membership, PeerNode, SNAPSHOT_CHUNK_BYTES_MAX, SnapshotChunk, SnapshotHeader,
    SnapshotMeta, StoredMembership, Vote,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::branch::Branch;

/// The vote of a leader, as a snapshot begins with it.
pub(super) fn vote(term: u64, node: u64) -> Vec<u8> {
    encode(&Vote::new_committed(term, node))
}

/// What the snapshot of a whole branch covers.
pub(super) fn header(charter: &Charter, branch: &Branch, state: &[u8]) -> Vec<u8> {
    let node = |key: &quorate_attest::key::VerifierKey| {
        Some((charter.node_id(key.name())?, PeerNode { name: key.name().to_string() }))
    };
    let nodes: std::collections::BTreeMap<u64, PeerNode> =
        charter.coordinator.iter().filter_map(node).collect();
    let voters = vec![nodes.keys().copied().collect()];
    let membership = Membership::new(voters, nodes).expect("a membership");
    let place = |index: usize| {
        let (term, _) = branch.entries()[index];
        Some(LogId::new_term_index(term, index as u64))
    };
    encode(&SnapshotHeader {
        meta: SnapshotMeta {
            last_log_id: place(branch.entries().len() - 1),
            last_membership: StoredMembership::new(place(0), membership),
        },
        state_bytes: state.len() as u64,
        state_digest: *Digest::of(state).as_bytes(),
        leaves: branch.size(),
        root: branch.checkpoint(branch.size()).root,
    })
}

/// The whole conversation: what it covers, how many leaves the other has, the rest, its answer.
pub(super) async fn send(
    mut raft: RaftClient<Channel>,
    [vote, header]: [Message; 2],
    branch: &Branch,
    state: &[u8],
) -> Result<(), Status> {
    let (parts, outgoing) = mpsc::channel(8);
    for part in [Part::Vote(vote), Part::Header(header)] {
        give(&parts, part).await?;
    }
    let mut answers = raft.snapshot(ReceiverStream::new(outgoing)).await?.into_inner();
    let Answer::Have(have) = next(&mut answers).await? else { return Ok(()) };
    for row in state.chunks(SNAPSHOT_CHUNK_BYTES_MAX) {
        give(&parts, data(&SnapshotChunk::State(row.to_vec()))).await?;
    }
    let missing = usize::try_from(have).map_or(&[][..], |have| &branch.leaves()[have..]);
    if !missing.is_empty() {
        let leaves = missing.to_vec();
        give(&parts, data(&SnapshotChunk::Leaves { first: have, leaves })).await?;
    }
    drop(parts);
    next(&mut answers).await.map(drop)
}

fn data(chunk: &SnapshotChunk) -> Part {
    Part::Data(encode(chunk).into())
}

async fn give(parts: &mpsc::Sender<SnapshotPart>, part: Part) -> Result<(), Status> {
    let sent = parts.send(SnapshotPart { part: Some(part) }).await;
    sent.map_err(|_| Status::aborted("the follower takes no more parts"))
}

async fn next(answers: &mut Streaming<SnapshotAnswer>) -> Result<Answer, Status> {
    let answer = answers.message().await?.and_then(|answer| answer.answer);
    answer.ok_or_else(|| Status::aborted("the follower ended the transfer"))
}
