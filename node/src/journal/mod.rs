//! The journal: what this agent has accepted, started and finished, durable before it matters.
//!
//! One redb file, `Durability::Immediate`. Every change is on disk before the method returns, and
//! callers act only after it has: `started` before the effect, `done` before the report leaves.
//!
//! * Each change is committed *twice* (the second commit only moves the `seal`). redb keeps its
//!   last two commits; a damaged file header can bring back the one before the last, and then that
//!   one holds the same content. So nothing that was acted on can silently go missing.
//! * On opening, redb's own checksums, each row's check and the sum over all rows must hold.
//!   A journal that is missing, cut off, damaged or another agent's stops the agent before it
//!   starts anything. `create` makes one, `open` never does.
//! * `sequence` rises with every change and goes into each claim, `instance` is drawn once: so a
//!   journal restored from yesterday, or a clone, is refused by the coordinators.

mod entry;
mod file;
mod handle;
mod permit;
mod read;
mod seen;
mod state;
mod table;

use std::path::Path;

use quorate_attest::id::{ClusterId, JournalInstance};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::FencingToken;

pub use self::entry::{ClaimAttempt, Delivery, Entry, Phase, SentReport, StepRefused};
pub use self::file::JournalFault;
use self::file::{File, Row};
pub use self::handle::{JournalClosed, JournalHandle};
pub use self::permit::Consumed;
use self::state::State;
pub use self::state::{ArmedUndo, Owner, Pinned, Tombstone, Used};
use self::table::{Table, encode, entry_key};
use crate::adapters::Prepared;

/// How many numbers of observations are reserved with one fsync.
const OBSERVE_BLOCK: u64 = 100;

/// Why a step of the journal did not happen.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The step is not allowed. The journal is as before.
    #[error(transparent)]
    Refused(#[from] StepRefused),
    /// The disk failed. The agent must stop; what is on disk is decided when it is opened again.
    #[error(transparent)]
    Fault(#[from] JournalFault),
}

/// The journal of one agent. One task owns it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    state: State,
}

impl Journal {
    /// Makes the journal of a newly enrolled agent.
    ///
    /// # Errors
    /// [`JournalFault`] if the file exists or cannot be written.
    pub fn create(
        path: &Path,
        owner: &Owner,
        instance: JournalInstance,
    ) -> Result<Self, JournalFault> {
        let state = State::new(owner.clone(), instance);
        let file = File::create(path)?;
        let mut journal = Self { file, state };
        let rows = journal.state.identity_rows();
        journal.write(rows)?;
        Ok(journal)
    }

    /// Opens the journal of `owner` and checks every byte of it that means something.
    ///
    /// # Errors
    /// [`JournalFault`] if it is missing, damaged, of another format, or another agent's.
    pub fn open(path: &Path, owner: &Owner) -> Result<Self, JournalFault> {
        let file = File::open(path)?;
        let state = State::load(&file.rows()?, file.path())?;
        if state.owner != *owner {
            return Err(JournalFault::OtherOwner {
                path: path.to_owned(),
                found: state.owner.to_string(),
                wanted: owner.to_string(),
            });
        }
        Ok(Self { file, state })
    }

    /// Step 12, first half: the token becomes the highest and the proposal is used, in one commit.
    ///
    /// The caller has asked `fence.rs`. A crash after this has touched nothing.
    ///
    /// # Errors
    /// [`StepRefused`] if the token is not above the highest.
    pub fn accept(&mut self, entry: Entry) -> Result<(), JournalError> {
        let highest = self.highest(&entry.cluster);
        if highest.is_some_and(|highest| entry.token <= highest) || entry.phase != Phase::Accepted {
            return Err(StepRefused::Backwards {
                cluster: entry.cluster.clone(),
                token: entry.token,
                from: Phase::Accepted,
                to: entry.phase,
            }
            .into());
        }
        let used = Used { token: entry.token, forget_after: entry.forget_after };
        let rows = vec![
            Row::put(Table::Fence, entry.cluster.as_str().as_bytes(), encode(&entry.token)),
            Row::put(Table::Used, entry.proposal.0.as_bytes(), encode(&used)),
            Row::put(Table::Entry, &entry_key(&entry.cluster, entry.token), encode(&entry)),
        ];
        self.write(rows)?;
        Ok(())
    }

