//! What the journal holds, in memory: read once, then changed only together with the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, Digest, JournalInstance, KeyName, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{FencingToken, Sequence};

use super::entry::Entry;
use super::file::{JournalFault, Row, Rows};
use super::permit::Consumed;
use super::table::{RowDamaged, Table, check_of, decode, encode};
use crate::adapters::Prepared;

/// The format of the file.
const FORMAT: u32 = 1;

const OWNER: &[u8] = b"owner";
const INSTANCE: &[u8] = b"instance";
const SEQUENCE: &[u8] = b"sequence";
const SUM: &[u8] = b"sum";
const FORMAT_KEY: &[u8] = b"format";
pub(super) const PINNED: &[u8] = b"pinned";
pub(super) const OBSERVE: &[u8] = b"observe";
pub(super) const ALARM: &[u8] = b"alarm";
pub(super) const DOUBT: &[u8] = b"doubt";

/// Who owns a journal.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Owner {
    /// Key name of the agent.
    pub name: KeyName,
    /// Its cluster.
    pub cluster: ClusterId,
}

impl Owner {
    /// The agent `name` of `cluster`.
    #[must_use]
    pub fn new(name: KeyName, cluster: ClusterId) -> Self {
        Self { name, cluster }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.name, self.cluster)
    }
}

/// Under which token a proposal was used, and until when that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Used {
    /// The newest token.
    pub token: FencingToken,
    /// Expiry and skew.
    pub forget_after: LogTime,
}

/// A member name or data directory identity that must not start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Tombstone {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member's name or its identity.
    pub subject: String,
}

/// The trust that survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pinned {
    /// The newest verified head, verbatim.
    pub head: Vec<u8>,
    /// What the leaves below it determine: `attest::History`, with its frontier.
    pub history: Vec<u8>,
}

/// A decision's own way back, armed before its effect: a ban's end.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ArmedUndo {
    /// The cluster.
    pub cluster: ClusterId,
    /// The decision that armed it.
    pub token: FencingToken,
    /// Its proposal: the idempotency key.
    pub proposal: ProposalId,
    /// When it is due, by this machine's clock.
    pub due: LogTime,
    /// What is undone.
    pub prepared: Prepared,
}

impl ArmedUndo {
    pub(super) fn key(&self) -> Vec<u8> {
        super::table::entry_key(&self.cluster, self.token)
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) owner: Owner,
    pub(super) instance: JournalInstance,
    pub(super) sequence: Sequence,
    pub(super) fence: BTreeMap<ClusterId, FencingToken>,
    pub(super) entries: BTreeMap<Vec<u8>, Entry>,
    pub(super) used: BTreeMap<ProposalId, Used>,
    pub(super) tombstones: BTreeSet<Tombstone>,
    pub(super) undos: BTreeMap<Vec<u8>, ArmedUndo>,
    pub(super) evidence: BTreeMap<Digest, String>,
    pub(super) permits: BTreeMap<Vec<u8>, Consumed>,
    pub(super) pinned: Option<Pinned>,
    pub(super) alarm: Option<[Vec<u8>; 2]>,
    pub(super) doubt: Option<[Vec<u8>; 2]>,
    pub(super) observe_next: u64,
    pub(super) observe_reserved: u64,
    rows: Rows,
    sum: [u8; 32],
}

impl State {
    pub(super) fn new(owner: Owner, instance: JournalInstance) -> Self {
        Self {
            owner,
            instance,
            sequence: Sequence::MIN,
            fence: BTreeMap::new(),
            entries: BTreeMap::new(),
            used: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            undos: BTreeMap::new(),
            evidence: BTreeMap::new(),
            permits: BTreeMap::new(),
            pinned: None,
            alarm: None,
            doubt: None,
            observe_next: 0,
            observe_reserved: 0,
            rows: Rows::new(),
            sum: [0; 32],
        }
    }

    pub(super) fn identity_rows(&self) -> Vec<Row> {
        vec![
            Row::put(Table::Meta, FORMAT_KEY, encode(&FORMAT)),
            Row::put(Table::Meta, OWNER, encode(&self.owner)),
            Row::put(Table::Meta, INSTANCE, encode(&self.instance)),
        ]
    }

    /// Reads a whole journal and compares the sum over its rows.
    pub(super) fn load(rows: &Rows, path: &Path) -> Result<Self, JournalFault> {
        let damaged =
            |what: &str| JournalFault::Damaged { path: path.to_owned(), what: what.into() };
        let meta = |key: &[u8]| rows.get(&(Table::Meta, key.to_vec()));
        let found = meta(FORMAT_KEY).ok_or_else(|| damaged("it has no format"))?;
        let found: u32 = decode(Table::Meta, found).map_err(|_| damaged("its format"))?;
        if found != FORMAT {
            let path = path.to_owned();
            return Err(JournalFault::Format { path, found, known: FORMAT });
        }
        let owner = meta(OWNER).and_then(|value| decode(Table::Meta, value).ok());
        let instance = meta(INSTANCE).and_then(|value| decode(Table::Meta, value).ok());
        let (Some(owner), Some(instance)) = (owner, instance) else {
            return Err(damaged("it does not say whose it is"));
        };
        let mut state = Self::new(owner, instance);
        let all: Vec<Row> =
            rows.iter().map(|((table, key), value)| Row::put(*table, key, value.clone())).collect();
        state.take(&all, path)?;
        state.observe_next = state.observe_reserved;
        let stored: [u8; 32] = meta(SUM)
            .and_then(|value| decode(Table::Meta, value).ok())
            .ok_or_else(|| damaged("it has no sum"))?;
        if stored != state.sum {
            return Err(damaged("the sum over its rows does not hold"));
        }
        Ok(state)
    }

