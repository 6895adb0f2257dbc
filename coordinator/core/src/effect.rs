//! What leaves the machine: leaves for the decision log, and alarms for people.
//!
//! The machine performs nothing itself. A store persists the leaves in the transaction that
//! records the entry as applied; whoever watches is told afterwards.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, IncidentId, KeyName, ProposalId, Word};
use quorate_attest::ladder::Severity;
use quorate_attest::number::{FencingToken, LeafIndex};

/// A duty of the caller. Effects are performed in the order in which they are listed.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Effect {
    /// Append `bytes` to the decision log at `index`, in the same transaction as the entry.
    Leaf {
        /// The leaf's place; it follows the last one without a gap.
        index: LeafIndex,
        /// The exact bytes of the leaf.
        bytes: Vec<u8>,
    },
    /// Tell a person.
    Raise(Alarm),
}

/// Something a person should look at. Raised once per event, by every replica alike.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Alarm {
    /// A decision holds its slot past its time and `awaited` have not reported.
    Stuck {
        /// The guarded cluster whose slot is held.
        cluster: ClusterId,
        /// The decision that holds it.
        token: FencingToken,
        /// The executors whose terminal report is missing.
        awaited: Vec<KeyName>,
    },
    /// A key signed two texts for one question; the evidence is in the log.
    Equivocation {
        /// The key's name.
        key: KeyName,
        /// Where the evidence lies.
        evidence: LeafIndex,
    },
    /// A target has used up its attempts: nothing more happens to it until an operator resets it.
    BreakerOpen {
        /// The guarded cluster.
        cluster: ClusterId,
        /// What would be acted on.
        target: Word,
    },
    /// A playbook's ladder has ended without success: people are asked, once for the incident.
    Escalated {
        /// The guarded cluster.
        cluster: ClusterId,
        /// The incident.
        incident: IncidentId,
        /// How bad.
        severity: Severity,
    },
    /// An executor said that it cannot tell what happened. The slot stays taken.
    Inconclusive {
        /// The guarded cluster.
        cluster: ClusterId,
        /// The decision concerned.
        token: FencingToken,
        /// Who said so.
        agent: KeyName,
    },
    /// An action did harm.
    Harmful {
        /// The guarded cluster.
        cluster: ClusterId,
        /// The decision concerned.
        token: FencingToken,
    },
    /// Enough coordinators refused to certify a decision; it is void and its slot is free.
    DecisionRefused {
        /// The guarded cluster.
        cluster: ClusterId,
        /// The decision that was never certified.
        token: FencingToken,
        /// Its proposal.
        proposal: ProposalId,
    },
    /// An agent's journal is older than what it claimed before, or is another one.
    JournalRolledBack {
        /// The agent.
        agent: KeyName,
    },
}
