//! Charters and incarnations: the operators' threshold of the old *and* of the new charter.

use std::collections::BTreeSet;

use super::{Change, History, LeafRefused};
use crate::charter::Charter;
use crate::key::VerifierKey;
use crate::note::SignatureLine;
use crate::operator_statement::IncarnationStatement;
use crate::quorum::Electorate;
use crate::signed::{Signatures, Signed};
use crate::text::Statement;

/// The first charter: its own operators agree.
pub(super) fn judge_founding(
    signed: &Signed<Charter>,
    signatures: Signatures,
) -> Result<Charter, LeafRefused> {
    let charter = &signed.statement;
    if charter.previous.is_some() {
        return Err(LeafRefused::NotFounding { found: crate::leaf::LeafKind::Charter });
    }
    let signers = signers(signed, &[charter], signatures)?;
    check_threshold("new", charter, &signers)?;
    Ok(charter.clone())
}

impl History {
    pub(super) fn judge_charter(
        &self,
        signed: &Signed<Charter>,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let (old, new) = (&self.charter, &signed.statement);
        let origin = match &self.incarnation {
            Some(incarnation) => &incarnation.statement.origin,
            None => &old.origin,
        };
        if new.origin != *origin {
            let (expected, found) = (origin.clone(), new.origin.clone());
            return Err(LeafRefused::OtherOrigin { expected, found });
        }
        match old.epoch.next() {
            Some(expected) if expected == new.epoch => {}
            Some(expected) => {
                return Err(LeafRefused::OtherEpoch { expected, found: new.epoch });
            }
            None => return Err(LeafRefused::OtherEpoch { expected: old.epoch, found: new.epoch }),
        }
        if new.previous != Some(self.charter_id) {
            let (expected, found) = (self.charter_id, new.previous);
            return Err(LeafRefused::PreviousCharter { expected, found });
        }
        let approvers = signers(signed, &[old, new], signatures)?;
        check_threshold("old", old, &approvers)?;
        check_threshold("new", new, &approvers)?;
        if let Some(incarnation) = &self.incarnation {
            let found = new.id();
            let expected = incarnation.statement.charter;
            if found != expected {
                return Err(LeafRefused::IncarnationCharter { expected, found });
            }
            // Only now is the new charter known that the incarnation's signers must satisfy too.
            let approvers = signers(incarnation, &[old, new], signatures)?;
            check_threshold("new", new, &approvers)?;
        }
        Ok(Change::Charter(new.clone()))
    }

    pub(super) fn judge_incarnation(
        &self,
        signed: &Signed<IncarnationStatement>,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let (statement, old) = (&signed.statement, &self.charter.origin);
        if statement.old_origin != *old {
            let (expected, found) = (old.clone(), statement.old_origin.clone());
            return Err(LeafRefused::OtherOrigin { expected, found });
        }
        let new = &statement.origin;
        let follows = new.network == old.network
            && old.incarnation.next() == Some(new.incarnation)
            && new.salt != old.salt;
        if !follows {
            let (old, found) = (old.clone(), new.clone());
            return Err(LeafRefused::IncarnationOrigin { old, found });
        }
        if self.charter.epoch.next() != Some(statement.epoch) {
            let (expected, found) = (self.charter.epoch, statement.epoch);
            return Err(LeafRefused::OtherEpoch { expected, found });
        }
        let own = self.head();
        if statement.size != own.size || statement.root != own.root {
            return Err(LeafRefused::IncarnationHead {
                size: statement.size,
                root: statement.root,
                own_size: own.size,
                own_root: own.root,
            });
        }
        // The new charter's own operators may have signed too: they are checked with that charter.
        let lines: Vec<SignatureLine> = signed
            .lines
            .iter()
            .filter(|line| self.charter.operator_of_line(line).is_some())
            .cloned()
            .collect();
        let known = Signed { statement: statement.clone(), lines };
        let approvers = signers(&known, &[&self.charter], signatures)?;
        check_threshold("old", &self.charter, &approvers)?;
        Ok(Change::Incarnation(signed.clone()))
    }
}

/// Everybody who signed, each an operator of one of the charters.
fn signers<'k, S: Statement>(
    signed: &Signed<S>,
    charters: &[&'k Charter],
    signatures: Signatures,
) -> Result<Vec<&'k VerifierKey>, LeafRefused> {
    signed
        .verify_strict(signatures, |line| {
            charters.iter().find_map(|charter| charter.operator_of_line(line))
        })
        .map_err(|source| LeafRefused::Lines { what: "charter class", source })
}

/// Whether enough of a charter's own operators are among them. An operator is the key, not the
/// name: a name that both charters give to different keys is two people.
fn check_threshold(
    which: &'static str,
    charter: &Charter,
    signers: &[&VerifierKey],
) -> Result<(), LeafRefused> {
    let approvers: BTreeSet<_> = charter
        .operator
        .iter()
        .filter(|line| signers.iter().any(|key| **key == line.key))
        .map(|line| line.key.name().clone())
        .collect();
    let tally = Electorate::of_charter(charter)
        .map(|electorate| electorate.tally(&approvers, &BTreeSet::new(), &BTreeSet::new()));
    match tally {
        Some(tally) if tally.is_won() => Ok(()),
        Some(tally) => {
            Err(LeafRefused::CharterThreshold { which, have: tally.have, need: tally.need })
        }
        None => Err(LeafRefused::CharterThreshold { which, have: 0, need: u32::MAX }),
    }
}
