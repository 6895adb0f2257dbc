//! Every key of the budget, for people: what is left of it and when the next unit is there.

use std::collections::BTreeSet;

use quorate_attest::charter::Limited;
use quorate_attest::id::{ClusterId, Word};
use quorate_attest::log_time::LogTime;
use quorate_attest::operator_statement::Scope;

use crate::ledger::Ledger;
use crate::ledger::budget::{BudgetKey, Limit};
use crate::ledger::gcra::Rate;
use crate::outcome::BudgetLeft;

impl Ledger {
    /// What every key still allows, and when a spent one allows the next unit: the global key, the
    /// classes of `cluster` (of every cluster for `None`), and the targets that have used some.
    #[must_use]
    pub fn budgets(
        &self,
        cluster: Option<&ClusterId>,
        now: LogTime,
    ) -> Vec<(BudgetLeft, Option<LogTime>)> {
        let limits: Vec<Limit> = self
            .keys(cluster)
            .into_iter()
            .filter_map(|key| {
                let rate = self.rate_of(&key)?;
                Some(Limit { key, rate })
            })
            .collect();
        let left = self.budgets.left(&limits, now);
        left.into_iter()
            .zip(&limits)
            .map(|(left, limit)| {
                let next = self.budgets.next_allowed(limit, now);
                (left, next)
            })
            .collect()
    }

    fn keys(&self, cluster: Option<&ClusterId>) -> BTreeSet<BudgetKey> {
        let charter = self.charter();
        let clusters: Vec<&ClusterId> = charter
            .cluster
            .iter()
            .map(|line| &line.name)
            .filter(|name| cluster.is_none_or(|wanted| wanted == *name))
            .collect();
        let mut keys = BTreeSet::from([BudgetKey::Global]);
        for line in &charter.budget {
            match line.limited {
                Limited::Class(class) => {
                    keys.extend(
                        clusters
                            .iter()
                            .map(|name| BudgetKey::Class { cluster: Some((*name).clone()), class }),
                    );
                    if line.scope == Scope::All {
                        keys.insert(BudgetKey::Class { cluster: None, class });
                    }
                }
                Limited::Global | Limited::Target => {}
            }
        }
        let used = self.budgets.targets().filter(|(of, _)| clusters.contains(of));
        keys.extend(used.map(|(of, target): (&ClusterId, &Word)| BudgetKey::Target {
            cluster: of.clone(),
            target: target.clone(),
        }));
        keys
    }

    /// The rate of a key, by the same lines that [`limits`](super::limits) reads.
    fn rate_of(&self, key: &BudgetKey) -> Option<Rate> {
        let charter = self.charter();
        let line = |scope: &Scope, limited: Limited| {
            let mut lines = charter.budget.iter();
            lines.find(|l| l.scope == *scope && l.limited == limited).map(|line| line.limit)
        };
        let limit = match key {
            BudgetKey::Global => line(&Scope::All, Limited::Global),
            BudgetKey::Class { cluster: None, class } => {
                use quorate_attest::remediation::Class;
                (*class == Class::Irreversible)
                    .then(|| line(&Scope::All, Limited::Class(*class)))
                    .flatten()
            }
            BudgetKey::Class { cluster: Some(cluster), class } => {
                use quorate_attest::remediation::Class;
                if *class == Class::Irreversible {
                    line(&Scope::Cluster(cluster.clone()), Limited::Class(*class))
                } else {
                    charter.budget(cluster, Limited::Class(*class))
                }
            }
            BudgetKey::Target { cluster, .. } => charter.budget(cluster, Limited::Target),
        }?;
        Rate::new(u64::from(limit.burst), limit.period).ok()
    }
}
