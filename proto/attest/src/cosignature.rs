//! Cosignatures: the coordinators' lines under a checkpoint (C2SP `cosignature/v1`, type 0x04).
//!
//! ```text
//! signed  = "cosignature/v1\n" "time " decimal "\n" || the whole body
//! payload = time, u64 big-endian, POSIX seconds || ed25519[64]           72 bytes after the key id
//! ```
//!
//! By the standard: as of that time, the largest consistent tree of that origin the cosigner has
//! seen has this root. **Our additional statement**: *my own state machine applied every leaf below
//! this size and re-verified its votes.* Guarantee *sign-once*: one root per size and key, which the
//! coordinator's sign-once store keeps; this module only makes and checks the lines.

use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::key::{CosignSigner, KeyId, KeyType, LogSigner, VerifierKey};
use crate::log_time::CosignTime;
use crate::note::SignatureLine;
use crate::number::NumberError;
use crate::refusal::Refusal;
use crate::text::Statement;

/// Bytes of a payload: eight of time and 64 of signature.
const PAYLOAD_BYTES: usize = 72;

/// Why a cosignature line was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CosignatureError {
    /// The line names another key.
    #[error("the line is by {name}+{key_id}, not by {expected}")]
    UnknownKey {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
        /// Name of the key it was checked against.
        expected: String,
    },
    /// The key signs no cosignatures.
    #[error("{name} is a {found:?} key, it does not cosign")]
    WrongKeyType {
        /// Name of the key.
        name: String,
        /// What it signs.
        found: KeyType,
    },
    /// Not eight bytes of time and 64 of signature.
    #[error("the cosignature of {name} has {len} bytes, {PAYLOAD_BYTES} are needed")]
    BadLength {
        /// Name in the line.
        name: String,
        /// Bytes after the key id.
        len: usize,
    },
    /// A time above 2^63 - 1.
    #[error("the time of the cosignature of {name} is out of range")]
    BadTime {
        /// Name in the line.
        name: String,
        /// The bound it breaks.
        #[source]
        source: NumberError,
    },
    /// The signature does not verify.
    #[error("the cosignature of {name}+{key_id} is false")]
    BadSignature {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
    },
}

/// A cosignature of the right shape; whether it is good depends on key and checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cosignature {
    /// Name of the cosigner's key.
    pub name: String,
    /// Id of the cosigner's key.
    pub key_id: KeyId,
    /// When it was made.
    pub time: CosignTime,
    /// Ed25519 over time and body.
    pub signature: [u8; 64],
}

impl Cosignature {
    /// Reads the payload of a line.
    ///
    /// # Errors
    /// Wrong length, or a time above 2^63 - 1.
    pub fn from_line(line: &SignatureLine) -> Result<Self, CosignatureError> {
        let name = || line.name.clone();
        let bad_length = || CosignatureError::BadLength { name: name(), len: line.payload.len() };
        let (time, signature) = line.payload.split_first_chunk::<8>().ok_or_else(bad_length)?;
        let signature = signature.try_into().map_err(|_| bad_length())?;
        let time = CosignTime::new(u64::from_be_bytes(*time))
            .map_err(|source| CosignatureError::BadTime { name: name(), source })?;
        Ok(Self { name: name(), key_id: line.key_id, time, signature })
    }

    /// The line it came from.
    #[must_use]
    pub fn to_line(&self) -> SignatureLine {
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
        payload.extend_from_slice(&self.time.get().to_be_bytes());
        payload.extend_from_slice(&self.signature);
        SignatureLine { name: self.name.clone(), key_id: self.key_id, payload }
    }

    /// Verifies that `key` cosigned `checkpoint` with this.
    ///
    /// # Errors
    /// Another key, a key that does not cosign, or a false signature.
    pub fn verify(
        &self,
        key: &VerifierKey,
        checkpoint: &Checkpoint,
    ) -> Result<(), CosignatureError> {
        self.verify_text(key, &checkpoint.body())
    }

    /// Verifies a timestamped signature over any text of ours: checkpoints and refusals. Their first
    /// lines differ, so one is never taken for the other.
    pub(crate) fn verify_text(
        &self,
        key: &VerifierKey,
        text: &str,
    ) -> Result<(), CosignatureError> {
        let (name, key_id) = (self.name.clone(), self.key_id);
        if key_id != key.id() || name != key.name().as_str() {
            let expected = key.name().to_string();
            return Err(CosignatureError::UnknownKey { name, key_id, expected });
        }
        match key.key_type() {
            KeyType::Cosignature => {}
            found @ KeyType::Note => return Err(CosignatureError::WrongKeyType { name, found }),
        }
        if key.public().has_signed(message(self.time, text).as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(CosignatureError::BadSignature { name, key_id })
        }
    }
}

/// The bytes a cosigner signs for a checkpoint body: for tools that check one by hand.
#[must_use]
pub fn message(time: CosignTime, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl CosignSigner {
    /// Cosigns a checkpoint. **Only the sign-once store may call this**, and it releases the result
    /// after it is durable.
    #[must_use]
    pub fn cosign(&self, checkpoint: &Checkpoint, time: CosignTime) -> Cosignature {
        self.sign_text(&checkpoint.body(), time)
    }

    /// Signs that this coordinator does not cosign a decision. It must not cosign a head that holds
    /// the decision alone afterwards.
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal, time: CosignTime) -> SignatureLine {
        self.sign_text(&refusal.text(), time).to_line()
    }

    /// Signs a text that the caller formatted itself, with a time.
    pub(crate) fn sign_text(&self, text: &str, time: CosignTime) -> Cosignature {
        Cosignature {
            name: self.vkey().name().as_str().to_owned(),
            key_id: self.vkey().id(),
            time,
            signature: self.secret.sign_bytes(message(time, text).as_bytes()),
        }
    }
}

impl LogSigner {
    /// Signs a checkpoint as the log itself; the same sign-once rule holds.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> SignatureLine {
        self.notes().sign_text(&checkpoint.body())
    }
}
