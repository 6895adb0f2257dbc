//! One decided remediation on the stage, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect, Report};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::number::{DecisionNumber, LeafIndex};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_node::adapters::Adapters;
use quorate_node::clock::Clock;
use quorate_node::execute::Settled;
use quorate_node::journal::Phase;

use super::scene::{Play, Stage};
use super::stand_in::StandIn;
use super::token;
use super::world::{CLUSTER, World, note_signer};

pub struct Stageplay {
    pub directory: tempfile::TempDir,
    pub world: World,
    pub stand_in: StandIn,
    pub stage: Stage,
    pub index: LeafIndex,
}

impl Stageplay {
    /// A restart of member n1 is decided; the executor is n1's agent.
    pub fn new(play: Play) -> Self {
        Self::of(play, Kind::Restart, "member:n1", &["n1"], &[])
    }

    pub fn of(play: Play, kind: Kind, target: &str, executors: &[&str], params: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let mut world = World::new();
        let proposal = world.proposal(kind, target, executors, params);
        let index = world.decide(&proposal, None);
        let stand_in = StandIn::default();
        let stage = Stage::new(directory.path(), &world, play, Arc::new(stand_in.clone()));
        Self { directory, world, stand_in, stage, index }
    }

    pub async fn carry_out(&self) -> Settled {
        let bytes = self.world.certificate(self.index);
        self.stage.executor.carry_out(&bytes).await.expect("no halt")
    }

    pub async fn phase(&self, number: u64) -> Option<Phase> {
        let cluster = CLUSTER.parse().expect("a cluster");
        let journal = &self.stage.executor.journal;
        let asked =
            journal.with(move |journal| journal.entry(&cluster, token(number)).map(|e| e.phase));
        asked.await.expect("the journal")
    }

    /// The log as it is now becomes what the agent believes, and its time the agent's.
    pub fn believe(&mut self) {
        let now = self.world.now;
        self.stage.executor.clock = Clock::new(move || now);
        self.learn();
    }

    /// The same, without its time: also while the agent is at work.
    pub fn learn(&self) {
        self.stage.view.send_replace(self.world.trust().view());
    }

    /// What the target does from now on; what was done to it stays.
    pub fn plays(&mut self, play: Play) {
        self.stage.target.play = play;
        let target = Arc::new(self.stage.target.clone());
        self.stage.executor.adapters = Adapters::none().with(target);
    }

    /// Runs up to `started` and is cut off there, as by a crash.
    pub async fn cut_off_after_start(&mut self) {
        let was = self.stage.target.play;
        self.plays(Play::Hangs);
        let cut = tokio::time::timeout(Duration::from_millis(300), self.carry_out()).await;
        assert!(cut.is_err(), "it hangs");
        self.plays(was);
    }

    /// The agent starts anew on the same disk.
    pub fn restarted(self) -> Self {
        let Self { directory, world, stand_in, stage, index } = self;
        let play = stage.target.play;
        stage.close();
        let stage = Stage::new(directory.path(), &world, play, Arc::new(stand_in.clone()));
        Self { directory, world, stand_in, stage, index }
    }

    /// The machine re-issues the action after `number`; its claims on earlier numbers stand.
    pub async fn reissued(&mut self, number: u64) {
        self.index = self.world.reissue(number);
        self.stand_in.0.lock().await.before.push(number);
        self.believe();
    }

    /// The signed report of a decision, as the journal holds it.
    pub async fn report(&self, number: u64) -> Signed<Report> {
        let cluster = CLUSTER.parse().expect("a cluster");
        let entry = self.stage.executor.journal.with(move |journal| {
            journal.entry(&cluster, token(number)).and_then(|entry| entry.report.clone())
        });
        let report = entry.await.expect("the journal").expect("a report");
        Signed::parse(&report.note).expect("a signed report")
    }

    pub fn at(&mut self, span: Span) {
        self.world.advance(span);
        self.believe();
    }
}

/// What comes after a decision.
impl World {
    /// Puts the next charter into force: the same one, in the next epoch.
    pub fn amend(&mut self) {
        let mut charter = self.history.charter().clone();
        charter.epoch = charter.epoch.next().expect("an epoch");
        charter.previous = Some(self.history.charter_id());
        let operators = ["ana", "ben", "chen"].map(|id| note_signer("operator", id));
        let lines = operators.iter().map(|operator| operator.sign(&charter)).collect();
        self.append(&Leaf::Charter(Signed::new(charter, lines)));
    }

    /// Re-issues the decision in leaf 1 after `number`.
    pub fn reissue(&mut self, number: u64) -> LeafIndex {
        let Leaf::Decision(decided) = Leaf::parse(&self.leaves[1]).expect("a leaf") else {
            panic!("leaf 1 is the decision")
        };
        self.decide(&decided.proposal, Some(DecisionNumber::new(number).expect("a number")))
    }
}

pub fn outcome(settled: Settled) -> (Answer, Effect) {
    match settled {
        Settled::Reported(outcome) => (outcome.answer, outcome.effect),
        other @ (Settled::Waits(_)
        | Settled::NotTaken(_)
        | Settled::Fenced(_)
        | Settled::Abandoned
        | Settled::Known(_)
        | Settled::RolledBack(_)) => panic!("no report: {other:?}"),
    }
}
