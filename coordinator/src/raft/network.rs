//! What Raft sends: openraft's network traits over tonic.
//!
//! Two rules of openraft shape this file. It awaits its back-off *inside the request stream*, so
//! the first request is taken before anything is dialed, or a dead peer is dialed in a hot loop.
//! And it waits for the next answer of an open stream without any limit, so every answer has a
//! deadline here. Whatever is not an answer is `Unreachable`: only that makes openraft back off at
//! once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use metrics::counter;
use openraft::{
    OptionalSend, RaftNetworkFactory,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, Unreachable},
    network::{Backoff, NetBackoff, NetStreamAppend, NetTransferLeader, NetVote, RPCOption},
    raft::{
        AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};
use quorate_proto::pb::raft::v1::{Message, raft_client::RaftClient};
use quorate_store::{
    PeerNode, TypeConfig,
    codec::{Record, StreamAppendAnswer, TransferLeaderAnswer},
};
use tokio::time::timeout;
use tonic::{Code, Response, Status, transport::Channel};

use super::{
    envelope::EnvelopeRefused,
    heartbeat::Line,
    peers::{Lane, Peers},
};
use crate::leader::ClockRefusals;

pub(super) type RpcResult<T> = Result<T, RPCError<TypeConfig>>;
type Answers = BoxStream<'static, RpcResult<StreamAppendResult<TypeConfig>>>;

/// Makes a lane for each purpose and peer.
#[derive(Clone)]
pub struct Network {
    peers: Peers,
    /// The least time an answer on the log lane may take: the lease, not one heartbeat, because a
    /// follower answers only after its fsync.
    answer_within: Duration,
    clock_refusals: ClockRefusals,
}

impl Network {
    /// A network over `peers`. `clock_refusals` hears when a follower refuses our log time.
    pub fn new(peers: Peers, answer_within: Duration, clock_refusals: ClockRefusals) -> Self {
        Self { peers, answer_within, clock_refusals }
    }

    fn lane(&self, to: u64, lane: Lane) -> PeerLane {
        PeerLane { to, lane, network: self.clone(), line: None }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerLane;

    async fn new_client(&mut self, target: u64, _: &PeerNode) -> PeerLane {
        self.lane(target, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &PeerNode) -> PeerLane {
        self.lane(target, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, _: &PeerNode) -> PeerLane {
        self.lane(target, Lane::Snapshot)
    }
}

/// One lane to one peer.
pub struct PeerLane {
    to: u64,
    lane: Lane,
    network: Network,
    /// Heartbeats only: the stream of the last one.
    pub(super) line: Option<Line>,
}

impl PeerLane {
    pub(super) fn client(&self) -> RpcResult<RaftClient<Channel>> {
        self.network.peers.raft(self.to, self.lane).map_err(|error| {
            tracing::error!(peer = self.to, %error, "a coordinator of the charter has no address");
            RPCError::Unreachable(Unreachable::new(&error))
        })
    }

    pub(super) fn seal<R: Record>(&self, record: &R) -> Message {
        self.network.peers.desk().seal(self.to, record)
    }

    /// One request, one answer.
    async fn call<Q: Record, A: Record, F>(
        &self,
        request: &Q,
        ttl: Duration,
        send: impl FnOnce(RaftClient<Channel>, Message) -> F,
    ) -> RpcResult<A>
    where
        F: Future<Output = Result<Response<Message>, Status>>,
    {
        let sent = send(self.client()?, self.seal(request));
        let answer = within(ttl, sent).await?.map_err(|status| self.failed(status))?;
        self.open(answer.into_inner())
    }

    pub(super) fn open<A: Record>(&self, message: Message) -> RpcResult<A> {
        open(&self.network.peers, self.to, &message)
    }

    pub(super) fn failed(&self, status: Status) -> RPCError<TypeConfig> {
        failed(self.to, status, &self.network.clock_refusals)
    }
}

fn open<A: Record>(peers: &Peers, from: u64, message: &Message) -> RpcResult<A> {
    peers.desk().open(from, message).map_err(|refused: EnvelopeRefused| {
        // A version clash must be visible and must not become a tight loop.
        let labels = [("peer", from.to_string()), ("reason", refused.label().to_owned())];
        counter!("quorate_raft_messages_refused_total", &labels).increment(1);
        tracing::error!(peer = from, %refused, "an answer of a peer is refused");
        RPCError::Unreachable(Unreachable::new(&refused))
    })
}

async fn within<T>(ttl: Duration, call: impl Future<Output = T>) -> RpcResult<T> {
    timeout(ttl, call).await.map_err(|elapsed| RPCError::Unreachable(Unreachable::new(&elapsed)))
}

/// Section 6's table: everything that is not an answer makes openraft back off.
fn failed(peer: u64, status: Status, clock_refusals: &ClockRefusals) -> RPCError<TypeConfig> {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            RPCError::Unreachable(Unreachable::new(&status))
        }
        // Only the clock door answers with this code.
        Code::Aborted => {
            clock_refusals.refused_by(peer);
            RPCError::Unreachable(Unreachable::new(&status))
        }
        Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument => {
            // Misconfiguration, or a peer of another log: a person has to look.
            tracing::error!(peer, %status, "a peer refuses our messages");
            RPCError::Unreachable(Unreachable::new(&status))
        }
        Code::Ok
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => RPCError::Network(NetworkError::new(&status)),
    }
}

impl NetBackoff<TypeConfig> for PeerLane {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetStreamAppend<TypeConfig> for PeerLane {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // BEFORE dialing: openraft's back-off waits in here.
            let Some(first) = input.next().await else {
                let none: Answers = Box::pin(stream::empty());
                return Ok(none);
            };
            if self.lane == Lane::Heartbeat {
                let answer = within(option.hard_ttl(), self.beat(&first)).await??;
                let answers: Answers = Box::pin(stream::iter([Ok(answer)]));
                return Ok(answers);
            }
            let mut client = self.client()?;
            let sent = Arc::new(AtomicU64::new(0));
            let (desk, to) = (self.network.peers.desk().clone(), self.to);
            let count = sent.clone();
            let requests = stream::once(async move { first }).chain(input).map(move |request| {
                count.fetch_add(1, Ordering::Relaxed);
                desk.seal(to, &request)
            });
            let within_time = self.answer_within(&option);
            let answers = within(within_time, client.stream_append(requests))
                .await?
                .map_err(|status| self.failed(status))?;
            let answers = Awaited {
                answers: answers.into_inner(),
                sent,
                answered: 0,
                within: within_time,
                peer: self.to,
                network: self.network.clone(),
            };
            let answers: Answers = Box::pin(stream::unfold(Some(answers), Awaited::next));
            Ok(answers)
        })
    }
}

