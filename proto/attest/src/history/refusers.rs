//! Whose refusals of a decision count, and how many there must be (R14).
//!
//! A refusal is of the epoch in which the decision was made, whatever charter came since: each
//! coordinator signs one for a decision and no second. A head that holds the decision alone could
//! be certified by the coordinators of that charter, and once it holds an amendment by those of the
//! charter in force. So enough of both must refuse; mostly they are the same.

use super::History;
use crate::charter::Charter;
use crate::id::KeyName;
use crate::key::VerifierKey;
use crate::note::SignatureLine;
use crate::number::Epoch;
use crate::quorum::refusal_threshold;

/// The coordinators whose refusals of a decision count.
#[derive(Debug, Clone)]
pub struct Refusers {
    /// Under the charter the decision was made in.
    made: Coordinators,
    /// Under the charter in force.
    in_force: Coordinators,
}

#[derive(Debug, Clone)]
struct Coordinators {
    keys: Vec<VerifierKey>,
    need: u32,
}

/// How far refusals have come to a void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalTally {
    /// Coordinators that refuse, under the charter that lacks more of them.
    pub have: u64,
    /// How many must, under that charter.
    pub need: u64,
}

impl RefusalTally {
    /// Whether no head with the decision alone can be certified any more.
    pub const fn is_enough(self) -> bool {
        self.have >= self.need
    }
}

impl History {
    /// Whose refusals of a decision made in `epoch` count: that of the charter in force or of the
    /// one before it. An older decision can only be abandoned.
    pub fn refusers(&self, epoch: Epoch) -> Option<Refusers> {
        let made = self.charter_of_epoch(epoch)?;
        Some(Refusers { made: Coordinators::of(made), in_force: Coordinators::of(&self.charter) })
    }
}

impl Refusers {
    /// The coordinator a line names. A name that both charters give is the older one's.
    pub fn of_line(&self, line: &SignatureLine) -> Option<&VerifierKey> {
        let (made, since) = (self.made.keys.iter(), self.in_force.keys.iter());
        let named = made.chain(since).find(|key| key.name().as_str() == line.name)?;
        (named.id() == line.key_id).then_some(named)
    }

    /// How far it is, if exactly the coordinators refuse of which `refuses` holds.
    pub fn tally(&self, refuses: impl Fn(&KeyName) -> bool) -> RefusalTally {
        let tally = |coordinators: &Coordinators| {
            // A name that both give to different keys is two coordinators: the older one refused.
            let mine = |key: &&VerifierKey| {
                let older = self.made.keys.iter().find(|made| made.name() == key.name());
                older.is_none_or(|older| older == *key)
            };
            let refusing = coordinators.keys.iter().filter(mine).filter(|key| refuses(key.name()));
            RefusalTally { have: refusing.count() as u64, need: u64::from(coordinators.need) }
        };
        let (made, in_force) = (tally(&self.made), tally(&self.in_force));
        let lacks = |tally: RefusalTally| tally.need.saturating_sub(tally.have);
        if lacks(in_force) > lacks(made) { in_force } else { made }
    }
}

impl Coordinators {
    fn of(charter: &Charter) -> Self {
        let need = refusal_threshold(charter.coordinators(), charter.faults);
        Self { keys: charter.coordinator.clone(), need }
    }
}
