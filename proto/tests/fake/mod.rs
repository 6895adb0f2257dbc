//! Coordinators that answer as they are told: real tonic servers on loopback.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use quorate_proto::client::Endpoint;
use quorate_proto::error_code::ErrorCode;
use quorate_proto::pb::v1::agents_server::{Agents, AgentsServer};
use quorate_proto::pb::v1::log_server::{Log, LogServer};
use quorate_proto::pb::v1::status_server::{Status as StatusService, StatusServer};
use quorate_proto::pb::v1::votes_server::{Votes, VotesServer};
use quorate_proto::pb::v1::watch_log_response::Event;
use quorate_proto::pb::v1::*;
use quorate_proto::problem::Problem;
use quorate_proto::tls::{ClientAuth, TlsMaterial};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Leaves of every fake log.
pub(crate) const LOG_SIZE: u64 = 20;

/// How a vote is answered.
#[derive(Clone)]
pub(crate) enum Reply {
    /// With this refusal.
    Refuse(Problem),
    /// Never.
    Hang,
}

#[derive(Default)]
struct State {
    once: VecDeque<Reply>,
    always: Option<Reply>,
    request_ids: Vec<(u64, String)>,
    watches_from: Vec<u64>,
    break_watch_after: Option<u64>,
}

/// One fake coordinator.
#[derive(Clone)]
pub(crate) struct Node {
    id: u64,
    state: Arc<watch::Sender<State>>,
    clock: Arc<watch::Sender<u64>>,
}

impl Node {
    pub(crate) fn votes_once(&self, reply: Reply) {
        self.state.send_modify(|state| state.once.push_back(reply));
    }

    pub(crate) fn votes_always(&self, reply: Reply) {
        self.state.send_modify(|state| state.always = Some(reply));
    }

    pub(crate) fn breaks_watch_after(&self, leaves: u64) {
        self.state.send_modify(|state| state.break_watch_after = Some(leaves));
    }

    pub(crate) fn request_ids(&self) -> Vec<(u64, String)> {
        self.state.borrow().request_ids.clone()
    }

    pub(crate) fn watches_from(&self) -> Vec<u64> {
        self.state.borrow().watches_from.clone()
    }

    fn now(&self) -> u64 {
        let mut now = 0;
        self.clock.send_modify(|clock| {
            *clock += 1;
            now = *clock;
        });
        now
    }
}

