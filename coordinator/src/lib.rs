//! The coordinator: one of 3, 4, 5 or 7 replicas that hold the decision state.
//!
//! It can order, count and certify, and it can make up nothing: it holds no validator's key. What
//! it must never do is written where it is prevented:
//!
//! * nothing enters the Raft log before its signatures were verified ([`service`]);
//! * nothing is cosigned before it was judged again from the leaves alone ([`signer`]);
//! * nothing is signed or acknowledged by a replica whose disk was rolled back
//!   ([`raft::rollback`]);
//! * no other file than [`raft`] and [`handle`] names a type of openraft.
//!
//! Reading order: [`config`], [`app`] (the wiring, start and stop order), [`handle`] (propose,
//! read, watch), [`leader`] (what only the leader does), [`raft`], [`signer`], [`access`] and
//! [`admission`] (who may ask, how often), [`service`] (one file per gRPC service), [`http`],
//! [`telemetry`].

pub mod access;
pub mod admission;
mod alarms;
pub mod app;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod create;
pub mod handle;
pub mod http;
pub mod leader;
pub mod raft;
pub mod replay;
mod serve;
pub mod service;
pub mod shutdown;
pub mod signer;
pub mod store_watch;
pub mod telemetry;

pub use app::{Coordinator, Running, StartError};
pub use config::Config;
pub use create::create;
