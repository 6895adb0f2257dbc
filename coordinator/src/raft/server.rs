//! What Raft accepts: each message is checked before openraft sees it.
//!
//! `to` is me, `from` is the certificate's coordinator, `origin` is mine (this fences a recovered
//! quorum from its old peers), numbers are bounded by the codec, and no entry comes from the
//! future. A stream stops at its first bad message: skipping one would shift every answer after it.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt, stream};
use metrics::counter;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use quorate_proto::pb::raft::v1::{
    Message, ProposeRequest, ProposeResponse, SnapshotPart, raft_server,
};
use quorate_store::{
    SnapshotReceiver, TypeConfig,
    codec::{ReadLogId, Record, StreamAppendAnswer, TransferLeaderAnswer},
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tonic::{Request, Response, Status, Streaming};

use super::{clock_door::ClockDoor, envelope::EnvelopeRefused};
use crate::{admission::Verifiers, handle::Handle, http::accept::Connection};

/// How long a vote that claims a leadership transfer may overtake the leader's own announcement.
const TRANSFER_OVERTAKES: Duration = Duration::from_millis(50);

/// The Raft service of one coordinator.
#[derive(Clone)]
pub struct RaftServer {
    handle: Handle,
    door: ClockDoor,
    receiver: SnapshotReceiver,
    /// Closed until peers have said that this disk was not rolled back.
    gate: watch::Receiver<bool>,
    /// The leader's announced transfer: (its term, the target). Its lease binds us otherwise.
    transfer: watch::Sender<(u64, u64)>,
    verifiers: Verifiers,
}

impl RaftServer {
    /// Serves the replica behind `handle`.
    pub fn new(
        handle: Handle,
        door: ClockDoor,
        receiver: SnapshotReceiver,
        gate: watch::Receiver<bool>,
        verifiers: Verifiers,
    ) -> Self {
        Self { handle, door, receiver, gate, transfer: watch::Sender::new((0, 0)), verifiers }
    }

    /// The coordinator at the other end, from its certificate; nobody else may speak here.
    fn peer<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        if !*self.gate.borrow() {
            return Err(Status::unavailable("this replica does not take part yet"));
        }
        peer_of(request, &self.handle)
    }

    pub(super) fn open<R: Record>(&self, peer: u64, message: &Message) -> Result<R, Status> {
        self.handle.peers().desk().open(peer, message).map_err(|refused| refuse(peer, &refused))
    }

    pub(super) fn seal<R: Record>(&self, peer: u64, record: &R) -> Message {
        self.handle.peers().desk().seal(peer, record)
    }

    fn answer<R: Record>(&self, peer: u64, record: &R) -> Response<Message> {
        Response::new(self.seal(peer, record))
    }

    pub(super) fn raft(&self) -> &super::Raft {
        self.handle.raft()
    }

    pub(super) fn receiver(&self) -> &SnapshotReceiver {
        &self.receiver
    }

    /// A transfer overrides leases, so a vote may claim one only if the present leader announced
    /// it: otherwise it is an ordinary request, judged by the ordinary lease.
    async fn judge_transfer(&self, request: &mut VoteRequest<TypeConfig>, peer: u64) {
        if !request.leadership_transfer {
            return;
        }
        let term = request.vote.leader_id().term;
        let announced = |(leader_term, target): &(u64, u64)| {
            *leader_term > 0 && *leader_term < term && *target == peer
        };
        let mut transfer = self.transfer.subscribe();
        let waited = timeout(TRANSFER_OVERTAKES, transfer.wait_for(announced)).await;
        request.leadership_transfer = matches!(waited, Ok(Ok(_)));
    }
}

/// The coordinator that sent `request`, or `PERMISSION_DENIED`.
pub(crate) fn peer_of<T>(request: &Request<T>, handle: &Handle) -> Result<u64, Status> {
    request
        .extensions()
        .get::<Connection>()
        .and_then(|connection| connection.caller.coordinator(handle.network()))
        .ok_or_else(|| Status::permission_denied("only coordinators of this network speak here"))
}

/// The status of a refused envelope, counted: misconfiguration has to be visible.
pub(crate) fn refuse(peer: u64, refused: &EnvelopeRefused) -> Status {
    let labels = [("peer", peer.to_string()), ("reason", refused.label().to_owned())];
    counter!("quorate_raft_messages_refused_total", &labels).increment(1);
    tracing::warn!(peer, %refused, "a message of a peer is refused");
    let text = refused.to_string();
    match refused {
        EnvelopeRefused::From { .. } => Status::permission_denied(text),
        EnvelopeRefused::To { .. } | EnvelopeRefused::Codec { .. } => {
            Status::failed_precondition(text)
        }
        EnvelopeRefused::Origin { .. } | EnvelopeRefused::Missing | EnvelopeRefused::Body(_) => {
            Status::invalid_argument(text)
        }
    }
}

fn fatal(error: &dyn std::fmt::Display) -> Status {
    Status::unavailable(format!("this replica has stopped: {error}"))
}

type Messages = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

