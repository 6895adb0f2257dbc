//! `hold`: automation waits a little before it acts: most faults pass by themselves.

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(word) = scene.word("hold") else { return Ok(()) };
    if !scene.is_automatic() || scene.has_operator() {
        return Ok(());
    }
    let Some(hold) = scene.span("hold") else { return Err(Refused::because("unreadable", word)) };
    let over = scene.circumstances.opened.unwrap_or(scene.now).saturating_add(hold);
    if scene.now >= over {
        return Ok(());
    }
    Err(Refused::because("hold", hold.words()).until(over))
}
