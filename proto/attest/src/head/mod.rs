//! A cosigned head: a checkpoint with enough coordinators behind it.
//!
//! Guarantees *authority* and *log-append-only* rest on the counting here: k distinct public keys,
//! each line verified, one false line of a known key refuses the whole head. k and the keys come
//! from the charter in force; two sets of k share an honest coordinator, who signs one root per size.

mod policy;

pub use policy::{HeadPolicy, HeadPolicyError};

use std::collections::BTreeMap;

use thiserror::Error;

use self::policy::Line;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::CosignatureError;
use crate::id::{KeyName, Origin};
use crate::key::KeyId;
use crate::log_time::CosignTime;
use crate::note::{Note, NoteError, SignatureLine};

/// Why a cosigned head was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadRefused {
    /// The bytes are no signed note.
    #[error("the head is no signed note")]
    Note(#[from] NoteError),
    /// The text of the note is no checkpoint.
    #[error("the text of the head is no checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// A head of another log, or of another life of this one.
    #[error("the head is of {found}, not of {expected}")]
    OriginMismatch {
        /// The origin in force.
        expected: Origin,
        /// The origin of the head.
        found: Origin,
    },
    /// A line of a known coordinator is not good.
    #[error("a coordinator's line under the head is not good")]
    Cosignature(#[from] CosignatureError),
    /// A line of a known log key is not good.
    #[error("the log line {name}+{key_id} under the head is false")]
    LogLine {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
    },
    /// Fewer distinct coordinators than the threshold.
    #[error("{found} coordinators cosigned the head, {threshold} are needed")]
    TooFewCosignatures {
        /// Distinct coordinators with a good line.
        found: usize,
        /// k.
        threshold: usize,
    },
    /// A cosignature from the future.
    #[error("{name} cosigned at {}, later than {}", time.utc(), latest.utc())]
    TimeInFuture {
        /// The coordinator.
        name: KeyName,
        /// Its time, in POSIX seconds.
        time: CosignTime,
        /// The latest time accepted: now and the skew.
        latest: CosignTime,
    },
    /// Good, but too few of the times are recent.
    #[error("{found} coordinators cosigned since {}, {threshold} are needed", oldest.utc())]
    Stale {
        /// Coordinators with a recent time.
        found: usize,
        /// k.
        threshold: usize,
        /// The oldest time that is recent: now without the maximal age.
        oldest: CosignTime,
    },
}

/// A checkpoint and the lines under it, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignedHead {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The lines in the order given.
    pub lines: Vec<SignatureLine>,
}

impl CosignedHead {
    /// Reads a note whose text is a checkpoint.
    ///
    /// # Errors
    /// No note, or no checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadRefused> {
        let note = Note::parse(bytes)?;
        Ok(Self { checkpoint: Checkpoint::parse(&note.text)?, lines: note.lines })
    }

    /// The note.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Note { text: self.checkpoint.body(), lines: self.lines.clone() }.to_bytes()
    }

    /// Verifies every line of a known key and counts the coordinators.
    ///
    /// # Errors
    /// Another origin, a false line, too few coordinators, or a time after `latest`.
    pub fn verify(
        &self,
        policy: &HeadPolicy,
        latest: CosignTime,
    ) -> Result<VerifiedHead, HeadRefused> {
        if self.checkpoint.origin != *policy.origin() {
            return Err(HeadRefused::OriginMismatch {
                expected: policy.origin().clone(),
                found: self.checkpoint.origin.clone(),
            });
        }
        let body = self.checkpoint.body();
        let mut cosigned: BTreeMap<KeyName, CosignTime> = BTreeMap::new();
        for line in &self.lines {
            match policy.read_line(line, &body)? {
                // Two lines of one coordinator are one coordinator, as of the later time.
                Line::Coordinator(name, time) => {
                    let newest = cosigned.entry(name).or_insert(time);
                    *newest = time.max(*newest);
                }
                Line::Log | Line::Unknown => {}
            }
        }
        let (found, threshold) = (cosigned.len(), policy.threshold());
        if found < threshold {
            return Err(HeadRefused::TooFewCosignatures { found, threshold });
        }
        if let Some((name, time)) = cosigned.iter().find(|(_, time)| **time > latest) {
            return Err(HeadRefused::TimeInFuture { name: name.clone(), time: *time, latest });
        }
        Ok(VerifiedHead { checkpoint: self.checkpoint.clone(), cosigned, threshold })
    }

    /// Assembles a head from lines that came from anywhere: verifies each, drops unknown and false
    /// ones, keeps the latest line of each key, orders by name and key id. A relay that adds a false
    /// line so harms nobody. Whether enough are left is asked with [`CosignedHead::verify`].
    #[must_use]
    pub fn assemble(
        checkpoint: Checkpoint,
        lines: impl IntoIterator<Item = SignatureLine>,
        policy: &HeadPolicy,
    ) -> Self {
        let body = checkpoint.body();
        let mut kept: BTreeMap<(String, KeyId), (CosignTime, SignatureLine)> = BTreeMap::new();
        for line in lines {
            let time = match policy.read_line(&line, &body) {
                Ok(Line::Coordinator(_, time)) => time,
                Ok(Line::Log) => CosignTime::MIN,
                Ok(Line::Unknown) | Err(_) => continue,
            };
            let key = (line.name.clone(), line.key_id);
            if kept.get(&key).is_none_or(|(newest, _)| time > *newest) {
                kept.insert(key, (time, line));
            }
        }
        // One line per known key at most, and a policy has no more keys than a note may have lines.
        let lines = kept.into_values().map(|(_, line)| line).collect();
        Self { checkpoint, lines }
    }
}

