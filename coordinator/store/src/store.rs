//! Creating a coordinator's store, and opening it.
//!
//! `quorate init` creates, `coordinator run` opens and refuses to create: a data directory that
//! was lost must not come back as an empty replica under an old id, which could vote a second time
//! in a term it has forgotten. Each file names its format, its origin and its coordinator; the
//! sign-once file also names its key.

use std::io;
use std::sync::Arc;

use quorate_attest::id::Origin;
use quorate_attest::key::{CosignSigner, VerifierKey};
use redb::{Database, DatabaseError, Durability, ReadableDatabase, WriteTransaction};

use crate::disk::{Disk, StoreFile};
use crate::fault::{Fault, FaultCell};
use crate::leaves::{Leaves, read_frontier};
use crate::log_store::{self, LogMemory, LogSize, LogStore};
use crate::owner::{self, MachineHandle};
use crate::quota::{self, Quota};
use crate::sign_once::{self, SignOnce, SignOnceFile, SignOnceGuard};
use crate::snapshot::{SnapshotReceiver, read_stored_header};
use crate::state_machine::StateMachine;
use crate::table::meta::{self, FORMAT, META};
use crate::table::{leaf, log, snapshot};
use crate::type_config::NodeId;
use crate::writer::{self, CommitObserver, WriterGuard, WriterMode};

/// Above this size `raft.redb` is compacted at start.
const COMPACT_BYTES_MIN: u64 = 16 << 20;

