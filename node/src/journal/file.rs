//! The redb file under the journal: open strictly, commit twice, read everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _};
use thiserror::Error;

use super::table::{Table, open, seal};

/// redb's cache. Its default of 1 GiB is for other uses.
const CACHE_BYTES: usize = 1 << 20;

/// The journal cannot be used. The agent stops and starts nothing.
#[derive(Debug, Error)]
pub enum JournalFault {
    /// There is none: this disk was never enrolled, or lost it.
    #[error("there is no journal at {path}; enrolment makes one, a start never does")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the journal {path} is in use by another process")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// There is one where a new one should be made.
    #[error("there is a journal at {path} already")]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// It was cut off, changed or mixed up.
    #[error("the journal {path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// It belongs to another agent.
    #[error("the journal {path} belongs to {found}, not to {wanted}")]
    OtherOwner {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        found: String,
        /// Who wanted to open it.
        wanted: String,
    },
    /// It was written by another version of this program.
    #[error("the journal {path} has format {found}; this program reads {known}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        known: u32,
    },
    /// The disk failed. Never retried in place.
    #[error("the journal {path} cannot be written or read: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

/// One row to be written or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    /// `None` deletes it.
    pub(super) value: Option<Vec<u8>>,
}

impl Row {
    pub(super) fn put(table: Table, key: &[u8], value: Vec<u8>) -> Self {
        Self { table, key: key.to_vec(), value: Some(value) }
    }

    pub(super) fn delete(table: Table, key: &[u8]) -> Self {
        Self { table, key: key.to_vec(), value: None }
    }
}

/// All rows of the file, by table and key, each checked.
pub(super) type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// The key in `meta` that the second commit of each change moves.
const SEAL: &[u8] = b"seal";

#[derive(Debug)]
pub(super) struct File {
    database: Database,
    path: PathBuf,
    commits: u64,
}

impl File {
    pub(super) fn create(path: &Path) -> Result<Self, JournalFault> {
        if path.exists() {
            return Err(JournalFault::Exists { path: path.to_owned() });
        }
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|source| disk(path, source))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let synced = std::fs::File::open(parent).and_then(|directory| directory.sync_all());
            synced.map_err(|source| disk(path, redb::Error::Io(source)))?;
        }
        Ok(Self { database, path: path.to_owned(), commits: 0 })
    }

    pub(super) fn open(path: &Path) -> Result<Self, JournalFault> {
        if !path.is_file() {
            return Err(JournalFault::Missing { path: path.to_owned() });
        }
        // A damaged file is a reason to stop, also where redb asserts instead of answering.
        let opened = std::panic::catch_unwind(|| {
            let mut database = Builder::new().set_cache_size(CACHE_BYTES).open(path)?;
            let clean = database.check_integrity()?;
            Ok::<_, redb::DatabaseError>((database, clean))
        });
        let damaged = |what: String| JournalFault::Damaged { path: path.to_owned(), what };
        match opened {
            Ok(Ok((database, true))) => Ok(Self { database, path: path.to_owned(), commits: 0 }),
            Ok(Ok((_, false))) => Err(damaged("its checksums do not hold".into())),
            Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Corrupted(what)))) => {
                Err(damaged(what))
            }
            Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => {
                Err(JournalFault::InUse { path: path.to_owned() })
            }
            Ok(Err(source)) => Err(disk(path, source)),
            Err(_) => Err(damaged("its structure cannot be read".into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all rows, durably, or none; then commits once more so that both commits that redb
    /// keeps hold them.
    pub(super) fn commit(&mut self, rows: &[Row]) -> Result<(), JournalFault> {
        self.transact(rows)?;
        self.commits = self.commits.wrapping_add(1);
        self.transact(&[Row::put(Table::Meta, SEAL, self.commits.to_be_bytes().to_vec())])
    }

    fn transact(&self, rows: &[Row]) -> Result<(), JournalFault> {
        self.try_transact(rows).map_err(|source| disk(&self.path, source))
    }

    fn try_transact(&self, rows: &[Row]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        for row in rows {
            let mut table = transaction.open_table(row.table.definition())?;
            match &row.value {
                Some(value) => {
                    let stored = seal(row.table, &row.key, value);
                    table.insert(row.key.as_slice(), stored.as_slice())?;
                }
                None => {
                    table.remove(row.key.as_slice())?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn rows(&self) -> Result<Rows, JournalFault> {
        let read = self.try_rows();
        read.map_err(|source| disk(&self.path, source))?.map_err(|table| JournalFault::Damaged {
            path: self.path.clone(),
            what: format!("a row of table {table} is not what was written"),
        })
    }

    fn try_rows(&self) -> Result<Result<Rows, &'static str>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut rows = Rows::new();
        for table in Table::ALL {
            let opened = match transaction.open_table(table.definition()) {
                Ok(opened) => opened,
                Err(redb::TableError::TableDoesNotExist(_)) => continue,
                Err(failure) => return Err(failure.into()),
            };
            for row in opened.iter()? {
                let (key, stored) = row?;
                match open(table, key.value(), stored.value()) {
                    Ok(value) if (table, key.value()) != (Table::Meta, SEAL) => {
                        rows.insert((table, key.value().to_vec()), value.to_vec());
                    }
                    Ok(_) => {}
                    Err(damaged) => return Ok(Err(damaged.table)),
                }
            }
        }
        Ok(Ok(rows))
    }
}

fn disk(path: &Path, source: impl Into<redb::Error>) -> JournalFault {
    JournalFault::Disk { path: path.to_owned(), source: Box::new(source.into()) }
}
