//! Why a playbook is refused: always with the key, its value and the line.

use std::fmt;

use quorate_attest::id::{ClusterId, Digest};
use quorate_attest::remediation::{Class, Kind};
use thiserror::Error;

/// Where something stands in a playbook's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// The key with its tables, such as `step.2.kind`.
    pub key: String,
    /// The value as it is written there, cut to 80 characters.
    pub value: String,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, {} = {}", self.line, self.key, self.value)
    }
}

/// A playbook that is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{at}: {why}")]
pub struct PlaybookRefused {
    /// Where.
    pub at: Box<Place>,
    /// Why.
    pub why: Why,
}

/// What is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// Not TOML, a key that no playbook has, one too few, or a value of another type.
    #[error("{0}")]
    Toml(String),
    /// Another schema.
    #[error("this program reads schema {expected}")]
    Schema {
        /// The one it reads.
        expected: u32,
    },
    /// A name, time, path or condition that does not read.
    #[error("{0}")]
    Unreadable(String),
    /// A word that is none of a fixed list.
    #[error("no such {what}; there are: {known}")]
    Unknown {
        /// What was asked for.
        what: &'static str,
        /// All there are.
        known: String,
    },
    /// The class is not the kind's own, which no file can change.
    #[error("{kind} is of class {expected}")]
    ClassDiffers {
        /// The kind.
        kind: Kind,
        /// Its class.
        expected: Class,
    },
    /// An irreversible kind marked automatic.
    #[error("{kind} is of class {class}, which automation never opens")]
    NeverAutomatic {
        /// The kind.
        kind: Kind,
        /// Its class.
        class: Class,
    },
    /// An automatic step that only a person could fill in.
    #[error("automation cannot supply what only the incident knows; such a step is an operator's")]
    NeedsPerson,
    /// A step that opens after itself or after a later one.
    #[error("the ladder would go in a circle: {after:?} does not stand above {step:?}")]
    Cycle {
        /// The step.
        step: String,
        /// What it says it follows.
        after: String,
    },
    /// Two steps of one name, or two values that must differ.
    #[error("it occurs twice")]
    Twice,
    /// No step, and it is not said that nothing is to be done.
    #[error("the ladder is empty; a playbook that only records says record-only = true")]
    EmptyLadder,
    /// Steps where nothing is to be done.
    #[error("record-only = true and steps exclude each other")]
    RecordOnly,
    /// A number or time outside its range.
    #[error("it must lie between {min} and {max}")]
    OutOfRange {
        /// The least allowed.
        min: String,
        /// The greatest allowed.
        max: String,
    },
    /// A step that ends before anybody could see what came of it.
    #[error("all attempts of a step that another follows take {have}, at least {min} are needed")]
    StepTooShort {
        /// What the step takes at most.
        have: String,
        /// What it needs.
        min: String,
    },
    /// A list that must not be empty.
    #[error("it must not be empty")]
    Empty,
    /// More observers than the cluster has.
    #[error("{cluster} has {have} observers in charter epoch {epoch}")]
    AboveRoster {
        /// The cluster.
        cluster: ClusterId,
        /// Its observers.
        have: usize,
        /// The charter's epoch.
        epoch: u64,
    },
    /// The charter knows no such cluster.
    #[error("charter epoch {epoch} has no cluster {cluster}")]
    NoCluster {
        /// The cluster.
        cluster: ClusterId,
        /// The charter's epoch.
        epoch: u64,
    },
    /// The charter pins another file under this id, or none.
    #[error("the charter pins {pinned} under this id, this file is {here}")]
    NotPinned {
        /// What the charter says: a digest, or `nothing`.
        pinned: String,
        /// The file's digest.
        here: Digest,
    },
}