impl PeerLane {
    fn answer_within(&self, option: &RPCOption) -> Duration {
        option.hard_ttl().max(self.network.answer_within)
    }
}

/// The answers of an open stream, each with a deadline while one is owed.
struct Awaited {
    answers: tonic::Streaming<Message>,
    sent: Arc<AtomicU64>,
    answered: u64,
    within: Duration,
    peer: u64,
    network: Network,
}

impl Awaited {
    async fn next(
        state: Option<Self>,
    ) -> Option<(RpcResult<StreamAppendResult<TypeConfig>>, Option<Self>)> {
        let mut state = state?;
        loop {
            let sent_before = state.sent.load(Ordering::Relaxed);
            match timeout(state.within, state.answers.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(message))) => {
                    state.answered += 1;
                    let answer =
                        open::<StreamAppendAnswer>(&state.network.peers, state.peer, &message);
                    return match answer {
                        Ok(StreamAppendAnswer(Ok(matching))) => {
                            Some((Ok(Ok(matching)), Some(state)))
                        }
                        // A conflict or a higher vote ends the stream, as openraft expects.
                        Ok(StreamAppendAnswer(Err(refused))) => Some((Ok(Err(refused)), None)),
                        Err(error) => Some((Err(error), None)),
                    };
                }
                Ok(Some(Err(status))) => {
                    let error = failed(state.peer, status, &state.network.clock_refusals);
                    return Some((Err(error), None));
                }
                // Something sent before this period began is still unanswered after it.
                Err(elapsed) if sent_before > state.answered => {
                    return Some((Err(RPCError::Unreachable(Unreachable::new(&elapsed))), None));
                }
                Err(_) => {}
            }
        }
    }
}

impl NetVote<TypeConfig> for PeerLane {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        // The whole time, not three quarters: a voter fsyncs before it answers.
        let answer: VoteResponse<TypeConfig> = self
            .call(&request, option.hard_ttl(), |mut client, message| async move {
                client.vote(message).await
            })
            .await?;
        if answer.vote_granted {
            self.network.peers.note_vote(self.to, request.vote.leader_id().term);
        }
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.call(&request, option.hard_ttl(), |mut client, message| async move {
            client.pre_vote(message).await
        })
        .await
    }
}

impl NetTransferLeader<TypeConfig> for PeerLane {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let TransferLeaderAnswer(answer) = self
            .call(&request, option.hard_ttl(), |mut client, message| async move {
                client.transfer_leader(message).await
            })
            .await?;
        Ok(answer)
    }
}
