//! Permissions to start alone that were taken: one for each declaration, kept for ever.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::history::Orders;
use quorate_attest::id::{ClusterId, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::FencingToken;

use super::file::Row;
use super::table::{Table, encode, entry_key};
use super::{Journal, JournalError, Phase, StepRefused};

/// A permission that a gate has taken.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Consumed {
    /// The declaration: under no other token of it is there another one.
    pub proposal: ProposalId,
    /// When it was taken.
    pub at: LogTime,
}

impl Journal {
    /// A gate takes the permission of a decision that is under way, durable before it is answered.
    ///
    /// # Errors
    /// [`StepRefused`] unless it is `Started`, in this life of the agent, and was never taken.
    pub fn consume(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
        at: LogTime,
    ) -> Result<(), JournalError> {
        let entry = self.find(cluster, token)?;
        if entry.phase != Phase::Started || entry.orders != Orders::Action {
            let (cluster, phase) = (cluster.clone(), entry.phase);
            return Err(StepRefused::NotUnderWay { cluster, token, phase }.into());
        }
        let consumed = Consumed { proposal: entry.proposal, at };
        if self.state.permits.values().any(|taken| taken.proposal == consumed.proposal) {
            return Err(StepRefused::Consumed { cluster: cluster.clone(), token }.into());
        }
        self.write(vec![Row::put(Table::Permit, &entry_key(cluster, token), encode(&consumed))])?;
        Ok(())
    }

    /// The permission that was taken under a decision, if it was.
    #[must_use]
    pub fn consumed(&self, cluster: &ClusterId, token: FencingToken) -> Option<&Consumed> {
        self.state.permits.get(&entry_key(cluster, token))
    }
}
