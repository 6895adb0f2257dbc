//! One agent's executor on a stage: a real journal, real certificates, a target that counts real
//! effects in a file. Only the network is played.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::Nonce;
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    Action, Adapter, Adapters, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use quorate_node::clock::Clock;
use quorate_node::execute::{Deadlines, Executor};
use quorate_node::gate::Permits;
use quorate_node::journal::{Journal, JournalHandle, Owner};
use quorate_node::plan::Plan;
use quorate_node::quorum::Quorum;
use quorate_node::trust::View;
use quorate_node::witness::{Measure, Witness};
use tokio::sync::watch;

use super::world::{CLUSTER, World, note_signer};

/// Kills this process at once, as a power cut would: nothing is flushed, no destructor runs.
pub fn die() -> ! {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("kill");
    loop {
        std::thread::park();
    }
}

/// What the target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// It is changed, and the change holds.
    Works,
    /// It is changed for the worse.
    Harms,
    /// It answers that it was changed, and was not.
    Pretends,
    /// It hangs until it is stopped.
    Hangs,
    /// Its preconditions do not hold.
    NotNeeded,
    /// It cannot be measured afterwards.
    Dark,
    /// The process is killed right before the effect.
    DieBeforeEffect,
    /// The process is killed right after the effect.
    DieAfterEffect,
    /// The process is killed while it verifies.
    DieInVerify,
    /// The process is killed while it prepares.
    DieInPrepare,
}

/// A target whose every effect is one line in a file.
#[derive(Debug, Clone)]
pub struct Target {
    pub effects: PathBuf,
    pub play: Play,
}

impl Target {
    pub fn count(&self) -> usize {
        fs::read_to_string(&self.effects).map_or(0, |text| text.lines().count())
    }

    fn effect(&self, line: &str) {
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(&self.effects).expect("effects");
        writeln!(file, "{line}").expect("write");
        file.sync_all().expect("sync");
    }

    fn measured(&self) -> Witness {
        Witness::default().with("effects", Measure::Value(self.count().to_string()))
    }
}

fn before(prepared: &Prepared) -> usize {
    prepared.witness.get("effects").value().and_then(|text| text.parse().ok()).expect("a witness")
}

#[async_trait]
impl Adapter for Target {
    fn describe(&self) -> Description {
        let kinds = vec![Kind::Restart, Kind::BanPeer, Kind::UnbanPeer, Kind::Quiesce];
        Description { system: "counter".into(), kinds, judges: Vec::new(), gaps: Vec::new() }
    }

    async fn probe(&self, _: &Action, _: Duration) -> Observation {
        Observation { signals: std::collections::BTreeMap::new() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        _: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if self.play == Play::DieInPrepare {
            die();
        }
        let held = if self.play == Play::NotNeeded { Held::No } else { Held::Yes };
        let condition =
            Precondition { name: "needed".into(), held, fact: format!("{:?}", self.play) };
        Ok(Prepared {
            action: action.clone(),
            plan: plan.clone(),
            witness: self.measured(),
            preconditions: vec![condition],
        })
    }

    async fn execute(&self, _: &Prepared, order: &Order) -> Execution {
        match self.play {
            Play::DieBeforeEffect => die(),
            Play::Hangs => {
                order.stop.cancelled().await;
                return Execution::new(Answer::Unknown, "stopped");
            }
            Play::Pretends => return Execution::new(Answer::Applied, "surely"),
            Play::Works
            | Play::Harms
            | Play::NotNeeded
            | Play::Dark
            | Play::DieAfterEffect
            | Play::DieInVerify
            | Play::DieInPrepare => {}
        }
        self.effect(&order.proposal.to_string());
        if self.play == Play::DieAfterEffect {
            die();
        }
        Execution::new(Answer::Applied, "one line")
    }

    async fn verify(&self, prepared: &Prepared, _: Duration) -> Verdict {
        if self.play == Play::DieInVerify {
            die();
        }
        let (before, now) = (before(prepared), self.count());
        let undone = prepared.action.kind == Kind::UnbanPeer;
        let effect = match (self.play, undone) {
            (Play::Dark, _) => Effect::Inconclusive,
            (_, true) if now == before => Effect::Effective,
            (_, true) => Effect::Ineffective,
            (Play::Harms, false) if now > before => Effect::Harmful,
            (_, false) if now > before => Effect::Effective,
            (_, false) => Effect::Ineffective,
        };
        Verdict { effect, after: self.measured(), difference: format!("{before} to {now}") }
    }

    async fn rollback(&self, prepared: &Prepared, _: &Order) -> Execution {
        let lines: Vec<String> = fs::read_to_string(&self.effects)
            .unwrap_or_default()
            .lines()
            .take(before(prepared))
            .map(str::to_owned)
            .collect();
        fs::write(&self.effects, lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .expect("write");
        Execution::new(Answer::Applied, "as before")
    }
}

fn fresh_nonce() -> Nonce {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("randomness");
    Nonce::from_bytes(bytes)
}

/// The stage of agent `n1` in `directory`.
pub struct Stage {
    pub executor: Executor,
    pub target: Target,
    pub view: watch::Sender<View>,
    thread: std::thread::JoinHandle<()>,
}

pub fn journal_owner() -> Owner {
    Owner::new(super::name("n1"), CLUSTER.parse().expect("a cluster"))
}

pub fn open_journal(directory: &Path) -> Journal {
    let path = directory.join("journal.redb");
    if path.exists() {
        Journal::open(&path, &journal_owner()).expect("the journal opens")
    } else {
        Journal::create(&path, &journal_owner(), super::instance()).expect("a new journal")
    }
}

impl Stage {
    pub fn new(directory: &Path, world: &World, play: Play, quorum: Arc<dyn Quorum>) -> Self {
        let target = Target { effects: directory.join("effects"), play };
        let (journal, thread) = JournalHandle::spawn(open_journal(directory)).expect("a thread");
        let (view, shown) = watch::channel(world.trust().view());
        let now = world.now;
        let executor = Executor {
            name: super::name("n1"),
            cluster: CLUSTER.parse().expect("a cluster"),
            signer: Arc::new(note_signer("agent", "n1")),
            // Another one for each stage, as each process draws its own.
            nonce: fresh_nonce(),
            journal,
            adapters: Adapters::none().with(Arc::new(target.clone())),
            quorum,
            view: shown,
            clock: Clock::new(move || now),
            deadlines: Deadlines {
                measure: Duration::from_secs(2),
                execute: Duration::from_secs(5),
                verify: Duration::from_secs(2),
            },
            permits: Permits::default(),
        };
        Self { executor, target, view, thread }
    }

    /// Ends it as an orderly stop does, so that the journal can be opened again.
    pub fn close(self) {
        let Self { executor, thread, .. } = self;
        drop(executor);
        thread.join().expect("the journal's thread");
    }
}
