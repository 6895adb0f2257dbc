//! What the machine answers.
//!
//! An [`Outcome`] or a [`Rejection`](crate::Rejection) is deterministic: every replica gives the
//! same answer to the same entry. A broken disk is neither; it is a fault and stops the replica.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{KeyName, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{DecisionNumber, Epoch, FencingToken, LeafIndex, Sequence};
use quorate_attest::quorum::Tally;

use crate::command::MachineVersion;
use crate::effect::Effect;
use crate::rejection::Rejection;

/// Everything that came of one entry.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Applied {
    /// The answer to who asked.
    pub outcome: Result<Outcome, Rejection>,
    /// What the caller must do, in order. Not empty even for some rejections: an equivocation is
    /// refused *and* leaves evidence, and time may have brought other things due.
    pub effects: Vec<Effect>,
}

impl Applied {
    /// Whether the command changes anything but the time: only then is it worth a Raft entry.
    #[must_use]
    pub fn is_worth_an_entry(&self) -> bool {
        self.leaves().next().is_some()
            || self.outcome.as_ref().is_ok_and(|outcome| !outcome.is_repeat())
    }

    /// The leaves that were appended, in order.
    pub fn leaves(&self) -> impl Iterator<Item = (LeafIndex, &[u8])> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Leaf { index, bytes } => Some((*index, bytes.as_slice())),
            Effect::Raise(_) => None,
        })
    }
}

/// Whether an entry said something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Novelty {
    /// It was recorded.
    New,
    /// It was recorded before; nothing changed.
    Repeated,
}

/// The answer to a command that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Outcome {
    /// The log has begun, or a charter is in force.
    Chartered {
        /// The epoch now in force.
        epoch: Epoch,
        /// The charter's leaf.
        index: LeafIndex,
    },
    /// The proposal is open.
    Opened {
        /// Its id; the *first* proposal's where automation asks for the same again.
        proposal: ProposalId,
        /// Whether it was opened by this entry.
        novelty: Novelty,
        /// Where it stands.
        standing: Standing,
    },
    /// The vote is recorded.
    Voted {
        /// The proposal.
        proposal: ProposalId,
        /// Whether this entry brought it.
        novelty: Novelty,
        /// Where the proposal stands now.
        standing: Standing,
    },
    /// The proposal has ended.
    Ended {
        /// The proposal.
        proposal: ProposalId,
        /// How.
        ending: Ending,
        /// The void leaf.
        index: LeafIndex,
    },
    /// The facts are noted.
    Observed {
        /// Whether they were newer than what was known.
        novelty: Novelty,
    },
    /// The right to start is recorded.
    Claimed {
        /// The decision.
        token: FencingToken,
        /// The journal sequence under which it is held.
        sequence: Sequence,
        /// The asking process may start: no other can have, under this number or an earlier one of
        /// the same action. If not, another process may have started, perhaps an earlier one of
        /// the same journal: the agent must probe and never execute.
        fresh: bool,
        /// Whether this entry recorded it.
        novelty: Novelty,
    },
    /// The report is recorded.
    Reported {
        /// The decision.
        token: FencingToken,
        /// Whether this entry brought it.
        novelty: Novelty,
        /// Its leaf, for terminal and `harmful` reports.
        index: Option<LeafIndex>,
        /// What became of the slot.
        slot: SlotChange,
    },
    /// An operators' text became a leaf.
    Recorded {
        /// Where.
        index: LeafIndex,
        /// Whether this entry brought it.
        novelty: Novelty,
    },
    /// Refusals are noted; with enough of them the decision is void.
    Refused {
        /// Distinct coordinators so far.
        have: u64,
        /// How many it takes.
        need: u64,
        /// The void leaf, once there is one.
        index: Option<LeafIndex>,
        /// Whether this entry brought a new one.
        novelty: Novelty,
    },
    /// A decision was re-issued under a higher token.
    Continued {
        /// The new token.
        token: FencingToken,
        /// Its leaf.
        index: LeafIndex,
    },
    /// The version in force, after a coordinator's statement.
    Supported {
        /// The version in force now.
        version: MachineVersion,
        /// Whether the statement was new.
        novelty: Novelty,
    },
    /// Time has passed.
    Ticked,
}

impl Outcome {
    /// Whether nothing changed because the same was said before.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        match self {
            Self::Opened { novelty, .. }
            | Self::Voted { novelty, .. }
            | Self::Observed { novelty }
            | Self::Claimed { novelty, .. }
            | Self::Reported { novelty, .. }
            | Self::Recorded { novelty, .. }
            | Self::Refused { novelty, .. }
            | Self::Supported { novelty, .. } => *novelty == Novelty::Repeated,
            Self::Chartered { .. } | Self::Ended { .. } | Self::Continued { .. } | Self::Ticked => {
                false
            }
        }
    }
}

/// What a report did to the slot of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SlotChange {
    /// Other executors, or a later report, are still awaited.
    Held,
    /// Every executor has ended: the next decision may come.
    Freed,
    /// A continuation that orders the planned rollback was issued.
    RollbackOrdered,
}

/// How a proposal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Ending {
    /// It became a decision.
    Decided,
    /// Enough validators rejected it.
    Rejected,
    /// An operator vetoed it.
    Vetoed,
    /// Its proposer withdrew it.
    Withdrawn,
    /// Its time ran out.
    Expired,
    /// What it asks for was already so.
    Superseded,
    /// The charter changed.
    Epoch,
}

impl Ending {
    /// The word in texts and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Rejected => "rejected",
            Self::Vetoed => "vetoed",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Epoch => "epoch",
        }
    }
}

/// Where an open proposal stands: the tally, and what holds back its decision.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Standing {
    /// Voices that approve, are missing, are needed.
    pub tally: Tally,
    /// The keys whose approval counts.
    pub approved_by: Vec<KeyName>,
    /// The keys whose rejection counts.
    pub rejected_by: Vec<KeyName>,
    /// The keys that may still vote.
    pub may_vote: Vec<KeyName>,
    /// Since when it is approved.
    pub approved: Option<LogTime>,
    /// Everything that holds the decision back now: named rules first, then the slot, budgets and
    /// cooldowns. For a proposal that is not approved yet: what would hold it back if it were.
    pub waiting_for: Vec<Rejection>,
    /// What its budget keys still allow.
    pub budget: Vec<BudgetLeft>,
    /// The decision, if there is one already.
    pub decision: Option<DecisionNumber>,
}

impl Standing {
    /// The first thing that holds the proposal back besides missing votes: what `validate_only`
    /// answers with.
    #[must_use]
    pub fn refusal(&self) -> Option<&Rejection> {
        self.waiting_for.first()
    }

    /// The earliest time at which time alone lets the decision through; `None` if something other
    /// than time has to happen.
    #[must_use]
    pub fn next_allowed(&self) -> Option<LogTime> {
        self.waiting_for
            .iter()
            .map(Rejection::next_allowed)
            .collect::<Option<Vec<_>>>()
            .and_then(|times| times.into_iter().max())
    }
}

/// What one budget key still allows.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BudgetLeft {
    /// The key.
    pub key: crate::ledger::BudgetKey,
    /// Units that could be taken now.
    pub left: u64,
    /// The burst.
    pub burst: u64,
    /// One unit comes back per this many milliseconds.
    pub period_ms: u64,
}
