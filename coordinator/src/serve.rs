//! The listeners: public (gRPC and HTTP on one port), peers, and plain text for a demo's readers.

use std::{io, sync::Arc, time::Duration};

use metrics::{gauge, histogram};
use quorate_proto::{
    identity::{Identity, Role},
    pb::raft::v1::{exchange_server::ExchangeServer as ExchangeService, raft_server},
    tls::{ClientAuth, TlsMaterial},
};
use quorate_store::{CommitObserver, codec::MESSAGE_BYTES_MAX};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    service::Routes,
    transport::{Server, server::Router},
};

use crate::{
    access::Caller,
    admission::Door,
    app::{Addresses, StartError, bind},
    config::Config,
    http::{
        self, HttpState,
        accept::{Accepted, Door as ListenerDoor, Limits, accept},
    },
    raft::server::RaftServer,
    service::{self, Context},
    signer::exchange::{self, ExchangeServer},
    telemetry::Timed,
};

/// Streams one client connection may have open.
const STREAMS_MAX: u32 = 64;
/// Streams one peer connection may have open.
const PEER_STREAMS_MAX: u32 = 256;
/// A unary call has to be answered within this time.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Header lists of HTTP/2.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// A connection is closed after this age; watches resume by index.
const AGE: Duration = Duration::from_secs(600);
const AGE_GRACE: Duration = Duration::from_secs(30);

/// What is served, and how.
pub(crate) struct Plan<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tls: &'a TlsMaterial,
    pub(crate) context: Context,
    pub(crate) server: RaftServer,
    pub(crate) door: Door,
    /// Clients: ended first.
    pub(crate) clients: Listening,
    /// The other coordinators: ended after Raft, whose streams they hold open.
    pub(crate) peers: Listening,
}

/// The tasks of some listeners, and what ends them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listening {
    pub(crate) tasks: TaskTracker,
    pub(crate) drain: CancellationToken,
}

impl Listening {
    /// Takes no more connections, and waits until the open ones have ended, but not for ever.
    pub(crate) async fn end(&self, patience: Duration) {
        self.drain.cancel();
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(?patience, "some connections were not drained in time");
        }
    }

    fn spawn(
        &self,
        name: &'static str,
        router: Router<Layers>,
        listener: TcpListener,
        door: ListenerDoor,
        limits: Limits,
    ) {
        let accepted = accept(listener, door, limits, self.drain.clone());
        self.tasks.spawn(serve(name, router, accepted, self.drain.clone()));
    }
}

impl Plan<'_> {
    /// Binds every listener and serves them.
    pub(crate) async fn listen(self) -> Result<Addresses, StartError> {
        if let Some(not_after) = service::tls_not_after(&self.config.tls.certificate) {
            gauge!("quorate_tls_certificate_not_after_timestamp_seconds").set(not_after);
        }
        let public = bind(self.config.listen).await?;
        let peers = bind(self.config.peer_listen).await?;
        let reader = match self.config.reader_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let local = |listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|source| crate::app::io_error("a listener".into(), source))
        };
        let addresses = Addresses {
            public: local(&public)?,
            peers: local(&peers)?,
            reader: reader.as_ref().map(local).transpose()?,
        };
        let routes = self.public_routes()?;
        let tls = self.tls.server_config(ClientAuth::Optional)?;
        let limits = Limits::public(
            self.config.limits.connections,
            self.config.limits.connections_per_address,
        );
        let door = ListenerDoor::Tls(tls);
        self.clients.spawn("public", self.public(routes.clone()), public, door, limits);
        if let Some(listener) = reader {
            let caller = plain_reader(&self.context)?;
            let door = ListenerDoor::Plain(caller);
            self.clients.spawn("reader", self.public(routes), listener, door, limits);
        }
        let tls = self.tls.server_config(ClientAuth::Required)?;
        let door = ListenerDoor::Tls(tls);
        self.peers.spawn("peers", self.peer_router(), peers, door, Limits::peers());
        Ok(addresses)
    }

    fn public_routes(&self) -> Result<Routes, StartError> {
        let state = HttpState {
            handle: self.context.handle.clone(),
            signer: self.context.signer.clone(),
            readiness: self.context.readiness.clone(),
            store: self.context.store.clone(),
            catalog: self.context.catalog.clone(),
        };
        service::routes(Routes::from(http::router(state)), &self.context, self.config.reflection)
    }

    fn public(&self, routes: Routes) -> Router<Layers> {
        Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(STREAMS_MAX)
            .concurrency_limit_per_connection(64)
            .load_shed(true)
            .timeout(CALL_TIMEOUT)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .max_connection_age(AGE)
            .max_connection_age_grace(AGE_GRACE)
            .layer(Timed)
            .layer(self.door.clone())
            .add_routes(routes)
    }

    fn peer_router(&self) -> Router<Layers> {
        let raft = raft_server::RaftServer::new(self.server.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let exchange = ExchangeService::new(ExchangeServer::new(
            self.context.handle.clone(),
            self.context.signer.clone(),
            self.context.verifiers.clone(),
        ))
        .max_decoding_message_size(exchange::MESSAGE_BYTES_MAX);
        let routes = Routes::new(raft).add_service(exchange);
        Server::builder()
            .max_concurrent_streams(PEER_STREAMS_MAX)
            // Who dials finds a dead peer itself; this end only tidies up.
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .layer(Timed)
            .layer(self.door.clone())
            .add_routes(routes)
    }
}

/// Timing outside, so that refusals are counted; then the door.
type Layers =
    tower::layer::util::Stack<Door, tower::layer::util::Stack<Timed, tower::layer::util::Identity>>;

/// The caller on the plain-text listener of a demo.
fn plain_reader(context: &Context) -> Result<Caller, StartError> {
    let network = context.handle.network().clone();
    let identity = Identity::new(network, Role::Reader, "demo")
        .map_err(|error| StartError::Tls(error.into()))?;
    Ok(Caller::Known(identity))
}

async fn serve(
    listener: &'static str,
    router: Router<Layers>,
    accepted: ReceiverStream<io::Result<Accepted>>,
    drain: CancellationToken,
) {
    let served =
        router.serve_with_incoming_shutdown(accepted, async move { drain.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(listener, %error, "a listener ended");
    }
}

/// Records how long durable commits take.
pub(crate) fn commit_observer() -> CommitObserver {
    Arc::new(|_, elapsed: Duration| {
        histogram!("quorate_store_fsync_seconds").record(elapsed.as_secs_f64());
    })
}