    /// The rows that every change carries besides its own: the next sequence and the new sum.
    pub(super) fn stamp(&self, rows: &[Row], path: &Path) -> Result<Vec<Row>, JournalFault> {
        let next = self.sequence.next().ok_or_else(|| JournalFault::Damaged {
            path: path.to_owned(),
            what: "its sequence is used up".into(),
        })?;
        let sequence = Row::put(Table::Meta, SEQUENCE, encode(&next));
        let mut sum = self.sum;
        for row in rows.iter().chain([&sequence]) {
            self.move_sum(&mut sum, row);
        }
        Ok(vec![sequence, Row::put(Table::Meta, SUM, encode(&sum))])
    }

    /// Whether a row would change nothing.
    pub(super) fn holds(&self, row: &Row) -> bool {
        self.rows.get(&(row.table, row.key.clone())) == row.value.as_ref()
    }

    /// Takes the old row out of the sum and the new one in. The sum itself is not summed.
    fn move_sum(&self, sum: &mut [u8; 32], row: &Row) {
        if (row.table, row.key.as_slice()) == (Table::Meta, SUM) {
            return;
        }
        let old = self.rows.get(&(row.table, row.key.clone()));
        for value in [old, row.value.as_ref()].into_iter().flatten() {
            let check = check_of(row.table, &row.key, value);
            sum.iter_mut().zip(check).for_each(|(byte, other)| *byte ^= other);
        }
    }

    /// Takes rows over that are on disk.
    pub(super) fn take(&mut self, rows: &[Row], path: &Path) -> Result<(), JournalFault> {
        for row in rows {
            let mut sum = self.sum;
            self.move_sum(&mut sum, row);
            self.sum = sum;
            let key = (row.table, row.key.clone());
            match &row.value {
                Some(value) => self.rows.insert(key, value.clone()),
                None => self.rows.remove(&key),
            };
            self.understand(row).map_err(|damaged| JournalFault::Damaged {
                path: path.to_owned(),
                what: format!("a row of table {} cannot be read", damaged.table),
            })?;
        }
        Ok(())
    }

    fn understand(&mut self, row: &Row) -> Result<(), RowDamaged> {
        match row.table {
            Table::Meta => self.understand_meta(row),
            Table::Entry => put(&mut self.entries, row.key.clone(), row),
            Table::Undo => put(&mut self.undos, row.key.clone(), row),
            Table::Permit => put(&mut self.permits, row.key.clone(), row),
            Table::Fence => put(&mut self.fence, name_of(row)?, row),
            Table::Used => put(&mut self.used, ProposalId(digest_of(row)?), row),
            Table::Evidence => put(&mut self.evidence, digest_of(row)?, row),
            Table::Tombstone => {
                let tombstone: Tombstone = decode(row.table, &row.key)?;
                match row.value {
                    Some(_) => self.tombstones.insert(tombstone),
                    None => self.tombstones.remove(&tombstone),
                };
                Ok(())
            }
        }
    }

    fn understand_meta(&mut self, row: &Row) -> Result<(), RowDamaged> {
        let Some(value) = &row.value else {
            // The only row of this table that ever goes.
            if row.key == DOUBT {
                self.doubt = None;
            }
            return Ok(());
        };
        match row.key.as_slice() {
            SEQUENCE => self.sequence = decode(row.table, value)?,
            PINNED => self.pinned = Some(decode(row.table, value)?),
            ALARM => self.alarm = Some(decode(row.table, value)?),
            DOUBT => self.doubt = Some(decode(row.table, value)?),
            OBSERVE => self.observe_reserved = decode(row.table, value)?,
            // Read by `load`, or the sum, which is compared there.
            _ => {}
        }
        Ok(())
    }
}

fn put<K: Ord, V: BorshDeserialize>(
    map: &mut BTreeMap<K, V>,
    key: K,
    row: &Row,
) -> Result<(), RowDamaged> {
    match &row.value {
        Some(value) => map.insert(key, decode(row.table, value)?),
        None => map.remove(&key),
    };
    Ok(())
}

fn name_of(row: &Row) -> Result<ClusterId, RowDamaged> {
    let text = std::str::from_utf8(&row.key).ok();
    text.and_then(|text| text.parse().ok()).ok_or(RowDamaged { table: "fence" })
}

fn digest_of(row: &Row) -> Result<Digest, RowDamaged> {
    let bytes: Result<[u8; 32], _> = row.key.as_slice().try_into();
    bytes.map(Digest::from_bytes).map_err(|_| RowDamaged { table: "digest" })
}
