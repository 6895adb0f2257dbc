//! `gap`: two decisions of one cluster never follow each other at once.

use quorate_attest::remediation::Kind;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(word) = scene.word("gap") else { return Ok(()) };
    if scene.proposal.kind == Kind::Abandon {
        return Ok(());
    }
    let Some(gap) = scene.span("gap") else { return Err(Refused::because("unreadable", word)) };
    let Some(last) = scene.ledger.last_decided(&scene.proposal.cluster) else { return Ok(()) };
    let over = last.saturating_add(gap);
    if scene.now >= over {
        return Ok(());
    }
    Err(Refused::because("last_decision", last.utc()).and("gap", gap.words()).until(over))
}
