//! The accept loop: caps, TLS handshake, the caller's identity, and a limit on silence.
//!
//! tonic's own listener offers HTTP/2 only and has none of these limits, so connections are made
//! here and handed to it one by one. Invariants:
//!
//! * at most `connections` are open, at most `per_address` of them from one address; others are
//!   closed
//!   at once, without a handshake;
//! * a handshake and the first byte after it have a deadline: a silent caller holds nothing for
//!   ever;
//! * every connection carries who is calling, read from the verified certificate and nothing else.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use metrics::{counter, gauge};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::access::Caller;

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Of them, from one address.
    pub per_address: usize,
    /// The handshake has to end within this time.
    pub handshake: Duration,
    /// The first byte after the handshake has to come within this time.
    pub first_byte: Duration,
}

impl Limits {
    /// The public listener's limits: a client that says nothing is gone after seconds.
    pub fn public(connections: usize, per_address: usize) -> Self {
        Self {
            connections,
            per_address,
            handshake: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
        }
    }

    /// The peer listener's limits: seven coordinators, four lanes each, twice for reconnects.
    pub fn peers() -> Self {
        Self::public(64, 64)
    }
}

/// What every request of a connection knows about it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The other end.
    pub remote: SocketAddr,
    /// Who it is.
    pub caller: Caller,
}

/// How the caller of a new connection is found out.
#[derive(Clone)]
pub enum Door {
    /// TLS; the certificate says who calls, no certificate is [`Caller::Anonymous`].
    Tls(Arc<ServerConfig>),
    /// Plain text on loopback: everybody is this caller.
    Plain(Caller),
}

/// Accepts on `listener` until `stop` is cancelled. The stream ends then, and connections that are
/// open stay open until their server closes them.
pub fn accept(
    listener: TcpListener,
    door: Door,
    limits: Limits,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Accepted>> {
    let (ready, accepted) = mpsc::channel(16);
    let (closed, departures) = mpsc::unbounded_channel();
    let acceptor = Acceptor {
        door,
        limits,
        permits: Arc::new(Semaphore::new(limits.connections)),
        open: BTreeMap::new(),
        closed,
        departures,
        ready,
    };
    tokio::spawn(acceptor.run(listener, stop));
    ReceiverStream::new(accepted)
}

struct Acceptor {
    door: Door,
    limits: Limits,
    permits: Arc<Semaphore>,
    open: BTreeMap<IpAddr, usize>,
    closed: mpsc::UnboundedSender<IpAddr>,
    departures: mpsc::UnboundedReceiver<IpAddr>,
    ready: mpsc::Sender<io::Result<Accepted>>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(address) = self.departures.recv() => self.departed(address),
                arrived = listener.accept() => match arrived {
                    Ok((socket, remote)) => self.arrived(socket, remote),
                    // Out of file descriptors, or a connection that was reset before we took it:
                    // wait, or this loop spins on the same failure.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    fn arrived(&mut self, socket: TcpStream, remote: SocketAddr) {
        let from_address = self.open.get(&remote.ip()).copied().unwrap_or(0);
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) if from_address < self.limits.per_address => permit,
            Ok(_) | Err(_) => {
                counter!("quorate_connections_refused_total").increment(1);
                return;
            }
        };
        *self.open.entry(remote.ip()).or_default() += 1;
        gauge!("quorate_connections").increment(1.0);
        let lease = Lease { address: remote.ip(), closed: self.closed.clone(), _permit: permit };
        tokio::spawn(secure(
            socket,
            remote,
            self.door.clone(),
            self.limits,
            lease,
            self.ready.clone(),
        ));
    }

    fn departed(&mut self, address: IpAddr) {
        if let Some(count) = self.open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&address);
            }
        }
    }
}

/// Counts a connection as open until it is dropped.
struct Lease {
    address: IpAddr,
    closed: mpsc::UnboundedSender<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lease {
    fn drop(&mut self) {
        gauge!("quorate_connections").decrement(1.0);
        if self.closed.send(self.address).is_err() {
            tracing::trace!("the acceptor has gone: nobody counts any more");
        }
    }
}

async fn secure(
    socket: TcpStream,
    remote: SocketAddr,
    door: Door,
    limits: Limits,
    lease: Lease,
    ready: mpsc::Sender<io::Result<Accepted>>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%remote, %error, "TCP_NODELAY could not be set");
    }
    let (stream, caller) = match door {
        Door::Plain(caller) => (Stream::Plain(socket), caller),
        Door::Tls(config) => {
            match timeout(limits.handshake, TlsAcceptor::from(config).accept(socket)).await {
                Ok(Ok(stream)) => {
                    let caller = Caller::of(stream.get_ref().1.peer_certificates());
                    (Stream::Tls(Box::new(stream)), caller)
                }
                Ok(Err(error)) => {
                    counter!("quorate_tls_handshake_failures_total").increment(1);
                    tracing::debug!(%remote, %error, "a TLS handshake failed");
                    return;
                }
                Err(_) => {
                    counter!("quorate_tls_handshake_failures_total").increment(1);
                    tracing::debug!(%remote, "a TLS handshake took too long");
                    return;
                }
            }
        }
    };
    let silence = Some(Box::pin(sleep(limits.first_byte)));
    let accepted =
        Accepted { stream, connection: Connection { remote, caller }, silence, _lease: lease };
    // The server has gone: the connection is closed by dropping it.
    drop(ready.send(Ok(accepted)).await);
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection: bytes, who is calling, and the deadline of its first byte.
pub struct Accepted {
    stream: Stream,
    connection: Connection,
    silence: Option<Pin<Box<Sleep>>>,
    _lease: Lease,
}

impl Connected for Accepted {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if buffer.filled().len() > before {
            self.silence = None;
        }
        match (&read, &mut self.silence) {
            (Poll::Pending, Some(silence)) => match silence.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            (Poll::Pending | Poll::Ready(_), _) => read,
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
