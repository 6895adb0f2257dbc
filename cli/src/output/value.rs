//! Values in the proto3 JSON mapping: 64-bit integers as strings, bytes as base64, times as RFC
//! 3339.

use std::fmt::Display;

use serde::Serializer;

/// Serialises by `Display`: numbers of 64 bits, digests, names and tokens.
///
/// # Errors
/// The serializer's own.
pub(crate) fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serialises milliseconds since 1970 as RFC 3339; 0 means "none" and becomes null.
///
/// # Errors
/// The serializer's own.
pub(crate) fn instant<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match *ms {
        0 => serializer.serialize_none(),
        ms => serializer.serialize_str(&super::time::rfc3339(ms)),
    }
}
