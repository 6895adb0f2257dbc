//! Snapshots between coordinators: vote, header, the receiver's number of leaves, then what it
//! misses.
//!
//! The receiver compares everything with the header, and checks what openraft would panic on,
//! before anything is installed. Progress has a deadline, not the whole transfer: a large state
//! over a slow link is allowed, a stalled one is not.

use std::{io, time::Duration};

use futures::{StreamExt, stream};
use openraft::{
    errors::{NetworkError, ReplicationClosed, StreamingError, Unreachable},
    network::{NetSnapshot, RPCOption},
    raft::SnapshotResponse,
};
use prost::bytes::Bytes;
use quorate_proto::{
    error_code::ErrorCode,
    pb::raft::v1::{SnapshotAnswer, SnapshotPart, snapshot_answer, snapshot_part},
    problem::Problem,
};
use quorate_store::{Snapshot, SnapshotData, SnapshotHeader, TypeConfig, Vote, codec};
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    network::PeerLane,
    server::{RaftServer, refuse},
};

/// Parts on their way at once; each is about 1 MiB.
const PARTS_AHEAD: usize = 2;
/// The receiver has this many times a part's time to compare and install everything.
const INSTALL_FACTOR: u32 = 6;

type SendResult<T> = Result<T, StreamingError<TypeConfig>>;

fn unreachable<E: std::error::Error + 'static>(error: &E) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::new(error))
}

fn elapsed(error: Elapsed) -> StreamingError<TypeConfig> {
    unreachable(&error)
}

impl NetSnapshot<TypeConfig> for PeerLane {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot.snapshot, option.hard_ttl()) => sent,
        }
    }
}

impl PeerLane {
    async fn send_snapshot(
        &self,
        vote: Vote,
        data: SnapshotData,
        ttl: Duration,
    ) -> SendResult<SnapshotResponse<TypeConfig>> {
        let (parts, outgoing) = mpsc::channel(PARTS_AHEAD);
        for part in [
            snapshot_part::Part::Vote(self.seal(&vote)),
            snapshot_part::Part::Header(self.seal(data.header())),
        ] {
            send(&parts, part, ttl).await?;
        }
        let mut client = self.client()?;
        let answers = timeout(ttl, client.snapshot(ReceiverStream::new(outgoing)));
        let mut answers =
            answers.await.map_err(elapsed)?.map_err(|status| self.failed(status))?.into_inner();
        let have = match self.next_answer(&mut answers, ttl).await? {
            snapshot_answer::Answer::Have(have) => have,
            // The receiver knows a higher vote and wants nothing.
            snapshot_answer::Answer::Response(message) => return Ok(self.open(message)?),
        };
        let mut chunks = data.outgoing(have);
        loop {
            // Reading rows blocks for as long as the disk takes.
            let (chunk, rest) = tokio::task::spawn_blocking(move || (chunks.next_chunk(), chunks))
                .await
                .map_err(|error| unreachable(&error))?;
            chunks = rest;
            let Some(chunk) = chunk.map_err(|error| unreachable(&io::Error::other(error)))? else {
                break;
            };
            let data = Bytes::from(codec::encode(&chunk));
            send(&parts, snapshot_part::Part::Data(data), ttl).await?;
        }
        drop(parts);
        match self.next_answer(&mut answers, ttl * INSTALL_FACTOR).await? {
            snapshot_answer::Answer::Response(message) => Ok(self.open(message)?),
            snapshot_answer::Answer::Have(_) => Err(StreamingError::Network(
                NetworkError::from_string("a second size was answered"),
            )),
        }
    }

    async fn next_answer(
        &self,
        answers: &mut Streaming<SnapshotAnswer>,
        ttl: Duration,
    ) -> SendResult<snapshot_answer::Answer> {
        let answer = timeout(ttl, answers.message()).await.map_err(elapsed)?;
        answer
            .map_err(|status| self.failed(status))?
            .and_then(|answer| answer.answer)
            .ok_or_else(|| unreachable(&io::Error::from(io::ErrorKind::UnexpectedEof)))
    }
}

async fn send(
    parts: &mpsc::Sender<SnapshotPart>,
    part: snapshot_part::Part,
    ttl: Duration,
) -> SendResult<()> {
    let sent = timeout(ttl, parts.send(SnapshotPart { part: Some(part) })).await;
    sent.map_err(elapsed)?.map_err(|error| unreachable(&io::Error::other(error.to_string())))
}

/// The answers of a receiver.
pub(super) type Answers = stream::BoxStream<'static, Result<SnapshotAnswer, Status>>;

