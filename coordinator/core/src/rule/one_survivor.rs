//! `one-survivor`: a new declaration first lists the former survivor as dead.
//!
//! Its claim is refused from then on, since a claim needs the newest decision of the cluster; and
//! while its own declaration is unresolved, the slot is taken and only an abandon frees it.

use quorate_attest::declaration::Declaration;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    if !Declaration::declares(scene.proposal) {
        return Ok(());
    }
    let Some(former) = scene.ledger.survivor(&scene.proposal.cluster) else { return Ok(()) };
    let listed =
        scene.proposal.params("dead").any(|param| param.value.as_str() == former.member.as_str());
    if listed {
        Ok(())
    } else {
        Err(Refused::because("survivor", &former.member).and("decision", former.token))
    }
}
