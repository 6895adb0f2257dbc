//! Decisions that ended without this agent: abandoned by operators, or void.

use super::{Executor, Halt, Order, Settled};
use crate::adapters::kill_orphans;
use crate::journal::Entry;
use crate::trust::Standing;

impl Executor {
    /// Kills what the action left running, then writes `abandoned`: it is never resumed.
    pub(super) async fn abandon(&self, order: &Order) -> Result<Settled, Halt> {
        kill_orphans(&order.decision().proposal.id());
        let (cluster, token) = (self.cluster.clone(), order.token());
        self.journal.with(move |journal| journal.abandon(&cluster, token)).await??;
        tracing::warn!(token = %order.token(), "abandoned by operators");
        Ok(Settled::Abandoned)
    }

    /// Closes the entries whose decision no longer holds its slot: after a start, and whenever the
    /// log has grown. Returns how many.
    ///
    /// # Errors
    /// [`Halt`] if the journal fails.
    pub async fn close_ended(&self) -> Result<usize, Halt> {
        let open: Vec<Entry> = self
            .journal
            .with(|journal| {
                journal.entries().filter(|entry| !entry.phase.is_final()).cloned().collect()
            })
            .await?;
        let mut closed = 0;
        for entry in open {
            // An own outcome in the log of which this journal knows nothing is as final.
            let held = self.view.borrow().held(&(&entry).into(), &self.name);
            if !matches!(held, Standing::Ended | Standing::Answered) {
                continue;
            }
            kill_orphans(&entry.proposal);
            let (cluster, token) = (entry.cluster, entry.token);
            self.journal.with(move |journal| journal.abandon(&cluster, token)).await??;
            tracing::warn!(%token, "its decision ended without this agent; it is never resumed");
            closed += 1;
        }
        Ok(closed)
    }
}
