//! The ledger: everything that the leaves of the log determine, and nothing else.
//!
//! It changes only through [`Ledger::append`]. So folding the leaves of an exported log, on any
//! machine, gives bit for bit the ledger of the coordinators (*replay-equal*), and a budget, a
//! cooldown or a breaker can be checked by anybody who has the log. What comes before a leaf (open
//! proposals, votes, observations, claims) lives in [`State`](crate::State) instead.
//!
//! Leaves are judged by `quorate_attest`'s history, the one judge for machine, cosigners, agents
//! and auditors. The ledger adds what needs counting.

mod bar;
mod budget;
mod cooldown;
mod gcra;
mod limits;
mod outage;
mod overview;
mod retry;
mod running;
mod view;

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::history::{History, LeafRefused, Orders};
use quorate_attest::id::{ClusterId, JournalInstance, KeyName};
use quorate_attest::leaf::{Decision, Leaf, Outcome, Void, VoidCause};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::LeafIndex;
use quorate_attest::operator_statement::{Act, Subject};
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signatures;

pub(crate) use bar::{Bars, question};
pub use budget::{BudgetKey, Budgets};
pub use cooldown::Cooldowns;
pub use gcra::RateError;
pub(crate) use limits::reads_retry_cap;
pub use limits::{NumberRefused, check_numbers};
pub use outage::{Outage, Outages};
pub(crate) use outage::{Place, place};
pub use retry::Retries;
pub use running::Running;

use crate::rejection::Rejection;
use budget::{Payer, Payment};
use cooldown::Cooldown;
use limits::{LimitLine, limits, retry_cap};
use retry::AttemptEnd;

/// Everything the leaves determine.
///
/// Invariants: at most one chain of decisions runs per cluster (*single-effect*); its newest number
/// is the cluster's last or is followed only by abandons; no budget word was ever taken from twice
/// for one decision (*budget*).
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ledger {
    history: History,
    budgets: Budgets,
    cooldowns: Cooldowns,
    retries: Retries,
    bars: Bars,
    outages: Outages,
    running: BTreeMap<ClusterId, Running>,
    /// What ran before a cluster's newest decision, while that one may still be void (R14).
    before: BTreeMap<ClusterId, Option<Running>>,
    last_decided: BTreeMap<ClusterId, LogTime>,
    enrolled: BTreeMap<KeyName, JournalInstance>,
}

