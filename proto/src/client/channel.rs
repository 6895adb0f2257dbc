//! One HTTP/2 connection to one coordinator: TCP, TLS, the identity of the other end, keepalive.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use quorate_attest::id::NetworkName;
use rustls::ClientConfig;
use thiserror::Error as ThisError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};

use crate::identity::{Identity, IdentityError};
use crate::tls::{TlsError, TlsMaterial, coordinator_server_name};

/// Where one coordinator listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Raft node id: the name that its certificate must carry.
    pub id: u64,
    /// `host:port`.
    pub address: String,
}

/// A byte stream to a coordinator.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream under way.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens a byte stream to `host:port`. The default is TCP; a simulation brings its own.
pub type Dial = Arc<dyn Fn(String) -> Dialing + Send + Sync>;

/// How the bytes travel.
#[derive(Clone)]
pub enum Transport {
    /// Mutual TLS; the other end must be the coordinator that was dialed, of our network.
    Tls {
        /// Our certificate and the authority.
        config: Arc<ClientConfig>,
        /// Our network.
        network: NetworkName,
    },
    /// Nothing: only to the loopback listener of a demo.
    PlainText,
}

impl Transport {
    /// Mutual TLS as who `material` is.
    ///
    /// # Errors
    /// Certificate, key and authority do not work together.
    pub fn tls(material: &TlsMaterial) -> Result<Self, TlsError> {
        Ok(Self::Tls {
            config: material.client_config()?,
            network: material.identity().network().clone(),
        })
    }
}

/// Times of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelOptions {
    /// TCP and TLS together.
    pub connect_timeout: Duration,
    /// HTTP/2 ping interval, also while idle: a stopped or partitioned peer is found by it alone.
    pub keep_alive_interval: Duration,
    /// How long a ping may stay unanswered.
    pub keep_alive_timeout: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(2),
        }
    }
}

/// The connection was not established, so nothing was sent on it.
#[derive(Debug, ThisError)]
pub enum DialError {
    /// TCP or TLS failed.
    #[error("cannot connect to {address}")]
    Io {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Neither failed nor done in time.
    #[error("{address} did not answer within {} ms", after.as_millis())]
    Timeout {
        /// Where.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// Somebody else answered.
    #[error("{address} is not coordinator {wanted}: {found}")]
    WrongPeer {
        /// Where.
        address: String,
        /// Who was dialed.
        wanted: u64,
        /// Who answered.
        found: WrongPeer,
    },
}

/// Who answered instead.
#[derive(Debug, ThisError)]
pub enum WrongPeer {
    /// Its certificate names no identity of our network.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Another one of ours.
    #[error("it is {0}")]
    Other(Identity),
    /// It showed no certificate.
    #[error("it showed no certificate")]
    NoCertificate,
}

/// Not a `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("`{address}` is no host:port")]
pub struct BadAddress {
    /// The text.
    pub address: String,
}

/// A channel that connects when it is first used, and again whenever it broke.
///
/// # Errors
/// The address is no `host:port`.
pub fn channel(
    endpoint: &Endpoint,
    transport: &Transport,
    options: ChannelOptions,
    dial: &Dial,
) -> Result<Channel, BadAddress> {
    observed_channel(endpoint, transport, options, dial, Arc::default())
}

/// The same, and `connected` becomes true before the first byte of a call can be sent.
pub(super) fn observed_channel(
    endpoint: &Endpoint,
    transport: &Transport,
    options: ChannelOptions,
    dial: &Dial,
    connected: Arc<AtomicBool>,
) -> Result<Channel, BadAddress> {
    let bad = || BadAddress { address: endpoint.address.clone() };
    let uri: http::Uri = format!("http://{}", endpoint.address).parse().map_err(|_| bad())?;
    if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() {
        return Err(bad());
    }
    let (endpoint, transport, dial) = (endpoint.clone(), transport.clone(), Arc::clone(dial));
    let connector = tower::service_fn(move |_: http::Uri| {
        let (endpoint, transport, dial) = (endpoint.clone(), transport.clone(), Arc::clone(&dial));
        let connected = Arc::clone(&connected);
        async move {
            let limit = options.connect_timeout;
            match tokio::time::timeout(limit, connect(&endpoint, &transport, &dial)).await {
                Ok(stream) => {
                    connected.fetch_or(stream.is_ok(), Ordering::SeqCst);
                    stream.map(TokioIo::new)
                }
                Err(_) => {
                    Err(DialError::Timeout { address: endpoint.address.clone(), after: limit })
                }
            }
        }
    });
    Ok(TonicEndpoint::from(uri)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector))
}

/// Plain TCP.
#[must_use]
pub fn tcp() -> Dial {
    Arc::new(|address| {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    })
}

async fn connect(
    endpoint: &Endpoint,
    transport: &Transport,
    dial: &Dial,
) -> Result<Box<dyn Io>, DialError> {
    let failed = |source| DialError::Io { address: endpoint.address.clone(), source };
    let stream = dial(endpoint.address.clone()).await.map_err(failed)?;
    match transport {
        Transport::PlainText => Ok(stream),
        Transport::Tls { config, network } => {
            let connector = TlsConnector::from(Arc::clone(config));
            let name = coordinator_server_name(endpoint.id);
            let stream = connector.connect(name, stream).await.map_err(failed)?;
            check_peer(stream.get_ref().1.peer_certificates(), network, endpoint.id).map_err(
                |found| DialError::WrongPeer {
                    address: endpoint.address.clone(),
                    wanted: endpoint.id,
                    found,
                },
            )?;
            Ok(Box::new(stream))
        }
    }
}

/// The handshake compared the DNS name; this compares who the authority says it is.
fn check_peer(
    chain: Option<&[rustls::pki_types::CertificateDer<'_>]>,
    network: &NetworkName,
    id: u64,
) -> Result<(), WrongPeer> {
    let certificate = chain.and_then(<[_]>::first).ok_or(WrongPeer::NoCertificate)?;
    let identity = Identity::of_certificate(certificate)?.in_network(network)?;
    if identity.node_id() == Some(id) { Ok(()) } else { Err(WrongPeer::Other(identity)) }
}

/// Whether the call failed before anything was sent.
pub(super) fn never_sent(status: &tonic::Status) -> bool {
    causes(status).any(|cause| cause.is::<DialError>())
}

/// The reason at the bottom of a transport failure, for people.
pub(super) fn root_cause(status: &tonic::Status) -> String {
    let dial = causes(status).find(|cause| cause.is::<DialError>());
    match (dial, causes(status).last()) {
        (Some(dial), Some(last)) if !std::ptr::addr_eq(dial, last) => format!("{dial}: {last}"),
        (Some(only), _) => only.to_string(),
        (None, Some(last)) => format!("{}: {last}", status.message()),
        (None, None) => status.message().to_owned(),
    }
}

fn causes(status: &tonic::Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&cause| cause.source())
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { network, .. } => f.debug_struct("Tls").field("network", network).finish(),
            Self::PlainText => f.write_str("PlainText"),
        }
    }
}
