//! The wiring of one coordinator, on one screen: what starts, in which order, and how it stops.
//!
//! Start: files → store → Raft built, not running → services → *was my disk rolled back?* → Raft
//! runs → recovered → ready. Stop: not ready → leadership handed over → connections drained → Raft
//! → files. The services run before Raft does because a quorum that starts all at once answers
//! itself the question about rolled-back disks.

mod files;
mod running;

use std::{io, net::SocketAddr, sync::Arc};

use quorate_attest::{charter::Charter, key::CosignSigner, signed::Signed};
use quorate_proto::{identity::Identity, key_file};
use quorate_store::{Disk, FaultCell, OpenOptions, Store, StoreGuard, WriterMode};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::files::Files;
pub use self::{
    files::StartError,
    running::{Addresses, Readiness, Running},
};
use crate::{
    admission::{Door, Verifiers, Watches},
    catalog::Catalog,
    clock::Clock,
    config::Config,
    handle::{self, Handle},
    leader::{self, ClockRefusals},
    raft::{
        self, Raft,
        clock_door::ClockDoor,
        envelope::Desk,
        membership::{self, Roster},
        network::Network,
        peers::Peers,
        rollback::{self, OwnRecord},
        server::RaftServer,
    },
    serve::{self, Listening},
    service::Context,
    signer::{self, SignerHandle, exchange},
    store_watch::StoreWatch,
    telemetry,
};

/// Fsyncs measured at start.
const FSYNC_ROUNDS: usize = 40;

/// Starts coordinators.
#[derive(Debug)]
pub struct Coordinator;

impl Coordinator {
    /// Starts one and returns once it takes part in Raft; [`Running::ready`] says when it serves.
    ///
    /// # Errors
    /// What stands against it; see [`StartError`].
    pub async fn start(config: Config) -> Result<Running, StartError> {
        Self::start_with(config, Clock::system()).await
    }

    /// Starts one with a clock of its own: for simulations and tests.
    ///
    /// # Errors
    /// As [`Coordinator::start`].
    pub async fn start_with(config: Config, clock: Clock) -> Result<Running, StartError> {
        telemetry::recorder();
        let files = Files::load(&config)?;
        let store = open_store(&config, &files).await?;
        let assembled = assemble(config, clock, files, store).await?;
        assembled.begin().await
    }
}

/// Measures the disk and opens the three files; never creates them.
async fn open_store(config: &Config, files: &Files) -> Result<OpenedStore, StartError> {
    let directory = config.data_dir.clone();
    let measured = {
        let directory = directory.clone();
        tokio::task::spawn_blocking(move || quorate_store::fsync::measure(&directory, FSYNC_ROUNDS))
    };
    let times = measured
        .await
        .map_err(io::Error::other)
        .and_then(|times| times)
        .map_err(|source| io_error(format!("{}", directory.display()), source))?;
    // The slowest of a few may be a hiccup of a busy machine: that is a warning, the half is not.
    let (median, slow) = (times.percentile(50) * 3, times.percentile(99) * 3);
    let have_ms = config.raft.election_min_ms;
    if median.as_millis() > u128::from(have_ms) {
        return Err(StartError::SlowDisk {
            path: directory,
            fsync_ms: times.percentile(50).as_millis(),
            have_ms,
            want_ms: median.as_millis(),
        });
    }
    if slow.as_millis() > u128::from(have_ms) {
        tracing::warn!(
            fsync_p99_ms = %times.percentile(99).as_millis(),
            election_min_ms = have_ms,
            "the slowest fsyncs come near the election timeout: elections may fail under load"
        );
    }
    let key = key_file::load(&config.cosign_key)?;
    let options = OpenOptions {
        origin: files.charter.statement.origin.clone(),
        node_id: config.id,
        signer: CosignSigner::new(files.identity.key_name(), key),
        quota_bytes: Some(config.store.quota_bytes),
        mode: WriterMode::Thread,
        observer: Some(serve::commit_observer()),
    };
    let mut store = Store::open(&Disk::Directory(directory), options)?;
    let own = rollback::own_record(&mut store.log, &store.sign_once).await;
    let own = own.map_err(|error| StartError::Raft(error.to_string()))?;
    Ok(OpenedStore { store, own })
}

