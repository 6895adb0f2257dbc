//! The certificate: a decision that anyone can check with the charter alone (*authority*).
//!
//! [`verify_certificate`] does steps 1 to 6 of the verification in their order and fails closed: the
//! first step that fails is the answer. What needs a verifier's own stored state are separate
//! functions ([`relate_heads`], [`judge_freshness`], [`judge_window`]), so that an agent's list of
//! checks reads like the list it implements. Its journal judges the token, and its own history of
//! the log what later leaves stop.

mod start;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

pub use start::{HeadRelation, OutsideWindow, judge_freshness, judge_window, relate_heads};

use crate::charter::Charter;
use crate::head::{CosignedHead, HeadPolicy, HeadPolicyError, HeadRefused, VerifiedHead};
use crate::history::{History, LeafRefused, judge_authority};
use crate::id::{CharterId, ClusterId, KeyName, MemberId};
use crate::leaf::{Decision, Leaf, LeafError, LeafKind};
use crate::log_time::LogTime;
use crate::merkle::{Hash, InclusionError, leaf_hash};
use crate::number::{FencingToken, LeafIndex};
use crate::proof::{ProofRefused, TlogProof};
use crate::quorum::{Silenced, Tally};
use crate::signed::Signatures;

/// What a verifier believes before it reads a certificate.
#[derive(Debug, Clone)]
pub struct Trusted {
    /// Charters by the leaf from which on each is in force. The pinned one counts from the start.
    epochs: BTreeMap<LeafIndex, (CharterId, Charter)>,
    /// Members whose observers had no voice when the decision was made.
    silenced: BTreeSet<MemberId>,
    /// Keys whose votes on it did not count.
    equivocators: BTreeSet<KeyName>,
    /// The leaf of an older epoch that the verifier has judged already, where it tailed the log.
    judged: Option<Hash>,
}

impl Trusted {
    /// Trusts one charter, for the whole log.
    pub fn pin(charter: Charter) -> Self {
        let epochs = BTreeMap::from([(LeafIndex::MIN, (charter.id(), charter))]);
        let (silenced, equivocators) = (BTreeSet::new(), BTreeSet::new());
        Self { epochs, silenced, equivocators, judged: None }
    }

    /// Trusts a later charter from its leaf on. The caller walked the epochs one by one.
    #[must_use]
    pub fn then(mut self, leaf: LeafIndex, charter: Charter) -> Self {
        self.epochs.insert(leaf, (charter.id(), charter));
        self
    }

    /// Trusts the charter in force in a log that the verifier tails, and what that log says of the
    /// voters of the decision that holds the cluster's slot there.
    ///
    /// A decision that outlived its charter holds the slot until its executors answer. Its votes
    /// were judged under that charter when its leaf was tailed, so that leaf, byte for byte, and no
    /// other of an older epoch, is proved by the head alone. Its holder starts nothing by it: see
    /// [`judge_window`].
    pub fn by_history(history: &History, cluster: &ClusterId) -> Self {
        let mut trusted = Self::pin(history.charter().clone());
        match history.cluster(cluster).and_then(|cluster| cluster.slot()) {
            Some(slot) => {
                trusted.silenced.clone_from(&slot.silenced);
                trusted.equivocators.clone_from(&slot.equivocators);
                let of_this_log = slot.token.incarnation == history.origin().incarnation;
                let is_older = slot.epoch != history.epoch();
                trusted.judged = (of_this_log && is_older).then_some(slot.hash);
            }
            None => trusted.silenced = history.tombstoned(cluster),
        }
        trusted
    }

    /// The charter that judges the leaf, or the head, at that position: the newest one before it.
    fn in_force(&self, position: u64) -> Option<&(CharterId, Charter)> {
        let before = self.epochs.iter().rev().find(|(leaf, _)| leaf.get() < position);
        before.or_else(|| self.epochs.first_key_value()).map(|(_, charter)| charter)
    }
}

/// A decision that k coordinators certified and enough validators approved.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What was decided.
    pub decision: Decision,
    /// Its fencing token.
    pub token: FencingToken,
    /// Where it stands in the log.
    pub index: LeafIndex,
    /// The hash of its leaf.
    pub leaf: Hash,
    /// Who approved. None for a decision of an older epoch in a log that the verifier tails: it
    /// counted them there.
    pub tally: Option<Tally>,
    /// The head it was proved in, with the coordinators' times.
    pub verified: VerifiedHead,
    /// That head as it was read, for the verifier's stored head.
    pub head: CosignedHead,
}

