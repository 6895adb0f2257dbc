//! A playbook against a charter: whether this cluster can follow it, and whether it is the one meant.

use quorate_attest::charter::{Charter, PlaybookLine};
use quorate_attest::id::ClusterId;

use super::{Place, Playbook, PlaybookRefused, Why};

impl Playbook {
    /// Whether a cluster of the charter can follow it.
    ///
    /// # Errors
    /// The charter has no such cluster, or a signal asks for more observers than it has.
    pub fn check(&self, charter: &Charter, cluster: &ClusterId) -> Result<(), PlaybookRefused> {
        let epoch = charter.epoch.get();
        let cluster_name = || cluster.clone();
        if charter.cluster(cluster).is_none() {
            let why = Why::NoCluster { cluster: cluster_name(), epoch };
            return Err(PlaybookRefused { at: Box::new(self.whole()), why });
        }
        let have = charter.observers(cluster).count();
        let above = |needed: u32| usize::try_from(needed).is_ok_and(|needed| needed > have);
        match self.detect.signals.iter().find(|signal| above(signal.observers)) {
            Some(signal) => Err(PlaybookRefused {
                at: Box::new(signal.observers_at.clone()),
                why: Why::AboveRoster { cluster: cluster_name(), have, epoch },
            }),
            None => Ok(()),
        }
    }

    /// Whether the charter pins exactly this file (*authority*).
    ///
    /// # Errors
    /// It pins another digest under this id, or none.
    pub fn check_pinned(&self, charter: &Charter) -> Result<(), PlaybookRefused> {
        let line = charter.playbook.iter().find(|line| line.playbook == self.id);
        match line {
            Some(line) if line.digest == self.digest => Ok(()),
            Some(_) | None => Err(PlaybookRefused {
                at: Box::new(self.whole()),
                why: Why::NotPinned {
                    pinned: line.map_or_else(|| "nothing".into(), |line| line.digest.to_string()),
                    here: self.digest,
                },
            }),
        }
    }

    /// The charter's line that pins it.
    #[must_use]
    pub fn pinned_by(&self) -> PlaybookLine {
        PlaybookLine { playbook: self.id.clone(), digest: self.digest }
    }

    fn whole(&self) -> Place {
        Place { line: 1, key: "id".to_owned(), value: format!("{:?}", self.id.as_str()) }
    }
}
