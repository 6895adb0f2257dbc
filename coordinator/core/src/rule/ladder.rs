//! `ladder`: the attempts of an incident's playbook follow each other one by one, each after the end
//! of the one before and its pause, and none after people were asked (*budget*).
//!
//! The log's own judge says so too: a decision out of order could never be a leaf. This rule makes
//! the proposal wait, and says until when, instead of failing then.

use quorate_attest::history::RungNotDue;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Err(why) = scene.ledger.history().rung_due(scene.proposal, scene.now) else {
        return Ok(());
    };
    let refused = Refused::because("incident", &scene.proposal.incident).and("why", why);
    Err(match why {
        RungNotDue::Pause { next_allowed, .. } => refused.until(next_allowed),
        RungNotDue::NotFirst { .. }
        | RungNotDue::OtherIncident
        | RungNotDue::NameTaken
        | RungNotDue::Running { .. }
        | RungNotDue::Order { .. }
        | RungNotDue::Escalated => refused,
    })
}
