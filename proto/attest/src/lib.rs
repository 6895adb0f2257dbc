//! What anyone needs to check a Quorate decision, and nothing else.
//!
//! A decision is authorised by two quorums in one **certificate**: validators signed one text, and
//! coordinators cosigned a head of the log that holds it. This crate reads, writes and judges those
//! bytes. It knows no network, no file, no clock and no randomness: bytes, keys and *now* come in,
//! a verdict or a refusal with its facts goes out. Coordinators, agents, auditors and the command
//! line all judge with this one code.
//!
//! # The trust boundary
//!
//! * The root of trust is the **charter**. Whoever holds it (an agent pins it) needs no server.
//! * Parsing is not believing. [`note::Note`], [`head::CosignedHead`] and [`proof::TlogProof`] are
//!   well formed and unverified; [`head::VerifiedHead`] exists only after the signatures were
//!   counted. A proof is checked from entry *bytes* to a verified head, never from a hash outside.
//! * One meaning has one spelling: whatever is accepted re-encodes to the bytes it was read from.
//! * Keys are loaded once and strictly ([`key::PublicKey::load`]); signatures are verified strictly;
//!   one public key is one signer; one false line of a known key refuses the whole note.
//! * Signers take typed statements. No function that signs bytes leaves the crate.
//! * Every refusal is its own variant with its facts. Input never panics.
//!
//! # Reading order
//!
//! Names and numbers: [`number`], [`log_time`], [`id`]. Who signs: [`key`], [`note`]. The log:
//! [`merkle`], [`checkpoint`], [`cosignature`], [`head`], [`proof`], and for other tools [`tiles`]
//! and [`policy`]. What people and agents sign: [`text`], [`signed`], [`charter`], [`proposal`],
//! [`vote`], [`agent_statement`], [`operator_statement`], [`refusal`]. Who must agree: [`remediation`],
//! [`quorum`], [`ladder`]. What the log holds and what may follow: [`leaf`], [`declaration`], [`evidence`],
//! [`history`]. What anyone checks: [`certificate`], [`export`].

#![deny(clippy::float_arithmetic)] // A verdict must not depend on rounding.

pub mod agent_statement;
pub mod certificate;
pub mod charter;
pub mod checkpoint;
pub mod cosignature;
pub mod declaration;
mod encoding;
pub mod evidence;
pub mod export;
pub mod head;
pub mod history;
pub mod id;
pub mod key;
pub mod ladder;
pub mod leaf;
pub mod log_time;
pub mod merkle;
pub mod note;
pub mod number;
pub mod operator_statement;
pub mod policy;
pub mod proof;
pub mod proposal;
pub mod quorum;
pub mod refusal;
pub mod remediation;
pub mod signed;
pub mod text;
pub mod tiles;
pub mod vote;
