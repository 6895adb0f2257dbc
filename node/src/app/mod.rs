//! The agent: what it is made of, in which order it starts, and how it stops.
//!
//! Start: configuration → pinned charter → identity and key → journal (or exit) → trust → tails →
//! probes → watchman, executor, reporter. Nothing is started on a journal that cannot be read.
//! Stop: everything is told at once; the journal's thread ends last, so no write is lost. A halt of
//! one task stops the agent: its supervisor starts it again, and the journal says what had begun.

mod parts;
mod shared;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quorate_attest::id::{ClusterId, KeyName, MemberId};
use quorate_attest::signed::SignedError;
use quorate_proto::client::{BadAddress, Transport};
use quorate_proto::key_file::KeyFileError;
use quorate_proto::tls::{TlsError, TlsMaterial};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::parts::pinned_charter;
use self::parts::{client, fresh_nonce, identify, shelf, single_clients};
use self::shared::{Shared, kept_trust};
use crate::adapters::AdapterConfigError;
use crate::clock::Clock;
use crate::config::Config;
use crate::execute::Executor;
use crate::gate::{Desk, Gatekeeper, Permits, Who};
use crate::journal::{Journal, JournalFault, JournalHandle, Owner};
use crate::link::Link;
use crate::playbook::PlaybookRefused;
use crate::probe::{Probe, Reading};
use crate::report::Reporter;
use crate::tail::{TrustKeeper, tail};
use crate::trust::View;
use crate::work::{Stopper, Worker};

/// Why an agent does not start, or stopped.
#[derive(Debug, Error)]
pub enum AgentError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pinned charter is none.
    #[error("{path} is no signed charter: {source}")]
    Charter {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<SignedError>,
    },
    /// The key of this agent cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS certificate is another identity's.
    #[error("the TLS certificate is {found}'s, the configuration says {name}")]
    OtherIdentity {
        /// Of the certificate.
        found: KeyName,
        /// Of the configuration.
        name: KeyName,
    },
    /// The pinned charter has no such agent with this key. It may have one in a later epoch.
    #[error("the charter in {path} lists {name} of {cluster} beside {member} with another key")]
    OtherKey {
        /// The charter's file.
        path: PathBuf,
        /// The agent.
        name: KeyName,
        /// Its cluster.
        cluster: ClusterId,
        /// Its member.
        member: MemberId,
    },
    /// A coordinator's address is none.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// An adapter's table is refused.
    #[error(transparent)]
    Adapter(#[from] AdapterConfigError),
    /// A playbook is refused: nothing is started, or automation would silently lack it.
    #[error("{path}: {why}")]
    Playbook {
        /// The file.
        path: PathBuf,
        /// Key, value, line and why.
        why: Box<PlaybookRefused>,
    },
    /// The journal cannot be used: nothing is started.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The trust that was pinned does not hold any more: nothing is started.
    #[error("the pinned trust does not hold: {0}")]
    Trust(#[from] Box<crate::trust::TrustRefused>),
    /// The system has no randomness.
    #[error("cannot draw a nonce: {0}")]
    Random(getrandom::Error),
    /// The socket at which the member's gate asks cannot be made.
    #[error("cannot make the gate's socket in {path}: {source}")]
    Gate {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses a thread.
    #[error("cannot start the journal's thread: {0}")]
    Thread(std::io::Error),
    /// A part of the agent stopped; what is durable is decided at the next start.
    #[error("{part} stopped: {why}")]
    Halted {
        /// Which part.
        part: &'static str,
        /// Why.
        why: String,
    },
}

impl AgentError {
    /// Another process runs this agent: it holds the journal.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Journal(JournalFault::InUse { .. }))
    }
}

/// An agent, not yet started.
#[derive(Debug)]
pub struct Agent;

/// An agent that runs.
pub struct Running {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), AgentError>>,
    journal: thread::JoinHandle<()>,
    view: watch::Receiver<View>,
}

impl Agent {
    /// Starts everything, in order.
    ///
    /// # Errors
    /// [`AgentError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Running, AgentError> {
        let clock = Clock::system();
        let charter = pinned_charter(&config.charter)?;
        let tls = TlsMaterial::load(&config.tls.certificate, &config.tls.key, &config.tls.ca)?;
        let signer = Arc::new(identify(&config, &charter.statement, &tls)?);
        let nonce = fresh_nonce()?;
        let owner = Owner::new(config.name.clone(), config.cluster.clone());
        let journal = Journal::open(&config.journal(), &owner)?;
        let trust = kept_trust(&journal, &charter, &clock)?;
        let transport = Transport::tls(&tls)?;
        let permits = Permits::default();
        let adapters = config.adapters(&permits)?;
        let shelf = shelf(config.playbooks.as_deref())?;
        let quorum = Arc::new(Link::new(client(&config, &transport)?));
        let tails = single_clients(&config, &transport)?;
        let (journal, thread) = JournalHandle::spawn(journal).map_err(AgentError::Thread)?;
        let (keeper, inbox, view) =
            TrustKeeper::new(trust, config.cluster.clone(), journal.clone(), clock.clone());

