//! The code generated from `quorate/**/*.proto`: prost messages, tonic clients and servers, and the
//! proto3 JSON mapping of `quorate.v1` as serde implementations.
//!
//! JSON has one shape everywhere (CLI, HTTP): lowerCamelCase names, 64-bit integers as strings,
//! bytes as base64, times as RFC 3339. Fields without presence are always written, so that a script
//! never meets a missing counter or list.

/// The public API.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/quorate.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/quorate.v1.serde.rs"));
}

/// Between coordinators only.
pub mod raft {
    /// Raft messages and the exchange of cosignatures.
    #[allow(
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        clippy::wildcard_enum_match_arm,
        missing_docs,
        unreachable_pub,
        reason = "generated"
    )]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/quorate.raft.v1.rs"));
    }
}

/// Every `.proto` file of ours and the two of Google's they import, as an encoded
/// `google.protobuf.FileDescriptorSet`: for reflection, and for the compatibility test.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
