//! The newest decision of a target that a decision with a time to live touched.
//!
//! A decision with `param ttl-ms` arms an undo that runs outside the slot. Before it restores
//! anything its agent asks here whether another decision has changed the target since
//! (*single-effect*), also one that another agent carried out.
//!
//! Memory is bounded: only targets of decisions with a time to live are kept, and each only until
//! its undo has been overdue for [`KEPT`]. Forgotten is not "unchanged": an undo whose target has no
//! entry here is not to be carried out.

use borsh::{BorshDeserialize, BorshSerialize};

use super::History;
use crate::id::{ClusterId, ProposalId, Word};
use crate::leaf::{Decision, Void};
use crate::log_time::{LogTime, Span};
use crate::number::DecisionNumber;

/// How long an undo may be overdue: 30 days.
const KEPT: Span = Span::from_secs(30 * 24 * 60 * 60);

/// The newest decision of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LastOn {
    /// Its number; a re-issue of the same action has a higher one.
    pub number: DecisionNumber,
    /// What it carries out, equal across re-issues: compare this.
    pub proposal: ProposalId,
}

/// What a judged leaf makes the newest decision of its target.
pub(super) struct Changed {
    pub(super) target: Word,
    pub(super) until: LogTime,
    pub(super) last: LastOn,
}

impl History {
    /// The newest decision of a target, if a decision with a time to live touched it and its undo is
    /// not overdue for more than 30 days. None: no undo of this target may be carried out.
    pub fn last_on(&self, cluster: &ClusterId, target: &Word) -> Option<LastOn> {
        self.last.get(&(cluster.clone(), target.clone())).copied()
    }

    pub(super) fn changed_by(&self, decision: &Decision, proposal: ProposalId) -> Option<Changed> {
        let until = match decision.proposal.ttl() {
            Some(ttl) => decision.expires.saturating_add(ttl).saturating_add(KEPT),
            // Kept for as long as the decision before it.
            None if self.last_on(&decision.cluster, &decision.proposal.target).is_some() => {
                decision.time
            }
            None => return None,
        };
        let last = LastOn { number: decision.number, proposal };
        Some(Changed { target: decision.proposal.target.clone(), until, last })
    }

    /// A refused decision was never carried out: the one before it is the newest again.
    pub(super) fn restored_by(void: &Void, before: Option<LastOn>) -> Option<Changed> {
        let target = void.proposal.target.clone();
        before.map(|last| Changed { target, until: void.time, last })
    }
}
