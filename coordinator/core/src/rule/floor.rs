//! How many members would still count after the action: shared by the two floor rules.

use quorate_attest::id::MemberId;
use quorate_attest::remediation::Kind;

use crate::ledger::{Place, place};
use crate::observation::Health;
use crate::rule::Scene;

/// The members that count now, and after the action.
pub(super) struct Floor {
    pub(super) target: MemberId,
    /// Members of the roster that no decision removed.
    pub(super) voters: usize,
    /// Of these, healthy ones without the target.
    pub(super) left: usize,
    /// Whether the action takes away something that counts, or might.
    pub(super) takes: Takes,
}

/// What the action takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A healthy member, or one that may be: unknown counts as healthy *for the target only*.
    Something,
    /// A member that does not work anyway.
    Nothing,
}

/// The floor of an action that disturbs a member or takes it out; none for any other.
pub(super) fn of(scene: &Scene<'_>) -> Option<Floor> {
    match place(scene.proposal.kind) {
        Place::Disturbed | Place::TakenOut => {}
        Place::BroughtBack | Place::Untouched => return None,
    }
    let target = scene.proposal.target_member()?;
    let members: Vec<MemberId> =
        scene.roster().into_iter().filter(|member| !is_removed(scene, member)).collect();
    let left = members.iter().filter(|m| **m != target && scene.counts(m)).count();
    let takes = match scene.health(&target) {
        Health::Healthy | Health::Unknown if !scene.is_out(&target) => Takes::Something,
        Health::Healthy | Health::Unknown | Health::Down | Health::Unreachable => Takes::Nothing,
    };
    Some(Floor { target, voters: members.len(), left, takes })
}

fn is_removed(scene: &Scene<'_>, member: &MemberId) -> bool {
    let word = format!("member:{member}");
    scene
        .outages
        .of(&scene.proposal.cluster, scene.now)
        .any(|(target, outage)| target.as_str() == word && outage.kind == Kind::RemoveMember)
}
