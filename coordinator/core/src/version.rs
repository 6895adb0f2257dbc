//! The machine version: which rules apply the log.
//!
//! It rises by an entry, once *every* coordinator of the charter has said that it can follow. A
//! replica that meets a higher version than it knows stops; it never guesses.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::charter::Charter;

use crate::command::MachineVersion;
use crate::outcome::Novelty;

/// The version in force, and what each coordinator supports.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Versions {
    in_force: MachineVersion,
    supported: BTreeMap<u64, MachineVersion>,
}

impl Default for Versions {
    fn default() -> Self {
        Self { in_force: MachineVersion::FIRST, supported: BTreeMap::new() }
    }
}

impl Versions {
    /// The rules that apply the next entry.
    #[must_use]
    pub fn in_force(&self) -> MachineVersion {
        self.in_force
    }

    /// What a coordinator said it supports.
    #[must_use]
    pub fn supported_by(&self, coordinator: u64) -> Option<MachineVersion> {
        self.supported.get(&coordinator).copied()
    }

    /// Notes what a coordinator supports, and raises the version if all of them can follow.
    pub(crate) fn support(
        &mut self,
        coordinator: u64,
        version: MachineVersion,
        charter: &Charter,
    ) -> Novelty {
        let novelty = if self.supported.insert(coordinator, version) == Some(version) {
            Novelty::Repeated
        } else {
            Novelty::New
        };
        self.raise(charter);
        novelty
    }

    /// The coordinators have changed: forget who left, and see whether the rest can go on.
    ///
    /// Nobody signs what a coordinator says that it supports. A false word of everybody must not put
    /// rules into force that this replica does not have: it would stop at the next entry.
    pub(crate) fn raise(&mut self, charter: &Charter) {
        self.raise_to(charter, MachineVersion::SUPPORTED);
    }

    fn raise_to(&mut self, charter: &Charter, highest: MachineVersion) {
        let ids: Vec<u64> =
            charter.coordinator.iter().filter_map(|key| charter.node_id(key.name())).collect();
        self.supported.retain(|id, _| ids.contains(id));
        let lowest = ids.iter().map(|id| self.supported.get(id).copied()).min().flatten();
        if let Some(lowest) = lowest {
            self.in_force = self.in_force.max(lowest.min(highest));
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_attest::signed::Signed;

    use super::*;

    fn charter() -> Charter {
        let leaf =
            include_bytes!("../../../proto/attest/tests/vectors/examples/charter.leaf").as_slice();
        Signed::<Charter>::parse(leaf).unwrap().statement
    }

    fn ids(charter: &Charter) -> Vec<u64> {
        charter.coordinator.iter().filter_map(|key| charter.node_id(key.name())).collect()
    }

    #[test]
    fn a_version_comes_into_force_with_its_last_coordinator() {
        let charter = charter();
        let (mut versions, ids) = (Versions::default(), ids(&charter));
        for id in &ids {
            assert_eq!(versions.in_force(), MachineVersion::FIRST);
            versions.supported.insert(*id, MachineVersion(2));
            versions.raise_to(&charter, MachineVersion(2));
        }
        assert_eq!(versions.in_force(), MachineVersion(2));
    }

    #[test]
    fn no_word_of_others_puts_rules_into_force_that_are_not_here() {
        let charter = charter();
        let mut versions = Versions::default();
        for id in ids(&charter) {
            versions.support(id, MachineVersion(u32::MAX), &charter);
        }
        assert_eq!(versions.in_force(), MachineVersion::SUPPORTED);
        versions.raise_to(&charter, MachineVersion(2));
        assert_eq!(versions.in_force(), MachineVersion(2), "the words are kept as they were");
    }
}