/// A checkpoint that k coordinators stand behind, with the time of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedHead {
    checkpoint: Checkpoint,
    cosigned: BTreeMap<KeyName, CosignTime>,
    threshold: usize,
}

impl VerifiedHead {
    /// What they signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Who signed it, and when last.
    #[must_use]
    pub const fn cosigned(&self) -> &BTreeMap<KeyName, CosignTime> {
        &self.cosigned
    }

    /// Asks for freshness: k coordinators must have signed at `oldest` or later, so that nobody can
    /// freeze an agent on an old head.
    ///
    /// # Errors
    /// [`HeadRefused::Stale`].
    pub fn fresh_since(&self, oldest: CosignTime) -> Result<(), HeadRefused> {
        let found = self.cosigned.values().filter(|time| **time >= oldest).count();
        let threshold = self.threshold;
        if found >= threshold {
            Ok(())
        } else {
            Err(HeadRefused::Stale { found, threshold, oldest })
        }
    }

    /// The latest time that k coordinators reached: how fresh the head is.
    #[must_use]
    pub fn as_of(&self) -> CosignTime {
        let mut times: Vec<CosignTime> = self.cosigned.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        // A verified head has at least `threshold` times, and the threshold is at least one.
        times.get(self.threshold - 1).copied().unwrap_or(CosignTime::MIN)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::key::{CosignSigner, LogSigner, SecretKey};
    use crate::merkle::{Head, leaf_hash};
    use crate::number::TreeSize;

    fn origin(counter: u64) -> Origin {
        format!("quorate.example/testnet/{counter}-{}", "0f".repeat(16)).parse().unwrap()
    }

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed(Zeroizing::new([seed; 32]))
    }

    fn coordinator(seed: u8) -> CosignSigner {
        CosignSigner::new(KeyName::new(format!("coordinator/{seed}")).unwrap(), secret(seed))
    }

    fn checkpoint() -> Checkpoint {
        let head = Head { size: TreeSize::new(1).unwrap(), root: leaf_hash(b"leaf") };
        Checkpoint::new(origin(1), head)
    }

    #[test]
    fn two_lines_of_one_coordinator_are_one_as_of_the_later_time() {
        let keys = [coordinator(1), coordinator(2)];
        let vkeys = keys.iter().map(|key| key.vkey().clone());
        let policy = HeadPolicy::new(origin(1), vkeys, [], 2).unwrap();
        let line = |key: usize, second| {
            keys[key].cosign(&checkpoint(), CosignTime::new(second).unwrap()).to_line()
        };
        let head = |lines| CosignedHead { checkpoint: checkpoint(), lines };
        let verify = |lines| head(lines).verify(&policy, CosignTime::new(100).unwrap());
        let alone = verify(vec![line(0, 10), line(0, 20)]);
        let refused = HeadRefused::TooFewCosignatures { found: 1, threshold: 2 };
        assert_eq!(alone, Err(refused));
        let lines = vec![line(0, 30), line(0, 10), line(1, 20)];
        let verified = verify(lines.clone()).unwrap();
        assert_eq!(verified.as_of().get(), 20);
        assert!(verified.fresh_since(CosignTime::new(20).unwrap()).is_ok());
        assert!(verified.fresh_since(CosignTime::new(21).unwrap()).is_err());
        // Assembled, each coordinator has one line.
        let assembled = CosignedHead::assemble(checkpoint(), lines, &policy);
        assert_eq!(assembled.lines, [line(0, 30), line(1, 20)]);
        // The older of two lines is checked like any other.
        assert!(verify(vec![line(0, 30), line(1, 20), line(1, 101)]).is_err());
    }

    #[test]
    fn a_log_line_is_verified_and_gives_no_authority() {
        let (key, log) = (coordinator(1), LogSigner::new(&origin(1), secret(9)));
        let keys = ([key.vkey().clone()], [log.vkey().clone()]);
        let policy = HeadPolicy::new(origin(1), keys.0, keys.1, 1).unwrap();
        let own = log.sign(&checkpoint());
        let verify = |lines| {
            CosignedHead { checkpoint: checkpoint(), lines }.verify(&policy, CosignTime::MAX)
        };
        let refused = verify(vec![own.clone()]).unwrap_err();
        assert_eq!(refused, HeadRefused::TooFewCosignatures { found: 0, threshold: 1 });
        let line = key.cosign(&checkpoint(), CosignTime::MIN).to_line();
        assert!(verify(vec![own.clone(), line.clone()]).is_ok());
        let mut bent = own;
        bent.payload[0] ^= 1;
        assert!(matches!(verify(vec![bent, line]), Err(HeadRefused::LogLine { .. })));
    }
}
