//! Of steps 8 to 11, may *this* verifier start a certified decision *now*, what a head, a charter and
//! a clock answer. The token and the leaves since are judged by the verifier's own stores.

use std::cmp::Ordering;

use thiserror::Error;

use crate::charter::Charter;
use crate::checkpoint::Checkpoint;
use crate::head::{HeadRefused, VerifiedHead};
use crate::leaf::Decision;
use crate::log_time::{CosignTime, LogTime, Span};
use crate::number::Epoch;

/// How a head stands to the one a verifier has stored (step 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRelation {
    /// Larger: good once it is shown to be consistent, or was tailed.
    Newer,
    /// Equal.
    Same,
    /// Smaller: fine only if a newer head is at hand, else a rollback.
    Older,
    /// One size and two roots: alarm, and keep both as evidence.
    SplitView,
    /// Of another log, or another life of it.
    OtherOrigin,
}

/// Compares a head with the stored one.
pub fn relate_heads(stored: &Checkpoint, found: &Checkpoint) -> HeadRelation {
    if stored.origin != found.origin {
        return HeadRelation::OtherOrigin;
    }
    match found.size.cmp(&stored.size) {
        Ordering::Greater => HeadRelation::Newer,
        Ordering::Less => HeadRelation::Older,
        Ordering::Equal if found.root == stored.root => HeadRelation::Same,
        Ordering::Equal => HeadRelation::SplitView,
    }
}

/// Whether k coordinators vouched for a head lately (step 10). `head` is the certificate's, or a
/// newer consistent one.
///
/// # Errors
/// Fewer than k cosignature times within `max-age`.
pub fn judge_freshness(
    charter: &Charter,
    head: &VerifiedHead,
    now: LogTime,
) -> Result<(), HeadRefused> {
    head.fresh_since(oldest(charter.max_age, now))
}

/// The oldest second that is still within `max_age` of `now`, rounded up: never older.
fn oldest(max_age: Span, now: LogTime) -> CosignTime {
    let oldest = now.saturating_sub(max_age);
    let second = oldest.to_cosign_time();
    if second.to_log_time() < oldest {
        CosignTime::new(second.get().saturating_add(1)).unwrap_or(CosignTime::MAX)
    } else {
        second
    }
}

/// Why a decision cannot be started now (step 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OutsideWindow {
    /// Too early.
    #[error("the decision may start at {}", from.utc())]
    NotYet {
        /// The earliest time.
        from: LogTime,
    },
    /// Too late: expiry stops a start, it frees no slot.
    #[error("the decision could be started until {}", expires.utc())]
    Expired {
        /// The last time.
        expires: LogTime,
    },
    /// Decided under an older charter.
    #[error("the decision is of epoch {found}, in force is {expected}")]
    OtherEpoch {
        /// The epoch in force.
        expected: Epoch,
        /// The decision's.
        found: Epoch,
    },
}

/// Whether a decision may be started now: not-before − skew ≤ now ≤ expires, in this epoch.
///
/// # Errors
/// Which of these does not hold.
pub fn judge_window(
    charter: &Charter,
    decision: &Decision,
    now: LogTime,
) -> Result<(), OutsideWindow> {
    if decision.epoch != charter.epoch {
        let (expected, found) = (charter.epoch, decision.epoch);
        return Err(OutsideWindow::OtherEpoch { expected, found });
    }
    let from = decision.not_before.saturating_sub(charter.skew);
    if now < from {
        return Err(OutsideWindow::NotYet { from });
    }
    if now > decision.expires {
        return Err(OutsideWindow::Expired { expires: decision.expires });
    }
    Ok(())
}
