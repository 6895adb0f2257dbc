//! Whose lines make a head.

use thiserror::Error;

use super::HeadRefused;
use crate::cosignature::Cosignature;
use crate::id::{KeyName, Origin};
use crate::key::{KeyType, VerifierKey};
use crate::log_time::CosignTime;
use crate::note::{KeyRing, KeyRingError, MAX_LINES, SignatureLine};

/// Why a set of keys cannot judge heads.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadPolicyError {
    /// More keys than a note may have lines.
    #[error("{keys} keys cannot all sign one head, at most {MAX_LINES} can")]
    TooManyKeys {
        /// Keys of coordinators and log.
        keys: usize,
    },
    /// One public key twice, or keys that lines cannot tell apart.
    #[error("the keys of coordinators and log are not distinct")]
    Keys(#[from] KeyRingError),
    /// A coordinator's key that does not cosign.
    #[error("the coordinator key {name} is of another type than 0x04")]
    CoordinatorType {
        /// Name of the key.
        name: KeyName,
    },
    /// A log key of another type, or not named like the origin.
    #[error("the log key {name} is not of type 0x01 with the name {origin}")]
    LogKey {
        /// Name of the key.
        name: KeyName,
        /// The name it must have.
        origin: Origin,
    },
    /// A threshold of nobody, or of more than there are.
    #[error("{threshold} of {coordinators} coordinators is no threshold")]
    Threshold {
        /// k.
        threshold: usize,
        /// n.
        coordinators: usize,
    },
}

/// Whose lines make a head: the part of a charter that judges checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadPolicy {
    origin: Origin,
    keys: KeyRing,
    threshold: usize,
}

impl HeadPolicy {
    /// Coordinators' 0x04 keys, the log's own 0x01 keys, and how many coordinators make a head.
    ///
    /// # Errors
    /// Keys that are not distinct, of the wrong type or name; a threshold that is none.
    pub fn new(
        origin: Origin,
        coordinators: impl IntoIterator<Item = VerifierKey>,
        log: impl IntoIterator<Item = VerifierKey>,
        threshold: usize,
    ) -> Result<Self, HeadPolicyError> {
        let coordinators: Vec<VerifierKey> = coordinators.into_iter().collect();
        let log: Vec<VerifierKey> = log.into_iter().collect();
        let off = coordinators.iter().find(|key| key.key_type() != KeyType::Cosignature);
        if let Some(key) = off {
            return Err(HeadPolicyError::CoordinatorType { name: key.name().clone() });
        }
        let name = origin.key_name();
        let fits = |key: &&VerifierKey| key.key_type() == KeyType::Note && *key.name() == name;
        if let Some(key) = log.iter().find(|key| !fits(key)) {
            return Err(HeadPolicyError::LogKey { name: key.name().clone(), origin });
        }
        if threshold == 0 || threshold > coordinators.len() {
            let coordinators = coordinators.len();
            return Err(HeadPolicyError::Threshold { threshold, coordinators });
        }
        let keys = coordinators.len() + log.len();
        if keys > MAX_LINES {
            return Err(HeadPolicyError::TooManyKeys { keys });
        }
        let keys = KeyRing::new(coordinators.into_iter().chain(log))?;
        Ok(Self { origin, keys, threshold })
    }

    /// The log these keys speak for.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many coordinators make a head: k.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// The coordinators' keys, by name.
    pub fn coordinators(&self) -> impl Iterator<Item = &VerifierKey> {
        self.keys.iter().filter(|key| key.key_type() == KeyType::Cosignature)
    }

    /// The log's own keys, which give no authority.
    pub fn log_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.keys.iter().filter(|key| key.key_type() == KeyType::Note)
    }

    /// What one line says about a checkpoint with this body.
    pub(super) fn read_line(&self, line: &SignatureLine, body: &str) -> Result<Line, HeadRefused> {
        let Some(key) = self.keys.of_line(line) else { return Ok(Line::Unknown) };
        match key.key_type() {
            KeyType::Note if line.signs_text(key, body) => Ok(Line::Log),
            KeyType::Note => {
                Err(HeadRefused::LogLine { name: line.name.clone(), key_id: line.key_id })
            }
            KeyType::Cosignature => {
                let cosignature = Cosignature::from_line(line)?;
                cosignature.verify_text(key, body)?;
                Ok(Line::Coordinator(key.name().clone(), cosignature.time))
            }
        }
    }
}

/// What a good line is.
pub(super) enum Line {
    Unknown,
    Log,
    Coordinator(KeyName, CosignTime),
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::key::{CosignSigner, LogSigner, NoteSigner, SecretKey};

    fn origin(counter: u64) -> Origin {
        format!("quorate.example/testnet/{counter}-{}", "0f".repeat(16)).parse().unwrap()
    }

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed(Zeroizing::new([seed; 32]))
    }

    fn coordinator(seed: u8) -> CosignSigner {
        CosignSigner::new(KeyName::new(format!("coordinator/{seed}")).unwrap(), secret(seed))
    }

    #[test]
    fn keys_of_the_wrong_kind_judge_nothing() {
        let policy = |coordinators: &[VerifierKey], log: &[VerifierKey], threshold| {
            HeadPolicy::new(origin(1), coordinators.to_vec(), log.to_vec(), threshold)
        };
        let (one, two) = (coordinator(1).vkey().clone(), coordinator(2).vkey().clone());
        let note = NoteSigner::new(KeyName::new("n").unwrap(), secret(3)).vkey().clone();
        let log = LogSigner::new(&origin(1), secret(4)).vkey().clone();
        let old = LogSigner::new(&origin(2), secret(4)).vkey().clone();
        let same = LogSigner::new(&origin(1), secret(1)).vkey().clone();
        let both = [one.clone(), two];
        assert!(policy(&both, &[log], 2).is_ok());
        let refused = policy(&[one.clone(), note.clone()], &[], 1);
        assert!(matches!(refused, Err(HeadPolicyError::CoordinatorType { .. })));
        for log in [note, old, one.clone()] {
            assert!(matches!(policy(&both, &[log], 1), Err(HeadPolicyError::LogKey { .. })));
        }
        assert!(matches!(policy(&both, &[same], 1), Err(HeadPolicyError::Keys(_))));
        assert!(matches!(policy(&[one.clone(), one], &[], 1), Err(HeadPolicyError::Keys(_))));
        for threshold in [0, 3] {
            let refused = policy(&both, &[], threshold);
            assert!(matches!(refused, Err(HeadPolicyError::Threshold { .. })));
        }
    }
}
