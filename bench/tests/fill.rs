//! A filled directory holds what coordinators would have made: equal stores, leaves that the judge
//! accepts with every signature verified, heads that were cosigned.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::history::History as Judge;
use quorate_attest::id::KeyName;
use quorate_attest::key::CosignSigner;
use quorate_attest::leaf::{Leaf, LeafKind};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::signed::Signatures;
use quorate_bench::fill::{Replica, fill};
use quorate_bench::history::Pace;
use quorate_bench::world::{NETWORK, World, fixed_secret};
use quorate_proto::key_file;
use quorate_store::solo::Solo;
use quorate_store::{Disk, OpenOptions, Store, WriterMode};

const DECISIONS: u64 = 50;

fn replica(root: &Path, world: &World, id: u64) -> Replica {
    let folder = root.join(format!("coordinator-{id}"));
    let data = folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let name: KeyName = format!("{NETWORK}/coordinator/{id}").parse().unwrap();
    let cosign_key = folder.join("cosign.pem");
    let signer = CosignSigner::new(name.clone(), fixed_secret(&name));
    key_file::create(&cosign_key, &fixed_secret(&name), signer.vkey()).unwrap();
    let origin = &world.charter.statement.origin;
    Store::create(&Disk::Directory(data.clone()), origin, id, signer.vkey()).unwrap();
    Replica { id, name, data, cosign_key }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_gets_one_history_that_a_judge_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let world = Arc::new(World::of_fixed_keys().unwrap());
    let replicas = [1, 2, 3].map(|id| replica(directory.path(), &world, id));
    let pace = Pace {
        start: LogTime::new(1_790_000_000_000).unwrap(),
        step: Span::from_secs(2),
        open_for: Span::from_secs(600),
    };
    let filled = fill(Arc::clone(&world), &replicas, pace, DECISIONS).await.unwrap();
    assert_eq!(filled.leaves, 1 + 2 * DECISIONS);
    assert!(filled.proofs.inclusion.samples > 0 && filled.proofs.consistency.samples > 0);

    let options = OpenOptions {
        origin: world.charter.statement.origin.clone(),
        node_id: 2,
        signer: CosignSigner::new(
            replicas[1].name.clone(),
            key_file::load(&replicas[1].cosign_key).unwrap(),
        ),
        quota_bytes: None,
        mode: WriterMode::Thread,
        observer: None,
    };
    let store = Store::open(&Disk::Directory(replicas[1].data.clone()), options).unwrap();
    let solo = Solo::resume(store.log, store.state_machine, 2).await.unwrap();
    let view = store.leaves.view().unwrap();
    let mut judge: Option<Judge> = None;
    let mut decisions = 0;
    for (_, bytes) in view.range(0..filled.leaves, usize::MAX).unwrap() {
        let leaf = Leaf::parse(&bytes).unwrap();
        decisions += u64::from(leaf.kind() == LeafKind::Decision);
        match &mut judge {
            None => judge = Some(Judge::found(&leaf, Signatures::Verify).unwrap().0),
            Some(judge) => drop(judge.append(&leaf, Signatures::Verify).unwrap()),
        }
    }
    let judge = judge.unwrap();
    assert_eq!((decisions, judge.head()), (DECISIONS, view.head().unwrap()));
    let signed = store.sign_once.head().await.unwrap().unwrap();
    let checkpoint = Checkpoint::new(world.charter.statement.origin.clone(), judge.head());
    assert_eq!(signed.text, checkpoint.body());
    drop(solo);
    store.guard.close().await;
}
