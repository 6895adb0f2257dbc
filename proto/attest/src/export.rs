//! A whole log as one text file, and its verification as it streams by.
//!
//! ```text
//! quorate-log/v1
//! leaf <index> <base64 of its leaf hash> <base64 of the leaf>
//! ...
//! <the cosigned head note, verbatim>
//! ```
//!
//! The head proves the whole; the leaf hash on each line only makes a damaged entry nameable, since
//! a root says that something is wrong and not where. Nothing is kept but what the log determines,
//! so a log of any length is verified in bounded memory.

use thiserror::Error;

use crate::encoding::{base64, from_base64};
use crate::head::{CosignedHead, HeadPolicyError, HeadRefused, VerifiedHead};
use crate::history::{History, LeafRefused};
use crate::id::CharterId;
use crate::leaf::Leaf;
use crate::log_time::CosignTime;
use crate::merkle::{Hash, leaf_hash};
use crate::note::{MAX_NOTE_BYTES, NoteError, SignatureLine};
use crate::number::{LeafIndex, TreeSize};
use crate::proof::MAX_ENTRY_BYTES;
use crate::signed::Signatures;

/// The first line of an export.
pub const HEADER: &str = "quorate-log/v1";

/// Longest line: a leaf in base64, its hash and its index.
const LINE_BYTES_MAX: usize = MAX_ENTRY_BYTES.div_ceil(3) * 4 + 128;

/// Writes the line of one leaf, with its line feed.
pub fn export_leaf(index: LeafIndex, leaf: &[u8]) -> String {
    format!("leaf {index} {} {}\n", leaf_hash(leaf), base64(leaf))
}

/// What an export is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// The charter the verifier pinned: the log must begin with it.
    Pinned(CharterId),
    /// None: the log proves only that it is consistent with its own first charter.
    OwnCharter,
}

/// Why an export is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExportRefused {
    /// The first line.
    #[error("an export begins with {HEADER:?}, not with {found:?}")]
    Header {
        /// The line found, cut to 64 characters.
        found: String,
    },
    /// A line that is too long, not a `leaf` line, or of another index.
    #[error("entry {index}: its line cannot be read")]
    Line {
        /// The entry that belongs there.
        index: LeafIndex,
    },
    /// The leaf is not the one that the line's hash names.
    #[error("entry {index}: the leaf has the hash {computed}, its line says {written}")]
    Hash {
        /// Which entry.
        index: LeafIndex,
        /// The hash of its bytes.
        computed: Hash,
        /// The hash on its line.
        written: Hash,
    },
    /// The leaf breaks a rule of the log.
    #[error("entry {index}: {source}")]
    Leaf {
        /// Which entry.
        index: LeafIndex,
        /// The rule.
        #[source]
        source: Box<LeafRefused>,
    },
    /// The log begins with another charter than the pinned one.
    #[error("entry 0: the log begins with the charter {found}, pinned is {pinned}")]
    OtherCharter {
        /// The pinned one.
        pinned: CharterId,
        /// The one found.
        found: CharterId,
    },
    /// No leaf at all.
    #[error("the export has no entry")]
    Empty,
    /// The file ends within a line, or without a head.
    #[error("the export ends too early, after {size} entries")]
    CutOff {
        /// Entries read.
        size: TreeSize,
    },
    /// The head.
    #[error("the head: {0}")]
    Head(#[from] HeadRefused),
    /// The last charter cannot judge a head.
    #[error("the head: {0}")]
    Policy(#[from] HeadPolicyError),
    /// A line under the head is of no key of the charter. A note that travels alone may carry such
    /// lines; an export has one spelling, so that no byte of it can be changed unnoticed.
    #[error("the head carries a line of {name}, which is no key of the charter")]
    ForeignLine {
        /// The name on the line.
        name: String,
    },
    /// The head is of another log, or of another size of it.
    #[error(
        "the head says {size} entries and root {root}, the entries give {own_size} and {own_root}"
    )]
    OtherHead {
        /// Its size.
        size: TreeSize,
        /// Its root.
        root: Hash,
        /// How many entries there are.
        own_size: TreeSize,
        /// Their root.
        own_root: Hash,
    },
}

impl ExportRefused {
    /// The first bad entry; none if every entry is good and the head is not.
    pub fn entry(&self) -> Option<LeafIndex> {
        match self {
            Self::Line { index } | Self::Hash { index, .. } | Self::Leaf { index, .. } => {
                Some(*index)
            }
            Self::OtherCharter { .. } => Some(LeafIndex::MIN),
            Self::CutOff { size } => Some(size.next_index()),
            Self::Header { .. }
            | Self::Empty
            | Self::Head(_)
            | Self::Policy(_)
            | Self::ForeignLine { .. }
            | Self::OtherHead { .. } => None,
        }
    }
}

/// A log that verified.
#[derive(Debug, Clone)]
pub struct VerifiedExport {
    /// What its leaves determine.
    pub history: History,
    /// Its head, with the coordinators' times.
    pub head: VerifiedHead,
}

/// Verifies an export as its bytes come in, in chunks of any size.
#[derive(Debug)]
pub struct ExportVerifier {
    root: Root,
    history: Option<History>,
    /// The line being read.
    line: Vec<u8>,
    /// The head note, once its first line was seen.
    head: Option<Vec<u8>>,
    seen_header: bool,
}

