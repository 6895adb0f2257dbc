//! A declaration as it is carried out: executor, journal, adapter, gatekeeper and gate together, on
//! the survivor's machine, on a copy of its disk, and under an agent that is not the survivor's.

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::booth::{Ask, Booth, declared, who};
use common::scene::{Play, Stage};
use common::stand_in::StandIn;
use common::world::World;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    Action, Adapter, Adapters, Description, Execution, Observation, Order, PrepareRefused,
    Prepared, Verdict,
};
use quorate_node::clock::Clock;
use quorate_node::execute::Settled;
use quorate_node::gate::{Allowed, Desk, Gatekeeper, Permits, Start};
use quorate_node::journal::Phase;
use quorate_node::plan::Plan;
use quorate_node::witness::Witness;
use tokio_util::sync::CancellationToken;

/// An adapter as a system with a survivor has it: it offers, and starts the member behind its gate.
#[derive(Debug, Clone)]
struct Survives {
    permits: Permits,
    booth: Arc<Booth>,
    starts: Arc<std::sync::atomic::AtomicUsize>,
}

#[async_trait]
impl Adapter for Survives {
    fn describe(&self) -> Description {
        let kinds = vec![Kind::DeclareDead];
        Description { system: "alone".into(), kinds, judges: Vec::new(), gaps: Vec::new() }
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
        Ok(Prepared {
            action: action.clone(),
            plan: plan.clone(),
            witness: Witness::default(),
            preconditions: Vec::new(),
        })
    }

    async fn execute(&self, _: &Prepared, order: &Order) -> Execution {
        let permission = match self.permits.offer(order.token, order.deadline) {
            Ok(permission) => permission,
            Err(refused) => {
                return Execution::new(Answer::RefusedPrecondition, refused.to_string());
            }
        };
        let decided = self.booth.decide(Ask::Alone).await;
        if matches!(decided, Ok(Allowed { start: Start::Alone(_), .. })) {
            self.starts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        if permission.withdraw() {
            Execution::new(Answer::Applied, "it starts alone")
        } else {
            Execution::new(Answer::Failed, "nobody took it")
        }
    }

    async fn verify(&self, _: &Prepared, _: Duration) -> Verdict {
        let started = self.starts.load(std::sync::atomic::Ordering::SeqCst) == 1;
        let effect = if started { Effect::Effective } else { Effect::Ineffective };
        Verdict { effect, after: Witness::default(), difference: String::new() }
    }

    async fn rollback(&self, _: &Prepared, _: &Order) -> Execution {
        Execution::new(Answer::RefusedPrecondition, "none")
    }
}

/// One agent with its executor, gatekeeper and gate, on its own disk or a copy of another's.
struct Machine {
    stage: Stage,
    starts: Arc<std::sync::atomic::AtomicUsize>,
    stop: CancellationToken,
}

impl Machine {
    async fn new(directory: &std::path::Path, world: &World, stand_in: &StandIn) -> Self {
        let mut stage = Stage::new(directory, world, Play::Works, Arc::new(stand_in.clone()));
        let booth = Arc::new(Booth::new(world, "n1", ""));
        let now = world.now;
        let desk = Desk {
            who: who("n1"),
            journal: stage.executor.journal.clone(),
            permits: stage.executor.permits.clone(),
            clock: Clock::new(move || now),
        };
        let view = stage.view.subscribe();
        let keeper = Gatekeeper::bind(desk, booth.data(), view).expect("a socket");
        let stop = CancellationToken::new();
        drop(tokio::spawn(keeper.run(stop.clone())));
        let starts = Arc::default();
        let adapter = Survives {
            permits: stage.executor.permits.clone(),
            booth,
            starts: Arc::clone(&starts),
        };
        stage.executor.adapters = Adapters::none().with(Arc::new(adapter));
        Self { stage, starts, stop }
    }

    fn count(&self) -> usize {
        self.starts.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_starts_its_survivor_alone_and_a_clone_of_its_disk_nobody() {
    let (world, index) = declared("n1", "n1");
    let stand_in = StandIn::default();
    let (own, clone) = (tempfile::tempdir().expect("own"), tempfile::tempdir().expect("clone"));
    // The disk is copied before anything has begun.
    Stage::new(own.path(), &world, Play::Works, Arc::new(stand_in.clone())).close();
    fs::copy(own.path().join("journal.redb"), clone.path().join("journal.redb")).expect("a copy");
    let certificate = world.certificate(index);
    let machine = Machine::new(own.path(), &world, &stand_in).await;
    let settled = machine.stage.executor.carry_out(&certificate).await.expect("no halt");
    let Settled::Reported(outcome) = settled else { panic!("it reports: {settled:?}") };
    assert_eq!((outcome.answer, outcome.effect), (Answer::Applied, Effect::Effective));
    assert_eq!(machine.count(), 1);
    // The same order again, to the same agent: the journal answers.
    let again = machine.stage.executor.carry_out(&certificate).await.expect("no halt");
    assert!(matches!(again, Settled::Known(Phase::Done)), "{again:?}");
    assert_eq!(machine.count(), 1);
    // The clone has the certificate, the socket, the gate and the witness: and no confirmed claim.
    let cloned = Machine::new(clone.path(), &world, &stand_in).await;
    let settled = cloned.stage.executor.carry_out(&certificate).await.expect("no halt");
    let acted =
        matches!(&settled, Settled::Reported(outcome) if outcome.effect == Effect::Effective);
    assert!(!acted, "{settled:?}");
    assert_eq!(cloned.count(), 0);
    machine.stop.cancel();
    cloned.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_not_the_survivor_can_offer_nothing() {
    let (world, index) = declared("n2", "n1");
    let stand_in = StandIn::default();
    let directory = tempfile::tempdir().expect("directory");
    let machine = Machine::new(directory.path(), &world, &stand_in).await;
    let certificate = world.certificate(index);
    let settled = machine.stage.executor.carry_out(&certificate).await.expect("no halt");
    let Settled::Reported(outcome) = settled else { panic!("it reports: {settled:?}") };
    assert_eq!(outcome.answer, Answer::RefusedPrecondition);
    assert_eq!(machine.count(), 0);
    machine.stop.cancel();
}
