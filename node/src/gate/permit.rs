//! The permission to start alone, between the agent that carries out a declaration and the gate in
//! front of its member's start command (*one-survivor*).
//!
//! ```text
//! idle ── the executor has fsynced `started` ──► armed ── an adapter offers ──► offered
//!   ▲                                              ▲                               │ a gate takes it:
//!   │                                              └─ dropped, or its time is over ┤ journalled, then
//!   └──────────── the execution is over ◄── taken ◄────────────────────────────────┘ answered
//! ```
//!
//! It lives in memory only: a crash of the agent loses it, and the journal's `started` is why it is
//! never given again. Nothing but the executor arms it, so no adapter can permit a start by itself.

use std::sync::Arc;
use std::time::Duration;

use quorate_attest::id::ClusterId;
use quorate_attest::number::FencingToken;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

/// The declaration that an agent carries out, after its confirmed claim and its durable `started`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// The token of the decision.
    pub token: FencingToken,
    /// Its certificate, which the gate verifies again by itself.
    pub certificate: Vec<u8>,
}

/// Why no permission can be offered. Nothing may be started alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotOffered {
    /// The executor carries out no declaration, or another one.
    #[error("decision {token} is not a declaration that this agent carries out for its own member")]
    NotCarried {
        /// The token that was named.
        token: FencingToken,
    },
    /// One permission is offered or was taken under this decision.
    #[error("the permission of decision {token} to start alone was given already")]
    Given {
        /// The token.
        token: FencingToken,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Armed(Arc<Carried>),
    Offered(Arc<Carried>, Instant),
    Taken(Arc<Carried>),
}

impl State {
    fn carried(&self) -> Option<&Arc<Carried>> {
        match self {
            Self::Idle => None,
            Self::Armed(carried) | Self::Offered(carried, _) | Self::Taken(carried) => {
                Some(carried)
            }
        }
    }
}

/// What the gate of this agent's member may learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// No declaration is carried out, or its permission was taken: a start is an ordinary one.
    Nothing,
    /// A declaration is carried out and its permission is not offered yet: nothing starts beside
    /// it.
    Reserved(Arc<Carried>),
    /// The permission may be taken.
    Offered(Arc<Carried>),
}

/// The one permission of an agent. Cheap to clone: executor, adapters and gatekeeper share it.
#[derive(Debug, Clone)]
pub struct Permits(Arc<watch::Sender<State>>);

impl Default for Permits {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Idle)))
    }
}

impl Permits {
    /// Allows adapters to offer one permission under this decision, while the guard lives.
    ///
    /// Only the executor calls it, after it has fsynced `started`.
    pub fn arm(&self, carried: Carried) -> Armed {
        let _before = self.0.send_replace(State::Armed(Arc::new(carried)));
        Armed(self.clone())
    }

    /// Offers the permission to start alone, to whichever gate of this member asks within `within`.
    /// It is taken once; dropping the [`Permission`] withdraws it.
    ///
    /// # Errors
    /// [`NotOffered`] unless the executor carries out this very decision, or if it was given
    /// before.
    pub fn offer(&self, token: FencingToken, within: Duration) -> Result<Permission, NotOffered> {
        let until = Instant::now() + within;
        let mut offered = Err(NotOffered::NotCarried { token });
        self.0.send_if_modified(|state| {
            let Some(carried) = state.carried().filter(|carried| carried.token == token) else {
                return false;
            };
            if !matches!(state, State::Armed(_)) {
                offered = Err(NotOffered::Given { token });
                return false;
            }
            *state = State::Offered(Arc::clone(carried), until);
            offered = Ok(());
            true
        });
        offered.map(|()| Permission { permits: self.clone(), token })
    }

    /// What is pending now.
    pub(super) fn pending(&self) -> Pending {
        match &*self.0.borrow() {
            State::Idle | State::Taken(_) => Pending::Nothing,
            State::Offered(carried, until) if Instant::now() < *until => {
                Pending::Offered(Arc::clone(carried))
            }
            State::Armed(carried) | State::Offered(carried, _) => {
                Pending::Reserved(Arc::clone(carried))
            }
        }
    }

