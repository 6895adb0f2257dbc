//! `quorate.v1` on the wire: the `.proto` files, what is generated from them, and what both sides of
//! a connection share.
//!
//! In reading order:
//!
//! * [`pb`]: messages, services and the JSON mapping. [`wkt`]: times and spans in them.
//! * [`error_code`], [`exit_code`], [`grpc_code`]: the one table of refusals. [`problem`]: a refusal
//!   as it travels.
//! * [`convert`], [`page`]: from the wire to the domain.
//! * [`identity`], [`tls`], [`authority`], [`key_file`]: who is who, and the files that prove it.
//! * [`foreign`]: what adapters speak to guarded systems.
//! * `client`: follows the leader, resumes watches (feature `client`).
//!
//! **Compatibility.** Field numbers and types never change, names and reasons are never reused:
//! `tests/compat.rs` holds the committed descriptor set against the present one, and
//! `tests/frozen_bytes.rs` decodes what was once released. Signed things travel as the exact bytes
//! that were signed and are never rebuilt from fields.
//!
//! This crate knows neither the decision machine nor the store.

pub mod authority;
#[cfg(feature = "client")]
pub mod client;
pub mod convert;
pub mod error_code;
pub mod exit_code;
pub mod foreign;
pub mod grpc_code;
pub mod identity;
pub mod key_file;
pub mod page;
pub mod pb;
pub mod problem;
#[cfg(feature = "grpc")]
mod status;
pub mod tls;
pub mod wkt;
