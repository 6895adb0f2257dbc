//! `veto-window`: an irreversible decision waits for objections (*veto-final*). It is over early
//! once every operator who may object has approved.

use quorate_attest::history::excludes;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(policy) = scene.charter().policy(&scene.proposal.cluster, scene.proposal.kind.class())
    else {
        return Err(Refused::because("class", scene.proposal.kind.class()));
    };
    let Some(approved) = scene.circumstances.approved else {
        // Not approved yet: the window has not begun.
        return Ok(());
    };
    let over = approved.saturating_add(policy.veto);
    let everybody_agrees = scene
        .charter()
        .operator
        .iter()
        .map(|line| line.key.name())
        .filter(|name| !excludes(scene.charter(), scene.proposal, name))
        .all(|name| scene.circumstances.approvers.contains(name));
    if scene.now >= over || everybody_agrees {
        return Ok(());
    }
    Err(Refused::because("approved", approved.utc()).and("veto", policy.veto.words()).until(over))
}
