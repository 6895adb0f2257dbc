//! Building a snapshot, and finding the stored one.

use std::io;
use std::sync::{Arc, Weak};

use openraft::storage::RaftSnapshotBuilder;
use quorate_core::Machine;
use redb::{Database, ReadableDatabase};

use super::{LeafSource, SnapshotData, SnapshotHeader, StateSource, digest};
use crate::disk::StoreFile;
use crate::fault::{Fault, FaultCell, to_io};
use crate::leaves::Leaves;
use crate::leaves_file::LeafOperation;
use crate::owner::head_of;
use crate::raft_file::RaftOperation;
use crate::table::meta::{self, META};
use crate::table::snapshot::SNAPSHOT;
use crate::type_config::{Snapshot, SnapshotMeta, TypeConfig};
use crate::writer::WriterHandle;

/// The machine at one log index; later entries do not touch it.
pub(crate) struct Frozen {
    pub(crate) machine: Machine,
    pub(crate) meta: SnapshotMeta,
}

/// Encodes a frozen machine and makes it durable, beside `apply`.
pub struct SnapshotBuilder {
    /// The fault, if there was one: openraft has no other place for it than the build itself.
    pub(crate) frozen: Result<Frozen, Arc<Fault>>,
    pub(crate) leaves: Leaves,
    pub(crate) leaf_writer: WriterHandle<LeafOperation>,
    pub(crate) raft_writer: WriterHandle<RaftOperation>,
    pub(crate) fault: FaultCell,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.build().await.map(SnapshotData::into_snapshot).map_err(|fault| to_io(&fault))
    }
}

impl SnapshotBuilder {
    async fn build(&self) -> Result<SnapshotData, Arc<Fault>> {
        let frozen = self.frozen.as_ref().map_err(Arc::clone)?;
        let head = head_of(&frozen.machine);
        // The leaves first: once the snapshot is reported, the log that could produce them again
        // is purged.
        self.leaf_writer.run(|ack| LeafOperation::Sync { ack }).await?;
        let view = self.leaves.view_of(head.size.get()).map_err(|e| e.into_fault(&self.fault))?;
        let stored = view.head().map_err(|e| e.into_fault(&self.fault))?;
        if stored != head {
            return Err(self.fault.raise(Fault::RootDiffers {
                size: head.size.get(),
                stored: stored.root,
                machine: head.root,
            }));
        }
        let state = Arc::new(frozen.machine.snapshot());
        let header = SnapshotHeader {
            meta: frozen.meta.clone(),
            state_bytes: state.len() as u64,
            state_digest: digest(&state),
            leaves: head.size.get(),
            root: head.root,
        };
        self.raft_writer
            .run(|ack| RaftOperation::Snapshot {
                header: Box::new(header.clone()),
                state: Arc::clone(&state),
                ack,
            })
            .await?;
        Ok(SnapshotData {
            header,
            state: StateSource::Memory(state),
            leaves: LeafSource::Applied(Box::new(view)),
            fault: self.fault.clone(),
        })
    }
}

/// The header of the stored snapshot, if there is one.
pub(crate) fn read_stored_header(database: &Database) -> Result<Option<SnapshotHeader>, Fault> {
    let read = |source: redb::Error| Fault::read(StoreFile::Raft, source);
    let transaction = database.begin_read().map_err(|source| read(source.into()))?;
    let table = transaction.open_table(META).map_err(|source| read(source.into()))?;
    meta::get_record(&table, StoreFile::Raft, meta::KEY_SNAPSHOT)
}

/// The stored snapshot, if there is one. Its state is read row by row, later.
pub(crate) fn stored(
    database: &Weak<Database>,
    leaves: &Leaves,
    fault: &FaultCell,
) -> Result<Option<SnapshotData>, Arc<Fault>> {
    fault.check()?;
    let raise = |source: redb::Error| fault.raise(Fault::read(StoreFile::Raft, source));
    let ended = || fault.raise(Fault::WriterEnded { file: StoreFile::Raft });
    let database = database.upgrade().ok_or_else(ended)?;
    // Header and rows from one transaction: a newer snapshot may be written meanwhile.
    let transaction = database.begin_read().map_err(|source| raise(source.into()))?;
    let table = transaction.open_table(META).map_err(|source| raise(source.into()))?;
    let header: Option<SnapshotHeader> =
        meta::get_record(&table, StoreFile::Raft, meta::KEY_SNAPSHOT)
            .map_err(|refused| fault.raise(refused))?;
    let Some(header) = header else { return Ok(None) };
    let rows = transaction.open_table(SNAPSHOT).map_err(|source| raise(source.into()))?;
    let view = leaves.view_of(header.leaves).map_err(|e| e.into_fault(fault))?;
    Ok(Some(SnapshotData {
        header,
        state: StateSource::Stored(rows),
        leaves: LeafSource::Applied(Box::new(view)),
        fault: fault.clone(),
    }))
}
