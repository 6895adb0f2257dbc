//! Execution: one certified decision, carried out at most once, its effect verified, its outcome
//! reported. The steps are those of `docs/reference/formats.md` section 9, in their order, and
//! the first that fails is the answer.
//!
//! The crash story, between the writes (*no-double-execution*):
//! * before `accepted` nothing is known here: the order comes again;
//! * after `accepted` nothing was touched: it goes on from the journal;
//! * after the claim this process has touched nothing, but another one under a copy of this disk may
//!   have: a claim that this very process does not hold is `unknown`, and never executed;
//! * after `started` the effect may have happened: `unknown`, orphans are killed, the target is
//!   probed against the witness taken before, and the action is **never repeated**;
//! * after `done` the signed report is in the journal and is sent again, byte for byte.

mod act;
mod ended;
mod judge;
mod resume;

use std::sync::Arc;
use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Claim};
use quorate_attest::certificate::{Certificate, Trusted, verify_certificate};
use quorate_attest::history::{History, Orders};
use quorate_attest::id::{ClusterId, KeyName, Nonce};
use quorate_attest::key::NoteSigner;
use quorate_attest::leaf::Decision;
use quorate_attest::number::FencingToken;
use thiserror::Error;
use tokio::sync::watch;

use self::judge::May;
use crate::adapters::{Action, Adapters};
use crate::clock::Clock;
use crate::fence::{Admission, FenceRefused, Fenced, admit};
use crate::gate::Permits;
use crate::journal::{ClaimAttempt, Entry, JournalClosed, JournalError, JournalHandle, Phase};
use crate::quorum::{Asked, ClaimRefused, Claimed, Declined, Quorum};
use crate::report::Outcome;
use crate::trust::View;
use crate::witness::Witness;

/// The reasons for which the machine refuses a first claim. It says so only after it has looked for
/// a claim of this agent on the action, so none of its processes can have started it.
const UNCLAIMED: [&str; 4] = ["DECLARED_DEAD", "EPOCH_MISMATCH", "OUTSIDE_WINDOW", "RULE_REFUSED"];

/// How long each outside call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Measuring: witness, preconditions, probes.
    pub measure: Duration,
    /// The effect itself; the process group is killed when it is over.
    pub execute: Duration,
    /// Verifying, the stability window included.
    pub verify: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            measure: Duration::from_secs(5),
            execute: Duration::from_secs(60),
            verify: Duration::from_secs(120),
        }
    }
}

/// How an order was settled for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// A report is in the journal.
    Reported(Outcome),
    /// Nothing was done yet; ask again later.
    Waits(String),
    /// It is not for this agent, or not in force any more. The journal is untouched.
    NotTaken(String),
    /// The fence refused it. The journal is untouched.
    Fenced(FenceRefused),
    /// Operators gave it up; what it had started is dead, and it is never resumed.
    Abandoned,
    /// The journal answers: it was settled before.
    Known(Phase),
    /// The claim was refused for this journal: nothing starts until an operator re-enrols it.
    RolledBack(String),
}

/// This agent must stop: its journal failed.
#[derive(Debug, Error)]
pub enum Halt {
    /// A write failed, or a step was refused that the order of these steps excludes.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal is closed.
    #[error(transparent)]
    Closed(#[from] JournalClosed),
}

/// Carries out decisions, one at a time. One task owns it.
pub struct Executor {
    /// Key name of this agent.
    pub name: KeyName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Signs claims and reports.
    pub signer: Arc<NoteSigner>,
    /// Drawn once for each process, never written down: two processes that share a journal, one
    /// after the other or on a copied disk, do not hold each other's claims.
    pub nonce: Nonce,
    /// The journal.
    pub journal: JournalHandle,
    /// What this agent can do.
    pub adapters: Adapters,
    /// The coordinators.
    pub quorum: Arc<dyn Quorum>,
    /// What the verified log says.
    pub view: watch::Receiver<View>,
    /// Now.
    pub clock: Clock,
    /// How long outside calls may take.
    pub deadlines: Deadlines,
    /// The permission to start alone, armed while a declaration of the own member is carried out.
    pub permits: Permits,
}

/// A decision whose certificate holds, with what this agent makes of it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The certificate's file, as it was verified.
    pub(crate) bytes: Vec<u8>,
    pub(crate) certificate: Certificate,
    pub(crate) action: Action,
    pub(crate) orders: Orders,
}

impl Order {
    pub(crate) fn decision(&self) -> &Decision {
        &self.certificate.decision
    }

    pub(crate) fn token(&self) -> FencingToken {
        self.certificate.token
    }
}

