//! The second half of step 12: `started`, execute, verify, `done`.

use std::pin::pin;
use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect, Rollback};
use quorate_attest::declaration::Declaration;
use quorate_attest::history::Orders;
use quorate_attest::log_time::LogTime;
use tokio_util::sync::CancellationToken;

use super::{Executor, Halt, Order, Settled};
use crate::adapters::{self, Execution, Prepared, Verdict, kill_orphans};
use crate::gate::{Armed, Carried};
use crate::journal::ArmedUndo;
use crate::plan::{plan_of, undo_of};
use crate::report::{Outcome, phase_after, summary};
use crate::trust::{Ordered, Standing};

/// How long an abandoned or overdue action has to come to rest before it is dropped.
const REST: Duration = Duration::from_secs(5);

impl Executor {
    /// Plan, witness and preconditions. No effect on the target.
    pub(super) async fn prepare(&self, order: &Order) -> Result<Prepared, Settled> {
        let waits = |why: String| Settled::Waits(why);
        let view = self.view.borrow().clone();
        let line = view.history().and_then(|history| history.charter().cluster(&self.cluster));
        let Some(line) = line else { return Err(waits("the charter lost its cluster".into())) };
        let plan = plan_of(&line.adapter, &order.action);
        let adapter = self.adapters.of(order.action.kind).map_err(|e| waits(e.to_string()))?;
        adapter
            .prepare(&order.action, &plan, self.deadlines.measure)
            .await
            .map_err(|refused| waits(refused.to_string()))
    }

    /// fsync `started`, then the effect, then the measurement, then fsync `done` with the report.
    pub(super) async fn start_and_finish(
        &self,
        order: &Order,
        prepared: Prepared,
    ) -> Result<Settled, Halt> {
        let (cluster, token) = (self.cluster.clone(), order.token());
        let started = self.clock.now();
        let undo = self.undo(order, &prepared, started);
        let before = Some(prepared.clone());
        self.journal
            .with(move |journal| journal.start(&cluster, token, started, before, undo))
            .await??;
        // A crash from here on repeats nothing: the outcome is unknown and will be probed.
        let _armed = self.arm(order);
        let stop = CancellationToken::new();
        let acted = {
            let mut acting = pin!(self.act(order, &prepared, stop.clone()));
            tokio::select! {
                acted = &mut acting => Some(acted),
                () = self.given_up(order) => {
                    stop.cancel();
                    // It may still answer; what it says does not matter any more.
                    let _late = tokio::time::timeout(REST, acting).await;
                    None
                }
            }
        };
        let Some((execution, verdict)) = acted else {
            return self.abandon(order).await;
        };
        tracing::info!(token = %order.token(), answer = %execution.answer, detail = %execution.detail, "executed");
        let outcome =
            Outcome::measured(&execution, &prepared.witness, verdict.as_ref(), Some(started));
        self.settle(order, outcome).await
    }

    /// While a declaration that names the own member as its survivor is carried out, and only then,
    /// an adapter may offer its gate the permission to start alone (*one-survivor*).
    fn arm(&self, order: &Order) -> Option<Armed> {
        let view = self.view.borrow();
        let charter = view.history()?.charter();
        let member = &charter.agent(&self.name)?.member;
        let decision = order.decision();
        let declaration = Declaration::of(charter, &decision.proposal).ok().flatten()?;
        let is_survivor = declaration.survivor == *member && order.orders == Orders::Action;
        is_survivor.then(|| {
            self.permits.arm(Carried {
                cluster: self.cluster.clone(),
                token: order.token(),
                certificate: order.bytes.clone(),
            })
        })
    }

