//! Where the other coordinators reach the liar: it listens to everything and answers what suits it.

use std::pin::Pin;
use std::task::{Context, Poll};

use quorate_attest::head::CosignedHead;
use quorate_attest::refusal::Refusal;
use quorate_attest::signed::Signed;
use quorate_proto::pb::raft::v1::exchange_server::{Exchange, ExchangeServer};
use quorate_proto::pb::raft::v1::raft_server::{Raft, RaftServer};
use quorate_proto::pb::raft::v1::{
    FetchRequest, FetchResponse, Message, OfferRequest, OfferResponse, OwnHeadRequest,
    OwnHeadResponse, ProposeRequest, ProposeResponse, SnapshotAnswer, SnapshotPart,
};
use quorate_proto::tls::{ClientAuth, TlsMaterial};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// What the others have told.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Heads with their cosignatures.
    pub heads: Vec<CosignedHead>,
    /// Signed refusals, each once.
    pub refusals: Vec<Signed<Refusal>>,
}

/// Serves the peers' port of the liar until it is dropped.
#[derive(Debug)]
pub struct Stand {
    heard: watch::Sender<Heard>,
    serving: [AbortHandle; 2],
}

impl Stand {
    /// Listens on `address` with the TLS identity of a real coordinator.
    ///
    /// # Panics
    /// The port is taken, or the TLS files do not work.
    pub async fn open(address: &str, tls: &TlsMaterial) -> Self {
        let config = tls.server_config(ClientAuth::Required).expect("a coordinator's TLS");
        let listener = TcpListener::bind(address).await.expect("the liar's port");
        let (ready, accepted) = mpsc::channel(16);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(config), ready));
        let heard = watch::Sender::new(Heard::default());
        let ear = Ear { heard: heard.clone() };
        let server = Server::builder()
            .add_service(RaftServer::new(Silent))
            .add_service(ExchangeServer::new(ear))
            .serve_with_incoming(ReceiverStream::new(accepted));
        let serving = tokio::spawn(async move {
            server.await.expect("the liar serves");
        });
        Self { heard, serving: [accepting.abort_handle(), serving.abort_handle()] }
    }

    /// Everything heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.serving.iter().for_each(AbortHandle::abort);
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<std::io::Result<Secured>>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(socket).await {
                // The server may have ended.
                drop(ready.send(Ok(Secured(stream))).await);
            }
        });
    }
}

/// The liar's ear at the exchange of cosignatures.
#[derive(Debug, Clone)]
struct Ear {
    heard: watch::Sender<Heard>,
}

#[tonic::async_trait]
impl Exchange for Ear {
    async fn offer(
        &self,
        request: Request<OfferRequest>,
    ) -> Result<Response<OfferResponse>, Status> {
        let offer = request.into_inner();
        self.heard.send_modify(|heard| {
            heard
                .heads
                .extend(offer.heads.iter().filter_map(|note| CosignedHead::parse(note).ok()));
            for refusal in offer.refusals.iter().filter_map(|note| Signed::parse(note).ok()) {
                if !heard.refusals.contains(&refusal) {
                    heard.refusals.push(refusal);
                }
            }
        });
        Ok(Response::new(OfferResponse::default()))
    }

    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<FetchResponse>, Status> {
        Ok(Response::new(FetchResponse::default()))
    }

    async fn own_head(
        &self,
        _: Request<OwnHeadRequest>,
    ) -> Result<Response<OwnHeadResponse>, Status> {
        Ok(Response::new(OwnHeadResponse::default()))
    }
}

/// Votes for nobody and takes nobody's entries.
#[derive(Debug, Clone, Copy)]
struct Silent;

fn silence() -> Status {
    Status::unavailable("no answer")
}

#[tonic::async_trait]
impl Raft for Silent {
    type StreamAppendStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<Message, Status>> + Send>>;
    type SnapshotStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<SnapshotAnswer, Status>> + Send>>;

    async fn stream_append(
        &self,
        _: Request<Streaming<Message>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        Err(silence())
    }

    async fn vote(&self, _: Request<Message>) -> Result<Response<Message>, Status> {
        Err(silence())
    }

    async fn pre_vote(&self, _: Request<Message>) -> Result<Response<Message>, Status> {
        Err(silence())
    }

    async fn transfer_leader(&self, _: Request<Message>) -> Result<Response<Message>, Status> {
        Err(silence())
    }

    async fn snapshot(
        &self,
        _: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(silence())
    }

    async fn read_index(&self, _: Request<Message>) -> Result<Response<Message>, Status> {
        Err(silence())
    }

    async fn propose(
        &self,
        _: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        Err(silence())
    }
}

/// A connection as the server wants it.
struct Secured(TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
