//! `pause`: operators hold what has not started. Several may, each with its own pause.
//!
//! Never an abandon, an undo or a continuation: those end what runs, or go on with it.

use quorate_attest::remediation::Kind;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    if scene.proposal.kind == Kind::Abandon {
        return Ok(());
    }
    let pauses = scene.ledger.pauses(&scene.proposal.cluster, scene.now);
    let Some(first) = pauses.first() else { return Ok(()) };
    let refused = Refused::because("pauses", pauses.len()).and("reason", &first.reason);
    // All of them have to end, and one without an end needs a person.
    let ends: Option<Vec<_>> = pauses.iter().map(|pause| pause.until).collect();
    Err(match ends.and_then(|ends| ends.into_iter().max()) {
        Some(end) => refused.until(end),
        None => refused,
    })
}