/// Why a leaf is not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerRefused {
    /// The judge of leaves refuses it.
    #[error(transparent)]
    Leaf(#[from] LeafRefused),
    /// A budget, cooldown or breaker holds it back.
    #[error("the budget or a cooldown refuses the decision ({} of them)", .0.len())]
    Held(Vec<Rejection>),
    /// A charter whose numbers cannot be counted with.
    #[error(transparent)]
    Number(#[from] NumberRefused),
}

impl Ledger {
    /// Starts a ledger with leaf 0.
    ///
    /// # Errors
    /// The leaf is no first charter, or its numbers cannot be counted with.
    pub fn found(leaf: &Leaf, signatures: Signatures) -> Result<Self, LedgerRefused> {
        if let Leaf::Charter(signed) = leaf {
            check_numbers(&signed.statement)?;
        }
        Ok(Self {
            history: History::found(leaf, signatures)?.0,
            budgets: Budgets::default(),
            cooldowns: Cooldowns::default(),
            retries: Retries::default(),
            bars: Bars::default(),
            outages: Outages::default(),
            running: BTreeMap::new(),
            before: BTreeMap::new(),
            last_decided: BTreeMap::new(),
            enrolled: BTreeMap::new(),
        })
    }

    /// Judges and appends the next leaf: all of it or nothing.
    ///
    /// # Errors
    /// A rule of the log, a budget or a cooldown refuses it; the ledger is as before.
    pub fn append(
        &mut self,
        leaf: &Leaf,
        signatures: Signatures,
    ) -> Result<LeafIndex, LedgerRefused> {
        let mut payment = None;
        match leaf {
            Leaf::Decision(decision) if is_new_action(decision) => {
                payment = Some(
                    self.price(&decision.proposal, decision.time).map_err(LedgerRefused::Held)?,
                );
            }
            Leaf::Charter(signed) => check_numbers(&signed.statement)?,
            Leaf::Decision(_)
            | Leaf::Void(_)
            | Leaf::Outcome(_)
            | Leaf::Evidence(_)
            | Leaf::Override(_)
            | Leaf::Pause(_)
            | Leaf::Act(_)
            | Leaf::Incarnation(_) => {}
        }
        let recorded = self.history.append(leaf, signatures)?;
        self.record(leaf, payment);
        self.forget();
        Ok(recorded.index)
    }

    fn record(&mut self, leaf: &Leaf, payment: Option<Payment>) {
        match leaf {
            Leaf::Decision(decision) => self.record_decision(decision, payment),
            Leaf::Void(void) => self.record_void(void),
            Leaf::Outcome(outcome) => self.record_outcome(outcome),
            Leaf::Act(signed) => self.record_act(&signed.statement),
            Leaf::Charter(signed) => {
                self.enrolled.retain(|agent, _| signed.statement.agent(agent).is_some());
            }
            Leaf::Evidence(_) | Leaf::Override(_) | Leaf::Pause(_) | Leaf::Incarnation(_) => {}
        }
    }

    fn record_decision(&mut self, decision: &Decision, payment: Option<Payment>) {
        let proposal = &decision.proposal;
        let cluster = &decision.cluster;
        self.before.insert(cluster.clone(), self.running.get(cluster).cloned());
        if proposal.kind == Kind::Abandon {
            self.complete(cluster, AttemptEnd::Badly, decision.time);
            return;
        }
        if decision.continues.is_some() {
            let orders = self.slot(cluster).map_or(Orders::Action, |slot| slot.orders);
            if let Some(running) = self.running.get_mut(cluster) {
                running.go_on(decision, orders);
                self.outages.decide(decision);
            }
            return;
        }
        if let Some(payment) = payment {
            self.budgets.pay(&payer(proposal), payment);
        }
        let cap = retry_cap(self.history.charter(), cluster);
        self.retries.begin(cluster, &proposal.target, proposal.kind, cap, decision.time);
        self.outages.decide(decision);
        self.last_decided.insert(cluster.clone(), decision.time);
        self.running.insert(cluster.clone(), Running::begin(decision));
    }

    fn record_void(&mut self, void: &Void) {
        if void.refused().is_some() {
            // Nobody can have started: what ran before runs again, and nothing was taken out. The
            // unit stays spent, so that refusals cannot be used to stretch a budget.
            if let Some(refused) = self.running.remove(&void.cluster) {
                self.outages.undo(refused.proposal(), refused.newest());
            }
            if let Some(Some(before)) = self.before.remove(&void.cluster) {
                self.running.insert(void.cluster.clone(), before);
            }
        }
        match void.cause {
            VoidCause::Rejected | VoidCause::Vetoed | VoidCause::Withdrawn => {
                self.bars.raise(&void.proposal);
            }
            VoidCause::Expired | VoidCause::Superseded | VoidCause::Epoch => {}
        }
    }

    fn record_outcome(&mut self, outcome: &Outcome) {
        let Some(running) = self.running.get_mut(&outcome.cluster) else { return };
        running.note(&outcome.report.statement);
        let end = running.end();
        if self.slot(&outcome.cluster).is_none() {
            self.complete(&outcome.cluster, end, outcome.time);
        }
    }

    fn record_act(&mut self, act: &Act) {
        match act.subject() {
            Some(Subject::Proposal(proposal)) => self.bars.acknowledge(&act.cluster, proposal),
            Some(Subject::Decision(token)) => self.cooldowns.acknowledge(&act.cluster, token),
            Some(Subject::Incident(incident)) => {
                self.budgets.close(&act.cluster, &incident);
            }
            Some(Subject::Target(target)) => self.retries.reset(&act.cluster, &target),
            Some(Subject::Journal { agent, instance }) => {
                self.enrolled.insert(agent, instance);
            }
            None => {}
        }
    }

    /// The action is over, one way or the other: cooldowns begin here, not at the decision.
    fn complete(&mut self, cluster: &ClusterId, end: AttemptEnd, now: LogTime) {
        let Some(running) = self.running.remove(cluster) else { return };
        let proposal = running.proposal();
        for LimitLine { limit, cooldown } in limits(self.history.charter(), proposal) {
            if cooldown.get() > 0 {
                self.cooldowns.begin(
                    limit.key,
                    Cooldown {
                        until: now.saturating_add(cooldown),
                        by: running.token(),
                        after: payer(proposal),
                    },
                );
            }
        }
        self.retries.end(cluster, &proposal.target, end, now);
        self.outages.end(proposal, now);
        if end == AttemptEnd::Well {
            self.outages.succeed(proposal);
        }
    }

    /// Drops what says nothing any more, by the log's own time: the same in every replay.
    fn forget(&mut self) {
        let now = self.history.time();
        self.budgets.forget(now);
        self.cooldowns.forget(now);
        self.outages.forget(now);
        let charter = self.history.charter();
        self.retries.forget(|cluster| retry_cap(charter, cluster), now);
    }
}

fn payer(proposal: &Proposal) -> Payer {
    Payer {
        cluster: proposal.cluster.clone(),
        incident: proposal.incident.clone(),
        target: proposal.target.clone(),
    }
}

/// Whether a decision begins an action: not a continuation, not an abandon.
fn is_new_action(decision: &Decision) -> bool {
    decision.continues.is_none() && decision.proposal.kind != Kind::Abandon
}