    /// Takes the permission of `token`: the caller journals it before anybody is answered. From
    /// here on it is gone, whatever becomes of the caller.
    pub(super) fn take(&self, token: FencingToken) -> Option<Arc<Carried>> {
        let mut taken = None;
        self.0.send_if_modified(|state| {
            let State::Offered(carried, until) = state else { return false };
            if carried.token != token || Instant::now() >= *until {
                return false;
            }
            let carried = Arc::clone(carried);
            *state = State::Taken(Arc::clone(&carried));
            taken = Some(carried);
            true
        });
        taken
    }
}

/// While it lives, its decision is carried out. Dropped when the execution is over.
#[derive(Debug)]
#[must_use = "dropped, nothing can be offered any more"]
pub struct Armed(Permits);

impl Drop for Armed {
    fn drop(&mut self) {
        let _before = self.0.0.send_replace(State::Idle);
    }
}

/// A permission that is offered. Dropped, it is withdrawn if nobody has taken it.
#[derive(Debug)]
#[must_use = "dropped, the permission is withdrawn"]
pub struct Permission {
    permits: Permits,
    token: FencingToken,
}

impl Permission {
    /// Whether a gate has taken it. True from before the gate is answered: the member may have
    /// started alone. False is final once the permission is dropped or its time is over.
    #[must_use]
    pub fn was_taken(&self) -> bool {
        match &*self.permits.0.borrow() {
            State::Taken(carried) => carried.token == self.token,
            State::Idle | State::Armed(_) | State::Offered(..) => false,
        }
    }

    /// Withdraws it, and says whether it had been taken: the last word on it.
    #[must_use]
    pub fn withdraw(self) -> bool {
        self.retract();
        self.was_taken()
    }

    fn retract(&self) {
        self.permits.0.send_if_modified(|state| {
            let State::Offered(carried, _) = state else { return false };
            if carried.token != self.token {
                return false;
            }
            *state = State::Armed(Arc::clone(carried));
            true
        });
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        self.retract();
    }
}

#[cfg(test)]
mod tests {
    use quorate_attest::number::{DecisionNumber, Incarnation};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn token(number: u64) -> FencingToken {
        let number = DecisionNumber::new(number).unwrap();
        FencingToken { incarnation: Incarnation::MIN, number }
    }

    fn carried(number: u64) -> Carried {
        let cluster = "demo".parse().unwrap();
        Carried { cluster, token: token(number), certificate: vec![1] }
    }

    #[test]
    fn nothing_is_offered_under_a_decision_that_is_not_carried_out() {
        let permits = Permits::default();
        let refused = permits.offer(token(1), LONG).unwrap_err();
        assert_eq!(refused, NotOffered::NotCarried { token: token(1) });
        let armed = permits.arm(carried(1));
        assert!(permits.offer(token(2), LONG).is_err());
        assert_eq!(permits.pending(), Pending::Reserved(Arc::new(carried(1))));
        drop(armed);
        assert!(permits.offer(token(1), LONG).is_err());
        assert_eq!(permits.pending(), Pending::Nothing);
    }

    #[test]
    fn it_is_taken_exactly_once_and_never_offered_again() {
        let permits = Permits::default();
        let _armed = permits.arm(carried(1));
        let permission = permits.offer(token(1), LONG).unwrap();
        assert_eq!(
            permits.offer(token(1), LONG).unwrap_err(),
            NotOffered::Given { token: token(1) }
        );
        assert!(permits.take(token(2)).is_none() && !permission.was_taken());
        assert!(permits.take(token(1)).is_some());
        assert!(permits.take(token(1)).is_none());
        assert!(permission.withdraw(), "what was taken stays taken");
        assert!(permits.offer(token(1), LONG).is_err());
    }

    #[test]
    fn withdrawn_it_is_not_taken_and_may_be_offered_again() {
        let permits = Permits::default();
        let _armed = permits.arm(carried(1));
        let permission = permits.offer(token(1), LONG).unwrap();
        assert!(!permission.withdraw());
        assert!(permits.take(token(1)).is_none());
        let again = permits.offer(token(1), LONG).unwrap();
        assert!(permits.take(token(1)).is_some() && again.was_taken());
    }

    #[test]
    fn its_time_is_over_by_itself() {
        let permits = Permits::default();
        let _armed = permits.arm(carried(1));
        let permission = permits.offer(token(1), Duration::ZERO).unwrap();
        assert!(permits.take(token(1)).is_none() && !permission.was_taken());
        assert_eq!(permits.pending(), Pending::Reserved(Arc::new(carried(1))));
    }
}
