//! Is it already so? Asked once more when an approval would become a decision: a good end without
//! any effect.

use quorate_attest::remediation::Kind;

use crate::ledger::{Place, place};
use crate::observation::Health;
use crate::rule::Scene;

/// Why an action was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub(crate) enum Need {
    /// The target did not work when the proposal was opened: if it works again, nothing is needed.
    ToRepair,
    /// Somebody wants it although the target worked, or nothing was known.
    Deliberate,
}

/// Why the action is asked for, by what is known at its opening.
pub(crate) fn need(scene: &Scene<'_>) -> Need {
    let Some(target) = scene.proposal.target_member() else { return Need::Deliberate };
    match scene.health(&target) {
        Health::Down | Health::Unreachable => Need::ToRepair,
        Health::Healthy | Health::Unknown => Need::Deliberate,
    }
}

/// What makes the action needless now, if anything does.
pub(crate) fn already_so(scene: &Scene<'_>, need: Need) -> Option<String> {
    let (kind, target) = (scene.proposal.kind, &scene.proposal.target);
    let mut outages = scene.outages.of(&scene.proposal.cluster, scene.now);
    let is_out = outages.any(|(out, _)| out == target);
    if place(kind) == Place::TakenOut && is_out {
        return Some(format!("{target} is already out"));
    }
    if matches!(kind, Kind::UnbanPeer | Kind::UnisolateMember) && !is_out {
        return Some(format!("{target} is not out"));
    }
    let member = scene.proposal.target_member()?;
    let works_again = need == Need::ToRepair && scene.health(&member) == Health::Healthy;
    (works_again && is_for_the_broken(kind)).then(|| format!("{target} works again"))
}

/// Kinds that have no aim left once the target works: they repair it, or give it up.
const fn is_for_the_broken(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Restart
            | Kind::RestartDependency
            | Kind::RepairNetwork
            | Kind::ResetPeers
            | Kind::RemoveMember
            | Kind::Failover
    )
}
