//! The budget: how often something may be done, counted by the log alone.
//!
//! A decision takes one unit of every key it falls under: everything together, its class, its
//! target. All of them agree, or none is touched. The steps of one incident's playbook on one target
//! share a unit: they pay each key at most once per period of that key, so that a restart that fails
//! does not use up what its escalation needs, and yet no incident is a free pass for ever. Until
//! playbooks are verified, an incident is a label anybody can choose: another target or another
//! cluster pays for itself, whatever the label.
//!
//! Invariant (*budget*): no window of `w` ms holds more units of a key than `burst + w / period`.

use std::collections::BTreeMap;
use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, IncidentId, Word};
use quorate_attest::log_time::LogTime;
use quorate_attest::remediation::Class;

use crate::ledger::gcra::{Rate, is_spent};
use crate::outcome::BudgetLeft;
use crate::rejection::Rejection;

/// What a rate limit or a cooldown is counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum BudgetKey {
    /// Everything, in all clusters.
    Global,
    /// A class of remediations; in all clusters together where `cluster` is `None`.
    Class {
        /// The guarded cluster.
        cluster: Option<ClusterId>,
        /// The class.
        class: Class,
    },
    /// One target.
    Target {
        /// The guarded cluster.
        cluster: ClusterId,
        /// What is acted on.
        target: Word,
    },
}

impl fmt::Display for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Class { cluster: None, class } => write!(f, "*/{class}"),
            Self::Class { cluster: Some(cluster), class } => write!(f, "{cluster}/{class}"),
            Self::Target { cluster, target } => write!(f, "{cluster}/target/{target}"),
        }
    }
}

/// One key and the rate it stands under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) key: BudgetKey,
    pub(crate) rate: Rate,
}

/// Whose units are taken: the steps of an incident on one target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub(crate) struct Payer {
    pub(crate) cluster: ClusterId,
    pub(crate) incident: IncidentId,
    pub(crate) target: Word,
}

/// The words of all keys, and what each incident has paid.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Budgets {
    /// One word per key; no word is a full budget.
    words: BTreeMap<BudgetKey, u64>,
    /// Until when a key is paid for by an incident's steps on one target.
    paid: BTreeMap<(Payer, BudgetKey), LogTime>,
}

/// New words and payments, computed and not yet recorded.
#[derive(Debug, Default)]
pub(crate) struct Payment {
    words: Vec<(BudgetKey, u64)>,
    paid: Vec<(BudgetKey, LogTime)>,
}

impl Budgets {
    /// What taking one unit of every limit would write, or every limit that refuses.
    pub(crate) fn price(
        &self,
        payer: &Payer,
        limits: &[Limit],
        now: LogTime,
    ) -> Result<Payment, Vec<Rejection>> {
        let mut payment = Payment::default();
        let mut refused = Vec::new();
        for Limit { key, rate } in limits {
            if self.has_paid(payer, key, now) {
                continue;
            }
            match rate.take(self.words.get(key).copied(), now) {
                Ok(word) => {
                    payment.words.extend(word.map(|word| (key.clone(), word)));
                    payment.paid.push((key.clone(), now.saturating_add(rate.period())));
                }
                Err(next_allowed) => refused.push(Rejection::BudgetExhausted {
                    key: key.clone(),
                    burst: rate.burst(),
                    period: rate.period(),
                    next_allowed,
                }),
            }
        }
        if refused.is_empty() { Ok(payment) } else { Err(refused) }
    }

    /// Writes what [`Budgets::price`] computed.
    pub(crate) fn pay(&mut self, payer: &Payer, payment: Payment) {
        self.words.extend(payment.words);
        self.paid
            .extend(payment.paid.into_iter().map(|(key, until)| ((payer.clone(), key), until)));
    }

    /// What is left of every limit at `now`.
    pub(crate) fn left(&self, limits: &[Limit], now: LogTime) -> Vec<BudgetLeft> {
        limits
            .iter()
            .map(|Limit { key, rate }| BudgetLeft {
                key: key.clone(),
                left: rate.left(self.words.get(key).copied(), now),
                burst: rate.burst(),
                period_ms: rate.period().get(),
            })
            .collect()
    }

    /// When the next unit of a spent limit is there; `None` if one is there now.
    pub(crate) fn next_allowed(&self, limit: &Limit, now: LogTime) -> Option<LogTime> {
        limit.rate.take(self.words.get(&limit.key).copied(), now).err()
    }

    /// Every target that has used something.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&ClusterId, &Word)> {
        self.words.keys().filter_map(|key| match key {
            BudgetKey::Target { cluster, target } => Some((cluster, target)),
            BudgetKey::Global | BudgetKey::Class { .. } => None,
        })
    }

    /// A closed incident has paid for nothing more.
    pub(crate) fn close(&mut self, cluster: &ClusterId, incident: &IncidentId) {
        self.paid.retain(|(payer, _), _| payer.cluster != *cluster || payer.incident != *incident);
    }

    /// Drops words that say no more than none. Only while a leaf is recorded: a snapshot of one
    /// replica must not differ from another's by what somebody happened to read.
    pub(crate) fn forget(&mut self, now: LogTime) {
        self.words.retain(|_, word| !is_spent(*word, now));
        self.paid.retain(|_, until| *until > now);
    }

    fn has_paid(&self, payer: &Payer, key: &BudgetKey, now: LogTime) -> bool {
        self.paid.get(&(payer.clone(), key.clone())).is_some_and(|until| *until > now)
    }
}