    /// Writes the plan, the witness and the sequence to claim with, before the first claim.
    /// Asked again, the first sequence and the first witness stay: if the claim turns out to be held
    /// by another process, only a witness from before the first attempt can tell what it did. An
    /// attempt under an earlier token of the same is one of this: its witness is taken over.
    ///
    /// # Errors
    /// [`StepRefused`] unless it is accepted.
    pub fn ready(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
        prepared: Option<Prepared>,
    ) -> Result<ClaimAttempt, JournalError> {
        let entry = self.find(cluster, token)?;
        let asked = self.asked(entry).cloned();
        let attempt = match (entry.claim, &asked) {
            (Some(sequence), _) => ClaimAttempt::Again(sequence),
            (None, asked) => {
                let next = self.state.sequence.next().ok_or(StepRefused::SequenceUsedUp)?;
                match asked {
                    Some(_) => ClaimAttempt::Again(next),
                    None => ClaimAttempt::First(next),
                }
            }
        };
        self.step(cluster, token, Phase::Accepted, |entry| {
            entry.claim = Some(attempt.sequence());
            entry.prepared = entry.prepared.take().or(asked).or(prepared);
        })?;
        Ok(attempt)
    }

    /// The last write before the effect, with the witness it is measured against. With `undo`, its
    /// way back is armed in the same commit. The proposal is the idempotency key: what is open under
    /// an earlier token of the same one is the same action, not another.
    ///
    /// # Errors
    /// [`StepRefused`] if it is not accepted, not claimed, or another action is under way.
    pub fn start(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
        at: LogTime,
        prepared: Option<Prepared>,
        undo: Option<ArmedUndo>,
    ) -> Result<(), JournalError> {
        let entry = self.find(cluster, token)?.clone();
        if entry.claim.is_none() {
            return Err(StepRefused::NotClaimed { cluster: cluster.clone(), token }.into());
        }
        let other = self.entries().find(|other| {
            other.cluster == *cluster
                && other.token != token
                && other.phase.is_under_way()
                && other.proposal != entry.proposal
        });
        if let Some(other) = other {
            let other = other.token;
            return Err(
                StepRefused::OtherUnderWay { cluster: cluster.clone(), token, other }.into()
            );
        }
        let armed = undo.map(|undo| Row::put(Table::Undo, &undo.key(), encode(&undo)));
        let mut rows = self.stepped(cluster, token, Phase::Started, |entry| {
            entry.started = Some(at);
            entry.prepared = prepared.or(entry.prepared.take());
        })?;
        rows.extend(armed);
        self.write(rows)?;
        Ok(())
    }

    /// After a crash, a hang, or an own claim without an entry: only a probe can tell.
    ///
    /// # Errors
    /// [`StepRefused`] if its outcome is known.
    pub fn unknown(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
    ) -> Result<(), JournalError> {
        self.step(cluster, token, Phase::Unknown, |_| {})
    }

    /// Like [`Journal::unknown`], and the witness goes too: it was taken after another process may
    /// have acted, so that no probe may be measured against it.
    ///
    /// # Errors
    /// [`StepRefused`] if its outcome is known.
    pub fn lose_witness(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
    ) -> Result<(), JournalError> {
        self.step(cluster, token, Phase::Unknown, |entry| entry.prepared = None)
    }

    /// The signed report, before it leaves. `Done` if it ends the decision, else the phase stays.
    ///
    /// # Errors
    /// [`StepRefused::OtherReport`] if another text was signed that ends it (*sign-once*).
    pub fn report(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
        phase: Phase,
        note: Vec<u8>,
    ) -> Result<(), JournalError> {
        let entry = self.find(cluster, token)?;
        if let (Phase::Done, Some(before)) = (entry.phase, &entry.report)
            && before.note != note
        {
            let before = String::from_utf8_lossy(&before.note).into_owned();
            return Err(StepRefused::OtherReport { cluster: cluster.clone(), token, before }.into());
        }
        let proposal = entry.proposal;
        let mut rows = self.stepped(cluster, token, phase, |entry| {
            entry.report = Some(SentReport { note, delivery: Delivery::Pending });
        })?;
        // The decisions it continues are over with it: nothing else will ever end those entries.
        let before = self.entries().filter(|entry| {
            phase == Phase::Done
                && entry.cluster == *cluster
                && entry.proposal == proposal
                && entry.token < token
                && !entry.phase.is_final()
        });
        for entry in before {
            rows.extend(self.stepped(cluster, entry.token, Phase::Done, |_| {})?);
        }
        self.write(rows)?;
        Ok(())
    }

