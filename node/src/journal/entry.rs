//! One entry of the journal: what this agent knows of one decision it was ordered to carry out.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::history::Orders;
use quorate_attest::id::{ClusterId, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::merkle::Hash;
use quorate_attest::number::{Epoch, FencingToken, Sequence};
use thiserror::Error;

use crate::adapters::Prepared;

/// How far a decision has come on this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Phase {
    /// Its certificate was verified and its token is the highest. Nothing was touched.
    Accepted,
    /// The effect may have happened from here on: written before it, so a crash is never mistaken
    /// for "nothing happened".
    Started,
    /// A crash, a hang or an answer that cannot be read: only a probe can tell. Never repeated.
    Unknown,
    /// The outcome is known and the signed terminal report is in the entry.
    Done,
    /// Operators gave it up. Its process group is dead and it is never resumed.
    Abandoned,
}

impl Phase {
    /// Whether the effect may be under way or half done: single-effect allows one such entry.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        match self {
            Self::Started | Self::Unknown => true,
            Self::Accepted | Self::Done | Self::Abandoned => false,
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Done | Self::Abandoned => true,
            Self::Accepted | Self::Started | Self::Unknown => false,
        }
    }

    /// Whether `next` may follow. Never backwards: no path leads from `Started` to `Accepted`, and
    /// none leaves a final phase (*no-double-execution*).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Accepted, _)
            | (Self::Started, Self::Unknown | Self::Done | Self::Abandoned)
            | (Self::Unknown, Self::Unknown | Self::Done | Self::Abandoned)
            | (Self::Done, Self::Done)
            | (Self::Abandoned, Self::Abandoned) => true,
            (Self::Started, Self::Accepted | Self::Started)
            | (Self::Unknown, Self::Accepted | Self::Started)
            | (Self::Done, Self::Accepted | Self::Started | Self::Unknown | Self::Abandoned)
            | (Self::Abandoned, Self::Accepted | Self::Started | Self::Unknown | Self::Done) => {
                false
            }
        }
    }
}

/// Whether the coordinators have acknowledged the newest report of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Delivery {
    /// It is sent again until they have.
    Pending,
    /// They have.
    Acknowledged,
}

/// A signed report, as it was and will be sent.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SentReport {
    /// The signed note, exact bytes.
    pub note: Vec<u8>,
    /// Whether it has arrived.
    pub delivery: Delivery,
}

/// Everything about one decision.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// The fencing token of the decision.
    pub token: FencingToken,
    /// Its epoch.
    pub epoch: Epoch,
    /// The proposal: the idempotency key, equal across re-issues.
    pub proposal: ProposalId,
    /// The hash of its leaf: the same token with another leaf is a fork.
    pub leaf: Hash,
    /// The decision whose action this one continues.
    pub continues: Option<FencingToken>,
    /// When the proposal's id may be forgotten: expiry and skew.
    pub forget_after: LogTime,
    /// How far it has come.
    pub phase: Phase,
    /// The sequence it claims with, written before the first attempt and never changed.
    pub claim: Option<Sequence>,
    /// Plan and witness: before `Started` those of the first attempt to claim, then its own.
    pub prepared: Option<Prepared>,
    /// When it started.
    pub started: Option<LogTime>,
    /// The newest signed report.
    pub report: Option<SentReport>,
    /// Whether the action or its rollback was ordered: what `phase` and `report` speak of.
    pub orders: Orders,
}

/// Whether this journal ever claimed a decision before, or an earlier one that it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimAttempt {
    /// No claim was ever sent: if the coordinators have one, this journal was rolled back.
    First(Sequence),
    /// A claim was or may have been sent, with this sequence or under an earlier token.
    Again(Sequence),
}

impl ClaimAttempt {
    /// The sequence to claim with.
    #[must_use]
    pub const fn sequence(self) -> Sequence {
        match self {
            Self::First(sequence) | Self::Again(sequence) => sequence,
        }
    }
}

/// The journal refuses a step. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepRefused {
    /// There is no entry of that token.
    #[error("the journal has no decision {token} of {cluster}")]
    NoEntry {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
    },
    /// The phase does not allow it.
    #[error("decision {token} of {cluster} is {from:?} and cannot become {to:?}")]
    Backwards {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
        /// The present phase.
        from: Phase,
        /// The phase that was asked for.
        to: Phase,
    },
    /// Another action of this cluster is between `Started` and its end (*single-effect*).
    #[error("decision {other} of {cluster} is under way; {token} cannot start")]
    OtherUnderWay {
        /// The cluster.
        cluster: ClusterId,
        /// The token that wants to start.
        token: FencingToken,
        /// The one under way.
        other: FencingToken,
    },
    /// It would start without a claim.
    #[error("decision {token} of {cluster} was never claimed; it cannot start")]
    NotClaimed {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
    },
    /// Another terminal or harmful report was signed for this decision (*sign-once*).
    #[error("another report of decision {token} of {cluster} was signed before:\n{before}")]
    OtherReport {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
        /// The text of the one signed before.
        before: String,
    },
    /// Only what is under way in this life of the agent may start its member alone.
    #[error("decision {token} of {cluster} is {phase:?}: nobody starts alone under it")]
    NotUnderWay {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
        /// The present phase.
        phase: Phase,
    },
    /// Its permission to start alone was taken before (*one-survivor*).
    #[error("the permission of decision {token} of {cluster} to start alone was taken before")]
    Consumed {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
    },
    /// The sequence has reached its end, which no honest history does.
    #[error("the journal's sequence is used up")]
    SequenceUsedUp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Phase; 5] =
        [Phase::Accepted, Phase::Started, Phase::Unknown, Phase::Done, Phase::Abandoned];

    #[test]
    fn nothing_becomes_started_but_what_was_only_accepted() {
        for from in ALL {
            assert_eq!(from.may_become(Phase::Started), from == Phase::Accepted, "{from:?}");
        }
    }

    #[test]
    fn no_final_phase_is_left() {
        for from in ALL.into_iter().filter(|phase| phase.is_final()) {
            for to in ALL {
                assert_eq!(from.may_become(to), from == to, "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn started_and_unknown_end_only_by_an_outcome_or_an_abandon() {
        for from in [Phase::Started, Phase::Unknown] {
            let ends: Vec<_> = ALL.into_iter().filter(|to| from.may_become(*to)).collect();
            assert_eq!(ends, [Phase::Unknown, Phase::Done, Phase::Abandoned]);
        }
    }
}
