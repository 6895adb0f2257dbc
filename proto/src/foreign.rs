//! The interfaces of guarded systems: minimal `.proto` files of our own under `foreign/`, for adapters.
//!
//! They belong to those systems: nothing here is promised, reflected or served by us, and the
//! compatibility tests of `quorate.v1` do not read them. Servers are generated for stand-ins in tests.

/// What adapters use of etcd's API v3.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]
pub mod etcd {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// What adapters use of InferaDB Ledger's API, package `ledger.v1`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]
pub mod ledger {
    include!(concat!(env!("OUT_DIR"), "/ledger.v1.rs"));
}
