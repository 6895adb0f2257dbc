//! `abandon-wait`: a decision is given up only when nobody can start it any more, by any honest
//! clock. That its executor no longer acts is what the operators vouch for.

use quorate_attest::proposal::Target;
use quorate_attest::remediation::Kind;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    if scene.proposal.kind != Kind::Abandon {
        return Ok(());
    }
    let Target::Decision(number) = scene.proposal.target() else {
        return Err(Refused::because("target", &scene.proposal.target));
    };
    let Some(running) = scene.ledger.running(&scene.proposal.cluster) else {
        return Err(Refused::because("decision", number).and("slot", "free"));
    };
    if running.newest() != number {
        return Err(Refused::because("decision", number).and("newest", running.newest()));
    }
    // At expiry plus skew itself a start is still allowed: strictly after.
    let over = running
        .expires()
        .saturating_add(scene.charter().skew)
        .saturating_add(quorate_attest::log_time::Span::from_millis(1));
    if scene.now >= over {
        return Ok(());
    }
    Err(Refused::because("decision", number).and("expires", running.expires().utc()).until(over))
}
