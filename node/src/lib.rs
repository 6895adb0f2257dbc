//! The agent: it runs beside one member of a guarded cluster, sees, votes, and acts at most once.
//!
//! It trusts nobody's word. What it does, it does under a certificate it verified itself, below a
//! log it tailed and judged itself, after a claim the quorum confirmed, with its own journal durable
//! before each step. What it reports, it measured against a witness taken before the action.
//!
//! In reading order:
//!
//! * [`detect`], [`probe`]: what is seen of the members, and when it becomes a suspicion.
//! * [`watchman`], [`observe`], [`vote`]: suspicions and votes as signed words; the guard, so that no
//!   two texts are ever signed for one question. [`plan`]: what exactly is voted on.
//! * [`playbook`]: which remediations answer an incident, in which order: data that the charter pins.
//! * [`trust`], [`tail`]: the pinned charter, the verified log, what it says now.
//! * [`journal`], [`fence`]: what was accepted, started and done; which orders are taken at all.
//! * [`execute`], [`witness`], [`adapters`]: prepare, claim, `started`, execute, verify, `done`.
//! * [`report`], [`undo`], [`work`]: what is sent, what takes itself back, one thing at a time.
//! * [`quorum`], [`link`]: what is asked of the coordinators. [`config`], [`app`]: the wiring.
//!
//! This crate knows neither the decision machine nor the store. **single-effect** and
//! **no-double-execution** rest on `fence.rs`, `journal/` and `execute/` here, and on the slot and the
//! claims there.

pub mod adapters;
pub mod app;
pub mod clock;
pub mod config;
pub mod detect;
pub mod execute;
pub mod fence;
pub mod gate;
pub mod journal;
pub mod link;
pub mod observe;
pub mod plan;
pub mod playbook;
pub mod probe;
pub mod quorum;
pub mod report;
pub mod tail;
pub mod trust;
pub mod undo;
pub mod vote;
pub mod watchman;
pub mod witness;
pub mod work;

pub use app::{Agent, AgentError, Running};
pub use config::{Config, ConfigError};
