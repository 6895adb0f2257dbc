//! STAND-IN coordinators over gRPC and mutual TLS: one memory, one log, judged and cosigned.

use std::pin::Pin;
use std::sync::Arc;

use quorate_attest::number::LeafIndex;
use quorate_attest::signed::Signed;
use quorate_node::quorum::{Claimed, Quorum as _};
use quorate_proto::error_code::ErrorCode;
use quorate_proto::pb::v1::agents_server::{Agents, AgentsServer};
use quorate_proto::pb::v1::log_server::{Log, LogServer};
use quorate_proto::pb::v1::proposals_server::{Proposals, ProposalsServer};
use quorate_proto::pb::v1::watch_log_response::Event;
use quorate_proto::pb::v1::*;
use quorate_proto::problem::Problem;
use quorate_proto::tls::{ClientAuth, TlsMaterial};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};

use super::stand_in::StandIn;
use super::world::{CLUSTER, World};

type Stream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// STAND-IN coordinator.
#[derive(Clone)]
pub struct Fake {
    pub world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
    pub memory: StandIn,
    pub watched_from: Arc<Mutex<Vec<u64>>>,
}

impl Fake {
    pub fn new(world: World) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: Arc::new(watch::Sender::new(0)),
            memory: StandIn::default(),
            watched_from: Arc::new(Mutex::new(Vec::new())),
        }
    }

    async fn head(&self) -> Head {
        let world = self.world.lock().await;
        Head { note: world.head(2, world.now), size: world.history.size().get(), ..Head::default() }
    }

    pub async fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut *self.world.lock().await);
        self.changed.send_modify(|version| *version += 1);
    }

    /// Listens behind mutual TLS as coordinator `id`.
    pub async fn listen(&self, material: &TlsMaterial) -> String {
        let plain = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let target = plain.local_addr().expect("address");
        let router = tonic::transport::Server::builder()
            .add_service(LogServer::new(self.clone()))
            .add_service(AgentsServer::new(self.clone()))
            .add_service(ProposalsServer::new(self.clone()));
        drop(tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(plain))));
        let acceptor =
            TlsAcceptor::from(material.server_config(ClientAuth::Required).expect("TLS"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                drop(tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }));
            }
        }));
        address
    }
}

fn not_faked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not faked"))
}

#[tonic::async_trait]
impl Log for Fake {
    type WatchLogStream = Stream<WatchLogResponse>;
    type WatchDecisionsStream = Stream<WatchDecisionsResponse>;

    async fn get_checkpoint(
        &self,
        _: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let head = Some(self.head().await);
        Ok(Response::new(GetCheckpointResponse { head, ..Default::default() }))
    }

