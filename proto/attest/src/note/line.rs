//! One signature line.

use std::fmt;
use std::str::FromStr;

use super::{NoteError, check_characters};
use crate::encoding::{base64, from_base64};
use crate::key::{KeyId, KeyType, VerifierKey};

/// What every signature line begins with.
const DASH: &str = "\u{2014} ";

/// One line under a note. The payload is what follows the key id, so 64 bytes for type 0x01.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignatureLine {
    /// Name of the key; of an unknown key, any name without blanks and plus signs.
    pub name: String,
    /// Id of the key.
    pub key_id: KeyId,
    /// What follows the key id: never empty.
    pub payload: Vec<u8>,
}

impl SignatureLine {
    /// Reads one line without its line feed; `number` is its place in the note, for the refusal.
    pub(super) fn parse(number: usize, text: &str) -> Result<Self, NoteError> {
        let bad_line = NoteError::BadLine { line: number };
        let fields = text.strip_prefix(DASH).ok_or(bad_line.clone())?;
        let (name, signature) = fields.split_once(' ').ok_or(bad_line.clone())?;
        if name.is_empty() || signature.is_empty() || signature.contains(' ') {
            return Err(bad_line);
        }
        if name.chars().any(|character| character.is_whitespace() || character == '+') {
            return Err(NoteError::BadName { line: number });
        }
        let bytes = from_base64(signature).ok_or(NoteError::BadBase64 { line: number })?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, payload)) if !payload.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_id: KeyId::from_bytes(*key_id),
                payload: payload.to_vec(),
            }),
            Some(_) | None => Err(NoteError::ShortSignature { line: number, len: bytes.len() }),
        }
    }

    /// Whether `key` signed exactly `text` with this line, as type 0x01.
    #[must_use]
    pub fn signs_text(&self, key: &VerifierKey, text: &str) -> bool {
        key.key_type() == KeyType::Note
            && self.key_id == key.id()
            && self.name == key.name().as_str()
            && <&[u8; 64]>::try_from(self.payload.as_slice())
                .is_ok_and(|signature| key.public().has_signed(text.as_bytes(), signature))
    }
}

impl fmt::Display for SignatureLine {
    /// The line without its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.to_bytes().to_vec();
        bytes.extend_from_slice(&self.payload);
        write!(f, "{DASH}{} {}", self.name, base64(&bytes))
    }
}

impl FromStr for SignatureLine {
    type Err = NoteError;

    /// Reads one line without its line feed.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        check_characters(text.as_bytes())?;
        if text.contains('\n') {
            return Err(NoteError::BadLine { line: 1 });
        }
        Self::parse(1, text)
    }
}
