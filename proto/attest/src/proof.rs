//! The file format of a certificate: C2SP `tlog-proof`.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of the entry>       optional in the standard, required in a certificate
//! index <decimal>
//! <base64 hash>                     0 to 63 lines, from the leaf's sibling up
//!                                   (one empty line)
//! <checkpoint note, verbatim>
//! ```
//!
//! `extra` is unauthenticated by itself: [`TlogProof::verify`] hashes it and follows the path to the
//! signed root. Nothing of the file is to be believed before that.

use thiserror::Error;

use crate::encoding::{base64, from_base64};
use crate::head::{CosignedHead, HeadPolicy, HeadRefused, VerifiedHead};
use crate::log_time::CosignTime;
use crate::merkle::{Hash, HashLength, InclusionError, MAX_PROOF, verify_inclusion};
use crate::note::{NoteError, check_characters};
use crate::number::{LeafIndex, NumberError};

/// Bytes a proof file may have.
pub const MAX_PROOF_FILE_BYTES: usize = 204_800;

/// Bytes an entry may have. Its `extra` line then stays below the 64 KiB of the Go reader.
pub const MAX_ENTRY_BYTES: usize = 48_000;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// Why a proof file was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofRefused {
    /// More bytes than [`MAX_PROOF_FILE_BYTES`].
    #[error("the proof has {len} bytes, at most {MAX_PROOF_FILE_BYTES} are allowed")]
    TooLarge {
        /// Bytes given.
        len: usize,
    },
    /// More bytes of entry than [`MAX_ENTRY_BYTES`].
    #[error("the entry has {len} bytes, at most {MAX_ENTRY_BYTES} are allowed")]
    EntryTooLarge {
        /// Bytes given.
        len: usize,
    },
    /// Not UTF-8, or a control character.
    #[error("the proof has characters that no text may have")]
    Characters(#[source] NoteError),
    /// The first line is another one.
    #[error("the proof does not begin with the line of tlog-proof version 1")]
    BadHeader,
    /// The last line is not ended.
    #[error("the last line of the proof is not ended")]
    NoFinalNewline,
    /// A line that does not belong where it stands, or is missing.
    #[error("line {line} of the proof is not {expected}")]
    BadLine {
        /// Number of the line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// No canonical base64.
    #[error("line {line} of the proof is no canonical base64")]
    BadBase64 {
        /// Number of the line, from 1.
        line: usize,
    },
    /// No canonical index.
    #[error("the index of the proof is no leaf index")]
    BadIndex(#[source] NumberError),
    /// A hash of another length than 32.
    #[error("line {line} of the proof has {len} bytes, a hash has 32")]
    BadHashLength {
        /// Number of the line, from 1.
        line: usize,
        /// Bytes given.
        len: usize,
    },
    /// More hashes than any tree needs.
    #[error("the proof has more than {MAX_PROOF} hashes")]
    TooManyHashes,
    /// The head is not to be believed.
    #[error("the head of the proof was refused")]
    Head(#[from] HeadRefused),
    /// No entry, although none is known otherwise: not a certificate.
    #[error("the proof carries no entry")]
    NoEntry,
    /// The entry is not in the log.
    #[error("the entry is not in the log of the head")]
    Inclusion(#[from] InclusionError),
}

/// A proof file of the right shape; nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry, if the file carries it. Never empty.
    extra: Option<Vec<u8>>,
    /// Which leaf it is.
    index: LeafIndex,
    /// The path to the root, from the leaf's sibling up.
    hashes: Vec<Hash>,
    /// The checkpoint and its lines.
    head: CosignedHead,
}

impl TlogProof {
    /// Puts a certificate together: entry, place, path and head.
    ///
    /// # Errors
    /// No entry, an entry or a proof over the limits. Nothing is verified.
    pub fn new(
        entry: Vec<u8>,
        index: LeafIndex,
        hashes: Vec<Hash>,
        head: CosignedHead,
    ) -> Result<Self, ProofRefused> {
        if entry.is_empty() {
            return Err(ProofRefused::NoEntry);
        }
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(ProofRefused::EntryTooLarge { len: entry.len() });
        }
        if hashes.len() > MAX_PROOF {
            return Err(ProofRefused::TooManyHashes);
        }
        Ok(Self { extra: Some(entry), index, hashes, head })
    }

    /// Reads a file; nothing is verified yet.
    ///
    /// # Errors
    /// Every variant of [`ProofRefused`] that is about the shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofRefused> {
        if bytes.len() > MAX_PROOF_FILE_BYTES {
            return Err(ProofRefused::TooLarge { len: bytes.len() });
        }
        let text = check_characters(bytes).map_err(ProofRefused::Characters)?;
        let rest = text.strip_prefix(HEADER).ok_or(ProofRefused::BadHeader)?;
        if !rest.ends_with('\n') {
            return Err(ProofRefused::NoFinalNewline);
        }
        let mut lines = Lines { rest, line: 1 };
        let extra = match lines.peek().strip_prefix("extra ") {
            Some(entry) => {
                lines.next();
                Some(parse_entry(lines.line, entry)?)
            }
            None => None,
        };
        let index = lines.next();
        let index = index
            .strip_prefix("index ")
            .ok_or(ProofRefused::BadLine { line: lines.line, expected: "an index line" })?
            .parse()
            .map_err(ProofRefused::BadIndex)?;
        let hashes = parse_hashes(&mut lines)?;
        Ok(Self { extra, index, hashes, head: CosignedHead::parse(lines.rest.as_bytes())? })
    }

    /// The bytes it was parsed from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from(HEADER);
        if let Some(entry) = &self.extra {
            text.push_str(&format!("extra {}\n", base64(entry)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        let mut bytes = text.into_bytes();
        bytes.extend(self.head.to_bytes());
        bytes
    }

    /// Which leaf it speaks of.
    #[must_use]
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The path to the root, from the leaf's sibling up.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The head it leads to, not verified.
    #[must_use]
    pub const fn head(&self) -> &CosignedHead {
        &self.head
    }

    /// The entry it carries, not verified.
    ///
    /// # Errors
    /// [`ProofRefused::NoEntry`]: the file is no certificate.
    pub fn entry(&self) -> Result<&[u8], ProofRefused> {
        self.extra.as_deref().ok_or(ProofRefused::NoEntry)
    }

    /// Verifies that the entry it carries is in the log: origin, lines, times, and the path.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn verify(
        &self,
        policy: &HeadPolicy,
        latest: CosignTime,
    ) -> Result<VerifiedHead, ProofRefused> {
        self.verify_entry(self.entry()?, policy, latest)
    }

    /// Verifies that an entry known otherwise is in the log.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn verify_entry(
        &self,
        entry: &[u8],
        policy: &HeadPolicy,
        latest: CosignTime,
    ) -> Result<VerifiedHead, ProofRefused> {
        let head = self.head.verify(policy, latest)?;
        verify_inclusion(self.index, entry, &self.hashes, &head.checkpoint().head())?;
        Ok(head)
    }
}

/// The lines of a file that ends in a line feed, with their numbers.
struct Lines<'t> {
    rest: &'t str,
    /// Number of the line last taken.
    line: usize,
}

