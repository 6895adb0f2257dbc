//! C2SP signed notes: a text, an empty line, and signature lines.
//!
//! ```text
//! note    = text "\n" 1*sigline         text ends in a line feed; split at the LAST empty line
//! sigline = U+2014 SP name SP base64(key id || signature) "\n"
//! ```
//!
//! A note that was parsed re-encodes to the same bytes. Opening one says that *some* known key
//! signed; thresholds are the caller's, counted over distinct public keys. Lines of unknown keys are
//! ignored but must be well formed; **one false line of a known key refuses the whole note**.

mod line;
mod ring;

pub use line::SignatureLine;
pub use ring::{KeyRing, KeyRingError};

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::key::{KeyId, KeyType, VerifierKey};

/// Signature lines a note may have. The standard wants at least 16 accepted.
pub const MAX_LINES: usize = 64;

/// Bytes a note may have: what one entry of a tile bundle can hold.
pub const MAX_NOTE_BYTES: usize = 65_535;

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// More bytes than any note of ours has.
    #[error("the note has {len} bytes, at most {MAX_NOTE_BYTES} are allowed")]
    TooLarge {
        /// Bytes given.
        len: usize,
    },
    /// Not UTF-8.
    #[error("the note is not UTF-8 from byte {at} on")]
    BadUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// A byte below 0x20 that is no line feed.
    #[error("the note has the control character {byte:#04x} at byte {at}")]
    ControlCharacter {
        /// The byte.
        byte: u8,
        /// Its offset.
        at: usize,
    },
    /// The last line is not ended.
    #[error("the last line of the note is not ended")]
    NoFinalNewline,
    /// Nothing separates text and signatures.
    #[error("no empty line separates the text of the note from its signatures")]
    NoEmptyLine,
    /// Nothing follows the last empty line.
    #[error("the note has no signature line")]
    NoSignature,
    /// More lines than [`MAX_LINES`].
    #[error("the note has {count} signature lines, at most {MAX_LINES} are allowed")]
    TooManyLines {
        /// Lines given.
        count: usize,
    },
    /// Not dash, name and signature, separated by single blanks.
    #[error("signature line {line} is not an em dash, a name and a signature")]
    BadLine {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A name with a plus sign or a blank of any kind.
    #[error("the name in signature line {line} has a blank or a plus sign")]
    BadName {
        /// Number of the line, from 1.
        line: usize,
    },
    /// No canonical base64.
    #[error("the signature in line {line} is no canonical base64")]
    BadBase64 {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A key id and nothing behind it.
    #[error("the signature in line {line} has {len} bytes, a key id alone has 4")]
    ShortSignature {
        /// Number of the line, from 1.
        line: usize,
        /// Bytes given.
        len: usize,
    },
    /// A line of a known key does not verify.
    #[error("the signature of {name}+{key_id} is false")]
    BadSignature {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
    },
    /// A line of a known key that signs no texts: a cosignature under a plain note.
    #[error("{name}+{key_id} is a {found:?} key, it does not sign plain notes")]
    WrongKeyType {
        /// Name in the line.
        name: String,
        /// Key id in the line.
        key_id: KeyId,
        /// What the key signs.
        found: KeyType,
    },
    /// No line of a known key.
    #[error("no known key signed the note")]
    NoKnownSignature,
}

/// A text with signature lines, well formed but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, through its last line feed.
    pub text: String,
    /// The lines in the order given.
    pub lines: Vec<SignatureLine>,
}

