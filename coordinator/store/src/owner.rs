//! The owner of the decision machine: one task, and handles that send it messages.
//!
//! Nobody else ever holds a reference to the live machine. Entries are applied and reads answered
//! in the order of the queue, so a read sees a whole entry or nothing of it.
//!
//! Order within one batch: apply, then write the leaves, then announce, then answer. Whoever gets
//! an answer that names a leaf can read that leaf.

use std::sync::Arc;

use openraft::EntryPayload;
use quorate_attest::merkle::{Frontier, Head};
use quorate_core::{Alarm, Effect, Machine, MachineVersion};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::fault::{Fault, FaultCell};
use crate::leaves_file::LeafOperation;
use crate::snapshot::Frozen;
use crate::type_config::{Answer, Entry, LogId, Membership, Reply, SnapshotMeta, StoredMembership};
use crate::writer::WriterHandle;

/// Messages that wait for the owner. Raft sends one batch at a time; the rest are reads.
const QUEUE_MAX: usize = 1024;
/// Alarms that a slow listener can be behind before it misses some.
const ALARMS_MAX: usize = 1024;

/// Size and root of the decision log as the machine knows it; the empty log before its founding.
pub(crate) fn head_of(machine: &Machine) -> Head {
    let ledger = machine.state().ledger();
    ledger.map_or_else(|| Frontier::new().head(), |ledger| ledger.history().head())
}

type Closure = Box<dyn FnOnce(&Machine, Option<LogId>) + Send>;

enum Message {
    Apply { entries: Vec<Entry>, done: oneshot::Sender<Result<Vec<Reply>, Arc<Fault>>> },
    Read(Closure),
    Freeze(oneshot::Sender<Frozen>),
    Install { restored: Box<Restored>, done: oneshot::Sender<()> },
    Applied(oneshot::Sender<(Option<LogId>, StoredMembership)>),
}

/// A machine from a snapshot, with what it covers.
pub(crate) struct Restored {
    pub(crate) machine: Machine,
    pub(crate) meta: SnapshotMeta,
}

/// An alarm and the entry that raised it. Entries are applied again after a restart, so listeners
/// subscribe once recovery is over.
#[derive(Debug, Clone)]
pub struct Raised {
    /// The entry.
    pub at: LogId,
    /// What a person should look at.
    pub alarm: Alarm,
}

/// Reads the machine from anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MachineHandle {
    messages: mpsc::Sender<Message>,
    applied: watch::Receiver<Option<LogId>>,
    restored: watch::Receiver<u64>,
    alarms: broadcast::Sender<Raised>,
    fault: FaultCell,
}

