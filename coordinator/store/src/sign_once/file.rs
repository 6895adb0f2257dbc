//! `sign_once.redb`: the file, its tables, and one transaction per signature.
//!
//! * `head`: origin to [`SignedHead`], one row per origin.
//! * `refusal`: (origin, leaf index) to [`RefusedLeaf`].
//! * `evidence`: number to [`ForkEvidence`], only ever added to.

use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::cosignature::Cosignature;
use quorate_attest::id::Origin;
use quorate_attest::key::{CosignSigner, VerifierKey};
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::{Hash, HashReader, root_at};
use quorate_attest::number::LeafIndex;
use quorate_attest::refusal::Refusal;
use quorate_attest::signed::Signed;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::HeadRequest;
use super::record::{ForkEvidence, RefusedLeaf, SignedHead};
use super::rules::{Ruling, SignRefused, rule};
use crate::codec::{self, Record};
use crate::disk::StoreFile;
use crate::fault::Fault;

const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
const REFUSAL: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("refusal");
const EVIDENCE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("evidence");

/// Either a ruling or a broken disk; never mixed up.
#[derive(Debug, thiserror::Error)]
pub enum SignOnceError {
    /// The table of cases says no.
    #[error(transparent)]
    Refused(#[from] SignRefused),
    /// The file failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The open file and the only signer of its key.
pub struct SignOnceFile {
    database: Database,
    origin: Origin,
    origin_text: String,
    signer: CosignSigner,
}

/// Makes the tables of a new file.
pub(crate) fn create_tables(transaction: &WriteTransaction) -> Result<(), Fault> {
    drop(transaction.open_table(HEAD).map_err(write)?);
    drop(transaction.open_table(REFUSAL).map_err(write)?);
    drop(transaction.open_table(EVIDENCE).map_err(write)?);
    Ok(())
}

impl SignOnceFile {
    pub(crate) fn new(database: Database, origin: Origin, signer: CosignSigner) -> Self {
        let origin_text = origin.to_string();
        Self { database, origin, origin_text, signer }
    }

    /// The key of this file.
    pub fn key(&self) -> &VerifierKey {
        self.signer.vkey()
    }

    /// Rules over a request and, if it may be signed, signs it durably.
    ///
    /// # Errors
    /// What stands against it, or the fault.
    pub fn cosign(
        &mut self,
        request: &HeadRequest,
        tree: &impl HashReader,
    ) -> Result<Cosignature, SignOnceError> {
        if request.checkpoint.origin != self.origin {
            return Err(SignRefused::ForeignOrigin.into());
        }
        let transaction = self.begin()?;
        self.check_not_diverged(&transaction)?;
        let record = self.head_in(&transaction)?;
        let refused = self.refusals_in(&transaction)?;
        let own_root = |size| root_at(tree, size).ok();
        match rule(record.as_ref(), &refused, request, own_root) {
            Ruling::Sign { settled } => {
                let signed = self.sign(&request.checkpoint, request.time);
                self.settle(&transaction, &refused, &settled, &signed)?;
                self.put_head(&transaction, &signed)?;
                // A crash before this line: nothing was signed. After it: the same signature again.
                transaction.commit().map_err(write)?;
                Ok(signed.cosignature)
            }
            Ruling::Release(record) => Ok(record.cosignature.clone()),
            Ruling::Refuse(refused) => Err(refused.into()),
            Ruling::Fork { signed, own } => {
                let refused =
                    SignRefused::Fork { size: signed.size, signed: signed.root, requested: own };
                self.keep_evidence(transaction, evidence(signed, own, request.time, false))?;
                Err(refused.into())
            }
            Ruling::Diverge { signed, own } => {
                let refused = SignRefused::Diverged { size: signed.size, signed: signed.root, own };
                self.keep_evidence(transaction, evidence(signed, own, request.time, true))?;
                Err(refused.into())
            }
        }
    }

    /// Signs the refusal of one decision, or returns the one signed first for that leaf.
    ///
    /// # Errors
    /// [`SignRefused::AlreadyCosigned`], [`SignRefused::Diverged`], or the fault.
    pub fn refuse(
        &mut self,
        refusal: Refusal,
        time: CosignTime,
    ) -> Result<Signed<Refusal>, SignOnceError> {
        if refusal.origin != self.origin {
            return Err(SignRefused::ForeignOrigin.into());
        }
        let transaction = self.begin()?;
        self.check_not_diverged(&transaction)?;
        let refused = self.refusals_in(&transaction)?;
        if let Some(first) = refused.into_iter().find(|first| first.leaf() == refusal.leaf) {
            return Ok(Signed::new(first.refusal, vec![first.line]));
        }
        if let Some(head) = self.head_in(&transaction)?
            && refusal.leaf.is_below(head.size)
        {
            let (leaf, signed) = (refusal.leaf, head.size);
            return Err(SignRefused::AlreadyCosigned { leaf, signed }.into());
        }
        let line = self.signer.refuse(&refusal, time);
        let row = RefusedLeaf { refusal, line, settled: None };
        self.put_refusal(&transaction, &row)?;
        // As for a head: durable before it is released, and the same again after a crash.
        transaction.commit().map_err(write)?;
        Ok(Signed::new(row.refusal, vec![row.line]))
    }

    /// A replica whose tree contradicts what it signed judges nothing any more, neither a head nor
    /// a decision: *sign-once*.
    fn check_not_diverged(&self, transaction: &WriteTransaction) -> Result<(), SignOnceError> {
        let met = self.evidence_in(transaction)?;
        let Some(ForkEvidence { signed, own_root, .. }) = met.into_iter().find(|e| e.is_final)
        else {
            return Ok(());
        };
        Err(SignRefused::Diverged { size: signed.size, signed: signed.root, own: own_root }.into())
    }

    /// The head signed last.
    ///
    /// # Errors
    /// The fault.
    pub fn head(&self) -> Result<Option<SignedHead>, Fault> {
        let table = self.database.begin_read().map_err(read)?.open_table(HEAD).map_err(read)?;
        self.head_of(&table)
    }

    /// Every refusal, by leaf.
    ///
    /// # Errors
    /// The fault.
    pub fn refusals(&self) -> Result<Vec<RefusedLeaf>, Fault> {
        let table = self.database.begin_read().map_err(read)?.open_table(REFUSAL).map_err(read)?;
        self.refusals_of(&table)
    }

    /// Every fork that was met, in order.
    ///
    /// # Errors
    /// The fault.
    pub fn evidence(&self) -> Result<Vec<ForkEvidence>, Fault> {
        let table = self.database.begin_read().map_err(read)?.open_table(EVIDENCE).map_err(read)?;
        evidence_of(&table)
    }

    fn sign(&self, checkpoint: &Checkpoint, time: CosignTime) -> SignedHead {
        SignedHead {
            size: checkpoint.size,
            root: checkpoint.root,
            text: checkpoint.body(),
            cosignature: self.signer.cosign(checkpoint, time),
        }
    }

    fn begin(&self) -> Result<WriteTransaction, Fault> {
        let mut transaction = self.database.begin_write().map_err(write)?;
        transaction.set_durability(Durability::Immediate).map_err(write)?;
        Ok(transaction)
    }

    /// Adds a row, unless the same fork is known already.
    fn keep_evidence(&self, transaction: WriteTransaction, row: ForkEvidence) -> Result<(), Fault> {
        let known = self.evidence_in(&transaction)?;
        let is_same = |other: &ForkEvidence| {
            other.signed.size == row.signed.size
                && other.own_root == row.own_root
                && other.is_final == row.is_final
        };
        if known.iter().any(is_same) {
            return Ok(());
        }
        let mut table = transaction.open_table(EVIDENCE).map_err(write)?;
        let next = known.len() as u64;
        table.insert(next, codec::encode(&row).as_slice()).map_err(write)?;
        drop(table);
        transaction.commit().map_err(write)
    }

    fn settle(
        &self,
        transaction: &WriteTransaction,
        refused: &[RefusedLeaf],
        settled: &[LeafIndex],
        signed: &SignedHead,
    ) -> Result<(), Fault> {
        for row in refused.iter().filter(|row| settled.contains(&row.leaf())) {
            let row = RefusedLeaf { settled: Some(signed.size), ..row.clone() };
            self.put_refusal(transaction, &row)?;
        }
        Ok(())
    }

    fn put_head(&self, transaction: &WriteTransaction, head: &SignedHead) -> Result<(), Fault> {
        let mut table = transaction.open_table(HEAD).map_err(write)?;
        let row = codec::encode(head);
        table.insert(self.origin_text.as_str(), row.as_slice()).map(drop).map_err(write)
    }

    fn put_refusal(
        &self,
        transaction: &WriteTransaction,
        refused: &RefusedLeaf,
    ) -> Result<(), Fault> {
        let mut table = transaction.open_table(REFUSAL).map_err(write)?;
        let key = (self.origin_text.as_str(), refused.leaf().get());
        table.insert(key, codec::encode(refused).as_slice()).map(drop).map_err(write)
    }

    fn head_in(&self, transaction: &WriteTransaction) -> Result<Option<SignedHead>, Fault> {
        self.head_of(&transaction.open_table(HEAD).map_err(read)?)
    }

    fn refusals_in(&self, transaction: &WriteTransaction) -> Result<Vec<RefusedLeaf>, Fault> {
        self.refusals_of(&transaction.open_table(REFUSAL).map_err(read)?)
    }

    fn evidence_in(&self, transaction: &WriteTransaction) -> Result<Vec<ForkEvidence>, Fault> {
        evidence_of(&transaction.open_table(EVIDENCE).map_err(read)?)
    }

    fn head_of(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<Option<SignedHead>, Fault> {
        let row = table.get(self.origin_text.as_str()).map_err(read)?;
        row.map(|row| decode("head", row.value())).transpose()
    }

    fn refusals_of(
        &self,
        table: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    ) -> Result<Vec<RefusedLeaf>, Fault> {
        let origin = self.origin_text.as_str();
        let rows = table.range((origin, 0)..=(origin, u64::MAX)).map_err(read)?;
        rows.map(|row| decode("refusal", row.map_err(read)?.1.value())).collect()
    }
}

fn evidence(signed: &SignedHead, own_root: Hash, time: CosignTime, is_final: bool) -> ForkEvidence {
    ForkEvidence { signed: signed.clone(), own_root, time, is_final }
}

fn evidence_of(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Vec<ForkEvidence>, Fault> {
    let rows = table.iter().map_err(read)?;
    rows.map(|row| decode("evidence", row.map_err(read)?.1.value())).collect()
}

fn decode<T: Record>(row: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    codec::decode(bytes).map_err(|source| Fault::Undecodable {
        file: StoreFile::SignOnce,
        row: row.to_owned(),
        source,
    })
}

fn read(source: impl Into<redb::Error>) -> Fault {
    Fault::read(StoreFile::SignOnce, source)
}

fn write(source: impl Into<redb::Error>) -> Fault {
    Fault::write(StoreFile::SignOnce, source)
}
