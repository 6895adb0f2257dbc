//! Watches that resume where they broke, at another coordinator if need be.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::error::{Again, Verdict, judge};
use super::{Attempts, CallError, Client, DECODE_BYTES_MAX, Route};
use crate::pb::v1::log_client::LogClient;
use crate::pb::v1::proposals_client::ProposalsClient;
use crate::pb::v1::watch_log_response::Event as LogEvent;
use crate::pb::v1::{
    WatchDecisionsRequest, WatchDecisionsResponse, WatchLogRequest, WatchLogResponse,
    WatchProposalsRequest, WatchProposalsResponse,
};

/// A coordinator sends a heartbeat every ten seconds; one that is silent for longer is left.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// What can be watched: how to start, and where to start again.
pub trait Watched: Clone + Send + 'static {
    /// What arrives.
    type Event: Send + 'static;

    /// Starts it at one coordinator.
    fn open(
        channel: Channel,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Event>>, Status>> + Send;

    /// Moves the start behind `event`.
    fn advance(&mut self, event: &Self::Event);
}

impl Watched for WatchLogRequest {
    type Event = WatchLogResponse;

    async fn open(
        channel: Channel,
        request: Request<Self>,
    ) -> Result<Response<Streaming<WatchLogResponse>>, Status> {
        LogClient::new(channel).max_decoding_message_size(DECODE_BYTES_MAX).watch_log(request).await
    }

    fn advance(&mut self, event: &WatchLogResponse) {
        match &event.event {
            Some(LogEvent::Leaf(leaf)) => self.from_index = leaf.index.saturating_add(1),
            Some(LogEvent::Head(_) | LogEvent::Heartbeat(_)) | None => {}
        }
    }
}

impl Watched for WatchDecisionsRequest {
    type Event = WatchDecisionsResponse;

    async fn open(
        channel: Channel,
        request: Request<Self>,
    ) -> Result<Response<Streaming<WatchDecisionsResponse>>, Status> {
        LogClient::new(channel)
            .max_decoding_message_size(DECODE_BYTES_MAX)
            .watch_decisions(request)
            .await
    }

    fn advance(&mut self, event: &WatchDecisionsResponse) {
        self.from_index = self.from_index.max(event.next_index);
    }
}

impl Watched for WatchProposalsRequest {
    type Event = WatchProposalsResponse;

    async fn open(
        channel: Channel,
        request: Request<Self>,
    ) -> Result<Response<Streaming<WatchProposalsResponse>>, Status> {
        ProposalsClient::new(channel)
            .max_decoding_message_size(DECODE_BYTES_MAX)
            .watch_proposals(request)
            .await
    }

    /// A new start begins with every matching proposal as it is: nothing to remember.
    fn advance(&mut self, _: &WatchProposalsResponse) {}
}

/// A watch under way.
pub struct Watch<W: Watched> {
    client: Client,
    request: W,
    at: usize,
    stream: Option<Streaming<W::Event>>,
}

/// Leaves and certified heads; gapless and in order over reconnections.
pub type LogWatch = Watch<WatchLogRequest>;

/// Decisions.
pub type DecisionWatch = Watch<WatchDecisionsRequest>;

/// Proposals.
pub type ProposalWatch = Watch<WatchProposalsRequest>;

impl Client {
    /// Starts a watch. Nothing is sent before the first [`Watch::next`].
    #[must_use]
    pub fn watch<W: Watched>(&self, request: W) -> Watch<W> {
        // Stale is fine: heads prove themselves, and every coordinator arrives at the same leaves.
        let at = self.first(Route::Any).unwrap_or(0);
        Watch { client: self.clone(), request, at, stream: None }
    }
}

impl<W: Watched> Watch<W> {
    /// The request with which it would start again now: the resume token is in it.
    pub const fn position(&self) -> &W {
        &self.request
    }

    /// The next event; connects and reconnects as needed. Safe to drop before it is ready.
    ///
    /// # Errors
    /// A refusal, or no coordinator could be reached within the client's deadline. The watch can
    /// be used again either way and goes on where it was.
    pub async fn next(&mut self) -> Result<W::Event, CallError> {
        let mut deadline = Instant::now() + self.client.options.deadline;
        let mut pauses = self.client.pauses();
        let mut attempts = Attempts::default();
        loop {
            let connected = self.stream.is_some();
            let status = match self.step().await {
                Ok(event) => {
                    self.request.advance(&event);
                    return Ok(event);
                }
                Err(status) => status,
            };
            self.stream = None;
            if connected {
                // It worked until now: the time to find another coordinator starts here.
                deadline = Instant::now() + self.client.options.deadline;
            }
            let mut pause = pauses.next().unwrap_or(self.client.options.backoff_max);
            let endpoint = self.client.nodes[self.at].endpoint.clone();
            match judge(status) {
                Verdict::Final(error) => return Err(error.at(&endpoint)),
                Verdict::AskLeader(id) => {
                    attempts.note(&endpoint, format!("names {id} as the leader"), true);
                }
                Verdict::Again(Again { why, answered, delay, .. }) => {
                    attempts.note(&endpoint, why, answered);
                    pause = delay.unwrap_or(pause).min(self.client.options.backoff_max);
                }
            }
            self.at = self.client.after(self.at, Route::Any);
            if Instant::now() + pause >= deadline {
                return Err(CallError::Unreachable { attempts });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One event from the present stream, which is opened first if there is none.
    async fn step(&mut self) -> Result<W::Event, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let channel = self.client.nodes[self.at].channel.clone();
                let opening = W::open(channel, Request::new(self.request.clone()));
                let limit = self.client.options.attempt_timeout;
                let opened = tokio::time::timeout(limit, opening)
                    .await
                    .map_err(|_| Status::deadline_exceeded("the watch did not start"))??;
                none.insert(opened.into_inner())
            }
        };
        match tokio::time::timeout(SILENCE_MAX, stream.message()).await {
            Ok(Ok(Some(event))) => Ok(event),
            Ok(Ok(None)) => Err(Status::unavailable("the coordinator ended the watch")),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Status::unavailable("the coordinator sent no heartbeat")),
        }
    }
}
