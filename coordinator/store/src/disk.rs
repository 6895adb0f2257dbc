//! The three files of a coordinator, and how they are created and opened.
//!
//! Each file has one writer of its own. `create` makes a file that must not exist, `open` opens
//! one that must: a lost data directory must never become an empty replica under an old id.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, StorageBackend};

/// One of the three redb files in a coordinator's data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreFile {
    /// Raft's log, votes and snapshot: `raft.redb`.
    Raft,
    /// The leaves of the decision log and their Merkle nodes: `leaves.redb`.
    Leaves,
    /// What this coordinator signed: `sign_once.redb`. In no snapshot and no backup.
    SignOnce,
}

impl StoreFile {
    /// All three, in the order in which they are created.
    pub const ALL: [StoreFile; 3] = [StoreFile::Raft, StoreFile::Leaves, StoreFile::SignOnce];

    /// The name inside the data directory.
    pub fn file_name(self) -> &'static str {
        match self {
            StoreFile::Raft => "raft.redb",
            StoreFile::Leaves => "leaves.redb",
            StoreFile::SignOnce => "sign_once.redb",
        }
    }

    /// redb's page cache in bytes. Its own default is 1 GiB per file.
    fn cache_bytes(self) -> usize {
        match self {
            StoreFile::Raft => 32 << 20,
            StoreFile::Leaves => 16 << 20,
            StoreFile::SignOnce => 1 << 20,
        }
    }
}

impl fmt::Display for StoreFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

/// A disk that is not a directory: what crash tests and the simulation put under a store.
pub trait SimulatedDisk: fmt::Debug + Send + Sync {
    /// Opens the storage behind one file; empty if it was never written.
    fn backend(&self, file: StoreFile) -> Box<dyn StorageBackend>;
    /// Whether the file was ever created.
    fn exists(&self, file: StoreFile) -> bool;
}

/// Where the files of a store are.
#[derive(Debug, Clone)]
pub enum Disk {
    /// A data directory.
    Directory(PathBuf),
    /// A simulated disk.
    Simulated(Arc<dyn SimulatedDisk>),
}

impl From<&Path> for Disk {
    fn from(directory: &Path) -> Self {
        Disk::Directory(directory.to_owned())
    }
}

impl From<PathBuf> for Disk {
    fn from(directory: PathBuf) -> Self {
        Disk::Directory(directory)
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disk::Directory(directory) => write!(f, "{}", directory.display()),
            Disk::Simulated(_) => f.write_str("a simulated disk"),
        }
    }
}

impl Disk {
    /// Whether `file` exists.
    pub(crate) fn exists(&self, file: StoreFile) -> io::Result<bool> {
        match self {
            Disk::Directory(directory) => directory.join(file.file_name()).try_exists(),
            Disk::Simulated(disk) => Ok(disk.exists(file)),
        }
    }

    /// Creates `file`, which must not exist.
    pub(crate) fn create(&self, file: StoreFile) -> Result<Database, DatabaseError> {
        let mut builder = Database::builder();
        builder.set_cache_size(file.cache_bytes());
        match self {
            Disk::Directory(directory) => {
                let path = directory.join(file.file_name());
                // Two `init` at once: only one of them gets past this line.
                std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
                builder.create(path)
            }
            Disk::Simulated(disk) => builder.create_with_backend(Boxed(disk.backend(file))),
        }
    }

    /// Opens `file`, which must exist. Recovery after a crash happens in here.
    pub(crate) fn open(&self, file: StoreFile) -> Result<Database, DatabaseError> {
        let mut builder = Database::builder();
        builder.set_cache_size(file.cache_bytes());
        match self {
            Disk::Directory(directory) => builder.open(directory.join(file.file_name())),
            Disk::Simulated(disk) if disk.exists(file) => {
                builder.create_with_backend(Boxed(disk.backend(file)))
            }
            Disk::Simulated(_) => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        }
    }

    /// Makes the names of new files durable: an fsync of the directory itself.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        match self {
            Disk::Directory(directory) => std::fs::File::open(directory)?.sync_all(),
            Disk::Simulated(_) => Ok(()),
        }
    }

    /// The directory, if the store is on a real disk.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Disk::Directory(directory) => Some(directory),
            Disk::Simulated(_) => None,
        }
    }
}

/// redb takes a backend by type; this one takes it by value.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }
}
