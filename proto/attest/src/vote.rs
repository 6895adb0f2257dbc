//! Votes and vetoes.
//!
//! All who approve one proposal sign the same bytes: the M lines under that one text are the
//! authority, and the decision number, which coordinators assign, is not part of it.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::{Origin, ProposalId, Sentence};
use crate::log_time::LogTime;
use crate::number::Epoch;
use crate::proposal::Proposal;
use crate::text::{Statement, TextError, TextReader, TextWriter, borsh_as_text, words};

/// What a validator says of a proposal.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum Verdict {
    Approve,
    Reject,
}

words!(Verdict { Approve => "approve", Reject => "reject" });

/// `quorate-vote/v1`, signed by validators.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Vote {
    pub origin: Origin,
    pub epoch: Epoch,
    pub proposal: ProposalId,
    pub verdict: Verdict,
    /// The proposal's own expiry, repeated so that it is signed where people read it.
    pub expires: LogTime,
}

impl Vote {
    /// The one text that a validator signs to say `verdict` of `proposal`.
    pub fn on(proposal: &Proposal, verdict: Verdict) -> Self {
        Self {
            origin: proposal.origin.clone(),
            epoch: proposal.epoch,
            proposal: proposal.id(),
            verdict,
            expires: proposal.expires,
        }
    }
}

impl Statement for Vote {
    const FIRST_LINE: &'static str = "quorate-vote/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("proposal", self.proposal)
            .line("verdict", self.verdict)
            .line("expires", self.expires);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            proposal: reader.value("proposal")?,
            verdict: reader.value("verdict")?,
            expires: reader.value("expires")?,
        })
    }
}

borsh_as_text!(Vote);

/// `quorate-veto/v1`: by an operator it vetoes, by the proposer's key it withdraws.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Veto {
    pub origin: Origin,
    pub epoch: Epoch,
    pub proposal: ProposalId,
    pub reason: Sentence,
}

impl Statement for Veto {
    const FIRST_LINE: &'static str = "quorate-veto/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("proposal", self.proposal)
            .line("reason", &self.reason);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            proposal: reader.value("proposal")?,
            reason: reader.value("reason")?,
        })
    }
}

borsh_as_text!(Veto);