/// Receives one snapshot from `peer`, the leader of the vote it starts with.
pub(super) async fn receive(
    server: RaftServer,
    peer: u64,
    mut parts: Streaming<SnapshotPart>,
) -> Result<Answers, Status> {
    let vote: Vote = match next(&mut parts).await? {
        Some(snapshot_part::Part::Vote(message)) => server.open(peer, &message)?,
        other => return Err(out_of_order("vote", other.as_ref())),
    };
    if !vote.is_committed() || vote.leader_id().voted_for != peer {
        return Err(Status::permission_denied("a coordinator leads in its own name only"));
    }
    let header: SnapshotHeader = match next(&mut parts).await? {
        Some(snapshot_part::Part::Header(message)) => server.open(peer, &message)?,
        other => return Err(out_of_order("header", other.as_ref())),
    };
    check(&server, &vote, &header).await?;
    let incoming = server.receiver().begin(header).await.map_err(invalid)?;
    let have = SnapshotAnswer { answer: Some(snapshot_answer::Answer::Have(incoming.have())) };
    let rest = stream::once(install(server, peer, vote, incoming, parts));
    Ok(stream::iter([Ok(have)]).chain(rest).boxed())
}

async fn install(
    server: RaftServer,
    peer: u64,
    vote: Vote,
    mut incoming: quorate_store::Incoming,
    mut parts: Streaming<SnapshotPart>,
) -> Result<SnapshotAnswer, Status> {
    while let Some(part) = next(&mut parts).await? {
        let snapshot_part::Part::Data(bytes) = part else {
            return Err(out_of_order("data", Some(&part)));
        };
        let chunk = codec::decode(&bytes).map_err(|refused| refuse(peer, &refused.into()))?;
        incoming.accept(chunk).await.map_err(invalid)?;
    }
    let data = incoming.finish().map_err(invalid)?;
    // The log may have grown while the parts came.
    check(&server, &vote, data.header()).await?;
    let installed = server.raft().install_full_snapshot(vote, data.into_snapshot()).await;
    let response = installed.map_err(|stopped| Status::unavailable(stopped.to_string()))?;
    let message = server.seal(peer, &response);
    Ok(SnapshotAnswer { answer: Some(snapshot_answer::Answer::Response(message)) })
}

/// What openraft panics on: a snapshot newer than its leader, or one that contradicts what is
/// committed here.
async fn check(server: &RaftServer, vote: &Vote, header: &SnapshotHeader) -> Result<(), Status> {
    let Some(last) = header.meta.last_log_id else {
        return Err(snapshot_invalid("it covers no entry"));
    };
    if last.leader_id.term > vote.leader_id().term {
        return Err(snapshot_invalid("it is newer than its leader"));
    }
    let committed = server.raft().with_raft_state(|state| state.local_committed().copied()).await;
    let committed = committed.map_err(|stopped| Status::unavailable(stopped.to_string()))?;
    match committed {
        Some(committed) if last > committed && last.index <= committed.index => {
            Err(snapshot_invalid("it contradicts what is committed here"))
        }
        Some(_) | None => Ok(()),
    }
}

async fn next(parts: &mut Streaming<SnapshotPart>) -> Result<Option<snapshot_part::Part>, Status> {
    /// A sender that sends nothing for so long is gone.
    const SILENCE: Duration = Duration::from_secs(30);
    let part = timeout(SILENCE, parts.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the sender of the snapshot is silent"))??;
    match part {
        None => Ok(None),
        Some(SnapshotPart { part: Some(part) }) => Ok(Some(part)),
        Some(SnapshotPart { part: None }) => Err(snapshot_invalid("a part is empty")),
    }
}

fn out_of_order(wanted: &str, got: Option<&snapshot_part::Part>) -> Status {
    let got = match got {
        None => "its end",
        Some(snapshot_part::Part::Vote(_)) => "a vote",
        Some(snapshot_part::Part::Header(_)) => "a header",
        Some(snapshot_part::Part::Data(_)) => "data",
    };
    snapshot_invalid(&format!("{got} came where {wanted} belongs"))
}

fn invalid(refused: quorate_store::SnapshotRefused) -> Status {
    match refused {
        quorate_store::SnapshotRefused::Busy => Status::resource_exhausted(refused.to_string()),
        quorate_store::SnapshotRefused::Local(local) => Status::unavailable(local.to_string()),
        refused @ (quorate_store::SnapshotRefused::OutOfOrder { .. }
        | quorate_store::SnapshotRefused::TooLong
        | quorate_store::SnapshotRefused::TooShort { .. }
        | quorate_store::SnapshotRefused::StateDiffers
        | quorate_store::SnapshotRefused::StateUnusable { .. }
        | quorate_store::SnapshotRefused::RootDiffers { .. }) => {
            snapshot_invalid(&refused.to_string())
        }
    }
}

fn snapshot_invalid(why: &str) -> Status {
    let what = format!("the snapshot is refused: {why}");
    Problem::new(ErrorCode::SnapshotInvalid, what).with("why", why).into()
}