/// Why a certificate is refused. [`CertificateRefused::step`] says at which step.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateRefused {
    /// Steps 1 to 4: the file, its head, its lines, its path.
    #[error(transparent)]
    Proof(#[from] ProofRefused),
    /// The trusted charter cannot judge a head.
    #[error(transparent)]
    Policy(#[from] HeadPolicyError),
    /// Nothing is trusted.
    #[error("no charter is trusted")]
    NothingTrusted,
    /// Step 5: the entry is no leaf.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// Step 5: a leaf of another kind.
    #[error("a certificate holds a decision, not this {found:?} leaf")]
    NotADecision {
        /// The kind found.
        found: LeafKind,
    },
    /// Steps 5 and 6: a rule of the log.
    #[error(transparent)]
    Judged(#[from] LeafRefused),
}

impl CertificateRefused {
    /// The step of the verification that failed, 1 to 6.
    pub fn step(&self) -> u8 {
        match self {
            Self::Proof(refused) => step_of_proof(refused),
            Self::Policy(_) | Self::NothingTrusted => 3,
            Self::Leaf(_) | Self::NotADecision { .. } => 5,
            Self::Judged(refused) => {
                let in_force = matches!(
                    refused,
                    LeafRefused::Form(_)
                        | LeafRefused::OtherOrigin { .. }
                        | LeafRefused::OtherEpoch { .. }
                        | LeafRefused::OtherCharter { .. }
                        | LeafRefused::OtherCluster { .. }
                        | LeafRefused::UnknownCluster { .. }
                );
                if in_force { 5 } else { 6 }
            }
        }
    }
}

fn step_of_proof(refused: &ProofRefused) -> u8 {
    match refused {
        ProofRefused::Head(HeadRefused::Checkpoint(_) | HeadRefused::OriginMismatch { .. })
        | ProofRefused::Inclusion(InclusionError::IndexOutOfRange { .. }) => 2,
        ProofRefused::Head(HeadRefused::Note(_)) => 1,
        ProofRefused::Head(
            HeadRefused::Cosignature(_)
            | HeadRefused::LogLine { .. }
            | HeadRefused::TooFewCosignatures { .. }
            | HeadRefused::TimeInFuture { .. }
            | HeadRefused::Stale { .. },
        ) => 3,
        ProofRefused::Inclusion(_) => 4,
        ProofRefused::TooLarge { .. }
        | ProofRefused::EntryTooLarge { .. }
        | ProofRefused::Characters(_)
        | ProofRefused::BadHeader
        | ProofRefused::NoFinalNewline
        | ProofRefused::BadLine { .. }
        | ProofRefused::BadBase64 { .. }
        | ProofRefused::BadIndex(_)
        | ProofRefused::BadHashLength { .. }
        | ProofRefused::TooManyHashes
        | ProofRefused::NoEntry => 1,
    }
}

/// Verifies a certificate: steps 1 to 6, in order, fail closed.
///
/// # Errors
/// The first step that fails.
pub fn verify_certificate(
    bytes: &[u8],
    trusted: &Trusted,
    now: LogTime,
) -> Result<Certificate, CertificateRefused> {
    // 1. The file, in its one form, with the leaf in it; the checkpoint's form belongs to 2.
    let proof = TlogProof::parse(bytes)?;
    let entry = proof.entry()?.to_vec();
    // 2. The origin, and the index below the size.
    let size = proof.head().checkpoint.size;
    let (_, at_head) = trusted.in_force(size.get()).ok_or(CertificateRefused::NothingTrusted)?;
    let policy = at_head.head_policy()?;
    let found = proof.head().checkpoint.origin.clone();
    if found != at_head.origin {
        let expected = at_head.origin.clone();
        let refused = HeadRefused::OriginMismatch { expected, found };
        return Err(ProofRefused::from(refused).into());
    }
    let index = proof.index();
    if !index.is_below(size) {
        return Err(ProofRefused::from(InclusionError::IndexOutOfRange { index, size }).into());
    }
    // 3. and 4. The coordinators' lines, then the path from the leaf's bytes to their root.
    let latest = now.saturating_add(at_head.skew).to_cosign_time();
    let verified = proof.verify(&policy, latest)?;
    // 5. The leaf, and the charter it was made under.
    let leaf = Leaf::parse(&entry)?;
    let found = leaf.kind();
    let Leaf::Decision(decision) = leaf else {
        return Err(CertificateRefused::NotADecision { found });
    };
    let (charter_id, charter) =
        trusted.in_force(index.get()).ok_or(CertificateRefused::NothingTrusted)?;
    // 6. The votes: one text, enough distinct validators, operators and domains, times in order.
    let leaf = leaf_hash(&entry);
    let silenced = Silenced { tombstoned: &trusted.silenced };
    let tally = if trusted.judged == Some(leaf) {
        None
    } else {
        Some(judge_authority(
            charter,
            *charter_id,
            &decision,
            silenced,
            &trusted.equivocators,
            Signatures::Verify,
        )?)
    };
    let (token, head) = (decision.token(), proof.head().clone());
    Ok(Certificate { decision, token, index, leaf, tally, verified, head })
}

impl Charter {
    /// Who may cosign a head, and how many must.
    ///
    /// # Errors
    /// Never for a parsed charter.
    pub fn head_policy(&self) -> Result<HeadPolicy, HeadPolicyError> {
        let threshold = usize::try_from(self.threshold).unwrap_or(usize::MAX);
        let (coordinators, log) = (self.coordinator.iter().cloned(), self.log.iter().cloned());
        HeadPolicy::new(self.origin.clone(), coordinators, log, threshold)
    }
}
