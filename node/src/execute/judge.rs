//! Steps 7, 10 and 11: whether an order may be started now, later or never.

use quorate_attest::agent_statement::Answer;
use quorate_attest::certificate::{HeadRelation, OutsideWindow, judge_window, relate_heads};
use quorate_attest::charter::Charter;

use super::{Executor, Order, Settled, orders_of};
use crate::journal::Entry;
use crate::plan::{self, plan_of};
use crate::trust::Standing;

/// Whether a decision's time to start is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expired {
    Yes,
    No,
}

/// Whether an order goes on with what the journal shows as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumes {
    Yes,
    No,
}

/// Whether an order may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum May {
    /// Yes.
    Start,
    /// Not now, or it is not for the journal at all.
    NotNow(Settled),
    /// Never: it is settled by a report that says so.
    Never(Answer, String),
}

impl Executor {
    /// Asks the verified log, the plan and the clock. `begun` is what a continuation goes on from:
    /// what has started already needs no permission to start, only its slot.
    pub(super) fn may_start(&self, order: &Order, begun: Option<&Entry>) -> May {
        let now = self.clock.now();
        let resumes = match begun {
            Some(begun) if begun.orders == order.orders => Resumes::Yes,
            Some(_) | None => Resumes::No,
        };
        let view = self.view.borrow().clone();
        let decision = order.decision();
        let Some(history) = view.history() else {
            return May::NotNow(Settled::Waits("nothing is believed yet".into()));
        };
        // 8: the stored head.
        if let Some(stored) = view.head() {
            let found = order.certificate.verified.checkpoint();
            match relate_heads(stored.checkpoint(), found) {
                HeadRelation::SplitView | HeadRelation::OtherOrigin => {
                    return May::NotNow(Settled::NotTaken("its head contradicts the log".into()));
                }
                // A later leaf may stop it, and is not read yet.
                HeadRelation::Newer => {
                    return May::NotNow(Settled::Waits("its head is ahead of the log".into()));
                }
                HeadRelation::Same | HeadRelation::Older => {}
            }
        }
        // A rollback is not taken for its action: what is ordered is read from the same log.
        if orders_of(history, decision) != order.orders {
            return May::NotNow(Settled::Waits("the log has gone on meanwhile".into()));
        }
        // 10: what the leaves after it say, and how fresh they are.
        let standing = view.standing(decision, order.certificate.leaf, &self.name, now);
        let expired = if now > decision.expires { Expired::Yes } else { Expired::No };
        if let Some(may) = by_standing(&standing, expired, resumes) {
            return may;
        }
        if decision.continues.is_some() && begun.is_none() {
            let why = "this journal shows nothing to continue".to_owned();
            return May::Never(Answer::RefusedPrecondition, why);
        }
        // 11: the window, by this machine's clock.
        match judge_window(history.charter(), decision, now) {
            Ok(()) => self.by_plan(history.charter(), order),
            Err(early @ OutsideWindow::NotYet { .. }) => {
                May::NotNow(Settled::Waits(early.to_string()))
            }
            Err(late @ (OutsideWindow::Expired { .. } | OutsideWindow::OtherEpoch { .. })) => {
                May::Never(Answer::RefusedPrecondition, format!("OUTSIDE_WINDOW: {late}"))
            }
        }
    }

    /// 7, second half: the plan computed here is the one that was voted on, and an adapter does it.
    fn by_plan(&self, charter: &Charter, order: &Order) -> May {
        let never = |why: String| May::Never(Answer::RefusedPrecondition, why);
        let proposal = &order.decision().proposal;
        let Some(line) = charter.cluster(&proposal.cluster) else {
            return never("the charter lost its cluster".into());
        };
        let here = plan_of(&line.adapter, &order.action);
        if let Err(differs) = plan::check(&here, proposal.plan, proposal.rollback()) {
            return never(differs.to_string());
        }
        match self.adapters.of(order.action.kind) {
            Ok(_) => May::Start,
            Err(refused) => never(refused.to_string()),
        }
    }
}

/// What the log alone settles; `None` if the window and the plan have to be asked too.
fn by_standing(standing: &Standing, expired: Expired, resumes: Resumes) -> Option<May> {
    let says = || format!("the log says {standing:?}");
    match (standing, resumes) {
        // What has started is probed, which needs no permission to start.
        (Standing::InForce | Standing::Stale | Standing::OtherEpoch, Resumes::Yes) => {
            Some(May::Start)
        }
        (Standing::InForce, Resumes::No) => None,
        (Standing::OtherEpoch, Resumes::No) => {
            Some(May::Never(Answer::RefusedPrecondition, says()))
        }
        // What waits until its expiry is refused then, or the slot would never be free again.
        (Standing::Paused { .. }, _) if expired == Expired::Yes => {
            Some(May::Never(Answer::RefusedPrecondition, says()))
        }
        (Standing::Stale, Resumes::No) | (Standing::Paused { .. } | Standing::NothingKnown, _) => {
            Some(May::NotNow(Settled::Waits(says())))
        }
        (
            Standing::Answered
            | Standing::Continued(_)
            | Standing::Ended
            | Standing::OtherLeaf
            | Standing::SplitView,
            _,
        ) => Some(May::NotNow(Settled::NotTaken(says()))),
    }
}
