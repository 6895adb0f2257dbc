//! Keys: which public keys are fit to be trusted, what they are called, and who may sign with one.
//!
//! A key is its public key, not its name. It is loaded only if every verifier in the world agrees on
//! what it signed: canonical encoding, not weak, free of torsion. Verification is `verify_strict`
//! and nothing else. Signing takes typed statements only; no function that signs bytes leaves this
//! crate, so that a key can never be made to sign a text of another purpose.

mod public;
mod secret;
mod signer;
mod verifier;

pub use public::PublicKey;
pub use secret::SecretKey;
pub use signer::{CosignSigner, LogSigner, NoteSigner};
pub use verifier::{KeyId, VerifierKey};

use thiserror::Error;

use crate::id::{IdError, KeyName};

/// Why a key or the text of one was refused. Never holds key bytes of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The bytes are no point of the curve.
    #[error("public key {public} is no point of the curve")]
    NoPoint {
        /// The bytes, in hex.
        public: String,
    },
    /// A second encoding of a point that has a canonical one.
    #[error("public key {public} is not in its canonical encoding")]
    NotCanonical {
        /// The bytes, in hex.
        public: String,
    },
    /// A point of small order: signatures under it say nothing.
    #[error("public key {public} is weak: it is of small order")]
    Weak {
        /// The bytes, in hex.
        public: String,
    },
    /// A point with a small-order part: verifiers would disagree.
    #[error("public key {public} is not free of torsion")]
    Torsion {
        /// The bytes, in hex.
        public: String,
    },
    /// Not `name+hash+key`.
    #[error("a verifier key is <name>+<key id>+<key>, and this has {parts} of the three parts")]
    VkeyShape {
        /// How many parts there are.
        parts: usize,
    },
    /// The name of a verifier key.
    #[error("the name of the verifier key was refused")]
    Name(#[from] IdError),
    /// The key id is not eight lower-case hexadecimal digits.
    #[error("the key id must be 8 lower-case hexadecimal digits, not {text:?}")]
    KeyIdText {
        /// What was given, cut at 16 characters.
        text: String,
    },
    /// The key is no canonical base64.
    #[error("the key of {name} is no canonical base64")]
    Base64 {
        /// Name of the key.
        name: KeyName,
    },
    /// Not one type byte and 32 key bytes.
    #[error("the key of {name} has {len} bytes, a type and a public key have 33")]
    Length {
        /// Name of the key.
        name: KeyName,
        /// Bytes given.
        len: usize,
    },
    /// A signature type that Quorate does not use.
    #[error("the key of {name} is of type {found:#04x}, only 0x01 and 0x04 are used")]
    UnsupportedType {
        /// Name of the key.
        name: KeyName,
        /// The type byte.
        found: u8,
    },
    /// The key id is not the one that name, type and key give.
    #[error("the key id of {name} is {computed}, the text says {written}")]
    KeyIdMismatch {
        /// Name of the key.
        name: KeyName,
        /// The id in the text.
        written: KeyId,
        /// The id of the key.
        computed: KeyId,
    },
    /// The PEM text holds no Ed25519 private key, or one whose public key is not its own.
    #[error("the text is no PKCS#8 Ed25519 private key")]
    PrivateKey,
}

/// What a key signs, the type byte of C2SP signed notes. Others exist; Quorate uses these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// 0x01: Ed25519 over the text of a note. Validators, agents, and the log's own lines.
    Note,
    /// 0x04: timestamped Ed25519 cosignature. Coordinators.
    Cosignature,
}

impl KeyType {
    /// The byte that stands before the key.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}
