//! The checkpoint: origin, size and root of the decision log, as signed (C2SP `tlog-checkpoint`).
//!
//! ```text
//! origin "\n" decimal size "\n" base64(root) "\n"
//! ```
//!
//! Extension lines are legal by the standard and **refused here**: implementations disagree whether
//! a cosignature covers them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::id::{IdError, Origin};
use crate::merkle::{Hash, HashLength, Head, empty_root};
use crate::note::{NoteError, check_characters};
use crate::number::{NumberError, TreeSize};

/// Why a checkpoint body was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// A control character.
    #[error("the checkpoint has characters that no text may have")]
    Characters(#[source] NoteError),
    /// The last line is not ended.
    #[error("the last line of the checkpoint is not ended")]
    NoFinalNewline,
    /// Fewer than origin, size and root.
    #[error("a checkpoint has three lines, this one has {lines}")]
    TooFewLines {
        /// Lines given.
        lines: usize,
    },
    /// An empty line after the root.
    #[error("the checkpoint has an empty line")]
    EmptyLine,
    /// A line after the root.
    #[error("the checkpoint has an extension line, which is not accepted: {line:?}")]
    ExtensionLine {
        /// The line, cut at 64 characters.
        line: String,
    },
    /// The first line is no origin of ours.
    #[error("the first line of the checkpoint is no origin")]
    Origin(#[source] IdError),
    /// The second line is no size.
    #[error("the second line of the checkpoint is no size")]
    Size(#[source] NumberError),
    /// The third line is no hash.
    #[error("the third line of the checkpoint is no root")]
    Root(#[source] HashLength),
    /// Size 0 with another root than that of the empty log.
    #[error("a log without leaves has another root than {root}")]
    EmptyRoot {
        /// The root given.
        root: Hash,
    },
}

/// A head with the name of its log. A value says nothing about who signed it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// The log, and which life of it.
    pub origin: Origin,
    /// Number of leaves.
    pub size: TreeSize,
    /// Root over all of them.
    pub root: Hash,
}

impl Checkpoint {
    /// The checkpoint of a head.
    #[must_use]
    pub fn new(origin: Origin, head: Head) -> Self {
        Self { origin, size: head.size, root: head.root }
    }

    /// Size and root.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { size: self.size, root: self.root }
    }

    /// The text that is signed: three lines.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Anything but the one spelling of exactly three lines.
    pub fn parse(body: &str) -> Result<Self, CheckpointError> {
        check_characters(body.as_bytes()).map_err(CheckpointError::Characters)?;
        let lines = body.strip_suffix('\n').ok_or(CheckpointError::NoFinalNewline)?;
        let lines: Vec<&str> = lines.split('\n').collect();
        let (origin, size, root) = match lines.as_slice() {
            [origin, size, root] => (origin, size, root),
            [_, _, _, "", ..] => return Err(CheckpointError::EmptyLine),
            [_, _, _, line, ..] => {
                let line = line.chars().take(64).collect();
                return Err(CheckpointError::ExtensionLine { line });
            }
            short => return Err(CheckpointError::TooFewLines { lines: short.len() }),
        };
        let checkpoint = Self {
            origin: origin.parse().map_err(CheckpointError::Origin)?,
            size: size.parse().map_err(CheckpointError::Size)?,
            root: root.parse().map_err(CheckpointError::Root)?,
        };
        if checkpoint.size == TreeSize::MIN && checkpoint.root != empty_root() {
            return Err(CheckpointError::EmptyRoot { root: checkpoint.root });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    /// One line for people: origin, size and root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(body: &str) -> Result<Self, CheckpointError> {
        Self::parse(body)
    }
}
