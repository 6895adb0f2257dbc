//! A statement with the lines under it.
//!
//! Reading one verifies nothing: [`Signed::verify`] and [`Signed::verify_strict`] do. So a text can
//! be stored, forwarded and shown before it is believed, and nobody believes it by accident, since
//! who signed is known only from their answer.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::key::{KeyId, KeyType, NoteSigner, VerifierKey};
use crate::note::{KeyRing, Note, NoteError, SignatureLine};
use crate::text::{Statement, TextError};

/// A statement and its signature lines, well formed but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<S> {
    /// What is signed.
    pub statement: S,
    /// By whom, as claimed.
    pub lines: Vec<SignatureLine>,
}

/// Whether signatures are checked, or were checked before by this same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Check every line.
    Verify,
    /// They were verified at the door: check everything but the curve.
    Trust,
}

/// Why a signed statement is not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignedError {
    /// Not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note of another text.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Why the lines of a note inside a leaf are refused (R3).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinesRefused {
    /// No line at all.
    #[error("a note in a leaf has no signature line")]
    NoLine,
    /// A line of nobody in the charter, or of somebody who may not sign this.
    #[error("the line of {name}+{key_id} is of no key that may sign here")]
    UnknownKey {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
    },
    /// A known key that signs no texts.
    #[error("{name}+{key_id} is a {found:?} key, it does not sign texts")]
    WrongKeyType {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
        /// What the key signs.
        found: KeyType,
    },
    /// The signature is not by that key, or not over this text.
    #[error("the signature of {name}+{key_id} is false")]
    BadSignature {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
    },
    /// Lines out of order, or one of them twice.
    #[error("the lines do not rise strictly by name and key id at {name}+{key_id}")]
    NotAscending {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
    },
    /// One public key under two lines.
    #[error("{name} signed twice under one public key")]
    SameKeyTwice {
        /// Name in the second line.
        name: String,
    },
}

impl<S: Statement> Signed<S> {
    /// Puts lines under a statement, in their order within a leaf and each once.
    pub fn new(statement: S, mut lines: Vec<SignatureLine>) -> Self {
        lines.sort_unstable_by(|a, b| (&a.name, a.key_id).cmp(&(&b.name, b.key_id)));
        lines.dedup();
        Self { statement, lines }
    }

    /// Reads a note of this statement; nothing is verified yet.
    ///
    /// # Errors
    /// Not a note, or the note of another text.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignedError> {
        Self::from_note(Note::parse(bytes)?)
    }

    /// Reads the statement of a note; nothing is verified yet.
    ///
    /// # Errors
    /// The text is not of this kind.
    pub fn from_note(note: Note) -> Result<Self, SignedError> {
        Ok(Self { statement: S::parse(&note.text)?, lines: note.lines })
    }

    /// The note.
    pub fn note(&self) -> Note {
        Note { text: self.statement.text(), lines: self.lines.clone() }
    }

    /// The bytes of the note.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note().to_bytes()
    }

    /// Verifies by the rules of a note that travels alone: lines of unknown keys are ignored, one
    /// false line of a known key refuses the whole. Each signer is named once.
    ///
    /// # Errors
    /// A false line, or no line of a known key.
    pub fn verify<'k>(&self, ring: &'k KeyRing) -> Result<Vec<&'k VerifierKey>, NoteError> {
        self.note().open(ring)
    }

    /// Verifies by the stricter rules of a note inside a leaf (R3): every line known, good, of type
    /// 0x01, rising by name and key id, one per public key. `lookup` says who may sign.
    ///
    /// # Errors
    /// The first line that breaks one of these.
    pub fn verify_strict<'k>(
        &self,
        signatures: Signatures,
        lookup: impl Fn(&SignatureLine) -> Option<&'k VerifierKey>,
    ) -> Result<Vec<&'k VerifierKey>, LinesRefused> {
        let text = self.statement.text();
        let mut signers = Vec::with_capacity(self.lines.len());
        let mut publics = BTreeSet::new();
        let mut last: Option<&SignatureLine> = None;
        for line in &self.lines {
            let (name, key_id) = (line.name.clone(), line.key_id);
            if last.is_some_and(|last| (&last.name, last.key_id) >= (&line.name, line.key_id)) {
                return Err(LinesRefused::NotAscending { name, key_id });
            }
            last = Some(line);
            let Some(key) = lookup(line) else {
                return Err(LinesRefused::UnknownKey { name, key_id });
            };
            if key.key_type() != KeyType::Note {
                return Err(LinesRefused::WrongKeyType { name, key_id, found: key.key_type() });
            }
            if !publics.insert(key.public().clone()) {
                return Err(LinesRefused::SameKeyTwice { name });
            }
            if signatures == Signatures::Verify && !line.signs_text(key, &text) {
                return Err(LinesRefused::BadSignature { name, key_id });
            }
            signers.push(key);
        }
        if signers.is_empty() { Err(LinesRefused::NoLine) } else { Ok(signers) }
    }
}

impl<S: Statement> borsh::BorshSerialize for Signed<S> {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        borsh::BorshSerialize::serialize(&self.to_bytes(), writer)
    }
}

impl<S: Statement> borsh::BorshDeserialize for Signed<S> {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let bytes = Vec::<u8>::deserialize_reader(reader)?;
        Self::parse(&bytes)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
    }
}

impl NoteSigner {
    /// Signs a statement, whose bytes it formats itself: no caller can have other bytes signed.
    pub fn sign<S: Statement>(&self, statement: &S) -> SignatureLine {
        self.sign_text(&statement.text())
    }

    /// Signs a statement and puts the line under it.
    pub fn signed<S: Statement>(&self, statement: S) -> Signed<S> {
        let line = self.sign(&statement);
        Signed::new(statement, vec![line])
    }
}
