//! Bars: what automation may not open again until an operator has looked.
//!
//! A veto, a rejection or a withdrawal is an answer. Without a bar the next suspicion would ask the
//! same question again a second later, until somebody gives in.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, ProposalId, Word};
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;

/// What automation may have open once: (cluster, kind, target).
pub(crate) type Question = (ClusterId, Kind, Word);

/// The question a proposal asks.
pub(crate) fn question(proposal: &Proposal) -> Question {
    (proposal.cluster.clone(), proposal.kind, proposal.target.clone())
}

/// The answered questions, with the proposal that got the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Bars {
    by: BTreeMap<Question, ProposalId>,
}

impl Bars {
    /// Most bars of one cluster. Beyond, automation opens nothing there: no bar is ever forgotten.
    pub(crate) const MAX: usize = 512;

    pub(crate) fn raise(&mut self, proposal: &Proposal) {
        self.by.insert(question(proposal), proposal.id());
    }

    /// An operator acknowledges the answer `proposal` got in `cluster`.
    pub(crate) fn acknowledge(&mut self, cluster: &ClusterId, proposal: ProposalId) {
        self.by.retain(|(of, _, _), by| of != cluster || *by != proposal);
    }

    /// The proposal whose answer bars this question.
    pub(crate) fn bars(&self, question: &Question) -> Option<ProposalId> {
        self.by.get(question).copied()
    }

    pub(crate) fn is_full(&self, cluster: &ClusterId) -> bool {
        self.by.keys().filter(|(of, _, _)| of == cluster).count() >= Self::MAX
    }
}