impl MachineHandle {
    /// Runs `read` on the machine, between two entries. Keep it short: entries wait meanwhile.
    ///
    /// # Errors
    /// The fault, if this replica has stopped.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Machine) -> T + Send + 'static,
    ) -> Result<T, Arc<Fault>> {
        self.read_at(move |machine, _| read(machine)).await
    }

    /// Like [`read`](Self::read), with the last applied entry: what the answer is a view of.
    ///
    /// # Errors
    /// The fault, if this replica has stopped.
    pub async fn read_at<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Machine, Option<LogId>) -> T + Send + 'static,
    ) -> Result<T, Arc<Fault>> {
        self.fault.check()?;
        self.ask(|answer| {
            Message::Read(Box::new(move |machine, applied| {
                // A reader that went away needs no answer.
                drop(answer.send(read(machine, applied)));
            }))
        })
        .await
    }

    /// The last applied entry; changes after its leaves can be read.
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.applied.clone()
    }

    /// How often the machine was replaced by one from a snapshot, the one stored here included.
    /// Until its ledger was compared with a fold of the leaves it is only what its sender says.
    pub fn restored(&self) -> watch::Receiver<u64> {
        self.restored.clone()
    }

    /// Alarms raised from now on. A listener that falls behind is told how many it missed.
    pub fn alarms(&self) -> broadcast::Receiver<Raised> {
        self.alarms.subscribe()
    }

    pub(crate) async fn apply(&self, entries: Vec<Entry>) -> Result<Vec<Reply>, Arc<Fault>> {
        self.fault.check()?;
        self.ask(|done| Message::Apply { entries, done }).await?
    }

    pub(crate) async fn freeze(&self) -> Result<Frozen, Arc<Fault>> {
        self.ask(Message::Freeze).await
    }

    pub(crate) async fn install(&self, restored: Restored) -> Result<(), Arc<Fault>> {
        let restored = Box::new(restored);
        self.ask(|done| Message::Install { restored, done }).await
    }

    pub(crate) async fn applied_state(
        &self,
    ) -> Result<(Option<LogId>, StoredMembership), Arc<Fault>> {
        self.ask(Message::Applied).await
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Arc<Fault>> {
        let (answer, answered) = oneshot::channel();
        let ended = || self.fault.raise(Fault::MachineEnded);
        self.messages.send(message(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
    }
}

/// Starts the owner with an empty machine. Returns its handle and the announced number of leaves.
pub(crate) fn start(
    leaf_writer: WriterHandle<LeafOperation>,
    fault: FaultCell,
) -> (MachineHandle, watch::Receiver<u64>) {
    let (messages, queue) = mpsc::channel(QUEUE_MAX);
    let applied = watch::Sender::new(None);
    let leaves = watch::Sender::new(0);
    let restored = watch::Sender::new(0);
    let alarms = broadcast::Sender::new(ALARMS_MAX);
    let handle = MachineHandle {
        messages,
        applied: applied.subscribe(),
        restored: restored.subscribe(),
        alarms: alarms.clone(),
        fault: fault.clone(),
    };
    let sizes = leaves.subscribe();
    let owner = Owner {
        machine: Machine::new(),
        size: 0,
        membership: StoredMembership::default(),
        applied,
        restored,
        leaves,
        alarms,
        leaf_writer,
        fault,
    };
    tokio::spawn(owner.run(queue));
    (handle, sizes)
}

struct Owner {
    machine: Machine,
    /// Leaves announced so far.
    size: u64,
    membership: StoredMembership,
    applied: watch::Sender<Option<LogId>>,
    restored: watch::Sender<u64>,
    leaves: watch::Sender<u64>,
    alarms: broadcast::Sender<Raised>,
    leaf_writer: WriterHandle<LeafOperation>,
    fault: FaultCell,
}

/// What a batch of entries leaves behind.
#[derive(Default)]
struct Batch {
    replies: Vec<Reply>,
    first_leaf: Option<u64>,
    leaves: Vec<Vec<u8>>,
    alarms: Vec<Raised>,
    last: Option<LogId>,
}

impl Owner {
    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(message) = queue.recv().await {
            match message {
                Message::Apply { entries, done } => {
                    let replies = self.apply(entries).await;
                    // Raft that ended no longer waits.
                    drop(done.send(replies));
                }
                Message::Read(read) => read(&self.machine, *self.applied.borrow()),
                Message::Freeze(done) => {
                    let meta = SnapshotMeta {
                        last_log_id: *self.applied.borrow(),
                        last_membership: self.membership.clone(),
                    };
                    drop(done.send(Frozen { machine: self.machine.clone(), meta }));
                }
                Message::Install { restored, done } => {
                    self.install(*restored);
                    done.send(()).ok();
                }
                Message::Applied(done) => {
                    drop(done.send((*self.applied.borrow(), self.membership.clone())));
                }
            }
        }
    }

    async fn apply(&mut self, entries: Vec<Entry>) -> Result<Vec<Reply>, Arc<Fault>> {
        let mut batch = Batch::default();
        for entry in entries {
            self.apply_entry(entry, &mut batch).map_err(|fault| self.fault.raise(fault))?;
        }
        if let Some(first) = batch.first_leaf {
            let leaves = batch.leaves;
            self.leaf_writer.run(|ack| LeafOperation::Append { first, leaves, ack }).await?;
            self.size = head_of(&self.machine).size.get();
            self.leaves.send_replace(self.size);
        }
        if batch.last.is_some() {
            self.applied.send_replace(batch.last);
        }
        for raised in batch.alarms {
            // Nobody may be listening.
            drop(self.alarms.send(raised));
        }
        Ok(batch.replies)
    }

    fn apply_entry(&mut self, entry: Entry, batch: &mut Batch) -> Result<(), Fault> {
        let at = entry.log_id;
        batch.last = Some(at);
        let command = match entry.payload {
            EntryPayload::Blank => {
                batch.replies.push(Reply::Nothing);
                return Ok(());
            }
            EntryPayload::Membership(membership) => {
                self.store_membership(at, membership);
                batch.replies.push(Reply::Nothing);
                return Ok(());
            }
            EntryPayload::Normal(proposed) => proposed.command().clone(),
        };
        if command.version > MachineVersion::SUPPORTED {
            return Err(Fault::MachineVersion {
                index: at.index,
                needed: command.version.0,
                supported: MachineVersion::SUPPORTED.0,
            });
        }
        let place = quorate_core::LogId { term: at.leader_id.term, index: at.index };
        let applied = self.machine.apply(place, command);
        let before = batch.first_leaf.map_or(self.size, |first| first + batch.leaves.len() as u64);
        let mut next = before;
        for effect in applied.effects {
            match effect {
                Effect::Leaf { index, bytes } => {
                    if index.get() != next {
                        return Err(Fault::LeafGap { index: index.get(), size: next });
                    }
                    next += 1;
                    batch.first_leaf.get_or_insert(index.get());
                    batch.leaves.push(bytes);
                }
                Effect::Raise(alarm) => batch.alarms.push(Raised { at, alarm }),
            }
        }
        let answer = Answer { outcome: applied.outcome, leaves: before..next };
        batch.replies.push(Reply::Answer(Box::new(answer)));
        Ok(())
    }

    fn store_membership(&mut self, at: LogId, membership: Membership) {
        self.membership = StoredMembership::new(Some(at), membership);
    }

    /// No effects: what the snapshot's entries caused was done when they were applied.
    fn install(&mut self, restored: Restored) {
        self.machine = restored.machine;
        // Before its leaves are announced: who reads them knows that they are to be compared.
        self.restored.send_modify(|count| *count += 1);
        self.membership = restored.meta.last_membership;
        self.size = head_of(&self.machine).size.get();
        self.leaves.send_replace(self.size);
        self.applied.send_replace(restored.meta.last_log_id);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fault.raise(Fault::MachineEnded);
        }
    }
}
