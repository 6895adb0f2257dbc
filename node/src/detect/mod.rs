//! Detection: (observation, now) → suspicion. No IO, no clock, no randomness.
//!
//! A suspicion is this agent's belief and is never signed. It becomes an act only by agreement: a
//! proposal is opened when other agents' signed facts say the same, and carried out when enough
//! validators voted for it. Silence is doubted first: an agent that cannot see most of its peers
//! takes *itself* for cut off (`partition-not-death`).

mod agreement;
mod liveness;
mod partition;

pub use self::agreement::{Agreement, PeerFact};
pub use self::liveness::{Change, Liveness, MemberView, Settings};
pub use self::partition::{Surroundings, surroundings};

use quorate_attest::id::MemberId;
use quorate_attest::log_time::LogTime;

use crate::probe::Reading;

/// This agent's belief that a member does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// The member.
    pub member: MemberId,
    /// What the newest probe found: down or unreachable.
    pub reading: Reading,
    /// When the first of the failures in a row was seen.
    pub since: LogTime,
    /// How many in a row.
    pub failures: u32,
}
