//! The wiring of one coordinator, on one screen: what starts, in which order, and how it stops.
//!
//! Start: files → store → Raft built, not running → services → *was my disk rolled back?* → Raft
//! runs → recovered → ready. Stop: not ready → leadership handed over → connections drained → Raft
//! → files. The services run before Raft does because a quorum that starts all at once answers
//! itself the question about rolled-back disks.

mod files;
mod replica;
mod running;

use std::{io, net::SocketAddr, sync::Arc};

use quorate_attest::charter::Charter;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::spawn_blocking,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{files::Files, replica::Replica};
pub use self::{
    files::StartError,
    running::{Addresses, Readiness, Running},
};
use crate::{
    admission::{Door, Verifiers, Watches},
    catalog::{self, Catalog},
    clock::Clock,
    config::Config,
    handle::Handle,
    leader,
    raft::{self, Raft, clock_door::ClockDoor, membership, rollback, server::RaftServer},
    serve::{self, Listening},
    service::Context,
    signer::{self, SignerHandle, exchange},
    store_watch::StoreWatch,
    telemetry,
};

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
        let assembled = assemble(config, clock, files).await?;
        assembled.begin().await
    }
}

/// Everything that exists before Raft runs.
struct Assembled {
    config: Config,
    files: Files,
    replica: Replica,
    signer: SignerHandle,
    served: Served,
    raft_gate: watch::Sender<bool>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The listeners, and what the services behind them share with the rest.
struct Served {
    clients: Listening,
    peers: Listening,
    addresses: Addresses,
    readiness: Readiness,
    news: Arc<Notify>,
}

async fn assemble(config: Config, clock: Clock, files: Files) -> Result<Assembled, StartError> {
    let replica = Replica::build(&config, clock.clone(), &files).await?;
    let stop = CancellationToken::new();
    let raft_gate = watch::Sender::new(false);
    let door = ClockDoor::new(clock);
    let outbox = watch::Sender::new(exchange::Outbox::default());
    let signer_parts = signer::Parts {
        handle: replica.handle.clone(),
        sign_once: replica.sign_once.clone(),
        charter: files.charter.statement.clone(),
        own: files.identity.key_name(),
        data_dir: config.data_dir.clone(),
        outbox: outbox.clone(),
        permitted: raft_gate.subscribe(),
        calm: door.calm(),
    };
    let signer = signer::start(signer_parts, stop.clone()).await?;
    let verifiers = Verifiers::new();
    let server = RaftServer::new(
        replica.handle.clone(),
        door,
        replica.snapshots.clone(),
        raft_gate.subscribe(),
        verifiers.clone(),
    );
    let serving = Serving { config: &config, files: &files, replica: &replica };
    let served = serving.listen(server, signer.clone(), verifiers, &stop).await?;
    let tasks = TaskTracker::new();
    let peers = replica.handle.peers();
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
    Ok(Assembled { config, files, replica, signer, served, raft_gate, stop, tasks })
}

/// What the listeners are made from.
struct Serving<'a> {
    config: &'a Config,
    files: &'a Files,
    replica: &'a Replica,
}

impl Serving<'_> {
    /// Starts the services. They run before Raft does.
    async fn listen(
        self,
        server: RaftServer,
        signer: SignerHandle,
        verifiers: Verifiers,
        stop: &CancellationToken,
    ) -> Result<Served, StartError> {
        let Self { config, files, replica } = self;
        let (clients, peers) = (Listening::default(), Listening::default());
        let readiness = Readiness::new();
        let news = Arc::new(Notify::new());
        let context = Context {
            handle: replica.handle.clone(),
            signer,
            catalog: Catalog::start(replica.handle.clone(), stop.clone()),
            verifiers,
            watches: Watches::new(config.limits.caller_watches),
            store: StoreWatch::start(replica.quota.clone(), stop.clone())
                .map_err(|source| io_error(config.data_dir.display().to_string(), source))?,
            readiness: readiness.clone(),
            news: Arc::clone(&news),
            stop: clients.drain.clone(),
            peers: config.peers.clone(),
        };
        let plan = serve::Plan {
            config,
            tls: &files.tls,
            context,
            server,
            door: Door::new(files.identity.network().clone(), &config.limits),
            clients: clients.clone(),
            peers: peers.clone(),
        };
        let addresses = plan.listen().await?;
        Ok(Served { clients, peers, addresses, readiness, news })
    }
}

