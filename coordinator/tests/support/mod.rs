//! A deployment in one process: real TLS on loopback ports, real files in a temporary directory.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a part for each test file, and it may fail them"
)]

mod charter;
pub(crate) mod steps;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU16, Ordering},
    },
    time::Duration,
};

use quorate_attest::{
    agent_statement::{Fact, Observe},
    charter::Charter,
    id::{ClusterId, Digest, KeyName, NetworkName, Nonce},
    key::{CosignSigner, NoteSigner, SecretKey, VerifierKey},
    log_time::{LogTime, Span},
    number::Sequence,
    proposal::Proposal,
    remediation::Kind,
    signed::Signed,
    vote::{Verdict, Veto, Vote},
};
use quorate_coordinator::{Config, Coordinator, Running, clock::Clock};
use quorate_proto::{
    authority::Authority,
    client::{Client, ClientOptions, Endpoint, Transport},
    identity::{Identity, Role},
    key_file,
    tls::TlsMaterial,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) const NETWORK: &str = "quorate.test/cluster";
pub(crate) const CLUSTER: &str = "east";
pub(crate) const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
pub(crate) const OPERATORS: [&str; 3] = ["ana", "ben", "cyd"];

/// Nothing in these tests may take longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Keys, charter and files of a deployment.
pub(crate) struct Deployment {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
    pub(crate) charter: Signed<Charter>,
    pub(crate) operators: BTreeMap<String, NoteSigner>,
    pub(crate) agents: BTreeMap<String, NoteSigner>,
    pub(crate) configs: BTreeMap<u64, PathBuf>,
    pub(crate) clients: BTreeMap<u64, SocketAddr>,
    pub(crate) shifts: BTreeMap<u64, Arc<AtomicI64>>,
}

pub(crate) fn network() -> NetworkName {
    NetworkName::new(NETWORK).unwrap()
}

pub(crate) fn cluster() -> ClusterId {
    CLUSTER.parse().unwrap()
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([seed; 32]))
}

fn name(role: &str, id: &str) -> KeyName {
    KeyName::new(format!("{NETWORK}/{role}/{id}")).unwrap()
}

