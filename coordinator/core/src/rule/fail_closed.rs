//! `fail-closed`: nobody is declared dead where a gate would start it anyway (*dead-stays-dead*).

use quorate_attest::declaration::Declaration;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let declares = Declaration::declares(scene.proposal);
    if !declares || scene.charter().fails_closed(&scene.proposal.cluster) {
        return Ok(());
    }
    Err(Refused::because("gate", "open"))
}
