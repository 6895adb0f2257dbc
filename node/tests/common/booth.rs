//! The gate of one member, and the gatekeeper of its agent, over a real socket and a real journal.
//! Only the coordinators are not there: what the agent believes is set by the test.

use std::fs;
use std::path::PathBuf;

use quorate_attest::id::KeyName;
use quorate_attest::leaf::{Decision, Leaf};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{FencingToken, LeafIndex};
use quorate_node::clock::Clock;
use quorate_node::config::Config;
use quorate_node::gate::{
    Allowed, Carried, Desk, Gate, Gatekeeper, GatekeeperHalt, Means, Permits, Refusal, Who,
};
use quorate_node::journal::{Entry, Journal, JournalHandle, Owner};
use quorate_node::trust::View;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::world::{CLUSTER, World};

/// A member's agent and its gate.
#[derive(Debug)]
pub struct Booth {
    pub directory: tempfile::TempDir,
    pub member: String,
    pub permits: Permits,
    pub journal: JournalHandle,
    pub view: watch::Sender<View>,
    pub now: LogTime,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), GatekeeperHalt>>>,
}

pub fn who(member: &str) -> Who {
    let agent: KeyName = super::name(member);
    let cluster = CLUSTER.parse().expect("a cluster");
    Who { cluster, member: member.parse().expect("a member"), agent }
}

/// The agent's configuration beside `member`, with the words of its table `[gate]`.
pub fn config_text(member: &str, gate: &str) -> String {
    format!(
        "name = \"quorate.example/testnet/agent/{member}\"\ncluster = \"{CLUSTER}\"\n\
         member = \"{member}\"\ndata_dir = \"data\"\ncharter = \"charter.leaf\"\n\
         vote_key = \"vote.pem\"\nendpoints = [{{ id = 1, address = \"127.0.0.1:1\" }}]\n\
         [tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nca = \"ca.pem\"\n[gate]\n{gate}"
    )
}

impl Booth {
    /// An agent that believes all of `world`, and serves its gate once it has started.
    pub fn new(world: &World, member: &str, gate: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("data");
        fs::write(directory.path().join("charter.leaf"), world.charter.to_bytes())
            .expect("charter");
        fs::write(directory.path().join("agent.toml"), config_text(member, gate)).expect("config");
        let owner = Owner::new(super::name(member), CLUSTER.parse().expect("a cluster"));
        let journal = Journal::create(&data.join("journal.redb"), &owner, super::instance());
        let (journal, _thread) =
            JournalHandle::spawn(journal.expect("a journal")).expect("a thread");
        let (view, _) = watch::channel(world.trust().view());
        Self {
            directory,
            member: member.to_owned(),
            permits: Permits::default(),
            journal,
            view,
            now: world.now,
            stop: CancellationToken::new(),
            running: None,
        }
    }

    /// The same, serving, with the newest of `world` in its state.
    pub async fn open(world: &World, member: &str, gate: &str) -> Self {
        let mut booth = Self::new(world, member, gate);
        booth.serve();
        booth.learn(world).await;
        booth
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn clock(&self) -> Clock {
        let now = self.now;
        Clock::new(move || now)
    }

    pub fn serve(&mut self) {
        let desk = Desk {
            who: who(&self.member),
            journal: self.journal.clone(),
            permits: self.permits.clone(),
            clock: self.clock(),
        };
        let keeper = Gatekeeper::bind(desk, self.data(), self.view.subscribe()).expect("a socket");
        self.stop = CancellationToken::new();
        self.running = Some(tokio::spawn(keeper.run(self.stop.clone())));
    }

    /// The agent ends; what it wrote stays.
    pub async fn close(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.expect("the gatekeeper").expect("no halt");
        }
    }

    /// The agent believes the log as it is now, and the machine's clock is the log's.
    pub async fn learn(&mut self, world: &World) {
        self.view.send_replace(world.trust().view());
        self.now = world.now;
        // An answer comes after everything that is believed was written.
        let _answered = self.decide(Ask::Ordinary).await;
    }

    /// What the gate decides now.
    pub async fn decide(&self, ask: Ask) -> Result<Allowed, Refusal> {
        let config = Config::load(&self.directory.path().join("agent.toml")).expect("a config");
        let gate = Gate::of(&config, self.clock()).expect("a gate");
        let decided = tokio::task::spawn_blocking(move || {
            gate.decide(match ask {
                Ask::Ordinary => Means::Ordinary,
                Ask::Alone => Means::Alone { program: "true".as_ref() },
                Ask::Nothing => Means::Alone { program: "no-such-program".as_ref() },
            })
        });
        decided.await.expect("the gate")
    }

    /// The journal of an agent that has just fsynced `started` of the decision at `index`.
    pub async fn started(&self, world: &World, index: LeafIndex) -> FencingToken {
        let (decision, hash) = decision_at(world, index);
        let entry = Entry {
            token: decision.token(),
            proposal: decision.proposal.id(),
            leaf: hash,
            ..super::entry(1, "declared")
        };
        let (cluster, token, now) = (entry.cluster.clone(), entry.token, self.now);
        let started = self.journal.with(move |journal| {
            journal.accept(entry)?;
            journal.ready(&cluster, token, None)?;
            journal.start(&cluster, token, now, None, None)
        });
        started.await.expect("the journal").expect("started");
        token
    }

    /// What an executor arms after that.
    pub fn carried(&self, world: &World, index: LeafIndex) -> Carried {
        let (decision, _) = decision_at(world, index);
        Carried {
            cluster: decision.cluster.clone(),
            token: decision.token(),
            certificate: world.certificate(index),
        }
    }
}

/// With which means the gate is asked.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// No way to start alone.
    Ordinary,
    /// A program, and arguments to start alone.
    Alone,
    /// Arguments to start alone, and no such program.
    Nothing,
}

pub fn decision_at(world: &World, index: LeafIndex) -> (Decision, quorate_attest::merkle::Hash) {
    let bytes = &world.leaves[usize::try_from(index.get()).expect("small")];
    let Leaf::Decision(decision) = Leaf::parse(bytes).expect("a leaf") else {
        panic!("leaf {index} is a decision")
    };
    (decision, quorate_attest::merkle::leaf_hash(bytes))
}

/// A declaration that names `survivor`, at a time at which it may start.
pub fn declared(survivor: &str, executor: &str) -> (World, LeafIndex) {
    let mut world = World::new();
    let index = world.declare(survivor, executor, &[]);
    world.now = decision_at(&world, index).0.not_before;
    (world, index)
}
