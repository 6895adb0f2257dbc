//! openraft's state machine: feeds the owner, keeps the waiting replies, installs snapshots.
//!
//! The machine itself is transient: after a start openraft installs the stored snapshot and
//! applies the log again up to what was committed. So `apply` needs no fsync, and everything it
//! leaves behind (leaves) is written again with the same bytes.

use std::io;
use std::sync::{Arc, Weak};

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftStateMachine};
use quorate_core::Machine;
use redb::Database;

use crate::fault::{Fault, FaultCell, to_io};
use crate::leaves::Leaves;
use crate::leaves_file::LeafOperation;
use crate::owner::{MachineHandle, Restored, head_of};
use crate::raft_file::RaftOperation;
use crate::snapshot::{self, LeafSource, SnapshotBuilder, SnapshotData, read_stored_header};
use crate::type_config::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::writer::WriterHandle;

/// The most entries that are applied before their replies are sent.
const BATCH_MAX: usize = 64;
/// Leaves moved from `incoming` in one transaction: about 2 MiB of typical leaves.
const PROMOTE_MAX: usize = 1024;
/// Bytes of leaves copied in one transaction when another store's snapshot is installed.
const COPY_BYTES_MAX: usize = 4 << 20;

/// openraft's state machine.
pub struct StateMachine {
    pub(crate) handle: MachineHandle,
    pub(crate) leaves: Leaves,
    pub(crate) database: Weak<Database>,
    pub(crate) leaf_writer: WriterHandle<LeafOperation>,
    pub(crate) raft_writer: WriterHandle<RaftOperation>,
    pub(crate) fault: FaultCell,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.handle.applied_state().await.map_err(|fault| to_io(&fault))
    }

    /// An `Err` here stops the replica. A rejection is not one: it is a reply, equal everywhere.
    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH_MAX);
        while let Some(batch) = batches.next().await {
            let mut entries = Vec::with_capacity(batch.len());
            let mut responders = Vec::with_capacity(batch.len());
            for item in batch {
                let (entry, responder) = item?;
                entries.push(entry);
                responders.push(responder);
            }
            let replies = self.handle.apply(entries).await.map_err(|fault| to_io(&fault))?;
            // One reply per entry, blank and membership entries included: a caller without one
            // waits for ever.
            for (responder, reply) in responders.into_iter().zip(replies) {
                if let Some(responder) = responder {
                    responder.send(reply);
                }
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.builder().await
    }

    /// Durable first, then visible. Also called at every start, with the stored snapshot.
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> io::Result<()> {
        self.install(meta, data).await.map_err(|fault| to_io(&fault))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let stored = snapshot::stored(&self.database, &self.leaves, &self.fault);
        Ok(stored.map_err(|fault| to_io(&fault))?.map(SnapshotData::into_snapshot))
    }
}

impl StateMachine {
    async fn builder(&self) -> SnapshotBuilder {
        SnapshotBuilder {
            frozen: self.handle.freeze().await,
            leaves: self.leaves.clone(),
            leaf_writer: self.leaf_writer.clone(),
            raft_writer: self.raft_writer.clone(),
            fault: self.fault.clone(),
        }
    }

    async fn install(&self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), Arc<Fault>> {
        self.fault.check()?;
        let state = data.read_state()?;
        let machine = self.restore(meta, &data, &state)?;
        self.bring_leaves(&data).await?;
        if self.stored_header()?.as_ref() != Some(data.header()) {
            self.raft_writer
                .run(|ack| RaftOperation::Snapshot {
                    header: Box::new(data.header().clone()),
                    state: Arc::new(state),
                    ack,
                })
                .await?;
        }
        // A crash up to here: the next start finds the old snapshot or the new one, both whole.
        self.handle.install(Restored { machine, meta: meta.clone() }).await
    }

    fn restore(
        &self,
        meta: &SnapshotMeta,
        data: &SnapshotData,
        state: &[u8],
    ) -> Result<Machine, Arc<Fault>> {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let header = data.header();
        let unusable = |reason: String| self.fault.raise(Fault::Snapshot { index, reason });
        if meta != &header.meta {
            return Err(unusable(format!("Raft names {meta}, the data {}", header.meta)));
        }
        let machine = Machine::restore(state).map_err(|refused| unusable(refused.to_string()))?;
        let head = head_of(&machine);
        if head.size.get() != header.leaves || head.root != header.root {
            return Err(self.fault.raise(Fault::RootDiffers {
                size: header.leaves,
                stored: header.root,
                machine: head.root,
            }));
        }
        Ok(machine)
    }

    /// Makes every leaf of the snapshot present and durable, and compares their root.
    async fn bring_leaves(&self, data: &SnapshotData) -> Result<(), Arc<Fault>> {
        let end = data.header().leaves;
        let mut size = self.stored_size()?;
        while size < end {
            match data.leaves() {
                LeafSource::Received { .. } => {
                    let batch = PROMOTE_MAX;
                    self.leaf_writer.run(|ack| LeafOperation::Promote { end, batch, ack }).await?;
                }
                LeafSource::Applied(view) => {
                    let leaves = view
                        .range(size..end, COPY_BYTES_MAX)
                        .map_err(|e| e.into_fault(&self.fault))?
                        .into_iter()
                        .map(|(_, leaf)| leaf)
                        .collect();
                    self.leaf_writer
                        .run(|ack| LeafOperation::Append { first: size, leaves, ack })
                        .await?;
                }
            }
            let before = size;
            size = self.stored_size()?;
            if size == before {
                return Err(self.fault.raise(Fault::LeafGap { index: end, size }));
            }
        }
        self.leaf_writer.run(|ack| LeafOperation::Sync { ack }).await?;
        let view = self.leaves.view_of(end).map_err(|e| e.into_fault(&self.fault))?;
        let head = view.head().map_err(|e| e.into_fault(&self.fault))?;
        if head.root != data.header().root {
            return Err(self.fault.raise(Fault::RootDiffers {
                size: end,
                stored: head.root,
                machine: data.header().root,
            }));
        }
        Ok(())
    }

    fn stored_size(&self) -> Result<u64, Arc<Fault>> {
        let frontier = self.leaves.frontier().map_err(|e| e.into_fault(&self.fault))?;
        Ok(frontier.size().get())
    }

    fn stored_header(&self) -> Result<Option<snapshot::SnapshotHeader>, Arc<Fault>> {
        let ended = || self.fault.raise(Fault::WriterEnded { file: crate::disk::StoreFile::Raft });
        let database = self.database.upgrade().ok_or_else(ended)?;
        read_stored_header(&database).map_err(|fault| self.fault.raise(fault))
    }
}