impl ExportVerifier {
    /// Begins.
    pub fn new(root: Root) -> Self {
        Self { root, history: None, line: Vec::new(), head: None, seen_header: false }
    }

    /// Reads the next bytes. `on_leaf` sees each leaf after it was judged.
    ///
    /// # Errors
    /// The first thing that is wrong. Nothing after it may be believed.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut on_leaf: impl FnMut(LeafIndex, &Leaf),
    ) -> Result<(), ExportRefused> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some(head) = &mut self.head {
                head.extend_from_slice(piece);
                self.check_head_length()?;
                continue;
            }
            self.line.extend_from_slice(piece);
            if self.line.len() > LINE_BYTES_MAX {
                return Err(ExportRefused::Line { index: self.next_index() });
            }
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                self.read_line(&line, &mut on_leaf)?;
            }
        }
        Ok(())
    }

    /// Checks the head. `latest`: the latest cosignature time that is not in the future.
    ///
    /// # Errors
    /// The file is cut off, or its head is not the entries' head, or is not cosigned.
    pub fn finish(self, latest: CosignTime) -> Result<VerifiedExport, ExportRefused> {
        let Some(history) = self.history else {
            return Err(if self.seen_header {
                ExportRefused::Empty
            } else {
                ExportRefused::Header { found: shorten(&self.line) }
            });
        };
        let Some(head) = self.head else {
            return Err(ExportRefused::CutOff { size: history.size() });
        };
        let head = CosignedHead::parse(&head)?;
        let own = history.head();
        let checkpoint = &head.checkpoint;
        if checkpoint.head() != own {
            return Err(ExportRefused::OtherHead {
                size: checkpoint.size,
                root: checkpoint.root,
                own_size: own.size,
                own_root: own.root,
            });
        }
        let policy = history.charter().head_policy()?;
        let is_known = |line: &SignatureLine| {
            let mut keys = policy.coordinators().chain(policy.log_keys());
            keys.any(|key| key.id() == line.key_id && key.name().as_str() == line.name)
        };
        if let Some(line) = head.lines.iter().find(|line| !is_known(line)) {
            return Err(ExportRefused::ForeignLine { name: line.name.clone() });
        }
        let head = head.verify(&policy, latest)?;
        Ok(VerifiedExport { history, head })
    }

    /// The index of the entry that comes next.
    pub fn next_index(&self) -> LeafIndex {
        self.history.as_ref().map_or(LeafIndex::MIN, |history| history.size().next_index())
    }

    fn check_head_length(&self) -> Result<(), ExportRefused> {
        match &self.head {
            Some(head) if head.len() > MAX_NOTE_BYTES => {
                Err(HeadRefused::Note(NoteError::TooLarge { len: head.len() }).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn read_line(
        &mut self,
        line: &[u8],
        on_leaf: &mut impl FnMut(LeafIndex, &Leaf),
    ) -> Result<(), ExportRefused> {
        if !self.seen_header {
            if line.strip_suffix(b"\n") != Some(HEADER.as_bytes()) {
                return Err(ExportRefused::Header { found: shorten(line) });
            }
            self.seen_header = true;
            return Ok(());
        }
        let index = self.next_index();
        // The head begins with its origin, which a key of ours and no `leaf` line is.
        let is_head = self
            .history
            .as_ref()
            .is_some_and(|history| line == format!("{}\n", history.origin()).as_bytes());
        if is_head {
            self.head = Some(line.to_vec());
            return Ok(());
        }
        let unreadable = ExportRefused::Line { index };
        let text = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
        let words: Vec<&str> = text.map(|text| text.split(' ').collect()).unwrap_or_default();
        let [key, number, hash, leaf] = words.as_slice() else { return Err(unreadable) };
        let (Ok(number), Ok(written), Some(bytes)) =
            (number.parse::<LeafIndex>(), hash.parse::<Hash>(), from_base64(leaf))
        else {
            return Err(unreadable);
        };
        if *key != "leaf" || number != index {
            return Err(unreadable);
        }
        let computed = leaf_hash(&bytes);
        if computed != written {
            return Err(ExportRefused::Hash { index, computed, written });
        }
        let leaf = self.append(index, &bytes)?;
        on_leaf(index, &leaf);
        Ok(())
    }

    fn append(&mut self, index: LeafIndex, bytes: &[u8]) -> Result<Leaf, ExportRefused> {
        let refused = |source| ExportRefused::Leaf { index, source: Box::new(source) };
        if let Some(history) = &mut self.history {
            let (leaf, _) = history.append_bytes(bytes, Signatures::Verify).map_err(refused)?;
            return Ok(leaf);
        }
        let leaf = Leaf::parse(bytes).map_err(|error| refused(error.into()))?;
        let (history, _) = History::found(&leaf, Signatures::Verify).map_err(refused)?;
        let found = history.charter_id();
        match self.root {
            Root::Pinned(pinned) if pinned != found => {
                return Err(ExportRefused::OtherCharter { pinned, found });
            }
            Root::Pinned(_) | Root::OwnCharter => {}
        }
        self.history = Some(history);
        Ok(leaf)
    }
}

fn shorten(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\n').chars().take(64).collect()
}
