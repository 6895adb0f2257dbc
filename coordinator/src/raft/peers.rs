//! Where the other coordinators are: one lazy channel per peer and lane, made once.
//!
//! One lane for everything would let a snapshot delay heartbeats into an election. A channel dials
//! at its first request and again after a failure, never by itself. The TLS name is the peer's own,
//! so a wrong address ends in a failed handshake and not in a wrong peer.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use metrics::counter;
use quorate_proto::pb::raft::v1::{exchange_client::ExchangeClient, raft_client::RaftClient};
use quorate_store::codec::MESSAGE_BYTES_MAX;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::envelope::Desk;

/// Dialing and the TLS handshake together have to end within this time.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP/2 keep-alive finds a stopped or cut-off peer while an answer is owed; TCP alone would wait for
/// its back-off. A lane on which nothing is owed is left in peace: with five lanes to each peer, pings
/// were most of what an idle quorum did.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// AppendEntries and votes.
    Log,
    /// Heartbeats.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// Forwarded proposals and read indexes.
    Call,
    /// Cosignatures, refusals, rollback questions.
    Exchange,
}

impl Lane {
    const ALL: [Self; 5] = [Self::Log, Self::Heartbeat, Self::Snapshot, Self::Call, Self::Exchange];
}

/// A coordinator has no address in this coordinator's configuration.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("coordinator {id} has no address in this coordinator's configuration (key peers.{id})")]
pub struct UnknownPeer {
    /// Its id.
    pub id: u64,
}

/// The other coordinators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: Desk,
    channels: BTreeMap<(u64, Lane), Channel>,
    dials: BTreeMap<u64, Arc<AtomicU64>>,
    /// The highest term in which each peer granted us its Raft vote, since our start.
    voted: BTreeMap<u64, AtomicU64>,
}

impl Peers {
    /// Channels to everybody in `addresses` but ourselves. Nothing is dialed yet.
    pub fn new(
        desk: Desk,
        addresses: &BTreeMap<u64, String>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Self {
        let mut channels = BTreeMap::new();
        let mut dials = BTreeMap::new();
        for (id, address) in addresses.iter().filter(|(id, _)| **id != desk.own()) {
            let count = Arc::new(AtomicU64::new(0));
            for lane in Lane::ALL {
                let channel = channel(*id, address.clone(), tls.clone(), count.clone());
                channels.insert((*id, lane), channel);
            }
            dials.insert(*id, count);
        }
        let voted = dials.keys().map(|id| (*id, AtomicU64::new(0))).collect();
        Self { inner: Arc::new(Inner { desk, channels, dials, voted }) }
    }

    /// This end of the conversations.
    pub fn desk(&self) -> &Desk {
        &self.inner.desk
    }

    /// The ids with an address, ascending, without our own.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.inner.dials.keys().copied()
    }

    /// How often `peer` was dialed since the start.
    pub fn dials(&self, peer: u64) -> u64 {
        self.inner.dials.get(&peer).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// `peer` granted us its Raft vote in `term`.
    pub(super) fn note_vote(&self, peer: u64, term: u64) {
        if let Some(voted) = self.inner.voted.get(&peer) {
            voted.fetch_max(term, Ordering::Relaxed);
        }
    }

    /// The highest term in which `peer` granted us its Raft vote; 0 if none is known.
    pub fn voted_term(&self, peer: u64) -> u64 {
        self.inner.voted.get(&peer).map_or(0, |voted| voted.load(Ordering::Relaxed))
    }

    /// A client of the Raft service of `peer`.
    pub fn raft(&self, peer: u64, lane: Lane) -> Result<RaftClient<Channel>, UnknownPeer> {
        Ok(RaftClient::new(self.channel(peer, lane)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// A client of the exchange of `peer`.
    pub fn exchange(&self, peer: u64) -> Result<ExchangeClient<Channel>, UnknownPeer> {
        Ok(ExchangeClient::new(self.channel(peer, Lane::Exchange)?))
    }

    fn channel(&self, peer: u64, lane: Lane) -> Result<Channel, UnknownPeer> {
        self.inner.channels.get(&(peer, lane)).cloned().ok_or(UnknownPeer { id: peer })
    }
}

fn channel(
    id: u64,
    address: String,
    tls: Arc<rustls::ClientConfig>,
    dials: Arc<AtomicU64>,
) -> Channel {
    let name = quorate_proto::tls::coordinator_server_name(id);
    let label = id.to_string();
    let connector = service_fn(move |_: Uri| {
        dials.fetch_add(1, Ordering::Relaxed);
        counter!("quorate_raft_dials_total", "peer" => label.clone()).increment(1);
        dial(name.clone(), address.clone(), TlsConnector::from(tls.clone()))
    });
    // The name in this address is never resolved: the connector dials the configured one.
    Endpoint::from_static("http://coordinator.quorate.internal")
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(false)
        .connect_with_connector_lazy(connector)
}

async fn dial(
    name: ServerName<'static>,
    address: String,
    tls: TlsConnector,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let dialed = timeout(DIAL_TIMEOUT, async {
        let socket = TcpStream::connect(&address).await?;
        socket.set_nodelay(true)?;
        tls.connect(name, socket).await
    });
    dialed.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(TokioIo::new)
}
