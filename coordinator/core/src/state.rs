//! The whole replicated state: the ledger, and what comes before a leaf.
//!
//! Ordered maps only, no float, no clock. Two replicas that applied the same entries have the same
//! bytes here, and [`State::validate`] says what must hold after every entry.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::Report;
use quorate_attest::id::{ClusterId, Digest, KeyName, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{DecisionNumber, LeafIndex};
use quorate_attest::signed::Signed;

use crate::claim::Claims;
use crate::command::LogId;
use crate::grounds::Grounds;
use crate::ledger::Ledger;
use crate::observation::Observations;
use crate::proposal::{OPEN_PER_CLUSTER, OPEN_PER_PROPOSER, OpenProposal};
use crate::refusal::Refusals;
use crate::request::Requests;
use crate::version::Versions;

/// Reports that are remembered per cluster, so that a repetition gets its first answer and a
/// conflict leaves evidence.
pub(crate) const REPORTS_KEPT: usize = 64;

/// A report that was taken.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TakenReport {
    /// The report.
    pub report: Signed<Report>,
    /// Its leaf; an inconclusive one has none.
    pub index: Option<LeafIndex>,
}

/// Everything that is replicated.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct State {
    pub(crate) applied: LogId,
    pub(crate) time: LogTime,
    pub(crate) versions: Versions,
    pub(crate) ledger: Option<Ledger>,
    pub(crate) open: BTreeMap<ProposalId, OpenProposal>,
    pub(crate) observations: Observations,
    pub(crate) claims: Claims,
    pub(crate) requests: Requests,
    pub(crate) refusals: Refusals,
    pub(crate) reports: BTreeMap<(ClusterId, DecisionNumber, KeyName), TakenReport>,
    /// Operators' texts that made a leaf, until they expire: the same text gets the same answer.
    pub(crate) recorded: BTreeMap<Digest, (LogTime, LeafIndex)>,
    /// Decisions whose alarm was raised.
    pub(crate) stuck: BTreeSet<(ClusterId, DecisionNumber)>,
    /// What each running decision rested on: what comes to be known afterwards must not hide it.
    pub(crate) decided_on: BTreeMap<ClusterId, Grounds>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            applied: LogId::default(),
            time: LogTime::MIN,
            versions: Versions::default(),
            ledger: None,
            open: BTreeMap::new(),
            observations: Observations::default(),
            claims: Claims::default(),
            requests: Requests::default(),
            refusals: Refusals::default(),
            reports: BTreeMap::new(),
            recorded: BTreeMap::new(),
            stuck: BTreeSet::new(),
            decided_on: BTreeMap::new(),
        }
    }
}

/// Something that must hold does not: a defect of this crate, never of an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} does not hold: {found}")]
pub struct InvariantBroken {
    /// What must hold.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

impl State {
    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// Log time: the highest stamp so far.
    #[must_use]
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// The machine version in force, and who supports what.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// What the leaves determine; none before the first charter.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// The open proposals.
    #[must_use]
    pub fn open(&self) -> &BTreeMap<ProposalId, OpenProposal> {
        &self.open
    }

    /// What agents saw.
    #[must_use]
    pub fn observations(&self) -> &Observations {
        &self.observations
    }

    /// What the running decision of a cluster rested on.
    #[must_use]
    pub fn decided_on(&self, cluster: &ClusterId) -> Option<&Grounds> {
        self.decided_on.get(cluster)
    }

    /// Who may start what.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The remembered answers.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The reports on a decision.
    pub fn reports<'a>(
        &'a self,
        cluster: &'a ClusterId,
        number: DecisionNumber,
    ) -> impl Iterator<Item = &'a TakenReport> {
        self.reports
            .iter()
            .filter(move |((of, on, _), _)| of == cluster && *on == number)
            .map(|(_, taken)| taken)
    }

    /// What must hold after every entry.
    ///
    /// # Errors
    /// The first invariant that does not.
    pub fn validate(&self) -> Result<(), InvariantBroken> {
        let broken = |invariant, found: String| Err(InvariantBroken { invariant, found });
        if !self.requests.is_consistent() {
            return broken("requests are indexed by age", self.requests.len().to_string());
        }
        if !self.claims.is_consistent() {
            return broken("every claim has its agent's journal", String::new());
        }
        let Some(ledger) = &self.ledger else {
            return if self.open.is_empty() {
                Ok(())
            } else {
                broken("nothing is open before the first charter", self.open.len().to_string())
            };
        };
        for (id, open) in &self.open {
            if open.id() != *id {
                return broken("a proposal is filed under its id", id.to_string());
            }
            if open.proposal().epoch != ledger.charter().epoch {
                return broken("an open proposal is of the epoch in force", id.to_string());
            }
            if ledger.history().ended(id).is_some() {
                return broken("an open proposal has not ended (veto-final)", id.to_string());
            }
            if self.open_in(&open.proposal().cluster) > OPEN_PER_CLUSTER
                || self.open_by(&open.proposal().proposer) > OPEN_PER_PROPOSER
            {
                return broken("open proposals are bounded", self.open.len().to_string());
            }
        }
        for (cluster, grounds) in &self.decided_on {
            if !ledger.running(cluster).is_some_and(|running| running.has(grounds.number())) {
                return broken("grounds are of what runs", cluster.to_string());
            }
        }
        for (cluster, running) in ledger.all_running() {
            let slot = ledger.slot(cluster).map(|slot| (slot.token, slot.orders));
            if slot != Some((running.token(), running.orders(running.newest()))) {
                return broken(
                    "the slot is held by what runs (single-effect)",
                    cluster.to_string(),
                );
            }
        }
        Ok(())
    }

    /// A copy without the remembered answers, which are most of a busy state and decide nothing
    /// about a question that has no id.
    pub(crate) fn without_requests(&self) -> Self {
        Self {
            applied: self.applied,
            time: self.time,
            versions: self.versions.clone(),
            ledger: self.ledger.clone(),
            open: self.open.clone(),
            observations: self.observations.clone(),
            claims: self.claims.clone(),
            requests: Requests::default(),
            refusals: self.refusals.clone(),
            reports: self.reports.clone(),
            recorded: self.recorded.clone(),
            stuck: self.stuck.clone(),
            decided_on: self.decided_on.clone(),
        }
    }

    pub(crate) fn open_in(&self, cluster: &ClusterId) -> usize {
        self.open.values().filter(|open| open.proposal().cluster == *cluster).count()
    }

    pub(crate) fn open_by(&self, proposer: &KeyName) -> usize {
        self.open.values().filter(|open| open.proposal().proposer == *proposer).count()
    }
}
