//! The anchor: the charter an agent was enrolled with, by what names it.

use quorate_attest::charter::Charter;
use quorate_attest::id::{CharterId, Origin};
use quorate_attest::number::Epoch;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;

/// What a pinned charter is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its origin.
    pub origin: Origin,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its id, which names the charter before it, and so on to the first.
    pub id: CharterId,
}

impl Anchor {
    /// The anchor of the charter file an agent was enrolled with.
    #[must_use]
    pub fn of(charter: &Signed<Charter>) -> Self {
        let charter = &charter.statement;
        Self {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            id: CharterId::of_text(&charter.text()),
        }
    }
}
