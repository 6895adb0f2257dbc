//! What a history says of its log.

use std::collections::BTreeSet;

use super::{ClusterHistory, Ended, History, Incident, RungNotDue};
use crate::charter::Charter;
use crate::id::{CharterId, ClusterId, Digest, IncidentId, KeyName, MemberId, Origin, ProposalId};
use crate::ladder::Rung;
use crate::log_time::LogTime;
use crate::merkle::{Frontier, Hash, Head};
use crate::number::{Epoch, TreeSize};
use crate::operator_statement::{IncarnationStatement, Override, Pause, Scope};
use crate::proposal::Proposal;
use crate::signed::Signed;

impl History {
    /// The origin in force for the next leaf.
    pub const fn origin(&self) -> &Origin {
        &self.charter.origin
    }

    /// The epoch in force for the next leaf.
    pub const fn epoch(&self) -> Epoch {
        self.charter.epoch
    }

    /// The charter in force for the next leaf.
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Its id.
    pub const fn charter_id(&self) -> CharterId {
        self.charter_id
    }

    /// The charter before it.
    pub const fn previous_charter(&self) -> Option<&Charter> {
        self.previous.as_ref()
    }

    /// The charter of an epoch: the one in force or the one before it. Older ones are forgotten.
    pub fn charter_of_epoch(&self, epoch: Epoch) -> Option<&Charter> {
        let known = [Some(&self.charter), self.previous.as_ref()];
        known.into_iter().flatten().find(|charter| charter.epoch == epoch)
    }

    /// The largest log time of any leaf; [`LogTime::MIN`] while no leaf carried one.
    pub const fn time(&self) -> LogTime {
        self.time
    }

    /// How many leaves there are.
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Size and root.
    pub fn head(&self) -> Head {
        self.frontier.head()
    }

    /// The Merkle frontier.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// What the leaves say of a cluster; none before its first decision.
    pub fn cluster(&self, cluster: &ClusterId) -> Option<&ClusterHistory> {
        self.clusters.get(cluster)
    }

    /// Every cluster that ever had a decision.
    pub fn clusters(&self) -> impl Iterator<Item = (&ClusterId, &ClusterHistory)> {
        self.clusters.iter()
    }

    /// The members of a cluster that are tombstoned.
    pub fn tombstoned(&self, cluster: &ClusterId) -> BTreeSet<MemberId> {
        self.clusters.get(cluster).map(ClusterHistory::tombstoned).unwrap_or_default()
    }

    /// How a proposal ended; none if it did not, or is past its expiry.
    pub fn ended(&self, proposal: &ProposalId) -> Option<&Ended> {
        self.ended.get(proposal)
    }

    /// The incidents that follow a playbook and are not over, as far as leaves tell.
    pub fn incidents(&self) -> impl Iterator<Item = (&ClusterId, &IncidentId, &Incident)> {
        self.incidents.iter()
    }

    /// One of them.
    pub fn incident(&self, cluster: &ClusterId, incident: &IncidentId) -> Option<&Incident> {
        self.incidents.get(cluster, incident)
    }

    /// Whether a proposal may be decided at `now`, as far as its ladder goes. One without a rung may.
    ///
    /// # Errors
    /// Another attempt comes next, or this one comes later: [`RungNotDue::Pause`] says when.
    pub fn rung_due(&self, proposal: &Proposal, now: LogTime) -> Result<(), RungNotDue> {
        match Rung::of(proposal) {
            Ok(Some(rung)) => self.incidents.admits(proposal, &rung, now),
            // What does not read is refused for that reason.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// How many ended proposals are remembered.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }

    /// The overrides of one proposal that are in force at `at`.
    pub fn overrides_for(
        &self,
        proposal: &ProposalId,
        at: LogTime,
    ) -> impl Iterator<Item = &Override> {
        let proposal = *proposal;
        self.overrides.values().filter(move |found| found.scope == proposal && found.in_force(at))
    }

    /// The pauses in force at `at`.
    pub fn pauses(&self, at: LogTime) -> impl Iterator<Item = &Pause> {
        self.pauses.in_force(at)
    }

    /// The operators who hold a pause of exactly this scope at `at`.
    pub fn pause_holders<'a>(
        &'a self,
        scope: &'a Scope,
        at: LogTime,
    ) -> impl Iterator<Item = &'a KeyName> {
        self.pauses.holders(scope, at)
    }

    /// The operators who still hold this very pause; who has lifted it or signed a newer one of its
    /// scope does not.
    pub fn holders_of<'a>(&'a self, pause: &'a Pause) -> impl Iterator<Item = &'a KeyName> {
        self.pauses.holders_of(pause)
    }

    /// The pause that stops a cluster at `at`: its own, or the one for all.
    pub fn paused(&self, cluster: &ClusterId, at: LogTime) -> Option<&Pause> {
        self.pauses(at).find(|pause| match &pause.cluster {
            Scope::All => true,
            Scope::Cluster(paused) => paused == cluster,
        })
    }

    /// Whose votes on a proposal do not count, because they said both.
    pub fn equivocators(&self, proposal: &ProposalId) -> BTreeSet<KeyName> {
        self.equivocators.get(proposal).cloned().unwrap_or_default()
    }

    /// Whether a text of this digest made its leaf already.
    pub fn has_text(&self, digest: &Digest) -> bool {
        self.texts.contains(digest)
    }

    /// The incarnation whose charter must come next.
    pub const fn incarnation(&self) -> Option<&Signed<IncarnationStatement>> {
        self.incarnation.as_ref()
    }

    /// The digest of all of it: equal on every machine that read the same leaves (*replay-equal*).
    ///
    /// # Panics
    /// Never: borsh into memory cannot fail for these types.
    pub fn hash(&self) -> Digest {
        Digest::of(&borsh::to_vec(self).expect("borsh into memory"))
    }
}
