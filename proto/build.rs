//! Compiles the `.proto` files with protox: nobody installs protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

/// One file for each service, and what they share.
const FILES: [&str; 10] = [
    "quorate/raft/v1/raft.proto",
    "quorate/v1/agent.proto",
    "quorate/v1/automation.proto",
    "quorate/v1/charter.proto",
    "quorate/v1/log.proto",
    "quorate/v1/proposal.proto",
    "quorate/v1/quorum.proto",
    "quorate/v1/status.proto",
    "quorate/v1/types.proto",
    "quorate/v1/vote.proto",
];

/// What adapters speak to guarded systems: no part of our own API or its descriptors.
const FOREIGN: [&str; 2] = ["foreign/etcd.proto", "foreign/ledger.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES.iter().chain(&FOREIGN) {
        println!("cargo:rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let documented = protox::compile(FILES, ["."])?;

    // Reflection and the JSON mapping need the structure only: a third of the size.
    let mut bare = documented.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    let encoded = bare.encode_to_vec();
    fs::write(out.join("descriptors.bin"), &encoded)?;

    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        .bytes(".quorate.raft.v1")
        .btree_map(".quorate.v1")
        .extern_path(".google.protobuf.Timestamp", "crate::wkt::Timestamp")
        .extern_path(".google.protobuf.Duration", "crate::wkt::Duration")
        .compile_fds(documented)?;

    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .btree_map([".quorate.v1"])
        .emit_fields()
        .ignore_unknown_fields()
        .extern_path(".google.protobuf.Timestamp", "crate::wkt::Timestamp")
        .extern_path(".google.protobuf.Duration", "crate::wkt::Duration")
        .build(&[".quorate.v1"])?;

    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        .compile_fds(protox::compile(FOREIGN, ["."])?)?;
    Ok(())
}
