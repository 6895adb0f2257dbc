//! The decision that holds a cluster's slot, with its text and votes, for as long as it does.
//!
//! Who is still awaited is the log's to say ([`Slot`](quorate_attest::history::Slot)); what is kept
//! here besides is needed to continue the action under a higher token, and to count how it ended.

use std::collections::BTreeSet;

use borsh::io::{Error, ErrorKind, Read, Result as IoResult, Write};
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::{Effect, Report};
use quorate_attest::history::Orders;
use quorate_attest::id::ProposalId;
use quorate_attest::leaf::{Decision, Leaf};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{DecisionNumber, FencingToken};
use quorate_attest::proposal::Proposal;

use crate::ledger::retry::AttemptEnd;

/// The chain of decisions that holds a slot: one action, under one or more tokens.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Running {
    #[borsh(serialize_with = "write_decision", deserialize_with = "read_decision")]
    head: Decision,
    since: LogTime,
    chain: BTreeSet<DecisionNumber>,
    /// From which number on the chain orders the rollback.
    rolls_back_from: Option<DecisionNumber>,
    went_well: bool,
}

impl Running {
    pub(super) fn begin(decision: &Decision) -> Self {
        Self {
            head: decision.clone(),
            since: decision.time,
            chain: BTreeSet::from([decision.number]),
            rolls_back_from: None,
            went_well: true,
        }
    }

    /// The same action goes on under the next token, or its rollback is ordered.
    pub(super) fn go_on(&mut self, decision: &Decision, orders: Orders) {
        self.head = decision.clone();
        self.chain.insert(decision.number);
        if orders == Orders::Rollback {
            self.rolls_back_from.get_or_insert(decision.number);
        }
    }

    /// Notes a report that became a leaf: one bad effect makes the whole attempt a bad one.
    pub(super) fn note(&mut self, report: &Report) {
        match report.effect {
            Effect::Effective => {}
            Effect::Ineffective | Effect::Harmful | Effect::Inconclusive | Effect::None => {
                self.went_well = false;
            }
        }
    }

    pub(super) fn end(&self) -> AttemptEnd {
        if self.went_well { AttemptEnd::Well } else { AttemptEnd::Badly }
    }

    /// The newest decision of the chain.
    #[must_use]
    pub fn head(&self) -> &Decision {
        &self.head
    }

    /// What was voted on.
    #[must_use]
    pub fn proposal(&self) -> &Proposal {
        &self.head.proposal
    }

    /// Its id, the idempotency key of every execution under every token of the chain.
    #[must_use]
    pub fn proposal_id(&self) -> ProposalId {
        self.head.proposal.id()
    }

    /// The newest number.
    #[must_use]
    pub fn newest(&self) -> DecisionNumber {
        self.head.number
    }

    /// The newest token.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.head.token()
    }

    /// When nobody may start it any more.
    #[must_use]
    pub fn expires(&self) -> LogTime {
        self.head.expires
    }

    /// When the slot was taken.
    #[must_use]
    pub fn since(&self) -> LogTime {
        self.since
    }

    /// The numbers the same action had before the newest one.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = DecisionNumber> {
        self.chain.iter().copied().filter(|number| *number != self.head.number)
    }

    /// What a number of this chain orders. After the first rollback all are rollbacks.
    pub(crate) fn orders(&self, number: DecisionNumber) -> Orders {
        match self.rolls_back_from {
            Some(first) if first <= number => Orders::Rollback,
            Some(_) | None => Orders::Action,
        }
    }

    /// Whether a number belongs to this chain.
    #[must_use]
    pub fn has(&self, number: DecisionNumber) -> bool {
        self.chain.contains(&number)
    }
}

fn write_decision<W: Write>(decision: &Decision, writer: &mut W) -> IoResult<()> {
    Leaf::Decision(decision.clone()).serialize(writer)
}

fn read_decision<R: Read>(reader: &mut R) -> IoResult<Decision> {
    match Leaf::deserialize_reader(reader)? {
        Leaf::Decision(decision) => Ok(decision),
        Leaf::Charter(_)
        | Leaf::Void(_)
        | Leaf::Outcome(_)
        | Leaf::Evidence(_)
        | Leaf::Override(_)
        | Leaf::Pause(_)
        | Leaf::Act(_)
        | Leaf::Incarnation(_) => Err(Error::new(
            ErrorKind::InvalidData,
            "a decision holds the slot, this is no decision",
        )),
    }
}
