//! What clients were told.
//!
//! `unknown` is never counted as failed: the log settles it afterwards, either way. Only what was
//! acknowledged must be found again (*acknowledged-never-lost*).

use std::fmt;

use quorate_attest::id::{KeyName, ProposalId};
use quorate_attest::vote::Verdict;
use quorate_proto::client::CallError;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// To open a proposal.
    Open(ProposalId),
    /// To count a vote.
    Vote {
        /// On which proposal.
        proposal: ProposalId,
        /// Whose.
        voter: KeyName,
        /// Which verdict.
        verdict: Verdict,
    },
    /// To see a proposal decided.
    Decide {
        /// Which proposal.
        proposal: ProposalId,
        /// The number read.
        number: u64,
        /// The index of its leaf.
        leaf: u64,
    },
    /// To see the outcome of a decision.
    Outcome {
        /// The number of the decision.
        number: u64,
    },
}

/// How it ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged.
    Ok,
    /// Refused: it has not happened.
    Fail,
    /// It may have happened.
    Unknown,
}

/// Everything that clients asked for, in the order in which answers came.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<(Act, Answer)>,
}

impl History {
    /// Notes what a call answered.
    pub fn note<T>(&mut self, act: Act, answered: &Result<T, CallError>) {
        let answer = match answered {
            Ok(_) => Answer::Ok,
            // Another status than ours may come after the deed.
            Err(
                CallError::OutcomeUnknown { .. }
                | CallError::NotServed { .. }
                | CallError::Status(_),
            ) => Answer::Unknown,
            Err(CallError::Refused(_) | CallError::Unreachable { .. }) => Answer::Fail,
        };
        self.entries.push((act, answer));
    }

    /// Notes something that was read, which is an acknowledgement too.
    pub fn saw(&mut self, act: Act) {
        self.entries.push((act, Answer::Ok));
    }

    /// What was acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Act> {
        self.entries.iter().filter(|(_, answer)| *answer == Answer::Ok).map(|(act, _)| act)
    }

    /// How many ended so.
    #[must_use]
    pub fn count(&self, answer: Answer) -> usize {
        self.entries.iter().filter(|(_, found)| *found == answer).count()
    }
}

impl fmt::Display for History {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |answer| self.count(answer);
        write!(
            out,
            "{} ok, {} fail, {} unknown",
            of(Answer::Ok),
            of(Answer::Fail),
            of(Answer::Unknown)
        )
    }
}
