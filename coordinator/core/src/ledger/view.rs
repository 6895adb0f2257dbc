//! What the rules, the machine and its callers ask of a ledger.

use std::collections::BTreeSet;

use quorate_attest::charter::Charter;
use quorate_attest::history::{History, Slot, Survivor};
use quorate_attest::id::{ClusterId, Digest, JournalInstance, KeyName, MemberId, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{DecisionNumber, FencingToken};
use quorate_attest::operator_statement::{Pause, Scope};
use quorate_attest::proposal::Proposal;

use crate::ledger::budget::Payment;
use crate::ledger::limits::{limits, retry_cap};
use crate::ledger::{Bars, Cooldowns, Ledger, Outages, Retries, Running, payer};
use crate::outcome::BudgetLeft;
use crate::rejection::Rejection;

impl Ledger {
    /// What one unit of every budget would cost, or everything that refuses: budgets, cooldowns.
    pub(super) fn price(
        &self,
        proposal: &Proposal,
        now: LogTime,
    ) -> Result<Payment, Vec<Rejection>> {
        let lines = limits(self.history.charter(), proposal);
        let payer = payer(proposal);
        let keys = lines.iter().map(|line| &line.limit.key);
        let cooling: Vec<Rejection> = self.cooldowns.holding(keys, &payer, now).collect();
        let limits: Vec<_> = lines.into_iter().map(|line| line.limit).collect();
        match self.budgets.price(&payer, &limits, now) {
            Ok(payment) if cooling.is_empty() => Ok(payment),
            Ok(_) => Err(cooling),
            Err(mut refused) => {
                refused.extend(cooling);
                Err(refused)
            }
        }
    }

    /// Every budget and cooldown that holds a new action back.
    #[must_use]
    pub fn held_by_budget(&self, proposal: &Proposal, now: LogTime) -> Vec<Rejection> {
        self.price(proposal, now).err().unwrap_or_default()
    }

    /// What the budgets an action falls under still allow.
    #[must_use]
    pub fn budget_left(&self, proposal: &Proposal, now: LogTime) -> Vec<BudgetLeft> {
        let limits: Vec<_> =
            limits(self.history.charter(), proposal).into_iter().map(|line| line.limit).collect();
        self.budgets.left(&limits, now)
    }

    /// The breaker, if it is open for this action.
    #[must_use]
    pub fn breaker(&self, proposal: &Proposal, now: LogTime) -> Option<Rejection> {
        let cap = retry_cap(self.history.charter(), &proposal.cluster)?;
        let open = self
            .retries
            .check(&proposal.cluster, &proposal.target, proposal.kind, cap, now)
            .err()?;
        Some(Rejection::BreakerOpen {
            cluster: proposal.cluster.clone(),
            target: proposal.target.clone(),
            attempts: open.attempts,
            cap: open.cap,
            next_allowed: open.next_allowed,
        })
    }

    /// The judge of leaves, and all it knows.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The charter in force.
    #[must_use]
    pub fn charter(&self) -> &Charter {
        self.history.charter()
    }

    /// The slot of a cluster, if it is taken: who is awaited, and for what.
    #[must_use]
    pub fn slot(&self, cluster: &ClusterId) -> Option<&Slot> {
        self.history.cluster(cluster)?.slot()
    }

    /// The decision that declared a member dead, while its tombstone stands.
    #[must_use]
    pub fn tombstone(&self, cluster: &ClusterId, member: &MemberId) -> Option<DecisionNumber> {
        self.history.cluster(cluster)?.standing.dead_members.get(member).copied()
    }

    /// The members of a cluster that are declared dead.
    #[must_use]
    pub fn tombstoned(&self, cluster: &ClusterId) -> BTreeSet<MemberId> {
        self.history.tombstoned(cluster)
    }

    /// The survivor of the newest declaration, until the roster is whole again.
    #[must_use]
    pub fn survivor(&self, cluster: &ClusterId) -> Option<&Survivor> {
        self.history.cluster(cluster)?.standing.survivor.as_ref()
    }

    /// The pauses that hold a cluster at `now`.
    #[must_use]
    pub fn pauses(&self, cluster: &ClusterId, now: LogTime) -> Vec<&Pause> {
        self.history
            .pauses(now)
            .filter(|pause| match &pause.cluster {
                Scope::All => true,
                Scope::Cluster(of) => of == cluster,
            })
            .collect()
    }

    /// Whether operators lifted a rule for one proposal.
    #[must_use]
    pub fn is_overridden(&self, proposal: &ProposalId, rule: &str, now: LogTime) -> bool {
        self.history.overrides_for(proposal, now).any(|found| found.rule.as_str() == rule)
    }

    /// The chain of decisions that holds a cluster's slot.
    #[must_use]
    pub fn running(&self, cluster: &ClusterId) -> Option<&Running> {
        self.running.get(cluster)
    }

    /// Every slot that is taken.
    pub fn all_running(&self) -> impl Iterator<Item = (&ClusterId, &Running)> {
        self.running.iter()
    }

    /// When a cluster's last new action was decided.
    #[must_use]
    pub fn last_decided(&self, cluster: &ClusterId) -> Option<LogTime> {
        self.last_decided.get(cluster).copied()
    }

    /// The quiet periods.
    #[must_use]
    pub fn cooldowns(&self) -> &Cooldowns {
        &self.cooldowns
    }

    /// The attempts counted per target.
    #[must_use]
    pub fn retries(&self) -> &Retries {
        &self.retries
    }

    /// When the held slot of a cluster is worth an alarm: the charter's `rule stuck` after its
    /// decision may be started, else when nobody can start it any more. `None` for a free slot.
    #[must_use]
    pub fn stuck_at(&self, cluster: &ClusterId) -> Option<LogTime> {
        let (running, charter) = (self.running(cluster)?, self.charter());
        let rule = charter.rule(cluster, "stuck").and_then(|word| word.as_str().parse().ok());
        Some(match rule {
            Some(span) => running.head().not_before.saturating_add(span),
            None => running.expires().saturating_add(charter.skew),
        })
    }

    /// What automation may not ask again.
    pub(crate) fn bars(&self) -> &Bars {
        &self.bars
    }

    /// The targets that decisions took out.
    #[must_use]
    pub fn outages(&self) -> &Outages {
        &self.outages
    }

    /// The journal an operator enrolled an agent with.
    #[must_use]
    pub fn enrolled(&self, agent: &KeyName) -> Option<JournalInstance> {
        self.enrolled.get(agent).copied()
    }

    /// The token of a decision of the present incarnation.
    #[must_use]
    pub fn token(&self, number: DecisionNumber) -> FencingToken {
        FencingToken { incarnation: self.history.origin().incarnation, number }
    }

    /// SHA-256 of everything above: what a replay compares.
    #[must_use]
    pub fn hash(&self) -> Digest {
        crate::snapshot::digest(self)
    }
}