    async fn watch_log(
        &self,
        request: Request<WatchLogRequest>,
    ) -> Result<Response<Self::WatchLogStream>, Status> {
        let mut next = request.into_inner().from_index;
        self.watched_from.lock().await.push(next);
        let (send, receive) = mpsc::channel(4);
        let (fake, mut changed) = (self.clone(), self.changed.subscribe());
        drop(tokio::spawn(async move {
            loop {
                changed.borrow_and_update();
                let leaves = fake.world.lock().await.leaves.clone();
                for (index, content) in
                    leaves.into_iter().enumerate().skip(usize::try_from(next).expect("small"))
                {
                    let leaf = Leaf { index: index as u64, content, ..Leaf::default() };
                    next = leaf.index + 1;
                    let event = WatchLogResponse { event: Some(Event::Leaf(leaf)) };
                    if send.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                let head = WatchLogResponse { event: Some(Event::Head(fake.head().await)) };
                if send.send(Ok(head)).await.is_err() || changed.changed().await.is_err() {
                    return;
                }
            }
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn get_certificate(
        &self,
        request: Request<GetCertificateRequest>,
    ) -> Result<Response<GetCertificateResponse>, Status> {
        let Some(get_certificate_request::Of::Decision(decision)) = request.into_inner().of else {
            return not_faked();
        };
        let world = self.world.lock().await;
        let slot =
            world.history.cluster(&CLUSTER.parse().expect("a cluster")).and_then(|c| c.slot());
        let index: LeafIndex = slot
            .filter(|slot| slot.token.number.get() == decision.number)
            .map(|slot| slot.leaf)
            .ok_or_else(|| Status::from(Problem::new(ErrorCode::UnknownDecision, "none")))?;
        let certificate = world.certificate(index);
        Ok(Response::new(GetCertificateResponse { certificate, ..Default::default() }))
    }

    async fn get_leaf(
        &self,
        _: Request<GetLeafRequest>,
    ) -> Result<Response<GetLeafResponse>, Status> {
        not_faked()
    }

    async fn list_leaves(
        &self,
        _: Request<ListLeavesRequest>,
    ) -> Result<Response<ListLeavesResponse>, Status> {
        not_faked()
    }

    async fn get_inclusion_proof(
        &self,
        _: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        not_faked()
    }

    async fn get_consistency_proof(
        &self,
        _: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        not_faked()
    }

    async fn get_decision(
        &self,
        _: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        not_faked()
    }

    async fn list_decisions(
        &self,
        _: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        not_faked()
    }

    async fn watch_decisions(
        &self,
        _: Request<WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        not_faked()
    }
}

#[tonic::async_trait]
impl Agents for Fake {
    async fn observe(
        &self,
        request: Request<ObserveRequest>,
    ) -> Result<Response<ObserveResponse>, Status> {
        let observe = Signed::parse(&request.into_inner().note).expect("a signed observation");
        self.memory.observe(&observe).await;
        Ok(Response::new(ObserveResponse { held: true, ..Default::default() }))
    }

    async fn claim(
        &self,
        request: Request<ClaimRequest>,
    ) -> Result<Response<ClaimResponse>, Status> {
        let claim = Signed::parse(&request.into_inner().note).expect("a signed claim");
        match self.memory.claim(&claim).await {
            Ok(claimed) => {
                let fresh = claimed == Claimed::Fresh;
                Ok(Response::new(ClaimResponse { fresh, ..Default::default() }))
            }
            Err(refused) => {
                Err(Problem::new(ErrorCode::JournalRolledBack, refused.to_string()).into())
            }
        }
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let note = request.into_inner().note;
        let report = Signed::parse(&note).expect("a signed report");
        let known = self.memory.0.lock().await.reports.contains(&report);
        if !known {
            self.memory.report(&note).await.expect("it answers");
            self.change(|world| {
                let _index = world.outcome(&report);
            })
            .await;
        }
        Ok(Response::new(ReportResponse::default()))
    }

    async fn list_agents(
        &self,
        _: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        not_faked()
    }

    async fn list_facts(
        &self,
        _: Request<ListFactsRequest>,
    ) -> Result<Response<ListFactsResponse>, Status> {
        Ok(Response::new(ListFactsResponse::default()))
    }
}

#[tonic::async_trait]
impl Proposals for Fake {
    type WatchProposalsStream = Stream<WatchProposalsResponse>;

    async fn open_proposal(
        &self,
        _: Request<OpenProposalRequest>,
    ) -> Result<Response<OpenProposalResponse>, Status> {
        not_faked()
    }

    async fn get_proposal(
        &self,
        _: Request<GetProposalRequest>,
    ) -> Result<Response<GetProposalResponse>, Status> {
        not_faked()
    }

    async fn list_proposals(
        &self,
        _: Request<ListProposalsRequest>,
    ) -> Result<Response<ListProposalsResponse>, Status> {
        Ok(Response::new(ListProposalsResponse::default()))
    }

    async fn watch_proposals(
        &self,
        _: Request<WatchProposalsRequest>,
    ) -> Result<Response<Self::WatchProposalsStream>, Status> {
        not_faked()
    }

    async fn veto_proposal(
        &self,
        _: Request<VetoProposalRequest>,
    ) -> Result<Response<VetoProposalResponse>, Status> {
        not_faked()
    }
}
