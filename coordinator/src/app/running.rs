//! A coordinator that takes part, and how it stops.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quorate_store::{Fault, FaultCell, StoreGuard};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{handle::Handle, serve::Listening, shutdown, signer::SignerHandle};

/// Connections of clients get this long to end their requests.
const DRAIN: Duration = Duration::from_secs(5);
/// Connections of peers: nothing of theirs can be answered any more.
const DRAIN_PEERS: Duration = Duration::from_millis(500);

/// Whether this process serves; false again as soon as it stops.
#[derive(Debug, Clone)]
pub struct Readiness {
    pub(super) ready: watch::Sender<bool>,
}

impl Readiness {
    pub(super) fn new() -> Self {
        Self { ready: watch::Sender::new(false) }
    }

    /// Whether it serves now.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until it serves.
    pub async fn wait(&self) {
        // The sender lives in self: the channel cannot close meanwhile.
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
    }
}

/// Where a coordinator listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Clients, agents, browsers.
    pub public: SocketAddr,
    /// The other coordinators.
    pub peers: SocketAddr,
    /// Plain text, demo only.
    pub reader: Option<SocketAddr>,
}

/// A coordinator that takes part.
pub struct Running {
    pub(super) handle: Handle,
    pub(super) signer: SignerHandle,
    pub(super) readiness: Readiness,
    pub(super) addresses: Addresses,
    pub(super) fault: FaultCell,
    pub(super) guard: Option<StoreGuard>,
    pub(super) stop: CancellationToken,
    pub(super) clients: Listening,
    pub(super) peers: Listening,
    pub(super) tasks: TaskTracker,
}

impl Running {
    /// What its services use.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Its signer.
    pub fn signer(&self) -> &SignerHandle {
        &self.signer
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until it has recovered and serves.
    pub async fn ready(&self) {
        self.readiness.wait().await;
    }

    /// Resolves with the fault that stops this replica; the process then has to exit with 1.
    pub async fn faulted(&self) -> Arc<Fault> {
        self.fault.watch().wait().await
    }

    /// Stops in order: not ready, leadership handed over, clients drained, Raft, peers, files.
    /// Peers come after Raft: their connections carry its streams, which end with it.
    pub async fn shutdown(mut self) {
        self.readiness.ready.send_replace(false);
        shutdown::hand_over(&self.handle).await;
        self.clients.end(DRAIN).await;
        self.stop.cancel();
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        self.end_raft().await;
        self.peers.end(DRAIN_PEERS).await;
        self.close().await;
    }

    /// Stops at once, as far as a living process can: nothing is handed over or drained. For tests
    /// of crashes; files are closed so that another instance may open them.
    pub async fn abort(mut self) {
        self.readiness.ready.send_replace(false);
        self.clients.drain.cancel();
        self.peers.drain.cancel();
        self.stop.cancel();
        self.tasks.close();
        self.end_raft().await;
        self.close().await;
    }

    async fn end_raft(&self) {
        if self.handle.raft().shutdown().await.is_err() {
            tracing::warn!("Raft ended by itself");
        }
    }

    async fn close(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.close().await;
        }
    }
}