    /// The effect and its measurement. Nothing that was refused is measured: nothing happened.
    async fn act(
        &self,
        order: &Order,
        prepared: &Prepared,
        stop: CancellationToken,
    ) -> (Execution, Option<Verdict>) {
        let adapter = match self.adapters.of(prepared.action.kind) {
            Ok(adapter) => adapter,
            Err(refused) => {
                return (Execution::new(Answer::RefusedPrecondition, refused.to_string()), None);
            }
        };
        let under = adapters::Order {
            proposal: order.decision().proposal.id(),
            token: order.token(),
            deadline: self.deadlines.execute,
            stop,
        };
        let executing = async {
            match order.orders {
                Orders::Action => adapter.execute(prepared, &under).await,
                Orders::Rollback => adapter.rollback(prepared, &under).await,
            }
        };
        // Adapters keep the deadline themselves; this holds also for one that does not.
        let limit = self.deadlines.execute.saturating_add(REST);
        let execution = tokio::time::timeout(limit, executing).await.unwrap_or_else(|_| {
            kill_orphans(&under.proposal);
            Execution::new(Answer::Unknown, "no answer within the deadline")
        });
        match execution.answer {
            Answer::RefusedPrecondition | Answer::RefusedStaleFence => (execution, None),
            Answer::Applied | Answer::AlreadyApplied | Answer::Failed | Answer::Unknown => {
                let verdict = self.measure(order, prepared).await;
                (execution, Some(verdict))
            }
        }
    }

    /// Verifies the effect against the witness taken before.
    pub(super) async fn measure(&self, order: &Order, prepared: &Prepared) -> Verdict {
        let nothing = |difference: String| Verdict {
            effect: Effect::Inconclusive,
            after: crate::witness::Witness::default(),
            difference,
        };
        let mut measured = prepared.clone();
        if let (Orders::Rollback, Some(undo)) = (order.orders, undo_of(prepared.action.kind)) {
            measured.action.kind = undo;
        }
        let adapter = match self.adapters.of(measured.action.kind) {
            Ok(adapter) => adapter,
            Err(refused) => return nothing(refused.to_string()),
        };
        let limit = self.deadlines.verify;
        let verifying = adapter.verify(&measured, limit);
        tokio::time::timeout(limit.saturating_add(REST), verifying)
            .await
            .unwrap_or_else(|_| nothing("no measurement within the deadline".into()))
    }

    /// The signed report, durable before anybody can send it.
    pub(super) async fn settle(&self, order: &Order, outcome: Outcome) -> Result<Settled, Halt> {
        let decision = order.decision();
        let report = outcome.report(decision, &self.name, self.clock.now());
        let rollback = match (order.orders, decision.proposal.rollback()) {
            (Orders::Action, Some(_)) => Rollback::ToCome,
            (Orders::Action, None) | (Orders::Rollback, _) => Rollback::NoneOrOrdered,
        };
        let phase = phase_after(&report, rollback);
        tracing::info!(token = %order.token(), report = summary(&report), "settled");
        let note = self.signer.signed(report).to_bytes();
        let (cluster, token) = (self.cluster.clone(), order.token());
        self.journal.with(move |journal| journal.report(&cluster, token, phase, note)).await??;
        Ok(Settled::Reported(outcome))
    }

    /// Resolves when the verified log shows that the decision no longer holds its slot.
    async fn given_up(&self, order: &Order) {
        let mut view = self.view.clone();
        loop {
            let ordered = Ordered {
                cluster: &self.cluster,
                token: order.token(),
                proposal: order.decision().proposal.id(),
                leaf: order.certificate.leaf,
            };
            let held = view.borrow_and_update().held(&ordered, &self.name);
            if held == Standing::Ended {
                return;
            }
            if view.changed().await.is_err() {
                // Nobody will tell any more, because the agent stops.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A decision with a time to live arms its own undo, in the commit that says `started`.
    fn undo(&self, order: &Order, prepared: &Prepared, started: LogTime) -> Option<ArmedUndo> {
        undo_of(prepared.action.kind).filter(|_| order.orders == Orders::Action)?;
        let ttl = order.decision().proposal.ttl()?;
        Some(ArmedUndo {
            cluster: self.cluster.clone(),
            token: order.token(),
            proposal: order.decision().proposal.id(),
            due: started.saturating_add(ttl),
            prepared: prepared.clone(),
        })
    }
}
