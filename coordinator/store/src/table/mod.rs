//! One file per redb table: name, key, value, and nothing else.
//!
//! Names and layouts are persisted; `design.md` lists them, `tests/upgrade.rs` freezes them.

pub(crate) mod leaf;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod snapshot;
