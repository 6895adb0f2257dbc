//! The charter's numbers as the ledger uses them: which limits an action falls under, how long the
//! quiet after it is, how often it may be tried.

use quorate_attest::charter::{BudgetLimit, Charter, Limited};
use quorate_attest::id::ClusterId;
use quorate_attest::log_time::Span;
use quorate_attest::operator_statement::Scope;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Class;

use crate::ledger::budget::{BudgetKey, Limit};
use crate::ledger::gcra::{Rate, RateError};
use crate::ledger::retry::RetryCap;

/// A key, its rate, and the quiet after a completion.
pub(crate) struct LimitLine {
    pub(crate) limit: Limit,
    pub(crate) cooldown: Span,
}

/// Every limit that one unit of `proposal` is taken from: everything, its class, its target.
///
/// The `*` line of the irreversible class counts all clusters together; a cluster's own line of
/// that class is counted besides. Every other `*` line is the default of each cluster.
pub(crate) fn limits(charter: &Charter, proposal: &Proposal) -> Vec<LimitLine> {
    let cluster = &proposal.cluster;
    let class = proposal.kind.class();
    let mut limits = Vec::new();
    let mut add = |key: BudgetKey, limit: Option<BudgetLimit>| {
        let rated = limit.and_then(|limit| {
            let rate = Rate::new(u64::from(limit.burst), limit.period).ok()?;
            Some(LimitLine { limit: Limit { key, rate }, cooldown: limit.cooldown })
        });
        limits.extend(rated);
    };
    let line = |scope: &Scope, limited: Limited| {
        let mut lines = charter.budget.iter();
        lines.find(|l| l.scope == *scope && l.limited == limited).map(|line| line.limit)
    };
    add(BudgetKey::Global, line(&Scope::All, Limited::Global));
    if class == Class::Irreversible {
        add(BudgetKey::Class { cluster: None, class }, line(&Scope::All, Limited::Class(class)));
        let own = line(&Scope::Cluster(cluster.clone()), Limited::Class(class));
        add(BudgetKey::Class { cluster: Some(cluster.clone()), class }, own);
    } else {
        let of = charter.budget(cluster, Limited::Class(class));
        add(BudgetKey::Class { cluster: Some(cluster.clone()), class }, of);
    }
    let target = BudgetKey::Target { cluster: cluster.clone(), target: proposal.target.clone() };
    add(target, charter.budget(cluster, Limited::Target));
    limits
}

/// `rule <cluster|*> retry-cap <per kind>/<per target>/<clear span>`
pub(crate) fn retry_cap(charter: &Charter, cluster: &ClusterId) -> Option<RetryCap> {
    read_retry_cap(charter.rule(cluster, "retry-cap")?.as_str())
}

fn read_retry_cap(word: &str) -> Option<RetryCap> {
    let mut parts = word.split('/');
    let cap = RetryCap {
        per_kind: parts.next()?.parse().ok()?,
        per_target: parts.next()?.parse().ok()?,
        clear: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(cap)
}

/// A number of a charter that could not be counted with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberRefused {
    /// A budget line is no rate.
    #[error("budget {scope} {limited}: {error}")]
    Budget {
        /// The line's cluster.
        scope: String,
        /// What it limits.
        limited: String,
        /// Why it is none.
        error: RateError,
    },
    /// The word of a rule does not read.
    #[error("rule {rule} cannot be {word:?}")]
    Rule {
        /// The rule.
        rule: String,
        /// Its word.
        word: String,
    },
}

/// Checks every budget and the words of the rules this crate reads, before a charter is in force:
/// a number that does not read must not silently limit nothing.
///
/// # Errors
/// The first one that does not read.
pub fn check_numbers(charter: &Charter) -> Result<(), NumberRefused> {
    for line in &charter.budget {
        Rate::new(u64::from(line.limit.burst), line.limit.period).map_err(|error| {
            NumberRefused::Budget {
                scope: line.scope.to_string(),
                limited: line.limited.to_string(),
                error,
            }
        })?;
    }
    for line in &charter.rule {
        if !crate::rule::reads(line.rule.as_str(), line.value.as_str()) {
            return Err(NumberRefused::Rule {
                rule: line.rule.to_string(),
                word: line.value.to_string(),
            });
        }
    }
    Ok(())
}

/// Whether the word of `retry-cap` reads.
pub(crate) fn reads_retry_cap(word: &str) -> bool {
    read_retry_cap(word).is_some()
}
