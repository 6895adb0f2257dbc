//! Pauses: each is held by the operators who signed it, so that two people may each hold one.
//!
//! `running` by one operator ends what that operator holds there. By two or more together it ends
//! every pause of its scope: nobody lifts another's by accident, and nobody who is gone holds
//! automation for ever.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::KeyName;
use crate::log_time::LogTime;
use crate::operator_statement::{Automation, Pause, Scope};

/// How many operators together lift what others hold.
const LIFT_OTHERS: usize = 2;

/// The pauses that nobody has lifted. An operator holds at most one of each scope: the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Pauses {
    held: BTreeMap<(Scope, KeyName), Pause>,
}

impl Pauses {
    /// Takes a statement that `signers` signed.
    pub(crate) fn take(&mut self, statement: &Pause, signers: &BTreeSet<KeyName>) {
        let scope = &statement.cluster;
        match statement.automation {
            Automation::Paused => {
                for name in signers {
                    self.held.insert((scope.clone(), name.clone()), statement.clone());
                }
            }
            // A pause of all goes on where one cluster's is lifted.
            Automation::Running => {
                let all = signers.len() >= LIFT_OTHERS;
                self.held.retain(|(of, name), _| of != scope || !(all || signers.contains(name)));
            }
        }
    }

    /// The pauses in force at `at`, each once.
    pub(crate) fn in_force(&self, at: LogTime) -> impl Iterator<Item = &Pause> {
        let first = |(key, pause): &(&(Scope, KeyName), &Pause)| {
            self.held.range(..*key).all(|(_, earlier)| earlier != *pause)
        };
        self.held
            .iter()
            .filter(move |(_, pause)| is_in_force(pause, at))
            .filter(first)
            .map(|(_, pause)| pause)
    }

    /// Who holds a scope at `at`.
    pub(crate) fn holders<'a>(
        &'a self,
        scope: &'a Scope,
        at: LogTime,
    ) -> impl Iterator<Item = &'a KeyName> {
        let held = self.held.iter().filter(move |((of, _), _)| of == scope);
        held.filter(move |(_, pause)| is_in_force(pause, at)).map(|((_, name), _)| name)
    }

    /// Who still holds this very pause: neither lifted it nor signed a newer one since.
    pub(crate) fn holders_of<'a>(&'a self, pause: &'a Pause) -> impl Iterator<Item = &'a KeyName> {
        let held = self.held.iter().filter(move |(_, of)| *of == pause);
        held.map(|((_, name), _)| name)
    }

    /// What has ended by itself is forgotten.
    pub(crate) fn forget(&mut self, now: LogTime) {
        self.held.retain(|_, pause| is_in_force(pause, now));
    }
}

fn is_in_force(pause: &Pause, at: LogTime) -> bool {
    pause.until.is_none_or(|until| at < until)
}
