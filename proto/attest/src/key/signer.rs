//! Signers: one per purpose, each with typed statements only.

use super::{KeyType, SecretKey, VerifierKey};
use crate::id::{KeyName, Origin};
use crate::note::SignatureLine;

/// Signs statements as a validator or an agent: type 0x01, over the text.
pub struct NoteSigner {
    vkey: VerifierKey,
    secret: SecretKey,
}

impl NoteSigner {
    /// A signer whose lines are called `name`.
    #[must_use]
    pub fn new(name: KeyName, secret: SecretKey) -> Self {
        let vkey = VerifierKey::new(name, KeyType::Note, secret.public());
        Self { vkey, secret }
    }

    /// The key that verifies its lines.
    #[must_use]
    pub const fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    /// Signs the text of a statement, which the caller formatted itself.
    pub(crate) fn sign_text(&self, text: &str) -> SignatureLine {
        SignatureLine {
            name: self.vkey.name().as_str().to_owned(),
            key_id: self.vkey.id(),
            payload: self.secret.sign_bytes(text.as_bytes()).to_vec(),
        }
    }
}

/// Signs as a coordinator: type 0x04, timestamped. Its statements are in `cosignature.rs`.
pub struct CosignSigner {
    vkey: VerifierKey,
    pub(crate) secret: SecretKey,
}

impl CosignSigner {
    /// A signer whose lines are called `name`.
    #[must_use]
    pub fn new(name: KeyName, secret: SecretKey) -> Self {
        let vkey = VerifierKey::new(name, KeyType::Cosignature, secret.public());
        Self { vkey, secret }
    }

    /// The key that verifies its lines.
    #[must_use]
    pub const fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }
}

/// Signs heads as the log itself, for the tools that want such a line: type 0x01, name = origin.
/// It gives no authority and obeys the same sign-once rule.
pub struct LogSigner(NoteSigner);

impl LogSigner {
    /// A signer for one origin.
    #[must_use]
    pub fn new(origin: &Origin, secret: SecretKey) -> Self {
        Self(NoteSigner::new(origin.key_name(), secret))
    }

    /// The key that verifies its lines.
    #[must_use]
    pub const fn vkey(&self) -> &VerifierKey {
        self.0.vkey()
    }

    /// The statement signer inside.
    pub(crate) const fn notes(&self) -> &NoteSigner {
        &self.0
    }
}
