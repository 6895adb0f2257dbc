//! An open proposal: what it asks, who has said what, and since when that is enough.
//!
//! A key is counted once. The same text again changes nothing; another text by the same key is
//! equivocation, never an overwrite (*authority*).

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{KeyName, ProposalId};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::note::SignatureLine;
use quorate_attest::number::LeafIndex;
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::vote::{Verdict, Vote};

use crate::rule::Need;

/// Most open proposals of one cluster.
pub const OPEN_PER_CLUSTER: usize = 64;
/// Most open proposals of one proposer.
pub const OPEN_PER_PROPOSER: usize = 8;
/// The shortest time a proposal may be open beyond its class's veto span.
pub const OPEN_FOR_MIN: Span = Span::from_secs(1);
/// The longest time a proposal may be open.
pub const OPEN_FOR_MAX: Span = Span::from_secs(7 * 24 * 3_600);

/// A proposal that has neither become a decision nor ended.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenProposal {
    proposal: Proposal,
    opened: LogTime,
    /// Breaks ties of the same millisecond: the order of the Raft log.
    pub(crate) order: u64,
    #[borsh(serialize_with = "write_votes", deserialize_with = "read_votes")]
    votes: BTreeMap<KeyName, (Verdict, SignatureLine)>,
    /// Keys that said two things, and where the evidence lies.
    struck: BTreeMap<KeyName, LeafIndex>,
    approved: Option<LogTime>,
    pub(crate) need: Need,
}

impl OpenProposal {
    pub(crate) fn new(proposal: Proposal, opened: LogTime, order: u64, need: Need) -> Self {
        Self {
            proposal,
            opened,
            order,
            votes: BTreeMap::new(),
            struck: BTreeMap::new(),
            approved: None,
            need,
        }
    }

    /// What is asked.
    #[must_use]
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ProposalId {
        self.proposal.id()
    }

    /// When it was opened.
    #[must_use]
    pub fn opened(&self) -> LogTime {
        self.opened
    }

    /// Since when it has enough approvals.
    #[must_use]
    pub fn approved(&self) -> Option<LogTime> {
        self.approved
    }

    /// The veto span begins with the approval, and anew if an approval was lost in between.
    pub(crate) fn set_approved(&mut self, since: Option<LogTime>) {
        self.approved = since;
    }

    /// What a key has said.
    pub(crate) fn vote_of(&self, name: &KeyName) -> Option<(Verdict, &SignatureLine)> {
        self.votes.get(name).map(|(verdict, line)| (*verdict, line))
    }

    /// Counts a key that has said nothing yet.
    pub(crate) fn count(&mut self, name: KeyName, verdict: Verdict, line: SignatureLine) {
        self.votes.entry(name).or_insert((verdict, line));
    }

    /// The key said two things: neither counts.
    pub(crate) fn strike(&mut self, name: &KeyName, evidence: LeafIndex) {
        self.votes.remove(name);
        self.struck.insert(name.clone(), evidence);
    }

    /// The evidence that a key said two things.
    #[must_use]
    pub fn struck(&self, name: &KeyName) -> Option<LeafIndex> {
        self.struck.get(name).copied()
    }

    /// The keys that said so.
    #[must_use]
    pub fn voters(&self, verdict: Verdict) -> BTreeSet<KeyName> {
        self.votes
            .iter()
            .filter(|(_, (said, _))| *said == verdict)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether any vote is counted.
    #[must_use]
    pub fn has_votes(&self) -> bool {
        !self.votes.is_empty()
    }

    /// The note of one verdict, as a leaf carries it; none if nobody said so.
    #[must_use]
    pub fn note(&self, verdict: Verdict) -> Option<Signed<Vote>> {
        let lines: Vec<SignatureLine> = self
            .votes
            .values()
            .filter(|(said, _)| *said == verdict)
            .map(|(_, line)| line.clone())
            .collect();
        (!lines.is_empty()).then(|| Signed::new(Vote::on(&self.proposal, verdict), lines))
    }
}

type Votes = BTreeMap<KeyName, (Verdict, SignatureLine)>;

fn write_votes<W: borsh::io::Write>(votes: &Votes, writer: &mut W) -> borsh::io::Result<()> {
    borsh::BorshSerialize::serialize(&u32::try_from(votes.len()).unwrap_or(u32::MAX), writer)?;
    for (name, (verdict, line)) in votes {
        (name, verdict, line.key_id.to_bytes(), &line.payload).serialize(writer)?;
    }
    Ok(())
}

fn read_votes<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Votes> {
    let count = u32::deserialize_reader(reader)?;
    let mut votes = Votes::new();
    for _ in 0..count {
        let (name, verdict, key_id, payload) =
            <(KeyName, Verdict, [u8; 4], Vec<u8>)>::deserialize_reader(reader)?;
        let key_id = quorate_attest::key::KeyId::from_bytes(key_id);
        let line = SignatureLine { name: name.to_string(), key_id, payload };
        votes.insert(name, (verdict, line));
    }
    Ok(votes)
}