impl Executor {
    /// Carries out the decision that `bytes` certify: the whole order of steps on one screen.
    ///
    /// # Errors
    /// [`Halt`] if the journal fails. Everything else is a [`Settled`].
    pub async fn carry_out(&self, bytes: &[u8]) -> Result<Settled, Halt> {
        // 1 to 6: the file, the head, k cosignatures, inclusion, the leaf, the votes.
        let order = match self.verify(bytes) {
            Ok(order) => order,
            Err(why) => return Ok(Settled::NotTaken(why)),
        };
        // 7, first half: for me? An order for somebody else leaves no trace.
        if !self.is_mine(&order) {
            return Ok(Settled::NotTaken(format!("{} is not an executor", self.name)));
        }
        // 8: the stored head. 9: the fence.
        let fenced = fenced(&order);
        let admission = match self.journal.with(move |journal| admit(journal, &fenced)).await? {
            Ok(admission) => admission,
            Err(FenceRefused::NothingToContinue { .. }) => Admission::New,
            Err(refused) => return Ok(Settled::Fenced(refused)),
        };
        if let Admission::Known(entry) = admission
            && entry.phase != Phase::Accepted
        {
            // What was ordered then: the log may have gone on to another decision.
            let order = Order { orders: entry.orders, ..order };
            return self.resume(&order, *entry).await;
        }
        let begun = self.begun(&order).await?;
        // 7 again, 10 and 11: plan and adapter; freshness, later leaves, pause; the window.
        let may = self.may_start(&order, begun.as_ref());
        if let May::NotNow(settled) = may {
            return Ok(settled);
        }
        // 12: persist token and `accepted`. A crash after this has touched nothing.
        self.accept(&order).await?;
        if let Some(begun) = begun {
            return self.go_on(&order, &begun, may).await;
        }
        if let May::Never(answer, why) = may {
            return self.refuse(&order, answer, &why).await;
        }
        // Witness and preconditions, taken before; then the claim, confirmed by the quorum.
        let prepared = match self.prepare(&order).await {
            Ok(prepared) => prepared,
            Err(settled) => return Ok(settled),
        };
        match self.claim(&order, Some(prepared.clone())).await? {
            Granted::Start => {}
            Granted::Unknown(attempt) => return self.held_elsewhere(&order, attempt).await,
            Granted::Declined(declined) => return Ok(Settled::Waits(declined.to_string())),
            Granted::No(settled) => return Ok(settled),
        }
        if let Some(unmet) = prepared.unmet() {
            let why = format!("{}: {}", unmet.name, unmet.fact);
            return self
                .decline(&order, Answer::RefusedPrecondition, &prepared.witness, &why)
                .await;
        }
        // The claim took time: what stops a start is asked once more, right before it.
        match self.may_start(&order, None) {
            May::Start => {}
            May::NotNow(settled) => return Ok(settled),
            May::Never(answer, why) => {
                return self.decline(&order, answer, &prepared.witness, &why).await;
            }
        }
        // fsync `started`; execute; verify; fsync `done` with the signed report; the reporter sends.
        self.start_and_finish(&order, prepared).await
    }

    /// Steps 1 to 6, by the charter that the tailed log has in force. A decision that outlived its
    /// charter is taken too, if it holds the slot there: it is never started any more, but what has
    /// started is probed, and what has not says so.
    fn verify(&self, bytes: &[u8]) -> Result<Order, String> {
        let view = self.view.borrow().clone();
        let Some(history) = view.history() else { return Err("nothing is believed yet".into()) };
        let trusted = Trusted::by_history(history, &self.cluster);
        let certificate =
            verify_certificate(bytes, &trusted, self.clock.now()).map_err(|refused| {
                format!("certificate refused at step {}: {refused}", refused.step())
            })?;
        let action = Action::of(&certificate.decision.proposal);
        let orders = orders_of(history, &certificate.decision);
        Ok(Order { bytes: bytes.to_vec(), certificate, action, orders })
    }

    fn is_mine(&self, order: &Order) -> bool {
        let decision = order.decision();
        decision.cluster == self.cluster && decision.proposal.executor.contains(&self.name)
    }

    /// What a continuation goes on from, if this journal went beyond `accepted` with that action.
    /// What never did is not started by a continuation either (R8).
    async fn begun(&self, order: &Order) -> Result<Option<Entry>, Halt> {
        let decision = order.decision();
        if decision.continues.is_none() {
            return Ok(None);
        }
        let (cluster, proposal, token) =
            (self.cluster.clone(), decision.proposal.id(), order.token());
        let begun =
            self.journal.with(move |journal| journal.begun(&cluster, &proposal, token).cloned());
        Ok(begun.await?)
    }