struct OpenedStore {
    store: Store,
    own: OwnRecord,
}

/// Everything that exists before Raft runs.
struct Assembled {
    config: Config,
    charter: Signed<Charter>,
    identity: Identity,
    handle: Handle,
    signer: SignerHandle,
    fault: FaultCell,
    guard: StoreGuard,
    own: OwnRecord,
    is_pristine: bool,
    clock_refusals: ClockRefusals,
    news: Arc<Notify>,
    raft_gate: watch::Sender<bool>,
    readiness: Readiness,
    stop: CancellationToken,
    clients: Listening,
    peers: Listening,
    tasks: TaskTracker,
    addresses: Addresses,
}

async fn assemble(
    config: Config,
    clock: Clock,
    files: Files,
    opened: OpenedStore,
) -> Result<Assembled, StartError> {
    let OpenedStore { store, own } = opened;
    let Files { charter, tls, identity } = files;
    let desk = Desk::new(charter.statement.origin.clone(), config.id);
    let peers = Peers::new(desk, &config.peers, tls.client_config()?);
    let clock_refusals = ClockRefusals::default();
    let network =
        Network::new(peers.clone(), config.raft.election_max() * 2, clock_refusals.clone());
    let raft_config = raft::config(identity.network().as_str(), &config.raft)
        .map_err(|error| StartError::Raft(error.to_string()))?;
    let raft = Raft::build(config.id, raft_config, network, store.log, store.state_machine)
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
    let handle = Handle::new(handle::Parts {
        raft,
        machine: store.machine,
        leaves: store.leaves,
        peers: peers.clone(),
        clock: clock.clone(),
        fault: store.fault.watch(),
        network: identity.network().clone(),
        clients: config.clients.clone(),
        queue_max: usize::try_from(config.limits.queued_writes).unwrap_or(usize::MAX),
    });
    let stop = CancellationToken::new();
    let (from_clients, from_peers) = (Listening::default(), Listening::default());
    let outbox = watch::Sender::new(exchange::Outbox::default());
    let raft_gate = watch::Sender::new(false);
    let signer_parts = signer::Parts {
        handle: handle.clone(),
        sign_once: store.sign_once,
        charter: charter.statement.clone(),
        own: identity.key_name(),
        data_dir: config.data_dir.clone(),
        outbox: outbox.clone(),
        permitted: raft_gate.subscribe(),
    };
    let signer = signer::start(signer_parts, stop.clone()).await?;
    let tasks = TaskTracker::new();
    let readiness = Readiness::new();
    let news = Arc::new(Notify::new());
    let verifiers = Verifiers::new();
    let context = Context {
        handle: handle.clone(),
        signer: signer.clone(),
        catalog: Catalog::start(handle.clone(), stop.clone()),
        verifiers: verifiers.clone(),
        watches: Watches::new(config.limits.caller_watches),
        store: StoreWatch::start(store.quota, stop.clone())
            .map_err(|source| io_error(config.data_dir.display().to_string(), source))?,
        readiness: readiness.clone(),
        news: Arc::clone(&news),
        stop: from_clients.drain.clone(),
        peers: config.peers.clone(),
    };
    let server = RaftServer::new(
        handle.clone(),
        ClockDoor::new(clock),
        store.snapshots,
        raft_gate.subscribe(),
        verifiers,
    );
    let door = Door::new(identity.network().clone(), &config.limits);
    let plan = serve::Plan {
        config: &config,
        tls: &tls,
        context,
        server,
        door,
        clients: from_clients.clone(),
        peers: from_peers.clone(),
    };
    let addresses = plan.listen().await?;
    for peer in peers.ids() {
        let offers = exchange::offer_to(
            peer,
            peers.clone(),
            outbox.subscribe(),
            signer.clone(),
            stop.clone(),
        );
        tasks.spawn(offers);
    }
    Ok(Assembled {
        config,
        charter,
        identity,
        handle,
        signer,
        fault: store.fault,
        guard: store.guard,
        own,
        is_pristine: store.is_pristine,
        clock_refusals,
        news,
        raft_gate,
        readiness,
        stop,
        clients: from_clients,
        peers: from_peers,
        tasks,
        addresses,
    })
}

