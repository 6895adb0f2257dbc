//! A coordinator's signed refusal to cosign one decision (R14).
//!
//! n − k + 1 + f of them prove that the decision alone can never be certified, so the machine may
//! append a void that names it and free the slot. n − k + 1 would not do: f liars could refuse
//! *and* cosign. A refusal for invalid votes is no refusal but a divergence: stop and say so.

use borsh::{BorshDeserialize, BorshSerialize};

use thiserror::Error;

use crate::cosignature::{Cosignature, CosignatureError};
use crate::id::{ClusterId, Origin};
use crate::key::VerifierKey;
use crate::note::SignatureLine;
use crate::number::{DecisionNumber, Epoch, LeafIndex};
use crate::signed::Signed;
use crate::text::{Statement, TextError, TextReader, TextWriter, borsh_as_text, words};

/// Why a coordinator does not cosign a decision.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Cause {
    /// It holds a veto that counts and came before certification.
    Vetoed,
    /// It holds a fresher observation against a fact the decision rests on.
    Contradicted,
    /// The leaf's time is off its own clock by more than the charter's skew.
    Clock,
}

words!(Cause { Vetoed => "vetoed", Contradicted => "contradicted", Clock => "clock" });

/// `quorate-refusal/v1`, signed by a coordinator with its cosignature key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Refusal {
    pub origin: Origin,
    /// That of the decision, whatever charter came since.
    pub epoch: Epoch,
    pub cluster: ClusterId,
    pub number: DecisionNumber,
    /// Where the decision stands in the log.
    pub leaf: LeafIndex,
    pub cause: Cause,
}

impl Statement for Refusal {
    const FIRST_LINE: &'static str = "quorate-refusal/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("number", self.number)
            .line("leaf", self.leaf)
            .line("cause", self.cause);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value("cluster")?,
            number: reader.value("number")?,
            leaf: reader.value("leaf")?,
            cause: reader.value("cause")?,
        })
    }
}

borsh_as_text!(Refusal);

/// Why a signed refusal does not count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RefusalNotSigned {
    /// A refusal is one coordinator's: exactly one line.
    #[error("a refusal has {lines} lines, not one")]
    Lines {
        /// How many it has.
        lines: usize,
    },
    /// The line names no coordinator whose refusals count.
    #[error("{name} is no coordinator whose refusals of this decision count")]
    UnknownKey {
        /// Name in the line.
        name: String,
    },
    /// The line is malformed or not by that key over this text.
    #[error(transparent)]
    Cosignature(#[from] CosignatureError),
}

impl Signed<Refusal> {
    /// The coordinator that signed this refusal, which `of_line` knows, after checking that it did.
    ///
    /// # Errors
    /// Not exactly one line, an unknown key, or a false signature.
    pub fn signer<'k>(
        &self,
        of_line: impl FnOnce(&SignatureLine) -> Option<&'k VerifierKey>,
    ) -> Result<&'k VerifierKey, RefusalNotSigned> {
        let [line] = self.lines.as_slice() else {
            return Err(RefusalNotSigned::Lines { lines: self.lines.len() });
        };
        let key = of_line(line)
            .ok_or_else(|| RefusalNotSigned::UnknownKey { name: line.name.clone() })?;
        Cosignature::from_line(line)?.verify_text(key, &self.statement.text())?;
        Ok(key)
    }
}
