//! What was seen of the log: durable before anybody else in this agent believes it.

use quorate_attest::id::Digest;

use super::file::{JournalFault, Row};
use super::state;
use super::table::{Table, encode};
use super::{Journal, Pinned, Tombstone};

impl Journal {
    /// Pins the newest verified head with all that the leaves below it determine.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn pin(&mut self, pinned: &Pinned) -> Result<(), JournalFault> {
        self.write(vec![Row::put(Table::Meta, state::PINNED, encode(pinned))])
    }

    /// Keeps two heads that contradict each other. The alarm outlives every restart: only a new
    /// journal, which an operator enrols, starts anything again.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn raise(&mut self, heads: &[Vec<u8>; 2]) -> Result<(), JournalFault> {
        self.write(vec![Row::put(Table::Meta, state::ALARM, encode(heads))])
    }

    /// Keeps the two heads of a doubt until the coordinators have accounted for it, through every
    /// restart: what this agent does not start while it doubts, its next life does not start either.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn doubt(&mut self, heads: Option<&[Vec<u8>; 2]>) -> Result<(), JournalFault> {
        if self.doubted() == heads {
            return Ok(());
        }
        self.write(vec![match heads {
            Some(heads) => Row::put(Table::Meta, state::DOUBT, encode(heads)),
            None => Row::delete(Table::Meta, state::DOUBT),
        }])
    }

    /// Replaces the tombstones by those that the certified log holds now.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn bury(&mut self, tombstones: &[Tombstone]) -> Result<(), JournalFault> {
        let gone = self.tombstones().filter(|old| !tombstones.contains(old));
        let mut rows: Vec<Row> =
            gone.map(|old| Row::delete(Table::Tombstone, &encode(old))).collect();
        rows.extend(tombstones.iter().map(|new| Row::put(Table::Tombstone, &encode(new), vec![])));
        if rows.iter().all(|row| self.state.holds(row)) { Ok(()) } else { self.write(rows) }
    }

    /// Remembers an evidence leaf against the agent of `member`.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn evidence_against(&mut self, leaf: &Digest, member: &str) -> Result<(), JournalFault> {
        let member = encode(&member.to_owned());
        self.write(vec![Row::put(Table::Evidence, leaf.as_bytes(), member)])
    }
}
