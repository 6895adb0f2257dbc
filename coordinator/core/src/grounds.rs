//! What a decision rested on: the facts as the agents signed them, and what was out at that time.
//!
//! `apply` verifies no signature, and a leader may deliver behind a decision what it withheld before
//! it. So what is known *by now* says nothing of how the decision came about. The grounds stay as
//! they were for as long as the decision runs, and a cosigner judges them by the signatures
//! (*floor*).

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::Observe;
use quorate_attest::charter::Charter;
use quorate_attest::history::History;
use quorate_attest::id::ClusterId;
use quorate_attest::log_time::LogTime;
use quorate_attest::note::SignatureLine;
use quorate_attest::number::DecisionNumber;
use quorate_attest::signed::{Signatures, Signed};

use crate::ledger::{Ledger, Outages};
use crate::observation::Observations;
use crate::rule::Need;

/// What one decision rested on.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Grounds {
    number: DecisionNumber,
    time: LogTime,
    need: Need,
    observations: Observations,
    outages: Outages,
}

impl Grounds {
    /// Takes what is known of a cluster, before the decision becomes a leaf and changes it.
    pub(crate) fn take(
        (cluster, number, time): (&ClusterId, DecisionNumber, LogTime),
        ledger: &Ledger,
        observations: &Observations,
        need: Need,
    ) -> Self {
        let (observations, outages) = (observations.of(cluster), ledger.outages().only(cluster));
        Self { number, time, need, observations, outages }
    }

    /// The decision; its continuations rest on the same.
    #[must_use]
    pub fn number(&self) -> DecisionNumber {
        self.number
    }

    /// When it was made: by this time its facts are judged.
    #[must_use]
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// The newest observation of every agent of the cluster, with its signature, which `apply` did
    /// not verify.
    pub fn facts(&self) -> impl Iterator<Item = &Signed<Observe>> {
        self.observations.signed()
    }

    /// Why it was asked for, as it was known at its opening.
    pub(crate) fn need(&self) -> Need {
        self.need
    }

    /// What was observed, believing every entry of the Raft log.
    pub(crate) fn observations(&self) -> &Observations {
        &self.observations
    }

    /// What was out.
    pub(crate) fn outages(&self) -> &Outages {
        &self.outages
    }

    /// What was observed, believing signatures only: the facts whose agent signed them, and those
    /// `held` that are newer by the agent's own clock. Not by its counter, which a false fact may
    /// have pushed up. What lies ahead of `latest` is no observation.
    pub(crate) fn verified(
        &self,
        history: &History,
        held: &[Observe],
        latest: LogTime,
    ) -> Observations {
        let mut verified = self.observations.clone();
        verified.keep(|signed| is_genuine(history, signed));
        for observe in held {
            let newer = verified.latest(&observe.agent).is_none_or(|known| {
                (known.observed, known.sequence) < (observe.observed, observe.sequence)
            });
            if newer && observe.observed <= latest && observe.origin == *history.origin() {
                verified = verified.with(observe);
            }
        }
        verified
    }
}

/// Whether the agent it names signed it, by its key of the charter in force or of the one before:
/// an observation outlives an amendment.
fn is_genuine(history: &History, signed: &Signed<Observe>) -> bool {
    let by = |charter: &Charter| {
        let own = |line: &SignatureLine| {
            charter.agent_of_line(line).filter(|key| *key.name() == signed.statement.agent)
        };
        signed.verify_strict(Signatures::Verify, own).is_ok()
    };
    signed.statement.origin == *history.origin()
        && (by(history.charter()) || history.previous_charter().is_some_and(by))
}
