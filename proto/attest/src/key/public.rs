//! Public keys: the only place where one is loaded, and the only place where a signature is checked.

use std::cmp::Ordering;
use std::fmt;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

use super::KeyError;
use crate::encoding::hex;

/// An Ed25519 public key that is fit to be trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Loads a key, once per process and key: the torsion check costs a scalar multiplication.
    ///
    /// # Errors
    /// No point of the curve, weak, not canonical, or not free of torsion.
    pub fn load(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let public = || hex(bytes);
        let key =
            VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NoPoint { public: public() })?;
        if key.is_weak() {
            return Err(KeyError::Weak { public: public() });
        }
        let point = key.to_edwards();
        if point.compress().as_bytes() != bytes {
            return Err(KeyError::NotCanonical { public: public() });
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Torsion { public: public() });
        }
        Ok(Self(key))
    }

    /// The public half of a private key, which needs no check: a clamped scalar times the base point
    /// is canonical, strong and free of torsion.
    pub(super) fn of_secret(secret: &SigningKey) -> Self {
        Self(secret.verifying_key())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether this key signed exactly `message`, by the strict rules.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex(self.as_bytes()))
    }
}
