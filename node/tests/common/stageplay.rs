//! One decided remediation on the stage, and what came of it.

use std::sync::Arc;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::log_time::Span;
use quorate_attest::number::LeafIndex;
use quorate_attest::remediation::Kind;
use quorate_node::clock::Clock;
use quorate_node::execute::Settled;
use quorate_node::journal::Phase;

use super::scene::{Play, Stage};
use super::token;
use super::world::{CLUSTER, StandIn, World};

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

    /// The log as it is now becomes what the agent believes.
    pub fn believe(&self) {
        self.stage.view.send_replace(self.world.trust().view());
    }

    pub fn at(&mut self, span: Span) {
        self.world.advance(span);
        let now = self.world.now;
        self.stage.executor.clock = Clock::new(move || now);
        self.believe();
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