impl Note {
    /// Reads a note; nothing is verified yet.
    ///
    /// # Errors
    /// Every variant of [`NoteError`] but the last three.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { len: bytes.len() });
        }
        let note = check_characters(bytes)?;
        if !note.ends_with('\n') {
            return Err(NoteError::NoFinalNewline);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::NoEmptyLine)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        if lines.is_empty() {
            return Err(NoteError::NoSignature);
        }
        let count = lines.bytes().filter(|byte| *byte == b'\n').count();
        if count > MAX_LINES {
            return Err(NoteError::TooManyLines { count });
        }
        let lines = lines
            .split_terminator('\n')
            .enumerate()
            .map(|(at, line)| SignatureLine::parse(at + 1, line))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), lines })
    }

    /// The bytes it was parsed from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Verifies every line of a known key over the text, and returns the keys that signed: each
    /// once, in the order of the lines.
    ///
    /// # Errors
    /// A line of a known key is false, or of a key that signs no texts; or no line is known.
    pub fn open<'k>(&self, keys: &'k KeyRing) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        let mut seen = BTreeSet::new();
        for line in &self.lines {
            let Some(key) = keys.of_line(line) else { continue };
            if key.key_type() != KeyType::Note {
                return Err(NoteError::WrongKeyType {
                    name: line.name.clone(),
                    key_id: line.key_id,
                    found: key.key_type(),
                });
            }
            if !line.signs_text(key, &self.text) {
                let name = line.name.clone();
                return Err(NoteError::BadSignature { name, key_id: line.key_id });
            }
            if seen.insert(key.public()) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(signers) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// UTF-8 without control characters other than the line feed.
pub(crate) fn check_characters(bytes: &[u8]) -> Result<&str, NoteError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|refused| NoteError::BadUtf8 { at: refused.valid_up_to() })?;
    match bytes.iter().position(|byte| *byte < 0x20 && *byte != b'\n') {
        Some(at) => Err(NoteError::ControlCharacter { byte: bytes[at], at }),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::id::KeyName;
    use crate::key::{CosignSigner, NoteSigner, SecretKey};
    use crate::log_time::CosignTime;

    fn secret() -> SecretKey {
        SecretKey::from_seed(Zeroizing::new([7; 32]))
    }

    #[test]
    fn a_cosigners_line_is_no_signature_of_a_plain_note() {
        let signer = CosignSigner::new(KeyName::new("c").unwrap(), secret());
        let line = signer.sign_text("text\n", CosignTime::MIN).to_line();
        let note = Note { text: "text\n".to_owned(), lines: vec![line] };
        let ring = KeyRing::new([signer.vkey().clone()]).unwrap();
        assert!(matches!(note.open(&ring), Err(NoteError::WrongKeyType { .. })));
    }

    #[test]
    fn the_limits_hold_to_the_byte_and_to_the_line() {
        let signer = NoteSigner::new(KeyName::new("o").unwrap(), secret());
        let note = |len: usize, lines: usize| {
            let text = format!("{}\n", "x".repeat(len - 1));
            let line = signer.sign_text(&text);
            Note { text, lines: vec![line; lines] }.to_bytes()
        };
        let overhead = note(1, 1).len() - 1;
        assert!(Note::parse(&note(MAX_NOTE_BYTES - overhead, 1)).is_ok());
        let over = note(MAX_NOTE_BYTES - overhead + 1, 1);
        assert_eq!(Note::parse(&over), Err(NoteError::TooLarge { len: MAX_NOTE_BYTES + 1 }));
        assert!(Note::parse(&note(10, MAX_LINES)).is_ok());
        let over = note(10, MAX_LINES + 1);
        assert_eq!(Note::parse(&over), Err(NoteError::TooManyLines { count: MAX_LINES + 1 }));
    }

    #[test]
    fn one_line_stands_alone_without_a_line_feed() {
        let signer = NoteSigner::new(KeyName::new("o").unwrap(), secret());
        let line = signer.sign_text("text\n");
        assert_eq!(line.to_string().parse(), Ok(line.clone()));
        assert!(line.signs_text(signer.vkey(), "text\n"));
        assert!(!line.signs_text(signer.vkey(), "text"));
        for text in [format!("{line}\n"), format!("\n{line}"), format!("{line}\r")] {
            assert!(text.parse::<SignatureLine>().is_err(), "{text:?}");
        }
    }
}
