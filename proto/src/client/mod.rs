//! The client of `quorate.v1`: follows the leader, backs off, repeats with one request id.
//!
//! Every mutating call carries a request id that the state machine deduplicates, so a call whose
//! outcome is unknown is repeated safely, at another coordinator too, until its deadline. Reads are
//! repeated without further thought. What a coordinator refuses for a reason is returned at once.

mod channel;
mod error;
mod methods;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub use channel::{
    BadAddress, ChannelOptions, Dial, DialError, Dialing, Endpoint, Io, Transport, WrongPeer,
    channel, tcp,
};
pub use error::{Attempt, Attempts, CallError};
pub use methods::{Answer, request_id};
pub use watch::{DecisionWatch, LogWatch, ProposalWatch, Watch, Watched};

use channel::observed_channel;
use error::{Again, Verdict, judge};

/// Largest answer that is decoded, in bytes.
pub const DECODE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Redirections to a leader that are followed in a row without a pause.
const REDIRECTS_MAX: usize = 3;

/// Times of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// One call with all its attempts.
    pub deadline: Duration,
    /// One attempt.
    pub attempt_timeout: Duration,
    /// No attempt but the first begins with less time left: it would end in doubt, and bury the
    /// reason that the one before it gave.
    pub attempt_min: Duration,
    /// First pause between attempts; it doubles, with jitter.
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
    /// The connections.
    pub channel: ChannelOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(5),
            attempt_min: Duration::from_millis(250),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            channel: ChannelOptions::default(),
        }
    }
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The leader, or whoever forwards to it.
    Leader,
    /// Anyone that answers: stale reads.
    Any,
    /// This coordinator alone, by Raft node id.
    Only(u64),
}

/// A client of one deployment. Cheap to clone; clones share connections and the known leader.
#[derive(Clone)]
pub struct Client {
    nodes: Arc<[Node]>,
    /// Position of the coordinator that answered last.
    preferred: Arc<AtomicUsize>,
    options: ClientOptions,
}

struct Node {
    endpoint: Endpoint,
    channel: Channel,
    /// Whether it was ever connected. Until then nothing can have been sent.
    connected: Arc<AtomicBool>,
}

impl Client {
    /// A client of the coordinators at `endpoints`, which should be all of them. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// An address is no `host:port`, or there is none.
    pub fn new(
        endpoints: impl IntoIterator<Item = Endpoint>,
        transport: &Transport,
        options: ClientOptions,
    ) -> Result<Self, BadAddress> {
        Self::with_dial(endpoints, transport, options, &tcp())
    }

