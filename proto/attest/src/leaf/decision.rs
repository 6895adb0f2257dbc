//! The decision leaf: an approved proposal with its number, which is its fencing token.

use super::LeafError;
use super::block::Blocks;
use crate::id::{ClusterId, Origin};
use crate::log_time::LogTime;
use crate::number::{DecisionNumber, Epoch, FencingToken};
use crate::proposal::Proposal;
use crate::signed::Signed;
use crate::text::{Statement, TextReader, TextWriter, or_word, zero_or};
use crate::vote::Vote;

/// `quorate-decision/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines and blocks of the grammar")]
pub struct Decision {
    pub origin: Origin,
    pub epoch: Epoch,
    pub time: LogTime,
    pub cluster: ClusterId,
    pub number: DecisionNumber,
    /// The decision whose action goes on under this higher token (R8).
    pub continues: Option<DecisionNumber>,
    /// When enough votes were counted; the veto span begins here.
    pub approved: LogTime,
    pub not_before: LogTime,
    /// After it nobody may *start*; it frees nothing.
    pub expires: LogTime,
    pub proposal: Proposal,
    /// The one text that all approving validators signed.
    pub votes: Signed<Vote>,
}

impl Decision {
    /// The first line.
    pub const FIRST_LINE: &'static str = "quorate-decision/v1";

    /// The fencing token.
    pub fn token(&self) -> FencingToken {
        FencingToken { incarnation: self.origin.incarnation, number: self.number }
    }

    pub(super) fn parse(text: &str) -> Result<Self, LeafError> {
        let mut blocks = Blocks::split(text)?;
        let header = blocks.next("the header")?;
        let proposal = Proposal::parse(&blocks.next("the proposal")?)?;
        let votes = blocks.signed("the approve note")?;
        blocks.finish()?;
        let mut reader = TextReader::start(&header, Self::FIRST_LINE)?;
        let decision = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            time: reader.value("time")?,
            cluster: reader.value("cluster")?,
            number: reader.value("number")?,
            continues: reader.value_with("continues", zero_or)?,
            approved: reader.value("approved")?,
            not_before: reader.value("not-before")?,
            expires: reader.value("expires")?,
            proposal,
            votes,
        };
        reader.finish()?;
        Ok(decision)
    }

    pub(super) fn to_text(&self) -> String {
        let mut writer = TextWriter::start(Self::FIRST_LINE);
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("time", self.time)
            .line("cluster", &self.cluster)
            .line("number", self.number)
            .line("continues", or_word(self.continues.as_ref(), "0"))
            .line("approved", self.approved)
            .line("not-before", self.not_before)
            .line("expires", self.expires);
        format!("{}\n{}\n{}", writer.finish(), self.proposal.text(), self.votes.note())
    }
}
