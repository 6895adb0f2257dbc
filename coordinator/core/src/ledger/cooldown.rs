//! Cooldowns: the quiet period after an action, counted from its *completion*.
//!
//! It gives an action time to show its effect before the next one. The next step of the same
//! incident's playbook on the same target is not held, and an operator's acknowledgement ends it.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::ClusterId;
use quorate_attest::log_time::LogTime;
use quorate_attest::number::FencingToken;

use crate::ledger::budget::{BudgetKey, Payer};
use crate::rejection::Rejection;

/// A quiet period.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Cooldown {
    pub(crate) until: LogTime,
    pub(crate) by: FencingToken,
    /// Whose action it follows: the next step of the same is not held.
    pub(crate) after: Payer,
}

/// The quiet periods of all keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Cooldowns {
    of: BTreeMap<BudgetKey, Cooldown>,
}

impl Cooldowns {
    /// Begins a quiet period; a longer one that is under way stays.
    pub(crate) fn begin(&mut self, key: BudgetKey, cooldown: Cooldown) {
        match self.of.get(&key) {
            Some(running) if running.until >= cooldown.until => {}
            Some(_) | None => {
                self.of.insert(key, cooldown);
            }
        }
    }

    /// Every quiet period among `keys` that holds `next` back.
    pub(crate) fn holding<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a BudgetKey> + 'a,
        next: &'a Payer,
        now: LogTime,
    ) -> impl Iterator<Item = Rejection> + 'a {
        keys.filter_map(move |key| {
            let held = self
                .of
                .get(key)
                .filter(|cooldown| cooldown.until > now && cooldown.after != *next)?;
            Some(Rejection::Cooldown { key: key.clone(), by: held.by, next_allowed: held.until })
        })
    }

    /// An operator acknowledges a decision of `cluster`: the quiet it began is over.
    pub(crate) fn acknowledge(&mut self, cluster: &ClusterId, token: FencingToken) {
        self.of.retain(|_, cooldown| cooldown.by != token || cooldown.after.cluster != *cluster);
    }

    /// Drops what is over, while a leaf is recorded.
    pub(crate) fn forget(&mut self, now: LogTime) {
        self.of.retain(|_, cooldown| cooldown.until > now);
    }

    /// All that are under way at `now`: key, end, and the decision that began it.
    pub fn running(
        &self,
        now: LogTime,
    ) -> impl Iterator<Item = (&BudgetKey, LogTime, FencingToken)> {
        self.of
            .iter()
            .filter(move |(_, cooldown)| cooldown.until > now)
            .map(|(key, cooldown)| (key, cooldown.until, cooldown.by))
    }
}
