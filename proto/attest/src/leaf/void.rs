//! The void leaf: a proposal that ended without effect, with the votes counted so far.

use borsh::{BorshDeserialize, BorshSerialize};

use super::LeafError;
use super::block::Blocks;
use crate::id::{ClusterId, Origin, Sentence};
use crate::log_time::LogTime;
use crate::number::{DecisionNumber, Epoch};
use crate::proposal::Proposal;
use crate::signed::Signed;
use crate::text::{Statement, TextReader, TextWriter, words};
use crate::vote::{Verdict, Veto, Vote};

/// Why a proposal ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum VoidCause {
    /// No vote still to come could win it.
    Rejected,
    /// An operator vetoed it.
    Vetoed,
    /// Its proposer took it back.
    Withdrawn,
    /// Its time ran out.
    Expired,
    /// It was no longer needed, or coordinators refused to cosign it for a fresher fact or a clock.
    Superseded,
    /// The charter changed.
    Epoch,
}

words!(VoidCause {
    Rejected => "rejected",
    Vetoed => "vetoed",
    Withdrawn => "withdrawn",
    Expired => "expired",
    Superseded => "superseded",
    Epoch => "epoch",
});

/// `quorate-void/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines and blocks of the grammar")]
pub struct Void {
    pub origin: Origin,
    pub epoch: Epoch,
    pub time: LogTime,
    pub cluster: ClusterId,
    pub cause: VoidCause,
    /// `-`, or `refused <number>` for a decision that coordinators refused to cosign (R14), or a
    /// sentence for people.
    pub detail: Sentence,
    pub proposal: Proposal,
    /// Present exactly if somebody approved.
    pub approve: Option<Signed<Vote>>,
    /// Present exactly if somebody rejected.
    pub reject: Option<Signed<Vote>>,
    /// Present exactly if somebody vetoed or withdrew.
    pub veto: Option<Signed<Veto>>,
}

impl Void {
    /// The first line.
    pub const FIRST_LINE: &'static str = "quorate-void/v1";

    /// The detail of a void that names a refused decision.
    pub fn refused_detail(number: DecisionNumber) -> Sentence {
        let detail = format!("refused {number}");
        Sentence::new(detail).unwrap_or_else(|_| Sentence::none())
    }

    /// The refused decision that this void names.
    pub fn refused(&self) -> Option<DecisionNumber> {
        self.detail.as_str().strip_prefix("refused ").and_then(|number| number.parse().ok())
    }

    pub(super) fn parse(text: &str) -> Result<Self, LeafError> {
        let mut blocks = Blocks::split(text)?;
        let header = blocks.next("the header")?;
        let proposal = Proposal::parse(&blocks.next("the proposal")?)?;
        let (approve, reject) = Self::parse_votes(&mut blocks)?;
        let veto = match blocks.peek() {
            Some(_) => Some(blocks.signed("the veto note")?),
            None => None,
        };
        blocks.finish()?;
        let mut reader = TextReader::start(&header, Self::FIRST_LINE)?;
        let void = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            time: reader.value("time")?,
            cluster: reader.value("cluster")?,
            cause: reader.value("cause")?,
            detail: reader.value("detail")?,
            proposal,
            approve,
            reject,
            veto,
        };
        reader.finish()?;
        Ok(void)
    }

    /// The approve note and the reject note, in this order, each at most once.
    #[allow(clippy::type_complexity, reason = "two notes, named by the caller")]
    fn parse_votes(
        blocks: &mut Blocks<'_>,
    ) -> Result<(Option<Signed<Vote>>, Option<Signed<Vote>>), LeafError> {
        let (mut approve, mut reject) = (None, None);
        while blocks.peek() == Some(Vote::FIRST_LINE) {
            let votes: Signed<Vote> = blocks.signed("a vote note")?;
            let place = match votes.statement.verdict {
                Verdict::Approve if approve.is_none() && reject.is_none() => &mut approve,
                Verdict::Reject if reject.is_none() => &mut reject,
                Verdict::Approve | Verdict::Reject => {
                    let found = format!("a second vote note: {}", votes.statement.verdict);
                    return Err(LeafError::ExtraBlock { found });
                }
            };
            *place = Some(votes);
        }
        Ok((approve, reject))
    }

    pub(super) fn to_text(&self) -> String {
        let mut writer = TextWriter::start(Self::FIRST_LINE);
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("time", self.time)
            .line("cluster", &self.cluster)
            .line("cause", self.cause)
            .line("detail", &self.detail);
        let mut text = format!("{}\n{}", writer.finish(), self.proposal.text());
        let votes = [&self.approve, &self.reject].into_iter().flatten().map(Signed::note);
        for note in votes.chain(self.veto.iter().map(Signed::note)) {
            text.push('\n');
            text.push_str(&note.to_string());
        }
        text
    }
}
