//! `backup-pinned`: what a waiting decision needs is not deleted, and nothing is restored from a
//! backup that was not named by its digest before the vote.

use quorate_attest::remediation::Kind;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    if scene.proposal.kind == Kind::RestoreBackup && scene.proposal.single("backup").is_none() {
        return Err(Refused::because("missing", "param backup <digest>"));
    }
    let pinned = &scene.circumstances.pinned;
    match scene.proposal.params("delete").find(|param| pinned.contains(&param.value)) {
        Some(param) => Err(Refused::because("pinned", &param.value)),
        None => Ok(()),
    }
}