#[tonic::async_trait]
impl raft_server::Raft for RaftServer {
    type StreamAppendStream = Messages;

    async fn stream_append(
        &self,
        request: Request<Streaming<Message>>,
    ) -> Result<Response<Messages>, Status> {
        let peer = self.peer(&request)?;
        let (bad, first_bad) = oneshot::channel();
        let incoming =
            Incoming { messages: request.into_inner(), peer, server: self.clone(), bad: Some(bad) };
        let requests = stream::unfold(incoming, Incoming::next);
        let desk = self.handle.peers().desk().clone();
        let answers = self.handle.raft().stream_append(requests).map(move |answer| match answer {
            Ok(answer) => Ok(desk.seal(peer, &StreamAppendAnswer(answer))),
            Err(stopped) => Err(fatal(&stopped)),
        });
        // After the answers to everything before it: why the stream stopped.
        let ending = stream::once(first_bad).filter_map(async |bad| bad.ok().map(Err));
        Ok(Response::new(Box::pin(answers.chain(ending))))
    }

    async fn vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let peer = self.peer(&request)?;
        let mut vote: VoteRequest<TypeConfig> = self.open(peer, request.get_ref())?;
        if vote.vote.leader_id().voted_for != peer {
            return Err(Status::permission_denied("a coordinator asks for votes for itself only"));
        }
        self.judge_transfer(&mut vote, peer).await;
        let answer = self.handle.raft().vote(vote).await.map_err(|stopped| fatal(&stopped))?;
        Ok(self.answer(peer, &answer))
    }

    async fn pre_vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let peer = self.peer(&request)?;
        let mut vote: VoteRequest<TypeConfig> = self.open(peer, request.get_ref())?;
        vote.leadership_transfer = false;
        let answer = self.handle.raft().pre_vote(vote).await.map_err(|stopped| fatal(&stopped))?;
        Ok(self.answer(peer, &answer))
    }

    async fn transfer_leader(
        &self,
        request: Request<Message>,
    ) -> Result<Response<Message>, Status> {
        let peer = self.peer(&request)?;
        let transfer: TransferLeaderRequest<TypeConfig> = self.open(peer, request.get_ref())?;
        let leader = transfer.from_leader();
        if !leader.is_committed() || leader.leader_id().voted_for != peer {
            return Err(Status::permission_denied("only the present leader hands over"));
        }
        self.transfer.send_replace((leader.leader_id().term, *transfer.to_node_id()));
        let answer =
            self.handle.raft().handle_transfer_leader(transfer).await.map_err(|e| fatal(&e))?;
        Ok(self.answer(peer, &TransferLeaderAnswer(answer)))
    }

    type SnapshotStream = super::snapshot::Answers;

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<super::snapshot::Answers>, Status> {
        let peer = self.peer(&request)?;
        let answers = super::snapshot::receive(self.clone(), peer, request.into_inner()).await?;
        Ok(Response::new(answers))
    }

    async fn read_index(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let peer = self.peer(&request)?;
        self.handle
            .peers()
            .desk()
            .check_message(peer, request.get_ref())
            .map_err(|refused| refuse(peer, &refused))?;
        let read_log_id: ReadLogId = self.handle.leader_read_index().await?;
        Ok(self.answer(peer, &read_log_id))
    }

    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        let peer = self.peer(&request)?;
        let request = request.into_inner();
        let desk = self.handle.peers().desk();
        desk.check_envelope(peer, request.envelope.as_ref())
            .and_then(|()| desk.check_codec(request.codec))
            .map_err(|refused| refuse(peer, &refused))?;
        Ok(Response::new(self.handle.forwarded(peer, request, &self.verifiers).await?))
    }
}

/// The messages of one stream, until the first bad one.
struct Incoming {
    messages: Streaming<Message>,
    peer: u64,
    server: RaftServer,
    bad: Option<oneshot::Sender<Status>>,
}

impl Incoming {
    async fn next(mut self) -> Option<(AppendEntriesRequest<TypeConfig>, Self)> {
        let status = match self.messages.next().await? {
            Ok(message) => match self.check(&message) {
                Ok(request) => return Some((request, self)),
                Err(status) => status,
            },
            Err(status) => status,
        };
        if let Some(bad) = self.bad.take() {
            // The caller may have gone; then nobody has to be told.
            drop(bad.send(status));
        }
        None
    }

    fn check(&self, message: &Message) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
        let request: AppendEntriesRequest<TypeConfig> = self.server.open(self.peer, message)?;
        if request.vote.leader_id().voted_for != self.peer {
            return Err(Status::permission_denied("a coordinator leads in its own name only"));
        }
        self.server.door.admit(&request).map_err(|ahead| {
            counter!("quorate_raft_clock_refusals_total", "peer" => self.peer.to_string())
                .increment(1);
            Status::aborted(ahead.to_string())
        })?;
        self.server.handle.hear(self.peer);
        if self.server.handle.follows(&request.vote) {
            self.server.door.note(&request);
        }
        Ok(request)
    }
}
