//! Replaying an exported log: the ledger that its leaves determine, and its hash (*replay-equal*).
//!
//! The same code that the coordinators run folds the leaves; nothing of a coordinator's disk is
//! read.

use quorate_attest::{
    export::{ExportRefused, ExportVerifier, Root, VerifiedExport},
    id::Digest,
    leaf::Leaf,
    log_time::CosignTime,
    number::LeafIndex,
    signed::Signatures,
};
use quorate_core::{Ledger, LedgerRefused};

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The export does not verify.
    #[error(transparent)]
    Export(#[from] ExportRefused),
    /// A leaf that the judge of leaves accepts, but not the ledger: a budget or a cooldown forbids
    /// it.
    #[error("entry {index}: {source}")]
    Ledger {
        /// Which leaf.
        index: LeafIndex,
        /// Why not.
        source: Box<LedgerRefused>,
    },
}

/// A log that was verified and replayed.
#[derive(Debug)]
pub struct Replayed {
    /// The verified log.
    pub export: VerifiedExport,
    /// Hash of the ledger, as the coordinators compute theirs.
    pub ledger_hash: Digest,
}

/// Verifies an export and folds its leaves as they stream by, in bounded memory.
#[derive(Debug)]
pub struct Replay {
    verifier: ExportVerifier,
    ledger: Option<Ledger>,
}

impl Replay {
    /// Begins.
    pub fn new(root: Root) -> Self {
        Self { verifier: ExportVerifier::new(root), ledger: None }
    }

    /// Reads the next bytes. `on_leaf` sees each leaf once it was judged and folded.
    ///
    /// # Errors
    /// The first entry that is refused.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut on_leaf: impl FnMut(LeafIndex, &Leaf),
    ) -> Result<(), ReplayError> {
        let Self { verifier, ledger } = self;
        let mut refused = None;
        verifier.push(bytes, |index, leaf| {
            if refused.is_some() {
                return;
            }
            // The verifier has checked every signature of this leaf already.
            match fold(ledger, leaf) {
                Ok(()) => on_leaf(index, leaf),
                Err(source) => {
                    refused = Some(ReplayError::Ledger { index, source: Box::new(source) });
                }
            }
        })?;
        refused.map_or(Ok(()), Err)
    }

    /// Checks the head and hashes the ledger. `latest`: the latest cosignature time that is not in
    /// the future.
    ///
    /// # Errors
    /// The export does not end in its cosigned head.
    pub fn finish(self, latest: CosignTime) -> Result<Replayed, ReplayError> {
        let export = self.verifier.finish(latest)?;
        let hash = |ledger: Ledger| ledger.hash();
        let ledger_hash = self.ledger.map(hash).ok_or(ExportRefused::Empty)?;
        Ok(Replayed { export, ledger_hash })
    }
}

fn fold(ledger: &mut Option<Ledger>, leaf: &Leaf) -> Result<(), LedgerRefused> {
    match ledger {
        Some(ledger) => ledger.append(leaf, Signatures::Trust).map(drop),
        None => {
            *ledger = Some(Ledger::found(leaf, Signatures::Trust)?);
            Ok(())
        }
    }
}
