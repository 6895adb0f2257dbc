//! Charters: the first one, and every amendment.
//!
//! Everything that is open was voted under the old charter and ends with it. A running action goes
//! on and can report; it can no longer be continued, only abandoned.

use quorate_attest::charter::Charter;
use quorate_attest::id::ProposalId;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::number::LeafIndex;
use quorate_attest::signed::{Signatures, Signed};
use quorate_attest::text::Statement;

use crate::effect::Effect;
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::rejection::Rejection;
use crate::step::{Step, refused};

impl Step<'_> {
    /// Starts the log.
    pub(crate) fn found(&mut self, charter: Signed<Charter>) -> Result<Outcome, Rejection> {
        if self.state.ledger.is_some() {
            return Err(Rejection::AlreadyFounded);
        }
        let leaf = Leaf::Charter(canonical(charter)?);
        let ledger = Ledger::found(&leaf, Signatures::Trust).map_err(refused)?;
        let epoch = ledger.history().epoch();
        self.state.observations.watch(ledger.charter(), self.state.time);
        self.state.ledger = Some(ledger);
        let index = LeafIndex::MIN;
        self.effects.push(Effect::Leaf { index, bytes: leaf.to_bytes() });
        Ok(Outcome::Chartered { epoch, index })
    }

    /// Puts the next charter into force, and ends what was open under the old one.
    pub(crate) fn amend(&mut self, charter: Signed<Charter>) -> Result<Outcome, Rejection> {
        let charter = canonical(charter)?;
        let have = charter.statement.epoch;
        let in_force = self.charter()?;
        if charter.statement.origin != in_force.origin {
            let (have, want) = (charter.statement.origin, in_force.origin.clone());
            return Err(Rejection::WrongOrigin { have, want });
        }
        if in_force.epoch.next() != Some(have) {
            let want = in_force.epoch.next().unwrap_or(in_force.epoch);
            return Err(Rejection::EpochMismatch { have, want });
        }
        let index = self.append(&Leaf::Charter(charter))?;
        let open: Vec<ProposalId> = self.state.open.keys().copied().collect();
        for id in open {
            let ended = self.end(id, VoidCause::Epoch, "-", None);
            debug_assert!(ended.is_ok(), "{ended:?}");
            // Whatever the log says of its end: it cannot be open under a charter it does not name.
            self.state.open.remove(&id);
        }
        let state = &mut *self.state;
        if let Some(ledger) = &state.ledger {
            let charter = ledger.charter();
            state.observations.watch(charter, state.time);
            state.claims.retain(charter);
            state.versions.raise(charter);
        }
        Ok(Outcome::Chartered { epoch: have, index })
    }
}

/// A charter built by hand may hold lists out of order: what is kept is what its text says.
fn canonical(signed: Signed<Charter>) -> Result<Signed<Charter>, Rejection> {
    let statement = Charter::parse(&signed.statement.text()).map_err(|error| {
        Rejection::Malformed { field: "charter".to_owned(), why: error.to_string() }
    })?;
    Ok(Signed::new(statement, signed.lines))
}
