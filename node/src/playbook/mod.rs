//! Playbooks: which remediations answer an incident, in which order, and who is asked when they fail.
//!
//! A playbook is a TOML file, not code. This module reads one and judges it, and does nothing else:
//! bytes come in, a [`Playbook`] or a [`PlaybookRefused`] with key, value and line goes out. It
//! knows no file, clock or network. It lies here and not in `attest` because that crate knows no
//! serde; what the log must know of a playbook travels in proposals as
//! [`Rung`](quorate_attest::ladder::Rung), which `attest` does read.
//!
//! The charter pins the SHA-256 of each file. An agent uses only what is pinned, so no file on one
//! machine can make automation do what the operators did not sign (*authority*).
//!
//! Invariants of one that was parsed: a class is its kind's own; nothing irreversible is automatic;
//! a step opens only by the recorded end of a step above it, so a ladder ends; attempts are 1 to 10.

mod check;
mod due;
mod part;
mod read;
mod refused;
mod schema;
mod shelf;
mod steps;

pub use due::Due;
pub use part::{
    Check, Comparison, Condition, Detect, Matching, Opens, Playbook, Rise, Signal, Source, Step,
    TargetKind, Urgency,
};
pub use refused::{Place, PlaybookRefused, Why};
pub use shelf::{Answer, Shelf};

/// The schema this program reads.
pub const SCHEMA: u32 = 1;

/// Longest playbook in bytes.
pub const BYTES_MAX: usize = 64 * 1024;
