//! Armed undos: a decision with a time to live takes itself back, a ban's end above all.
//!
//! The one write outside the slot. It was armed by a decision, in the commit that said `started`;
//! it only restores what the witness shows, is idempotent, waits while another action is under way,
//! and is dropped if a later decision changed its target (*single-effect*). Other agents act on the
//! cluster too, so both are asked of the verified log, not only of the own journal.

use std::time::Duration;

use quorate_attest::agent_statement::Answer;
use quorate_attest::history::ClusterHistory;
use quorate_attest::log_time::LogTime;
use tokio_util::sync::CancellationToken;

use crate::adapters::{Adapters, Order};
use crate::journal::{ArmedUndo, Entry, Journal, JournalClosed, JournalError, JournalHandle};
use crate::trust::View;

/// What is to be done with an armed undo now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Its time has not come, another action is under way, or the log cannot tell.
    Wait,
    /// Carry it out.
    Now,
    /// A later decision changed the target, or the log has forgotten which was the last.
    Drop,
}

/// Asks the journal and the verified log about one undo.
#[must_use]
pub fn due(journal: &Journal, view: &View, undo: &ArmedUndo, now: LogTime) -> Due {
    match by_log(view, undo, now) {
        Due::Now => by_journal(journal, undo, now),
        other @ (Due::Wait | Due::Drop) => other,
    }
}

/// What other agents do: nothing is known of it without a fresh head.
fn by_log(view: &View, undo: &ArmedUndo, now: LogTime) -> Due {
    let Some(history) = view.history() else { return Due::Wait };
    if view.alarm().is_some() || !view.is_fresh(now) {
        return Due::Wait;
    }
    let slot = history.cluster(&undo.cluster).and_then(ClusterHistory::slot);
    // A decision in the slot may still be void, so that it changed nothing: it is waited for.
    if slot.is_some_and(|slot| slot.proposal != undo.proposal) {
        return Due::Wait;
    }
    match history.last_on(&undo.cluster, &undo.prepared.action.target) {
        Some(last) if last.proposal == undo.proposal => Due::Now,
        Some(_) | None => Due::Drop,
    }
}

fn by_journal(journal: &Journal, undo: &ArmedUndo, now: LogTime) -> Due {
    let changed_later = |entry: &Entry| {
        let target = entry.prepared.as_ref().map(|prepared| &prepared.action.target);
        entry.token > undo.token
            && entry.proposal != undo.proposal
            && target == Some(&undo.prepared.action.target)
            && entry.started.is_some()
    };
    let of_cluster = || journal.entries().filter(|entry| entry.cluster == undo.cluster);
    if of_cluster().any(changed_later) {
        return Due::Drop;
    }
    if now < undo.due || of_cluster().any(|entry| entry.phase.is_under_way()) {
        return Due::Wait;
    }
    Due::Now
}

/// Why the undos stop.
#[derive(Debug, thiserror::Error)]
pub enum UndoHalt {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The agent stops.
    #[error(transparent)]
    Closed(#[from] JournalClosed),
}

/// Carries out the undos that are due, and disarms those that are done. One task calls it, the one
/// that also executes decisions, so that an undo is never beside an action.
///
/// # Errors
/// [`UndoHalt`] if the journal fails.
pub async fn run_due(
    journal: &JournalHandle,
    adapters: &Adapters,
    view: View,
    deadline: Duration,
    now: LogTime,
) -> Result<usize, UndoHalt> {
    let armed: Vec<(ArmedUndo, Due)> = journal
        .with(move |journal| {
            let due = |undo: &ArmedUndo| (undo.clone(), due(journal, &view, undo, now));
            journal.undos().map(due).collect()
        })
        .await?;
    let mut done = 0;
    for (undo, due) in armed {
        let settled = match due {
            Due::Wait => false,
            Due::Drop => {
                tracing::warn!(token = %undo.token, "its target was changed since: the undo is dropped");
                true
            }
            Due::Now => carry_out(adapters, &undo, deadline).await,
        };
        if settled {
            journal
                .with(move |journal| journal.disarm(&undo))
                .await?
                .map_err(JournalError::from)?;
            done += 1;
        }
    }
    Ok(done)
}

/// Idempotent: an answer that leaves it open is asked again at the next tick.
async fn carry_out(adapters: &Adapters, undo: &ArmedUndo, deadline: Duration) -> bool {
    let order = Order {
        proposal: undo.proposal,
        token: undo.token,
        deadline,
        stop: CancellationToken::new(),
    };
    let Ok(adapter) = adapters.of(undo.prepared.action.kind) else { return false };
    let execution = adapter.rollback(&undo.prepared, &order).await;
    tracing::info!(token = %undo.token, answer = %execution.answer, detail = execution.detail, "undo due");
    match execution.answer {
        Answer::Applied | Answer::AlreadyApplied => true,
        Answer::Failed
        | Answer::Unknown
        | Answer::RefusedPrecondition
        | Answer::RefusedStaleFence => false,
    }
}