    /// The same over other byte streams than TCP.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_dial(
        endpoints: impl IntoIterator<Item = Endpoint>,
        transport: &Transport,
        options: ClientOptions,
        dial: &Dial,
    ) -> Result<Self, BadAddress> {
        let nodes = endpoints
            .into_iter()
            .map(|endpoint| {
                let connected = Arc::<AtomicBool>::default();
                let observer = Arc::clone(&connected);
                let channel =
                    observed_channel(&endpoint, transport, options.channel, dial, observer)?;
                Ok(Node { endpoint, channel, connected })
            })
            .collect::<Result<Arc<[Node]>, BadAddress>>()?;
        if nodes.is_empty() {
            return Err(BadAddress { address: String::new() });
        }
        Ok(Self { nodes, preferred: Arc::new(AtomicUsize::new(0)), options })
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// The coordinators it knows.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.nodes.iter().map(|node| &node.endpoint)
    }

    /// Calls until somebody answers or refuses for good, or the deadline passes. `request_id` is
    /// what an unknown outcome is reported with; empty for reads.
    ///
    /// # Errors
    /// A refusal, or nobody answered in time.
    pub async fn call<T, R, F, Fut>(
        &self,
        route: Route,
        request_id: &str,
        message: T,
        send: F,
    ) -> Result<R, CallError>
    where
        T: Clone,
        F: Fn(Channel, Request<T>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.options.deadline;
        let mut pauses = self.pauses();
        let mut at = self.first(route)?;
        let mut redirects = 0;
        let mut attempts = Attempts::default();
        let mut unknown = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = left.min(self.options.attempt_timeout);
            let node = &self.nodes[at];
            let mut request = Request::new(message.clone());
            request.set_timeout(limit);
            let sent = send(node.channel.clone(), request);
            let status = match tokio::time::timeout(limit, sent).await {
                Ok(Ok(response)) => {
                    self.remember(at, route);
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => {
                    Status::deadline_exceeded(format!("no answer in {} ms", limit.as_millis()))
                }
            };
            let mut pause = pauses.next().unwrap_or(self.options.backoff_max);
            match judge(status) {
                Verdict::Final(error) => return Err(error.at(&node.endpoint)),
                Verdict::AskLeader(id) => {
                    attempts.note(&node.endpoint, format!("names {id} as the leader"), true);
                    let leader = self.position(id).filter(|_| route == Route::Leader);
                    redirects += 1;
                    if leader.is_some() && redirects <= REDIRECTS_MAX {
                        pause = Duration::ZERO;
                    }
                    at = leader.unwrap_or_else(|| self.after(at, route));
                }
                Verdict::Again(Again { why, unknown: maybe, answered, delay }) => {
                    attempts.note(&node.endpoint, why, answered);
                    unknown |= maybe && node.connected.load(Ordering::SeqCst);
                    pause = delay.unwrap_or(pause).min(self.options.backoff_max);
                    // Also for the next call: one that hangs may use up the whole deadline.
                    self.leave(at, route);
                    at = self.after(at, route);
                }
            }
            if Instant::now() + pause + self.options.attempt_min >= deadline {
                return Err(if unknown {
                    CallError::OutcomeUnknown { request_id: request_id.to_owned(), attempts }
                } else {
                    CallError::Unreachable { attempts }
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Calls every coordinator at once, each with its own deadline, and returns every answer by
    /// Raft node id.
    pub async fn call_each<T, R, F, Fut>(
        &self,
        message: T,
        send: F,
    ) -> Vec<(u64, Result<R, CallError>)>
    where
        T: Clone + Send + 'static,
        R: Send + 'static,
        F: Fn(Channel, Request<T>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<R>, Status>> + Send + 'static,
    {
        let mut calls = tokio::task::JoinSet::new();
        for id in self.endpoints().map(|endpoint| endpoint.id) {
            let (client, message, send) = (self.clone(), message.clone(), send.clone());
            calls.spawn(async move { (id, client.call(Route::Only(id), "", message, send).await) });
        }
        let mut answers = calls.join_all().await;
        answers.sort_by_key(|(id, _)| *id);
        answers
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.options.backoff_min)
            .with_max_delay(self.options.backoff_max)
            .with_jitter()
            .without_max_times()
            .build()
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.nodes.iter().position(|node| node.endpoint.id == id)
    }

    fn first(&self, route: Route) -> Result<usize, CallError> {
        match route {
            Route::Leader | Route::Any => Ok(self.preferred.load(Ordering::Relaxed)),
            Route::Only(id) => self.position(id).ok_or_else(|| {
                let mut attempts = Attempts::default();
                let unknown = Endpoint { id, address: format!("coordinator {id}") };
                attempts.note(&unknown, "its address is not known".to_owned(), false);
                CallError::Unreachable { attempts }
            }),
        }
    }

    /// A call for one coordinator alone says nothing about whom the others should ask.
    fn remember(&self, at: usize, route: Route) {
        match route {
            Route::Leader | Route::Any => self.preferred.store(at, Ordering::Relaxed),
            Route::Only(_) => {}
        }
    }

    /// Asks another coordinator than `id` first from now on: what it says is too old.
    pub fn avoid(&self, id: u64) {
        if let Some(at) = self.position(id) {
            self.leave(at, Route::Any);
        }
    }

    /// Whoever did not answer is not asked first again, unless another call found somebody meanwhile.
    fn leave(&self, at: usize, route: Route) {
        let next = self.after(at, route);
        let order = Ordering::Relaxed;
        let _moved = self.preferred.compare_exchange(at, next, order, order);
    }

    fn after(&self, at: usize, route: Route) -> usize {
        match route {
            Route::Leader | Route::Any => (at + 1) % self.nodes.len(),
            Route::Only(_) => at,
        }
    }
}