pub(crate) fn io_error(what: String, source: io::Error) -> StartError {
    StartError::Io { what, source }
}

impl Assembled {
    /// From the question about rolled-back disks to a running Raft.
    async fn begin(self) -> Result<Running, StartError> {
        let charter = &self.charter.statement;
        let name = self.identity.key_name();
        let asked = rollback::ask(self.handle.peers(), charter, &name, self.own).await;
        if let Err(rolled_back) = asked {
            self.stop.cancel();
            self.clients.drain.cancel();
            self.peers.drain.cancel();
            drop(self.handle);
            self.guard.close().await;
            return Err(rolled_back.into());
        }
        let raft = self.handle.raft().clone();
        raft.run();
        self.raft_gate.send_replace(true);
        self.initialize(&raft).await?;
        self.spawn_tasks(&raft);
        Ok(Running {
            handle: self.handle,
            signer: self.signer,
            readiness: self.readiness,
            addresses: self.addresses,
            fault: self.fault,
            guard: Some(self.guard),
            stop: self.stop,
            clients: self.clients,
            peers: self.peers,
            tasks: self.tasks,
        })
    }

    /// The coordinator with the smallest id of the first charter starts the quorum, once.
    async fn initialize(&self, raft: &Raft) -> Result<(), StartError> {
        let roster = roster(&self.charter.statement);
        let is_first = roster.keys().next() == Some(&self.config.id);
        let is_founding = self.charter.statement.previous.is_none();
        if !self.is_pristine || !is_first || !is_founding {
            return Ok(());
        }
        let initialized = membership::initialize(raft, &roster).await;
        initialized.map_err(|error| StartError::Raft(error.to_string()))
    }

    fn spawn_tasks(&self, raft: &Raft) {
        let (handle, stop) = (&self.handle, &self.stop);
        let rosters = watch::Sender::new(Roster::new());
        self.tasks.spawn(follow_charter(handle.clone(), rosters.clone(), stop.clone()));
        self.tasks.spawn(membership::reconcile(raft.clone(), rosters.subscribe(), stop.clone()));
        self.tasks.spawn(leader::support(handle.clone(), stop.clone()));
        self.tasks.spawn(leader::lead(
            leader::Parts {
                handle: handle.clone(),
                signer: self.signer.clone(),
                charter: self.charter.clone(),
                clock_refusals: self.clock_refusals.clone(),
                news: Arc::clone(&self.news),
                lease: self.config.raft.election_max(),
            },
            stop.clone(),
        ));
        self.tasks.spawn(raft::watch_core(raft.clone(), self.fault.clone(), stop.clone()));
        self.tasks.spawn(become_ready(handle.clone(), self.readiness.clone(), stop.clone()));
    }
}

/// Raft node id → key name of every coordinator of a charter.
fn roster(charter: &Charter) -> Roster {
    let ids = charter.coordinator.iter().map(|key| (charter.node_id(key.name()), key.name()));
    ids.filter_map(|(id, name)| Some((id?, name.to_string()))).collect()
}

/// Tells the membership loop which coordinators the charter in force lists.
async fn follow_charter(handle: Handle, rosters: watch::Sender<Roster>, stop: CancellationToken) {
    let mut sizes = handle.leaves().watch();
    loop {
        let epoch = handle.in_force().map(|known| known.charter.epoch);
        let read = handle.machine(move |machine| {
            let charter = machine.state().ledger()?.charter();
            (Some(charter.epoch) != epoch).then(|| charter.clone())
        });
        if let Ok(Some(charter)) = read.await {
            let roster = roster(&charter);
            handle.set_in_force(charter);
            rosters.send_if_modified(|before| {
                let changed = *before != roster;
                *before = roster;
                changed
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = sizes.changed() => if changed.is_err() { return },
        }
    }
}

/// Ready once this replica has what it had before it was stopped.
async fn become_ready(handle: Handle, readiness: Readiness, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        recovered = handle.recovered() => if recovered {
            tracing::info!(applied = handle.applied_index(), "ready");
            readiness.ready.send_replace(true);
        }
    }
}

/// A listener on `address`.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| io_error(format!("cannot listen on {address}"), source))
}