        let who = Who {
            cluster: config.cluster.clone(),
            member: config.member.clone(),
            agent: config.name.clone(),
        };
        let desk =
            Desk { who, journal: journal.clone(), permits: permits.clone(), clock: clock.clone() };
        let gate = Gatekeeper::bind(desk, config.data_dir.clone(), view.clone())
            .map_err(|source| AgentError::Gate { path: config.data_dir.clone(), source })?;

        let mut running = Running {
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            journal: thread,
            view: view.clone(),
        };
        running.spawn("trust", async move { keeper.run().await.map_err(text) });
        let stop = running.stop.clone();
        running.spawn("gate", async move { gate.run(stop).await.map_err(text) });
        for (id, client) in tails {
            let (inbox, stop) = (inbox.clone(), running.stop.clone());
            running.spawn("tail", async move {
                tail(id, client, inbox, stop).await;
                Ok(())
            });
        }
        let readings = running.probe(&config);
        let shared = Shared { signer, journal, adapters, quorum, view, clock, permits };
        let (stopped_by_us, stopped) = watch::channel(None);
        running.work(&config, shared.executor(&config, nonce), stopped_by_us);
        let watchman = shared.watchman(config, shelf, stopped);
        let stop = running.stop.clone();
        running.spawn("watchman", async move { watchman.run(readings, stop).await.map_err(text) });
        Ok(running)
    }
}

impl Running {
    /// What the verified log says now.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Tells everything to stop; [`Running::ended`] returns when it has.
    #[must_use]
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until the agent has stopped: because it was told to, or because a part halted.
    ///
    /// # Errors
    /// The first part that halted.
    pub async fn ended(mut self) -> Result<(), AgentError> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|failure| {
                Err(AgentError::Halted { part: "a task", why: failure.to_string() })
            });
            if first.is_ok() {
                first = ended;
            }
            // One part alone is no agent.
            self.stop.cancel();
        }
        drop(self.view);
        // The last handle is gone: the thread has written all it was asked to.
        let _joined = tokio::task::spawn_blocking(move || self.journal.join()).await;
        first
    }

    fn spawn(
        &mut self,
        part: &'static str,
        task: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                // The task's own way to stop first; it may have a child to bring to rest.
                ended = task => ended.map_err(|why| AgentError::Halted { part, why }),
                () = after(stop) => Ok(()),
            }
        });
    }

    /// One probe per member, each on its own, so that one that hangs delays no other.
    fn probe(&mut self, config: &Config) -> mpsc::Receiver<(MemberId, Reading)> {
        let (seen, readings) = mpsc::channel(64);
        let process = config.member_process.as_ref().map(|p| Probe::Process(p.pid_file.clone()));
        let own = config.probe.own.clone().or(process);
        let own = own.map(|probe| (config.member.clone(), probe));
        for (member, probe) in own.into_iter().chain(config.probe.peers.iter().cloned()) {
            let (seen, interval, timeout) =
                (seen.clone(), config.probe.interval, config.probe.timeout);
            self.spawn("probe", async move {
                let mut tick = tokio::time::interval(interval);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tick.tick().await;
                    let reading = probe.read(timeout).await;
                    if seen.send((member.clone(), reading)).await.is_err() {
                        return Ok(());
                    }
                }
            });
        }
        readings
    }

    fn work(
        &mut self,
        config: &Config,
        executor: Executor,
        stopped: watch::Sender<Option<MemberId>>,
    ) {
        let reporter = Reporter::new(
            executor.name.clone(),
            executor.journal.clone(),
            Arc::clone(&executor.quorum),
            executor.view.clone(),
        );
        let stopper = config.process_adapter().map(|adapter| Stopper {
            member: config.member.clone(),
            supervisor: adapter.supervisor().clone(),
            stopped,
        });
        let (done, wake) = mpsc::channel(1);
        let worker = Worker { executor, stopper, done };
        let stop = self.stop.clone();
        self.spawn("executor", async move { worker.run(stop).await.map_err(text) });
        let stop = self.stop.clone();
        self.spawn("reporter", async move {
            crate::work::report(reporter, wake, stop).await.map_err(text)
        });
    }
}

/// How long a part has to end by itself after it was told to.
const GRACE: Duration = Duration::from_secs(8);

async fn after(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