impl<'t> Lines<'t> {
    /// The next line without its line feed; empty at the end, where no grammar rule fits it.
    fn peek(&self) -> &'t str {
        self.rest.split_once('\n').map_or(self.rest, |(line, _)| line)
    }

    fn next(&mut self) -> &'t str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line
    }
}

fn parse_entry(line: usize, text: &str) -> Result<Vec<u8>, ProofRefused> {
    let entry = from_base64(text).ok_or(ProofRefused::BadBase64 { line })?;
    match entry.len() {
        0 => Err(ProofRefused::BadLine { line, expected: "an entry" }),
        1..=MAX_ENTRY_BYTES => Ok(entry),
        len => Err(ProofRefused::EntryTooLarge { len }),
    }
}

/// Hash lines through the empty line that ends them.
fn parse_hashes(lines: &mut Lines<'_>) -> Result<Vec<Hash>, ProofRefused> {
    let mut hashes = Vec::new();
    loop {
        if lines.rest.is_empty() {
            let line = lines.line + 1;
            return Err(ProofRefused::BadLine { line, expected: "a hash or an empty line" });
        }
        let text = lines.next();
        if text.is_empty() {
            return Ok(hashes);
        }
        // A keyword here is a line out of its place, no hash.
        if text.contains(' ') {
            let line = lines.line;
            return Err(ProofRefused::BadLine { line, expected: "a hash or an empty line" });
        }
        if hashes.len() == MAX_PROOF {
            return Err(ProofRefused::TooManyHashes);
        }
        hashes.push(text.parse().map_err(|refused| match refused {
            HashLength::WrongLength { len } => {
                ProofRefused::BadHashLength { line: lines.line, len }
            }
            HashLength::BadBase64 => ProofRefused::BadBase64 { line: lines.line },
        })?);
    }
}
