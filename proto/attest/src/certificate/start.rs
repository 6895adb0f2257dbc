//! Steps 8 to 11: may *this* verifier start a certified decision *now*? Each function answers one
//! question from the verifier's own stored state, which it is given.

use std::cmp::Ordering;

use thiserror::Error;

use crate::charter::Charter;
use crate::checkpoint::Checkpoint;
use crate::head::{HeadRefused, VerifiedHead};
use crate::history::Pauses;
use crate::leaf::{Decision, Leaf};
use crate::log_time::{CosignTime, LogTime, Span};
use crate::merkle::Hash;
use crate::number::{Epoch, FencingToken, Incarnation};
use crate::operator_statement::Scope;
use crate::proposal::Target;
use crate::remediation::Kind;

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

/// The highest decision of a cluster that a verifier accepted, from its own durable store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its token.
    pub token: FencingToken,
    /// The hash of its leaf.
    pub leaf: Hash,
}

/// What to do with a token (step 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenVerdict {
    /// Above everything accepted: go on.
    Fresh,
    /// The same decision again: answer from the journal.
    Known,
}

/// Why a token is refused (step 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenRefused {
    /// Below the highest accepted one.
    #[error("token {found} is below {highest}")]
    Below {
        /// The highest accepted token.
        highest: FencingToken,
        /// The token found.
        found: FencingToken,
    },
    /// Of another life of the log.
    #[error("token {found} is of another incarnation than {expected}")]
    OtherIncarnation {
        /// The incarnation in force, as a token's first part.
        expected: Incarnation,
        /// The token found.
        found: FencingToken,
    },
    /// The highest token with other content: evidence of a fork.
    #[error("token {token} was accepted for another leaf")]
    OtherContent {
        /// The token.
        token: FencingToken,
    },
}

/// Compares a decision with the highest accepted one (*token-monotone*).
///
/// # Errors
/// Anything but a higher token, or the same decision again.
pub fn judge_token(
    charter: &Charter,
    highest: Option<Accepted>,
    found: Accepted,
) -> Result<TokenVerdict, TokenRefused> {
    let expected = charter.origin.incarnation;
    if found.token.incarnation != expected {
        return Err(TokenRefused::OtherIncarnation { expected, found: found.token });
    }
    let Some(highest) = highest else { return Ok(TokenVerdict::Fresh) };
    match found.token.cmp(&highest.token) {
        Ordering::Greater => Ok(TokenVerdict::Fresh),
        Ordering::Less => Err(TokenRefused::Below { highest: highest.token, found: found.token }),
        Ordering::Equal if found.leaf == highest.leaf => Ok(TokenVerdict::Known),
        Ordering::Equal => Err(TokenRefused::OtherContent { token: found.token }),
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

/// Why a decision must not be started any more: a later leaf, read and judged (step 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Stopped {
    /// Coordinators refused it.
    #[error("a later leaf voids the decision")]
    Void,
    /// Two operators gave it up.
    #[error("a later leaf abandons the decision")]
    Abandoned,
    /// A later decision of the cluster replaced it: a continuation, or a declaration of death.
    #[error("a later decision of the cluster replaces it")]
    Replaced,
    /// The charter changed: decisions of older epochs start nothing.
    #[error("a later leaf changes the charter")]
    Epoch,
    /// The log goes on under another origin.
    #[error("a later leaf begins a new incarnation")]
    Incarnation,
    /// Automation is paused, and the decision is neither an abandon nor a continuation.
    #[error("a later leaf pauses automation")]
    Paused,
}

/// Whether the leaves after a decision, in their order, stop it from being started at `now`.
///
/// An abandon is stopped by its own void only: whoever learns of it late obeys it all the same.
pub fn stopped_since<'a>(
    decision: &Decision,
    later: impl IntoIterator<Item = &'a Leaf>,
    now: LogTime,
) -> Option<Stopped> {
    let mut pauses = Pauses::default();
    for leaf in later {
        if let Leaf::Pause(signed) = leaf {
            // The judge of leaves has verified every line.
            let names = signed.lines.iter().filter_map(|line| line.name.parse().ok());
            pauses.take(&signed.statement, &names.collect());
        }
        if let Some(stopped) = stopped_by(decision, leaf) {
            return Some(stopped);
        }
    }
    let paused = pauses.in_force(now).any(|pause| match &pause.cluster {
        Scope::All => true,
        Scope::Cluster(cluster) => cluster == &decision.cluster,
    });
    // Never an abandon and never a continuation: what has started must be able to end.
    let exempt = decision.proposal.kind == Kind::Abandon || decision.continues.is_some();
    (!exempt && paused).then_some(Stopped::Paused)
}

/// Whether one later leaf stops a decision for good.
fn stopped_by(decision: &Decision, leaf: &Leaf) -> Option<Stopped> {
    let abandon = decision.proposal.kind == Kind::Abandon;
    match leaf {
        Leaf::Void(void) if void.cluster == decision.cluster => {
            (void.refused() == Some(decision.number)).then_some(Stopped::Void)
        }
        Leaf::Charter(_) if !abandon => Some(Stopped::Epoch),
        Leaf::Incarnation(_) if !abandon => Some(Stopped::Incarnation),
        Leaf::Decision(later) if later.cluster == decision.cluster && !abandon => {
            let named = matches!(
                later.proposal.target(), Target::Decision(number) if number == decision.number
            );
            if later.proposal.kind == Kind::Abandon {
                return named.then_some(Stopped::Abandoned);
            }
            Some(Stopped::Replaced)
        }
        Leaf::Charter(_)
        | Leaf::Incarnation(_)
        | Leaf::Void(_)
        | Leaf::Decision(_)
        | Leaf::Pause(_)
        | Leaf::Outcome(_)
        | Leaf::Evidence(_)
        | Leaf::Override(_)
        | Leaf::Act(_) => None,
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