/// A port nobody uses now, below those that outgoing connections get: it is free again after a stop.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let offset = (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000 + offset));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Deployment {
    /// Files of `n` coordinators that tolerate `faults` liars; nothing runs yet.
    pub(crate) fn new(n: u64, faults: u32) -> Self {
        Self::with(n, faults, |_| {})
    }

    /// The same with another charter.
    pub(crate) fn with(n: u64, faults: u32, change: impl FnOnce(&mut Charter)) -> Self {
        log();
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(&network()).unwrap();
        let seed = |base: u8, at: usize| base + u8::try_from(at).unwrap();
        let signers = |role: &str, base: u8, ids: &[&str]| -> BTreeMap<String, NoteSigner> {
            let signer = |(at, id): (usize, &&str)| {
                ((*id).to_owned(), NoteSigner::new(name(role, id), secret(seed(base, at))))
            };
            ids.iter().enumerate().map(signer).collect()
        };
        let operators = signers("operator", 60, &OPERATORS);
        let agents = signers("agent", 80, &MEMBERS);
        let cosigners: BTreeMap<u64, CosignSigner> = (1..=n)
            .map(|id| {
                let name = name("coordinator", &id.to_string());
                (id, CosignSigner::new(name, secret(seed(100, usize::try_from(id).unwrap()))))
            })
            .collect();
        let keys: Vec<VerifierKey> =
            cosigners.values().map(|signer| signer.vkey().clone()).collect();
        let mut charter = charter::of(&keys, faults, &operators, &agents);
        change(&mut charter);
        let lines = operators.values().map(|operator| operator.sign(&charter)).collect();
        let charter = Signed::new(charter, lines);
        let peers: BTreeMap<u64, SocketAddr> = (1..=n).map(|id| (id, free_address())).collect();
        let clients: BTreeMap<u64, SocketAddr> = (1..=n).map(|id| (id, free_address())).collect();
        let mut deployment = Self {
            authority,
            charter,
            operators,
            agents,
            configs: BTreeMap::new(),
            clients,
            shifts: (1..=n).map(|id| (id, Arc::default())).collect(),
            directory,
        };
        for id in 1..=n {
            let key = secret(seed(100, usize::try_from(id).unwrap()));
            let path = deployment.write(id, &peers, &key, cosigners[&id].vkey());
            deployment.configs.insert(id, path);
        }
        deployment
    }

    fn write(
        &self,
        id: u64,
        peers: &BTreeMap<u64, SocketAddr>,
        key: &SecretKey,
        vkey: &VerifierKey,
    ) -> PathBuf {
        let folder = self.directory.path().join(format!("coordinator-{id}"));
        std::fs::create_dir_all(&folder).unwrap();
        let identity = Identity::coordinator(network(), id).unwrap();
        let issued = self.authority.issue(&identity, Duration::from_secs(86_400)).unwrap();
        std::fs::write(folder.join("tls.pem"), issued.certificate_pem()).unwrap();
        std::fs::write(folder.join("ca.pem"), self.authority.certificate_pem()).unwrap();
        key_file::create_secret(&folder.join("tls.key"), issued.key_pem().as_bytes()).unwrap();
        key_file::create(&folder.join("cosign.pem"), key, vkey).unwrap();
        std::fs::write(folder.join("charter.leaf"), self.charter.to_bytes()).unwrap();
        let table = |addresses: &BTreeMap<u64, SocketAddr>| {
            let lines = addresses.iter().map(|(id, address)| format!("{id} = \"{address}\"\n"));
            lines.collect::<String>()
        };
        // A busy test machine: wider timeouts than the default.
        let text = format!(
            "id = {id}\nlisten = \"{}\"\npeer_listen = \"{}\"\ndata_dir = \"data\"\n\
             charter = \"charter.leaf\"\ncosign_key = \"cosign.pem\"\n\
             [tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nca = \"ca.pem\"\n\
             [peers]\n{}[clients]\n{}\
             [raft]\nheartbeat_ms = 100\nelection_min_ms = 400\nelection_max_ms = 700\n\
             snapshot_entries = 1000\n\
             [limits]\nconnections_per_address = 256\n",
            self.clients[&id],
            peers[&id],
            table(peers),
            table(&self.clients),
        );
        let path = folder.join("coordinator.toml");
        std::fs::write(&path, text).unwrap();
        quorate_coordinator::create(&path).unwrap();
        path
    }

    /// The folder of one coordinator.
    pub(crate) fn folder(&self, id: u64) -> &Path {
        self.configs[&id].parent().unwrap()
    }

    /// Starts one coordinator; it may wait for peers before it takes part.
    pub(crate) async fn start(&self, id: u64) -> Running {
        self.try_start(id).await.unwrap()
    }

    /// Starts one coordinator, or says why not.
    pub(crate) async fn try_start(
        &self,
        id: u64,
    ) -> Result<Running, quorate_coordinator::StartError> {
        let config = Config::load(&self.configs[&id]).unwrap();
        Coordinator::start_with(config, Clock::shifted(Arc::clone(&self.shifts[&id]))).await
    }

    /// Starts all and waits until everybody is ready.
    pub(crate) async fn start_all(&self) -> BTreeMap<u64, Running> {
        let starting = self.configs.keys().map(|id| async move { (*id, self.start(*id).await) });
        let running: BTreeMap<u64, Running> =
            futures::future::join_all(starting).await.into_iter().collect();
        for coordinator in running.values() {
            within("ready", coordinator.ready()).await;
        }
        running
    }

    /// TLS of somebody in this deployment.
    pub(crate) fn material(&self, role: Role, id: &str) -> TlsMaterial {
        self.authority.material(&Identity::new(network(), role, id).unwrap()).unwrap()
    }

    /// A client of all coordinators.
    pub(crate) fn client(&self, role: Role, id: &str) -> Client {
        self.client_of(role, id, self.clients.keys().copied())
    }

    /// A client of some coordinators.
    pub(crate) fn client_of(
        &self,
        role: Role,
        id: &str,
        coordinators: impl IntoIterator<Item = u64>,
    ) -> Client {
        let endpoints = coordinators
            .into_iter()
            .map(|id| Endpoint { id, address: self.clients[&id].to_string() });
        let transport = Transport::tls(&self.material(role, id)).unwrap();
        let options = ClientOptions { deadline: DEADLINE, ..ClientOptions::default() };
        Client::new(endpoints, &transport, options).unwrap()
    }

    /// A proposal by an operator to restart a member.
    pub(crate) fn proposal(&self, proposer: &str, target: &str, nonce: u8) -> Proposal {
        self.proposal_of(proposer, Kind::Restart, target, nonce)
    }

    pub(crate) fn proposal_of(
        &self,
        proposer: &str,
        kind: Kind,
        target: &str,
        nonce: u8,
    ) -> Proposal {
        let charter = &self.charter.statement;
        Proposal {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            charter: charter.id(),
            cluster: cluster(),
            incident: format!("incident-{nonce}").parse().unwrap(),
            kind,
            target: format!("member:{target}").parse().unwrap(),
            proposer: self.operators[proposer].vkey().name().clone(),
            executor: vec![self.agents[target].vkey().name().clone()],
            param: Vec::new(),
            plan: Digest::of(b"plan"),
            reason: "it does not answer".parse().unwrap(),
            evidence: Vec::new(),
            expires: now().saturating_add(Span::from_secs(600)),
            nonce: Nonce::from_bytes([nonce; 16]),
        }
    }

    /// An approving or rejecting vote, signed by one validator.
    pub(crate) fn vote(&self, proposal: &Proposal, verdict: Verdict, voter: &str) -> Vec<u8> {
        let signer = self.operators.get(voter).or_else(|| self.agents.get(voter)).unwrap();
        signer.signed(Vote::on(proposal, verdict)).to_bytes()
    }

    /// A veto by an operator.
    pub(crate) fn veto(&self, proposal: &Proposal, operator: &str) -> Vec<u8> {
        let charter = &self.charter.statement;
        let veto = Veto {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            proposal: proposal.id(),
            reason: "planned maintenance".parse().unwrap(),
        };
        self.operators[operator].signed(veto).to_bytes()
    }

    /// What the agent beside `member` says of each member.
    pub(crate) fn observe(&self, member: &str, sequence: u64, seen: &[(&str, &str)]) -> Vec<u8> {
        let charter = &self.charter.statement;
        let mut fact: Vec<Fact> = seen
            .iter()
            .map(|(of, state)| Fact {
                key: "member".parse().unwrap(),
                value: of.parse().unwrap(),
                extra: Some(state.parse().unwrap()),
            })
            .collect();
        fact.sort();
        let observe = Observe {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            cluster: cluster(),
            agent: self.agents[member].vkey().name().clone(),
            sequence: Sequence::new(sequence).unwrap(),
            observed: now(),
            fact,
        };
        self.agents[member].signed(observe).to_bytes()
    }
}

/// Shows what coordinators log, if `QUORATE_TEST_LOG` says so (a tracing filter).
pub(crate) fn log() {
    if let Ok(filter) = std::env::var("QUORATE_TEST_LOG") {
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // Another test of this process may have installed it before.
        drop(logs.try_init());
    }
}

/// The present time as log time.
pub(crate) fn now() -> LogTime {
    Clock::system().now()
}

/// Fails the test if `what` does not happen in time.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Polls until `probe` answers.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    within(what, async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
