//! `gate.used`: the highest token under which this gate has started its member alone.
//!
//! The agent's journal consumes a permission; the gate remembers it too, durable before exec, so
//! that no agent with a restored disk can hand it the same certificate again.

use std::io;
use std::path::{Path, PathBuf};

use quorate_attest::number::FencingToken;

use super::durable;

/// More than a token has.
const BYTES_MAX: u64 = 64;

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("gate.used")
}

/// The highest token used, `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<FencingToken>> {
    let Some(bytes) = durable::read(path, BYTES_MAX)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    text.trim_end().parse().map(Some).map_err(io::Error::other)
}

/// Remembers a token, durably.
pub(super) fn write(path: &Path, token: FencingToken) -> io::Result<()> {
    durable::replace(path, format!("{token}\n").as_bytes())
}
