//! What a rule looks at: one proposal, the ledger, the observations, and a time. Nothing else.

use std::collections::BTreeSet;

use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, KeyName, MemberId, ProposalId, Word};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::proposal::Proposal;

use crate::ledger::{Ledger, Outages};
use crate::observation::{Health, Observations, Observers, health};

/// What a rule needs to know of the proposal's own way so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    /// When it was opened.
    pub(crate) opened: Option<LogTime>,
    /// Since when it is approved.
    pub(crate) approved: Option<LogTime>,
    /// Whose approval counts.
    pub(crate) approvers: BTreeSet<KeyName>,
    /// Backups that other open proposals and unresolved decisions of the cluster name.
    pub(crate) pinned: BTreeSet<Word>,
}

/// The whole input of a rule.
pub(crate) struct Scene<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) observations: &'a Observations,
    pub(crate) outages: &'a Outages,
    pub(crate) proposal: &'a Proposal,
    pub(crate) id: ProposalId,
    pub(crate) circumstances: Circumstances,
    pub(crate) now: LogTime,
}

impl Scene<'_> {
    pub(crate) fn charter(&self) -> &Charter {
        self.ledger.charter()
    }

    /// The charter's word for a rule in this cluster.
    pub(crate) fn word(&self, rule: &str) -> Option<&str> {
        self.charter().rule(&self.proposal.cluster, rule).map(Word::as_str)
    }

    /// The charter's span for a rule in this cluster.
    pub(crate) fn span(&self, rule: &str) -> Option<Span> {
        self.word(rule)?.parse().ok()
    }

    /// How old a fact may be.
    pub(crate) fn freshness(&self) -> Span {
        super::freshness(self.charter(), &self.proposal.cluster)
    }

    /// How long silence must last before it may count for anything.
    pub(crate) fn grace(&self) -> Span {
        self.span("grace").unwrap_or(self.charter().max_age)
    }

    /// Whether automation opened it.
    pub(crate) fn is_automatic(&self) -> bool {
        self.charter().agent(&self.proposal.proposer).is_some()
    }

    /// Whether an operator's approval counts for it.
    pub(crate) fn has_operator(&self) -> bool {
        let operator = |name: &KeyName| self.charter().operator(name).is_some();
        self.circumstances.approvers.iter().any(operator)
    }

    /// What is believed of a member now.
    pub(crate) fn health(&self, member: &MemberId) -> Health {
        believed(self.ledger, self.observations, &self.proposal.cluster, member, self.now)
    }

    /// The cluster's members that are not tombstoned.
    pub(crate) fn roster(&self) -> Vec<MemberId> {
        roster(self.ledger, &self.proposal.cluster)
    }

    /// Whether a decision took this member out and nothing brought it back.
    pub(crate) fn is_out(&self, member: &MemberId) -> bool {
        let word = format!("member:{member}");
        self.outages.of(&self.proposal.cluster, self.now).any(|(target, _)| target.as_str() == word)
    }

    /// Whether a member counts towards the floor: it is healthy, and no decision took it out.
    pub(crate) fn counts(&self, member: &MemberId) -> bool {
        self.health(member) == Health::Healthy && !self.is_out(member)
    }
}

/// The members of a cluster that are not tombstoned.
pub(crate) fn roster(ledger: &Ledger, cluster: &ClusterId) -> Vec<MemberId> {
    let dead = ledger.tombstoned(cluster);
    let members = ledger.charter().members(cluster).map(|line| line.member.clone());
    members.filter(|member| !dead.contains(member)).collect()
}

/// What is believed of a member, by the fresh facts of the agents that are not tombstoned.
pub(crate) fn believed(
    ledger: &Ledger,
    observations: &Observations,
    cluster: &ClusterId,
    member: &MemberId,
    now: LogTime,
) -> Health {
    let charter = ledger.charter();
    let dead = ledger.tombstoned(cluster);
    let own = charter.agents(cluster).find(|line| line.member == *member);
    let others = charter
        .agents(cluster)
        .filter(|line| line.member != *member && !dead.contains(&line.member))
        .count();
    let observers = Observers { own: own.map(|line| line.key.name()), others };
    let window = super::freshness(charter, cluster);
    health(observations.fresh(cluster, window, now), observers, member)
}