    async fn accept(&self, order: &Order) -> Result<(), Halt> {
        let decision = order.decision();
        let skew = self.view.borrow().history().map(|history| history.charter().skew);
        let entry = Entry {
            cluster: decision.cluster.clone(),
            token: order.token(),
            epoch: decision.epoch,
            proposal: decision.proposal.id(),
            leaf: order.certificate.leaf,
            continues: continued(decision),
            forget_after: decision
                .expires
                .max(decision.proposal.expires)
                .saturating_add(skew.unwrap_or(quorate_attest::log_time::Span::ZERO)),
            phase: Phase::Accepted,
            claim: None,
            prepared: None,
            started: None,
            report: None,
            orders: order.orders,
        };
        self.journal
            .with(move |journal| match journal.entry(&entry.cluster, entry.token) {
                Some(_) => Ok(()),
                None => journal.accept(entry),
            })
            .await??;
        Ok(())
    }

    /// Claims with the sequence that is in the journal already. Only a confirmed claim may start.
    async fn claim(
        &self,
        order: &Order,
        prepared: Option<crate::adapters::Prepared>,
    ) -> Result<Granted, Halt> {
        let (cluster, token) = (self.cluster.clone(), order.token());
        let (instance, attempt) = self
            .journal
            .with(move |journal| {
                let attempt = journal.ready(&cluster, token, prepared)?;
                Ok::<_, JournalError>((journal.instance(), attempt))
            })
            .await??;
        let decision = order.decision();
        let claim = self.signer.signed(Claim {
            origin: decision.origin.clone(),
            epoch: decision.epoch,
            cluster: decision.cluster.clone(),
            number: decision.number,
            agent: self.name.clone(),
            instance,
            sequence: attempt.sequence(),
            nonce: self.nonce,
        });
        Ok(match self.quorum.claim(&claim).await {
            Ok(Claimed::Fresh) => Granted::Start,
            // Another process holds it: an earlier one of this journal, or one on a copy of it. What
            // it did is not in this journal, whatever that says from before `started`.
            Ok(Claimed::Held) => Granted::Unknown(attempt),
            Err(ClaimRefused::RolledBack { message }) => {
                tracing::error!(token = %order.token(), %message, "this journal may not start anything");
                Granted::No(Settled::RolledBack(message))
            }
            Err(ClaimRefused::Asked(Asked::Declined(declined))) => Granted::Declined(declined),
            Err(ClaimRefused::Asked(asked @ Asked::Unanswered(_))) => {
                Granted::No(Settled::Waits(asked.to_string()))
            }
        })
    }

    /// Settles an order that can never be started: claimed first, so that a journal that was rolled
    /// back cannot report "nothing was done" of what it has forgotten.
    async fn refuse(&self, order: &Order, answer: Answer, why: &str) -> Result<Settled, Halt> {
        match self.claim(order, None).await? {
            // Where no claim of this agent stands, it has never started it under any journal.
            Granted::Start => self.decline(order, answer, &Witness::default(), why).await,
            Granted::Declined(declined) if UNCLAIMED.contains(&declined.reason.as_str()) => {
                self.decline(order, answer, &Witness::default(), why).await
            }
            Granted::Declined(declined) => Ok(Settled::Waits(declined.to_string())),
            Granted::Unknown(attempt) => self.held_elsewhere(order, attempt).await,
            Granted::No(settled) => Ok(settled),
        }
    }

    async fn decline(
        &self,
        order: &Order,
        answer: Answer,
        witness: &Witness,
        why: &str,
    ) -> Result<Settled, Halt> {
        tracing::warn!(token = %order.token(), %answer, why, "not started");
        self.settle(order, Outcome::refused(answer, witness)).await
    }
}

/// What became of a claim.
enum Granted {
    Start,
    /// Another process holds it; whether this journal had asked before.
    Unknown(ClaimAttempt),
    /// Refused for another reason than the journal.
    Declined(Declined),
    No(Settled),
}

/// What the log says a decision orders. One that does not hold its slot orders nothing any more.
fn orders_of(history: &History, decision: &Decision) -> Orders {
    let slot = history.cluster(&decision.cluster).and_then(|cluster| cluster.slot());
    let own = slot.filter(|slot| slot.token == decision.token());
    own.map_or(Orders::Action, |slot| slot.orders)
}

fn fenced(order: &Order) -> Fenced {
    let decision = order.decision();
    Fenced {
        cluster: decision.cluster.clone(),
        token: order.token(),
        proposal: decision.proposal.id(),
        leaf: order.certificate.leaf,
        continues: continued(decision),
    }
}

/// A continuation is of the same epoch, hence of the same incarnation.
fn continued(decision: &Decision) -> Option<FencingToken> {
    let incarnation = decision.origin.incarnation;
    decision.continues.map(|number| FencingToken { incarnation, number })
}
