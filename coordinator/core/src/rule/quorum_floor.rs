//! `quorum-floor`: what stays must be a majority (*floor*).
//!
//! A removal is judged by the voters that remain after it, every other action by the roster as it
//! is. Removing a member that does not work also shrinks the majority, so it is always judged.

use quorate_attest::remediation::Kind;

use crate::rule::floor::{self, Takes};
use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(floor) = floor::of(scene) else { return Ok(()) };
    let is_removal = scene.proposal.kind == Kind::RemoveMember;
    if floor.takes == Takes::Nothing && !is_removal {
        return Ok(());
    }
    let voters = if is_removal { floor.voters.saturating_sub(1) } else { floor.voters };
    let majority = voters / 2 + 1;
    if floor.left >= majority {
        return Ok(());
    }
    Err(Refused::because("target", &floor.target)
        .and("live_after", floor.left)
        .and("voters_after", voters)
        .and("majority", majority))
}