/// Some fake coordinators, ids from 1.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    addresses: Vec<String>,
    servers: Vec<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Cluster {
    pub(crate) async fn start(count: u64) -> Self {
        let clock = Arc::new(watch::Sender::new(0));
        let mut cluster = Self { nodes: Vec::new(), addresses: Vec::new(), servers: Vec::new() };
        for id in 1..=count {
            let state = Arc::new(watch::Sender::new(State::default()));
            let node = Node { id, state, clock: Arc::clone(&clock) };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            cluster.addresses.push(listener.local_addr().unwrap().to_string());
            let (stop, stopped) = oneshot::channel();
            let router = Server::builder()
                .add_service(VotesServer::new(node.clone()))
                .add_service(AgentsServer::new(node.clone()))
                .add_service(LogServer::new(node.clone()))
                .add_service(StatusServer::new(node.clone()));
            let serving = async move {
                tokio::select! {
                    served = router.serve_with_incoming(TcpListenerStream::new(listener)) => served.unwrap(),
                    _ = stopped => {}
                }
            };
            cluster.servers.push(Some((stop, tokio::spawn(serving))));
            cluster.nodes.push(node);
        }
        cluster
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.nodes
            .iter()
            .zip(&self.addresses)
            .map(|(node, address)| Endpoint { id: node.id, address: address.clone() })
            .collect()
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    /// Its port refuses connections afterwards.
    pub(crate) async fn stop(&mut self, id: u64) {
        let at = self.nodes.iter().position(|node| node.id == id).unwrap();
        let (stop, server) = self.servers[at].take().unwrap();
        stop.send(()).unwrap();
        server.await.unwrap();
    }

    /// Request ids of all votes, in the order in which they arrived.
    pub(crate) fn all_request_ids(&self) -> Vec<String> {
        let mut all: Vec<_> = self.nodes.iter().flat_map(Node::request_ids).collect();
        all.sort();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// A second address of a node, behind mutual TLS.
    pub(crate) async fn behind_tls(&self, id: u64, material: &TlsMaterial) -> String {
        let at = self.nodes.iter().position(|node| node.id == id).unwrap();
        let target = self.addresses[at].clone();
        let acceptor = TlsAcceptor::from(material.server_config(ClientAuth::Required).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        address
    }
}

#[tonic::async_trait]
impl Votes for Node {
    async fn submit_vote(
        &self,
        request: Request<SubmitVoteRequest>,
    ) -> Result<Response<SubmitVoteResponse>, Status> {
        let now = self.now();
        let id = request.into_inner().request_id;
        let mut reply = None;
        self.state.send_modify(|state| {
            state.request_ids.push((now, id));
            reply = state.once.pop_front().or_else(|| state.always.clone());
        });
        match reply {
            None => Ok(Response::new(SubmitVoteResponse::default())),
            Some(Reply::Refuse(problem)) => Err(problem.into()),
            Some(Reply::Hang) => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl StatusService for Node {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let status = GetStatusResponse { coordinator_id: self.id, ..GetStatusResponse::default() };
        Ok(Response::new(status))
    }
}

/// What `async_trait` makes of a method, written out where a macro makes the methods.
type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

type Stream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

macro_rules! unimplemented_methods {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        $(
            fn $method<'life0, 'async_trait>(
                &'life0 self,
                _: Request<$request>,
            ) -> Answering<'async_trait, $response>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(Status::unimplemented("not faked")) })
            }
        )*
    };
}

impl Agents for Node {
    fn observe<'life0, 'async_trait>(
        &'life0 self,
        _: Request<ObserveRequest>,
    ) -> Answering<'async_trait, ObserveResponse>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { Ok(Response::new(ObserveResponse { held: true, ..Default::default() })) })
    }

    unimplemented_methods! {
        claim(ClaimRequest) -> ClaimResponse;
        report(ReportRequest) -> ReportResponse;
        list_agents(ListAgentsRequest) -> ListAgentsResponse;
        list_facts(ListFactsRequest) -> ListFactsResponse;
    }
}

impl Log for Node {
    type WatchLogStream = Stream<WatchLogResponse>;
    type WatchDecisionsStream = Stream<WatchDecisionsResponse>;

    fn watch_log<'life0, 'async_trait>(
        &'life0 self,
        request: Request<WatchLogRequest>,
    ) -> Answering<'async_trait, Self::WatchLogStream>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let from = request.into_inner().from_index;
        let mut break_after = None;
        self.state.send_modify(|state| {
            state.watches_from.push(from);
            break_after = state.break_watch_after;
        });
        Box::pin(async move {
            if from > LOG_SIZE {
                let problem = Problem::new(ErrorCode::IndexOutOfRange, "beyond the end");
                return Err(problem.with("size", LOG_SIZE).into());
            }
            let (send, receive) = mpsc::channel(4);
            tokio::spawn(async move {
                let end = break_after.map_or(LOG_SIZE, |leaves| LOG_SIZE.min(from + leaves));
                for index in from..end {
                    let leaf = Leaf { index, ..Leaf::default() };
                    let event = WatchLogResponse { event: Some(Event::Leaf(leaf)) };
                    if send.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                if break_after.is_some() {
                    let _gone = send.send(Err(Status::unavailable("going away"))).await;
                } else {
                    send.closed().await;
                }
            });
            Ok(Response::new(Box::pin(ReceiverStream::new(receive)) as Self::WatchLogStream))
        })
    }

    unimplemented_methods! {
        get_checkpoint(GetCheckpointRequest) -> GetCheckpointResponse;
        get_leaf(GetLeafRequest) -> GetLeafResponse;
        list_leaves(ListLeavesRequest) -> ListLeavesResponse;
        get_inclusion_proof(GetInclusionProofRequest) -> GetInclusionProofResponse;
        get_consistency_proof(GetConsistencyProofRequest) -> GetConsistencyProofResponse;
        get_certificate(GetCertificateRequest) -> GetCertificateResponse;
        get_decision(GetDecisionRequest) -> GetDecisionResponse;
        list_decisions(ListDecisionsRequest) -> ListDecisionsResponse;
    }

    fn watch_decisions<'life0, 'async_trait>(
        &'life0 self,
        _: Request<WatchDecisionsRequest>,
    ) -> Answering<'async_trait, Self::WatchDecisionsStream>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { Err(Status::unimplemented("not faked")) })
    }
}