    /// The coordinators have the newest report.
    ///
    /// # Errors
    /// [`StepRefused::NoEntry`] if there is no such decision.
    pub fn acknowledged(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
        note: &[u8],
    ) -> Result<(), JournalError> {
        let phase = self.find(cluster, token)?.phase;
        self.step(cluster, token, phase, |entry| {
            if let Some(report) = entry.report.as_mut().filter(|report| report.note == note) {
                report.delivery = Delivery::Acknowledged;
            }
        })
    }

    /// Operators gave it up and its process group is dead. It is never resumed.
    ///
    /// # Errors
    /// [`StepRefused`] if its outcome is known already.
    pub fn abandon(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
    ) -> Result<(), JournalError> {
        self.step(cluster, token, Phase::Abandoned, |_| {})
    }

    /// An armed undo was carried out, or a later decision changed its target.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn disarm(&mut self, undo: &ArmedUndo) -> Result<(), JournalFault> {
        self.write(vec![Row::delete(Table::Undo, &undo.key())])
    }

    /// The next number of an observation, `from` or above. Numbers rise through restarts; some are
    /// skipped.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn next_observation(&mut self, from: u64) -> Result<u64, JournalFault> {
        let number = self.state.observe_next.max(from);
        if number >= self.state.observe_reserved {
            let reserved = number.saturating_add(OBSERVE_BLOCK);
            self.write(vec![Row::put(Table::Meta, state::OBSERVE, encode(&reserved))])?;
        }
        self.state.observe_next = number.saturating_add(1);
        Ok(number)
    }

    /// Forgets proposals and finished entries whose time is over, so that the journal stays small.
    /// The highest token stays for ever: without it nothing that was forgotten could be told.
    ///
    /// `has_ended` says of an entry that the verified log shows the end of its action. Until then a
    /// re-issue may ask again what was done, and the entry is the only answer.
    ///
    /// # Errors
    /// [`JournalFault`] if the disk fails.
    pub fn forget(
        &mut self,
        now: LogTime,
        has_ended: impl Fn(&Entry) -> bool,
    ) -> Result<(), JournalFault> {
        let used = self.state.used.iter().filter(|(_, used)| used.forget_after < now);
        let mut rows: Vec<Row> =
            used.map(|(id, _)| Row::delete(Table::Used, id.0.as_bytes())).collect();
        let delivered = |entry: &&Entry| {
            let report = entry.report.as_ref();
            // Never started and overtaken by a higher token: it cannot start any more either.
            let overtaken = entry.phase == Phase::Accepted
                && self.highest(&entry.cluster).is_some_and(|highest| entry.token < highest);
            (entry.phase.is_final() || overtaken)
                && entry.forget_after < now
                && has_ended(entry)
                && report.is_none_or(|report| report.delivery == Delivery::Acknowledged)
        };
        let ended = self.entries().filter(delivered);
        rows.extend(ended.map(|e| Row::delete(Table::Entry, &entry_key(&e.cluster, e.token))));
        if rows.is_empty() { Ok(()) } else { self.write(rows) }
    }

    fn find(&self, cluster: &ClusterId, token: FencingToken) -> Result<&Entry, StepRefused> {
        self.entry(cluster, token)
            .ok_or_else(|| StepRefused::NoEntry { cluster: cluster.clone(), token })
    }

    fn step(
        &mut self,
        cluster: &ClusterId,
        token: FencingToken,
        to: Phase,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), JournalError> {
        let rows = self.stepped(cluster, token, to, change)?;
        self.write(rows)?;
        Ok(())
    }

    fn stepped(
        &self,
        cluster: &ClusterId,
        token: FencingToken,
        to: Phase,
        change: impl FnOnce(&mut Entry),
    ) -> Result<Vec<Row>, StepRefused> {
        let mut entry = self.find(cluster, token)?.clone();
        let from = entry.phase;
        if !from.may_become(to) {
            return Err(StepRefused::Backwards { cluster: cluster.clone(), token, from, to });
        }
        entry.phase = to;
        change(&mut entry);
        Ok(vec![Row::put(Table::Entry, &entry_key(cluster, token), encode(&entry))])
    }

    /// Disk first, memory after it: what this journal answers is never ahead of what is durable.
    fn write(&mut self, mut rows: Vec<Row>) -> Result<(), JournalFault> {
        rows.extend(self.state.stamp(&rows, self.file.path())?);
        self.file.commit(&rows)?;
        self.state.take(&rows, self.file.path())
    }
}