/// Why a store was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is a file already.
    #[error("{disk} holds {file} already; a store is created once")]
    AlreadyCreated {
        /// Where.
        disk: String,
        /// The file found.
        file: StoreFile,
    },
    /// The disk refused.
    #[error("{file} could not be created: {source}")]
    File {
        /// The file.
        file: StoreFile,
        /// What redb or the operating system said.
        source: Box<DatabaseError>,
    },
    /// The first transaction failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The directory itself failed.
    #[error("the data directory could not be written: {0}")]
    Directory(#[from] io::Error),
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is missing. `run` never creates one.
    #[error(
        "{disk} holds no {file}; a coordinator that lost its data directory joins again under a \
         new id and with a new key"
    )]
    NotCreated {
        /// Where.
        disk: String,
        /// The file that is missing.
        file: StoreFile,
    },
    /// Another process has the file open.
    #[error("{file} is in use by another process")]
    Locked {
        /// The file.
        file: StoreFile,
    },
    /// The disk refused, or the file is damaged.
    #[error("{file} could not be opened: {source}")]
    File {
        /// The file.
        file: StoreFile,
        /// What redb or the operating system said.
        source: Box<DatabaseError>,
    },
    /// The file was written by another format.
    #[error("{file} has format {found}, this binary reads {FORMAT}")]
    Format {
        /// The file.
        file: StoreFile,
        /// Its format.
        found: u32,
    },
    /// The file belongs to something else.
    #[error("{file} belongs to {what} {found}, not to {expected}")]
    Foreign {
        /// The file.
        file: StoreFile,
        /// Which of origin, coordinator and key differs.
        what: &'static str,
        /// What the file says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// What is stored cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A thread could not be started, or the directory not be read.
    #[error("the store could not be started: {0}")]
    Io(#[from] io::Error),
}

/// What to open a store with.
pub struct OpenOptions {
    /// The origin in the charter.
    pub origin: Origin,
    /// This coordinator's id.
    pub node_id: NodeId,
    /// The key of the sign-once file. The store becomes its only user.
    pub signer: CosignSigner,
    /// The configured quota in bytes; `None` for the volume's share alone.
    pub quota_bytes: Option<u64>,
    /// Threads, or tasks in a simulation.
    pub mode: WriterMode,
    /// Told about each durable commit.
    pub observer: Option<CommitObserver>,
}

/// An open store. Take it apart: the log and the state machine go to Raft, the rest stays.
pub struct Store {
    /// For `Raft::build`.
    pub log: LogStore,
    /// How much memory the log takes; a snapshot lets Raft purge it.
    pub log_size: LogSize,
    /// For `Raft::build`.
    pub state_machine: StateMachine,
    /// Reads of the decision machine.
    pub machine: MachineHandle,
    /// Reads of the decision log.
    pub leaves: Leaves,
    /// Accepts snapshots of other coordinators.
    pub snapshots: SnapshotReceiver,
    /// The only way to sign with the coordinator's key.
    pub sign_once: SignOnce,
    /// Bytes used and allowed.
    pub quota: Quota,
    /// Where everybody reports the fault that stops this replica.
    pub fault: FaultCell,
    /// Never voted, never logged: Raft may be initialised here.
    pub is_pristine: bool,
    /// Closes the files.
    pub guard: StoreGuard,
}

/// Closes the files of a store in order.
pub struct StoreGuard {
    raft: WriterGuard,
    leaves: WriterGuard,
    sign_once: SignOnceGuard,
}

impl StoreGuard {
    /// Writes what is queued and releases the files' locks. Call it after Raft has been shut down.
    pub async fn close(self) {
        self.raft.close().await;
        self.leaves.close().await;
        self.sign_once.close().await;
    }
}

impl Store {
    /// Creates the three files and the ballast. Durable when it returns.
    ///
    /// # Errors
    /// [`CreateError::AlreadyCreated`] if any of them exists; nothing is overwritten.
    pub fn create(
        disk: &Disk,
        origin: &Origin,
        node_id: NodeId,
        signer: &VerifierKey,
    ) -> Result<(), CreateError> {
        for file in StoreFile::ALL {
            if disk.exists(file)? {
                return Err(CreateError::AlreadyCreated { disk: disk.to_string(), file });
            }
        }
        for file in StoreFile::ALL {
            let database = disk
                .create(file)
                .map_err(|source| CreateError::File { file, source: Box::new(source) })?;
            found(&database, file, origin, node_id, signer)?;
        }
        if let Some(directory) = disk.directory() {
            quota::create_ballast(directory)?;
        }
        disk.sync_directory()?;
        Ok(())
    }

    /// Opens the three files, reads the Raft log into memory and starts the writers. Call it
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError::NotCreated`] if a file is missing, [`OpenError::Foreign`] if one belongs to
    /// another log, coordinator or key, otherwise what the disk said.
    pub fn open(disk: &Disk, options: OpenOptions) -> Result<Self, OpenError> {
        let OpenOptions { origin, node_id, signer, quota_bytes, mode, observer } = options;
        let raft = open_file(disk, StoreFile::Raft, &origin, node_id)?;
        let leaves_db = open_file(disk, StoreFile::Leaves, &origin, node_id)?;
        let sign_once = open_file(disk, StoreFile::SignOnce, &origin, node_id)?;
        check_signer(&sign_once, signer.vkey())?;

        let fault = FaultCell::new();
        let (raft, leaves_db) = (Arc::new(raft), Arc::new(leaves_db));
        let memory = load(&raft)?;
        let is_pristine = memory.is_pristine() && read_stored_header(&raft)?.is_none();
        let frontier = read_frontier(&leaves_db)?;
        let raft_weak = Arc::downgrade(&raft);
        let leaves_weak = Arc::downgrade(&leaves_db);
        let (raft_writer, raft_guard) =
            writer::start(raft, (), fault.clone(), mode, observer.clone())?;
        let (leaf_writer, leaves_guard) =
            writer::start(leaves_db, frontier, fault.clone(), mode, observer)?;
        let file = SignOnceFile::new(sign_once, origin, signer);
        let (sign_once, sign_guard) = sign_once::start(file, fault.clone(), mode)?;

        let (machine, sizes) = owner::start(leaf_writer.clone(), fault.clone());
        let leaves = Leaves::new(leaves_weak, sizes, fault.clone());
        let quota = Quota::new(disk, quota_bytes);
        if let Err(refused) = quota.restore_ballast() {
            tracing::warn!(%refused, "the ballast could not be put back");
        }
        let snapshots = SnapshotReceiver::new(leaves.clone(), leaf_writer.clone(), fault.clone());
        let log = LogStore::new(memory, raft_writer.clone(), fault.clone());
        Ok(Self {
            log_size: log.size(),
            log,
            state_machine: StateMachine {
                handle: machine.clone(),
                leaves: leaves.clone(),
                database: raft_weak,
                leaf_writer,
                raft_writer,
                fault: fault.clone(),
            },
            machine,
            leaves,
            snapshots,
            sign_once,
            quota,
            fault,
            is_pristine,
            guard: StoreGuard { raft: raft_guard, leaves: leaves_guard, sign_once: sign_guard },
        })
    }
}

/// The first transaction of a file: its tables and whom it belongs to.
fn found(
    database: &Database,
    file: StoreFile,
    origin: &Origin,
    node_id: NodeId,
    signer: &VerifierKey,
) -> Result<(), Fault> {
    let write = |source: redb::Error| Fault::write(file, source);
    let mut transaction = database.begin_write().map_err(|e| write(e.into()))?;
    transaction.set_durability(Durability::Immediate).map_err(|e| write(e.into()))?;
    create_tables(&transaction, file)?;
    let mut table = transaction.open_table(META).map_err(|e| write(e.into()))?;
    meta::put(&mut table, file, meta::KEY_FORMAT, &FORMAT.to_be_bytes())?;
    meta::put(&mut table, file, meta::KEY_ORIGIN, origin.to_string().as_bytes())?;
    meta::put(&mut table, file, meta::KEY_NODE, &node_id.to_be_bytes())?;
    if file == StoreFile::SignOnce {
        meta::put(&mut table, file, meta::KEY_SIGNER, signer.to_string().as_bytes())?;
    }
    drop(table);
    transaction.commit().map_err(|e| write(e.into()))
}

fn create_tables(transaction: &WriteTransaction, file: StoreFile) -> Result<(), Fault> {
    let write = |source| Fault::write(file, source);
    match file {
        StoreFile::Raft => {
            drop(transaction.open_table(log::LOG).map_err(write)?);
            drop(transaction.open_table(snapshot::SNAPSHOT).map_err(write)?);
        }
        StoreFile::Leaves => {
            drop(transaction.open_table(leaf::LEAF).map_err(write)?);
            drop(transaction.open_table(leaf::HASH).map_err(write)?);
            drop(transaction.open_table(leaf::INCOMING).map_err(write)?);
        }
        StoreFile::SignOnce => sign_once::create_tables(transaction)?,
    }
    Ok(())
}

/// Opens one file and checks whom it belongs to.
fn open_file(
    disk: &Disk,
    file: StoreFile,
    origin: &Origin,
    node_id: NodeId,
) -> Result<Database, OpenError> {
    if !disk.exists(file)? {
        return Err(OpenError::NotCreated { disk: disk.to_string(), file });
    }
    let mut database = disk.open(file).map_err(|source| {
        if matches!(source, DatabaseError::DatabaseAlreadyOpen) {
            OpenError::Locked { file }
        } else {
            OpenError::File { file, source: Box::new(source) }
        }
    })?;
    let row = |key| read_meta(&database, file, key);
    let format = row(meta::KEY_FORMAT)?;
    let format = format.as_slice().try_into().map_or(0, u32::from_be_bytes);
    if format != FORMAT {
        return Err(OpenError::Format { file, found: format });
    }
    let found = String::from_utf8_lossy(&row(meta::KEY_ORIGIN)?).into_owned();
    expect(file, "origin", found, origin.to_string())?;
    let found = row(meta::KEY_NODE)?;
    let found = found.as_slice().try_into().map_or(0, u64::from_be_bytes);
    expect(file, "coordinator", found.to_string(), node_id.to_string())?;
    if file == StoreFile::Raft {
        compact(disk, &mut database)?;
    }
    Ok(database)
}

fn check_signer(database: &Database, signer: &VerifierKey) -> Result<(), OpenError> {
    let found = read_meta(database, StoreFile::SignOnce, meta::KEY_SIGNER)?;
    let found = String::from_utf8_lossy(&found).into_owned();
    expect(StoreFile::SignOnce, "key", found, signer.to_string())
}

fn expect(
    file: StoreFile,
    what: &'static str,
    found: String,
    expected: String,
) -> Result<(), OpenError> {
    if found == expected {
        return Ok(());
    }
    Err(OpenError::Foreign { file, what, found, expected })
}

fn read_meta(database: &Database, file: StoreFile, key: &'static str) -> Result<Vec<u8>, Fault> {
    let read = |source: redb::Error| Fault::read(file, source);
    let transaction = database.begin_read().map_err(|e| read(e.into()))?;
    let table = transaction.open_table(META).map_err(|e| read(e.into()))?;
    meta::get(&table, file, key)?.ok_or_else(|| Fault::Missing { file, row: key.to_owned() })
}

/// Gives back what a sliding log left behind. Needs the file alone, so only at start.
fn compact(disk: &Disk, database: &mut Database) -> Result<(), OpenError> {
    let Some(directory) = disk.directory() else { return Ok(()) };
    let file = StoreFile::Raft;
    if std::fs::metadata(directory.join(file.file_name()))?.len() < COMPACT_BYTES_MIN {
        return Ok(());
    }
    database.compact().map_err(|source| Fault::write(file, source))?;
    Ok(())
}

fn load(database: &Database) -> Result<LogMemory, Fault> {
    let file = StoreFile::Raft;
    let read = |source: redb::Error| Fault::read(file, source);
    let transaction = database.begin_read().map_err(|e| read(e.into()))?;
    let table = transaction.open_table(META).map_err(|e| read(e.into()))?;
    let vote = meta::get_record(&table, file, meta::KEY_VOTE)?;
    let purged = meta::get_record(&table, file, meta::KEY_PURGED)?;
    let committed = meta::get_record(&table, file, meta::KEY_COMMITTED)?;
    let entries = log::load(&transaction.open_table(log::LOG).map_err(|e| read(e.into()))?)?;
    Ok(log_store::recover(entries, purged, vote, committed))
}
