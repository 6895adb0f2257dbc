//! What a stopped coordinator's disk says, read by the coordinator's own store.

use std::path::Path;

use quorate_attest::key::CosignSigner;
use quorate_proto::key_file;
use quorate_store::sign_once::SignedHead;
use quorate_store::{Disk, OpenOptions, Store, WriterMode};

use crate::deployment::Deployment;

/// The head that coordinator `id` signed last, by the sign-once store in `data`: its own or a copy of it.
///
/// # Panics
/// There is none, or it is in use.
pub async fn last_signed(deployment: &Deployment, id: u64, data: &Path) -> SignedHead {
    let key = deployment.coordinators[&id].folder.join("cosign.pem");
    let secret = key_file::load(&key).expect("the cosigning key");
    let options = OpenOptions {
        origin: deployment.charter.statement.origin.clone(),
        node_id: id,
        signer: CosignSigner::new(deployment.coordinator_name(id), secret),
        quota_bytes: None,
        mode: WriterMode::Thread,
        observer: None,
    };
    let store = Store::open(&Disk::from(data), options)
        .unwrap_or_else(|error| panic!("{}: {error}", data.display()));
    let head = store.sign_once.head().await.expect("the sign-once store answers");
    store.guard.close().await;
    head.expect("a signed head")
}
