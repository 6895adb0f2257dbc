//! What the journal answers. Never ahead of what is durable.

use quorate_attest::id::{ClusterId, Digest, JournalInstance, ProposalId};
use quorate_attest::number::{FencingToken, Sequence};

use super::table::entry_key;
use super::{ArmedUndo, Entry, Journal, Phase, Pinned, Tombstone, Used};
use crate::adapters::Prepared;

impl Journal {
    /// Which life of this journal it is.
    #[must_use]
    pub fn instance(&self) -> JournalInstance {
        self.state.instance
    }

    /// The number of the newest change.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.state.sequence
    }

    /// The highest token ever accepted for `cluster`.
    #[must_use]
    pub fn highest(&self, cluster: &ClusterId) -> Option<FencingToken> {
        self.state.fence.get(cluster).copied()
    }

    /// The entry of one decision.
    #[must_use]
    pub fn entry(&self, cluster: &ClusterId, token: FencingToken) -> Option<&Entry> {
        self.state.entries.get(&entry_key(cluster, token))
    }

    /// The newest entry under an earlier token of the same action that went beyond `accepted`. The
    /// numbers between may be missing here, or never started: the proposal says what the action is.
    #[must_use]
    pub fn begun(
        &self,
        cluster: &ClusterId,
        proposal: &ProposalId,
        before: FencingToken,
    ) -> Option<&Entry> {
        let begun = self.entries().filter(|entry| {
            entry.cluster == *cluster
                && entry.proposal == *proposal
                && entry.token < before
                && entry.phase != Phase::Accepted
        });
        begun.max_by_key(|entry| entry.token)
    }

    /// The witness from before the first claim that was or may have been sent for the same action, or
    /// the same rollback, under an earlier token. What the newest of them has lost is lost.
    pub(super) fn asked(&self, entry: &Entry) -> Option<&Prepared> {
        let asked = self.entries().filter(|asked| {
            asked.cluster == entry.cluster
                && asked.proposal == entry.proposal
                && asked.orders == entry.orders
                && asked.token < entry.token
                && asked.claim.is_some()
        });
        asked.max_by_key(|asked| asked.token)?.prepared.as_ref()
    }

    /// All entries, by cluster and rising token.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.state.entries.values()
    }

    /// Under which token a proposal was used, if it was.
    #[must_use]
    pub fn used(&self, proposal: &ProposalId) -> Option<&Used> {
        self.state.used.get(proposal)
    }

    /// What must not start, and by which decision.
    pub fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.state.tombstones.iter()
    }

    /// The undos that wait for their time.
    pub fn undos(&self) -> impl Iterator<Item = &ArmedUndo> {
        self.state.undos.values()
    }

    /// The trust that was pinned last.
    #[must_use]
    pub fn pinned(&self) -> Option<&Pinned> {
        self.state.pinned.as_ref()
    }

    /// Two heads that contradict each other, exact bytes, if this agent ever saw such.
    #[must_use]
    pub fn alarm(&self) -> Option<&[Vec<u8>; 2]> {
        self.state.alarm.as_ref()
    }

    /// The two heads of a doubt that nobody has accounted for yet, exact bytes.
    #[must_use]
    pub fn doubted(&self) -> Option<&[Vec<u8>; 2]> {
        self.state.doubt.as_ref()
    }

    /// The member that an evidence leaf this agent verified speaks against.
    #[must_use]
    pub fn evidence(&self, leaf: &Digest) -> Option<&str> {
        self.state.evidence.get(leaf).map(String::as_str)
    }
}
