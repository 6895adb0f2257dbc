//! A whole deployment of real processes: what `quorate init` wrote, running.
//!
//! Its directory, network and cluster are its own, so that any number of them run side by side.
//! Dropping it kills every process; after a failed test the directory with all logs stays.

mod build;
mod etcd;
mod members;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, KeyName, NetworkName};
use quorate_attest::key::CosignSigner;
use quorate_attest::signed::Signed;
use quorate_proto::client::Endpoint;
use quorate_proto::key_file;
use quorate_proto::pb::v1::{CoordinatorRole, GetStatusResponse};
use tempfile::TempDir;

pub use self::build::{Adapter, Holds, Options, Pace};
pub use self::etcd::gate_command;
use crate::binary::Identity;
use crate::client::Party;
use crate::process::{Process, Spec};
use crate::{binary, wait};

/// How long a cluster may take to find a leader, after whatever happened to it.
pub const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// One coordinator.
#[derive(Debug)]
pub struct Coordinator {
    /// Its process.
    pub process: Process,
    /// Its folder.
    pub folder: PathBuf,
    /// Where clients reach it.
    pub endpoint: Endpoint,
}

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub process: Process,
    /// Its folder.
    pub folder: PathBuf,
    /// Its key name.
    pub name: KeyName,
}

/// One guarded member that runs as a real process.
#[derive(Debug)]
pub struct Member {
    /// Program and arguments: what its agent starts again.
    pub command: Vec<String>,
    /// The process the test has started; its agent may have started another one since.
    pub process: Process,
    /// Its data directory, with one line per start in `starts`.
    pub data: PathBuf,
    /// Where it answers.
    pub address: String,
    /// How agents ask whether it works.
    pub probe: String,
    /// Where the process id stands.
    pub pid_file: PathBuf,
}

/// A deployment.
#[derive(Debug)]
pub struct Deployment {
    /// Everything it is made of.
    pub root: PathBuf,
    /// What all names begin with.
    pub network: NetworkName,
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// The charter of epoch 1, signed.
    pub charter: Signed<Charter>,
    /// The coordinators, by Raft node id.
    pub coordinators: BTreeMap<u64, Coordinator>,
    /// The agents, by member.
    pub agents: BTreeMap<String, Agent>,
    /// The members, where they are processes.
    pub members: BTreeMap<String, Member>,
    /// Where etcd members run, and where fresh ones may, if they are etcd.
    pub seats: Vec<crate::etcd::Seat>,
    /// The operators' ids.
    pub operators: Vec<String>,
    directory: Option<TempDir>,
}