pub(crate) fn io_error(what: String, source: io::Error) -> StartError {
    StartError::Io { what, source }
}

impl Assembled {
    /// From the question about rolled-back disks to a running Raft.
    async fn begin(self) -> Result<Running, StartError> {
        let Replica { handle, own, sign_once, .. } = &self.replica;
        let charter = newest_charter(handle, &self.files.charter.statement).await?;
        let asked = rollback::ask(handle.peers(), &charter, sign_once.key(), *own).await;
        if let Err(rolled_back) = asked {
            self.stop.cancel();
            self.served.clients.drain.cancel();
            self.served.peers.drain.cancel();
            let Replica { handle, guard, .. } = self.replica;
            drop(handle);
            guard.close().await;
            return Err(rolled_back.into());
        }
        let raft = handle.raft().clone();
        raft.run();
        self.raft_gate.send_replace(true);
        self.initialize(&raft).await?;
        self.spawn_tasks(&raft);
        Ok(Running {
            handle: self.replica.handle,
            signer: self.signer,
            readiness: self.served.readiness,
            addresses: self.served.addresses,
            fault: self.replica.fault,
            guard: Some(self.replica.guard),
            stop: self.stop,
            clients: self.served.clients,
            peers: self.served.peers,
            tasks: self.tasks,
        })
    }

    /// The coordinator with the smallest id of the first charter starts the quorum, once.
    async fn initialize(&self, raft: &Raft) -> Result<(), StartError> {
        let charter = &self.files.charter.statement;
        let roster = membership::roster(charter);
        let is_first = roster.keys().next() == Some(&self.config.id);
        let is_founding = charter.previous.is_none();
        if !self.replica.is_pristine || !is_first || !is_founding {
            return Ok(());
        }
        let initialized = membership::initialize(raft, &roster).await;
        initialized.map_err(|error| StartError::Raft(error.to_string()))
    }

    fn spawn_tasks(&self, raft: &Raft) {
        let (handle, stop) = (&self.replica.handle, &self.stop);
        self.tasks.spawn(follow_charter(handle.clone(), stop.clone()));
        let leaves = handle.leaves().watch();
        self.tasks.spawn(membership::reconcile(handle.clone(), leaves, stop.clone()));
        self.tasks.spawn(crate::alarms::tell(handle.clone(), stop.clone()));
        self.tasks.spawn(leader::support(handle.clone(), stop.clone()));
        self.tasks.spawn(leader::lead(
            leader::Parts {
                handle: handle.clone(),
                signer: self.signer.clone(),
                charter: self.files.charter.clone(),
                clock_refusals: self.replica.clock_refusals.clone(),
                news: Arc::clone(&self.served.news),
                lease: self.config.raft.election_max(),
            },
            stop.clone(),
        ));
        self.tasks.spawn(raft::watch_core(raft.clone(), self.replica.fault.clone(), stop.clone()));
        self.tasks.spawn(become_ready(handle.clone(), self.served.readiness.clone(), stop.clone()));
    }
}

/// The newest charter this disk knows: of its own leaves, or the file's if that is newer. The machine
/// has the one of its snapshot, so that only the leaves behind it are read, however long the log is.
async fn newest_charter(handle: &Handle, file: &Charter) -> Result<Charter, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let covered = handle.machine(|machine| {
        let ledger = machine.state().ledger()?;
        Some((ledger.history().size().get(), ledger.charter().clone()))
    });
    let (from, covered) = covered.await.map_err(|error| failed(&error))?.unzip();
    let leaves = handle.leaves().stored();
    let newest = spawn_blocking(move || catalog::newest_charter(&leaves?, from.unwrap_or(0))).await;
    let behind = newest.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let stored = behind.or(covered);
    let newer = stored.filter(|stored| stored.origin == file.origin && stored.epoch > file.epoch);
    Ok(newer.unwrap_or_else(|| file.clone()))
}

/// Tells the services which charter is in force.
async fn follow_charter(handle: Handle, stop: CancellationToken) {
    let mut sizes = handle.leaves().watch();
    loop {
        let epoch = handle.in_force().map(|known| known.charter.epoch);
        let read = handle.machine(move |machine| {
            let charter = machine.state().ledger()?.charter();
            (Some(charter.epoch) != epoch).then(|| charter.clone())
        });
        if let Ok(Some(charter)) = read.await {
            handle.set_in_force(charter);
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
