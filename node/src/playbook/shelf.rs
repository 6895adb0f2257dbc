//! The playbooks of one agent, and which of them the charter in force lets it follow.

use std::sync::Arc;

use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, Digest, PlaybookId};
use quorate_attest::log_time::LogTime;

use super::{Condition, Matching, Playbook, Source, TargetKind};
use crate::detect::Suspicion;
use crate::probe::Reading;

/// The signal that is an agent's own reading of a member.
const MEMBER_SIGNAL: &str = "member";

/// The playbooks that were read at the start. Which of them count is the charter's to say, and may
/// change with it.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    playbooks: Arc<[Playbook]>,
}

/// A playbook that answers a suspicion, and how many observers must share it.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'s> {
    /// The playbook.
    pub playbook: &'s Playbook,
    /// Observers that must see it themselves, the asking one included.
    pub observers: usize,
    /// When the suspicion has lasted long enough.
    pub from: LogTime,
}

impl Shelf {
    /// A shelf of playbooks; of two with one id and digest either is the same file.
    #[must_use]
    pub fn new(mut playbooks: Vec<Playbook>) -> Self {
        playbooks.sort_by(|a, b| a.id.cmp(&b.id).then(a.digest.cmp(&b.digest)));
        Self { playbooks: playbooks.into() }
    }

    /// The file that a proposal names, if it lies here.
    #[must_use]
    pub fn get(&self, id: &PlaybookId, digest: &Digest) -> Option<&Playbook> {
        self.playbooks.iter().find(|playbook| playbook.id == *id && playbook.digest == *digest)
    }

    /// The pinned playbook that answers a suspicion of a member: the first by its id, so that
    /// agents with the same files choose the same.
    #[must_use]
    pub fn for_member(
        &self,
        charter: &Charter,
        cluster: &ClusterId,
        suspicion: &Suspicion,
    ) -> Option<Answer<'_>> {
        let system = &charter.cluster(cluster)?.adapter;
        self.playbooks.iter().find_map(|playbook| {
            let fits = playbook.detect.source == Source::Agents
                && playbook.detect.matching == Matching::Any
                && playbook.target == TargetKind::Member
                && (playbook.system.as_str() == "any" || playbook.system == *system);
            let counts = || {
                playbook.check_pinned(charter).is_ok() && playbook.check(charter, cluster).is_ok()
            };
            let signal = playbook.detect.signals.iter().find(|signal| {
                signal.name.as_str() == MEMBER_SIGNAL && shows(&signal.is, suspicion.reading)
            });
            let signal = signal.filter(|_| fits && counts())?;
            Some(Answer {
                playbook,
                observers: usize::try_from(signal.observers).unwrap_or(usize::MAX),
                from: suspicion.since.saturating_add(signal.lasting),
            })
        })
    }
}

const fn shows(condition: &Condition, reading: Reading) -> bool {
    match (condition, reading) {
        (Condition::Down, Reading::Down | Reading::Unreachable)
        | (Condition::Unreachable, Reading::Unreachable) => true,
        (
            Condition::Down
            | Condition::Unreachable
            | Condition::Absent
            | Condition::Present
            | Condition::Compares { .. },
            Reading::Up | Reading::Down | Reading::Unreachable,
        ) => false,
    }
}