impl Deployment {
    /// Every coordinator's endpoint.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.coordinators.values().map(|one| one.endpoint.clone()).collect()
    }

    /// A person of this deployment.
    #[must_use]
    pub fn operator(&self, id: &str) -> Party {
        let folder = self.root.join("operators").join(id);
        Party::open(&folder, &folder.join("key.pem"), self.endpoints())
    }

    /// An agent's identity and key in the hands of the test: what a thief of them could do.
    #[must_use]
    pub fn agent_party(&self, member: &str) -> Party {
        let folder = self.root.join(format!("agent-{member}"));
        Party::open(&folder, &folder.join("vote.pem"), self.endpoints())
    }

    /// A coordinator's key name.
    ///
    /// # Panics
    /// Never: the id is a number.
    #[must_use]
    pub fn coordinator_name(&self, id: u64) -> KeyName {
        format!("{}/coordinator/{id}", self.network).parse().expect("a key name")
    }

    /// Every coordinator's key, for what no number of lying coordinators can do.
    ///
    /// # Panics
    /// A key cannot be read.
    #[must_use]
    pub fn stolen_keys(&self) -> Vec<CosignSigner> {
        let key = |(id, coordinator): (&u64, &Coordinator)| {
            let secret = key_file::load(&coordinator.folder.join("cosign.pem")).expect("a key");
            CosignSigner::new(self.coordinator_name(*id), secret)
        };
        self.coordinators.iter().map(key).collect()
    }

    /// The first operator, asking one coordinator only.
    #[must_use]
    pub fn reader_of(&self, id: u64) -> Party {
        let folder = self.root.join("operators").join(&self.operators[0]);
        let endpoint = self.coordinators[&id].endpoint.clone();
        Party::open(&folder, &folder.join("key.pem"), vec![endpoint])
    }

    /// Runs `quorate` as an operator; see [`binary::run`].
    #[must_use]
    pub fn quorate(&self, operator: &str, arguments: &[&str]) -> std::process::Output {
        let config = self.root.join("config.toml");
        binary::run(arguments, Some(&Identity { config: &config, context: operator }))
    }

    /// Standard output of a command that must succeed.
    #[must_use]
    pub fn stdout(&self, operator: &str, arguments: &[&str]) -> Vec<u8> {
        let config = self.root.join("config.toml");
        binary::stdout_of(arguments, Some(&Identity { config: &config, context: operator }))
    }

    /// Starts all coordinators at once.
    pub fn start_coordinators(&mut self) {
        for coordinator in self.coordinators.values_mut() {
            coordinator.process.start();
        }
    }

    /// Starts all agents at once.
    pub fn start_agents(&mut self) {
        for agent in self.agents.values_mut() {
            agent.process.start();
        }
    }

    /// Starts everything and waits until the first charter is certified.
    ///
    /// # Panics
    /// It does not become so.
    pub async fn start(&mut self) {
        self.start_members();
        self.start_coordinators();
        self.start_agents();
        self.leader().await;
        self.certified(1).await;
    }

    /// kill -9 of these coordinators, as close to the same moment as a loop gets.
    pub fn kill_coordinators(&mut self, ids: &[u64]) {
        for id in ids {
            self.coordinators[id].process.signal(rustix::process::Signal::KILL);
        }
        for (_, coordinator) in self.coordinators.iter_mut().filter(|(id, _)| ids.contains(id)) {
            coordinator.process.kill();
        }
    }

    /// The leader that a majority agrees on.
    ///
    /// # Panics
    /// There is none in time.
    pub async fn leader(&self) -> u64 {
        let majority = self.coordinators.len() / 2 + 1;
        let what = || format!("a leader\n{}", self.logs());
        let found = wait::until_or(LEADER_WITHIN, async || {
            let mut named: BTreeMap<u64, usize> = BTreeMap::new();
            let mut leads = None;
            for status in self.statuses().await.into_values() {
                *named.entry(status.leader_id).or_default() += 1;
                if status.role() == CoordinatorRole::Leader {
                    leads = Some(status.coordinator_id);
                }
            }
            leads.filter(|leader| named.get(leader).is_some_and(|count| *count >= majority))
        })
        .await;
        found.unwrap_or_else(|| panic!("waited in vain: {}", what()))
    }

    /// What each coordinator that answers says of itself.
    pub async fn statuses(&self) -> BTreeMap<u64, GetStatusResponse> {
        let party = self.operator(&self.operators[0]);
        let client = party.client.clone().with_deadline(Duration::from_secs(1));
        let mut found = BTreeMap::new();
        for id in self.coordinators.keys() {
            if let Ok(status) = client.status_of(*id, false).await {
                found.insert(*id, status);
            }
        }
        found
    }

    /// Waits until every coordinator has applied and certified the same `size` leaves or more.
    ///
    /// # Panics
    /// They have not in time.
    pub async fn certified(&self, size: u64) {
        let certified = wait::until_or(LEADER_WITHIN, async || {
            let statuses = self.statuses().await;
            let good = |status: &GetStatusResponse| {
                status.log_size >= size
                    && status.head.as_ref().is_some_and(|head| head.size >= size)
            };
            (statuses.len() == self.coordinators.len() && statuses.values().all(good)).then_some(())
        })
        .await;
        assert!(certified.is_some(), "not every coordinator has a head of {size}\n{}", self.logs());
    }

    /// The last lines of every process.
    #[must_use]
    pub fn logs(&self) -> String {
        let coordinators = self.coordinators.values().map(|one| &one.process);
        let agents = self.agents.values().map(|one| &one.process);
        let texts =
            coordinators.chain(agents).map(|one| format!("--- {}\n{}", one.name(), one.log_tail()));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// A process of an agent whose folder the test has made, a clone for one.
    #[must_use]
    pub fn agent_process(&self, name: &str, folder: &Path) -> Process {
        let config = folder.join("agent.toml").display().to_string();
        let arguments = ["agent", "run", "--config", &config].map(str::to_owned).to_vec();
        Self::process(&self.root, &format!("agent-{name}"), arguments)
    }

    /// A process of the real binary.
    fn process(root: &Path, name: &str, arguments: Vec<String>) -> Process {
        Process::new(Spec {
            name: name.to_owned(),
            program: binary::quorate(),
            arguments,
            environment: vec![("QUORATE_LOG".to_owned(), log_filter())],
            log: root.join(format!("{name}.log")),
        })
    }
}

fn log_filter() -> String {
    std::env::var("QUORATE_TEST_LOG").unwrap_or_else(|_| "info".to_owned())
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for agent in self.agents.values_mut() {
            agent.process.kill();
        }
        self.kill_coordinators(&self.coordinators.keys().copied().collect::<Vec<_>>());
        self.kill_members();
        if std::thread::panicking() || std::env::var_os("QUORATE_TEST_KEEP").is_some() {
            let kept = self.directory.take().map(TempDir::keep);
            eprintln!("the deployment is kept: {}", kept.unwrap_or_default().display());
        }
    }
}
