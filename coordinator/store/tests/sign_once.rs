//! The table of cases of the sign-once store, also across restarts and power loss.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::cosignature::Cosignature;
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::{Hash, leaf_hash, root_at};
use quorate_attest::number::{DecisionNumber, Epoch, LeafIndex, TreeSize};
use quorate_attest::refusal::{Cause, Refusal};
use quorate_store::{Disk, HeadRequest, SignRefused, Store, StoreFile};
use support::disk::{Chance, CrashDisk};
use support::{apply, close, entry, fresh, history, options, origin, reopen};

fn time(seconds: u64) -> CosignTime {
    CosignTime::new(1_790_000_000 + seconds).unwrap()
}

fn leaf(index: u64) -> LeafIndex {
    LeafIndex::new(index).unwrap()
}

/// The head of the store's own tree at `size`.
fn own_head(store: &Store, size: u64) -> Checkpoint {
    let size = TreeSize::new(size).unwrap();
    let root = root_at(&store.leaves.view().unwrap(), size).unwrap();
    Checkpoint { origin: origin(), size, root }
}

async fn cosign(store: &Store, head: Checkpoint, at: u64) -> Result<Cosignature, SignRefused> {
    let request = HeadRequest { checkpoint: head, time: time(at), resolved: BTreeSet::new() };
    store.sign_once.cosign(request, store.leaves.view().unwrap()).await
}

fn refusal(index: u64, cause: Cause) -> Refusal {
    Refusal {
        origin: origin(),
        epoch: Epoch::MIN,
        cluster: "etcd".parse().unwrap(),
        number: DecisionNumber::MIN,
        leaf: leaf(index),
        cause,
    }
}

async fn with_leaves(directory: &std::path::Path, leaves: u64) -> Store {
    let mut store = fresh(directory);
    apply(&mut store.state_machine, history(leaves)).await.unwrap();
    store
}

/// After a restart the leaves come back as Raft applies its entries again.
async fn restart(store: Store, directory: &std::path::Path, leaves: u64) -> Store {
    close(store).await;
    let mut store = reopen(directory);
    apply(&mut store.state_machine, history(leaves)).await.unwrap();
    store
}

#[tokio::test]
async fn heads_grow_and_every_signature_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 8).await;
    assert_eq!(store.sign_once.head().await.unwrap(), None);
    let first = cosign(&store, own_head(&store, 3), 1).await.unwrap();
    first.verify(store.sign_once.key(), &own_head(&store, 3)).unwrap();

    // Same size, root and time: the stored signature; a later time: a refreshed one.
    assert_eq!(cosign(&store, own_head(&store, 3), 1).await.unwrap(), first);
    let refreshed = cosign(&store, own_head(&store, 3), 9).await.unwrap();
    assert_ne!(refreshed, first);
    let larger = cosign(&store, own_head(&store, 8), 9).await.unwrap();

    let store = restart(store, directory.path(), 8).await;
    let head = store.sign_once.head().await.unwrap().unwrap();
    assert_eq!((head.size.get(), &head.cosignature), (8, &larger));
    assert_eq!(head.text, own_head(&store, 8).body());
    assert_eq!(cosign(&store, own_head(&store, 8), 9).await.unwrap(), larger);
    close(store).await;
}

#[tokio::test]
async fn smaller_sizes_and_earlier_times_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 8).await;
    cosign(&store, own_head(&store, 5), 100).await.unwrap();
    let refused = cosign(&store, own_head(&store, 4), 200).await.unwrap_err();
    assert!(matches!(refused, SignRefused::Behind { .. }), "{refused}");
    for size in [5, 6] {
        let refused = cosign(&store, own_head(&store, size), 99).await.unwrap_err();
        assert!(matches!(refused, SignRefused::ClockFellBack { .. }), "{refused}");
    }
    cosign(&store, own_head(&store, 6), 100).await.unwrap();
    close(store).await;
}

#[tokio::test]
async fn another_root_at_one_size_is_refused_and_kept_as_evidence() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 8).await;
    cosign(&store, own_head(&store, 5), 1).await.unwrap();
    let forged = Checkpoint { root: leaf_hash(b"forged"), ..own_head(&store, 5) };
    for _ in 0..2 {
        let refused = cosign(&store, forged.clone(), 2).await.unwrap_err();
        assert!(matches!(refused, SignRefused::Fork { .. }), "{refused}");
    }
    let evidence = store.sign_once.evidence().await.unwrap();
    assert_eq!(evidence.len(), 1, "one fork is kept once");
    assert_eq!(evidence[0].own_root, forged.root);
    assert!(!evidence[0].is_final);
    // A head that is not our own is not signed at a larger size either.
    let forged = Checkpoint { root: leaf_hash(b"forged"), ..own_head(&store, 7) };
    let refused = cosign(&store, forged, 2).await.unwrap_err();
    assert!(matches!(refused, SignRefused::NotOwnTree { .. }), "{refused}");
    cosign(&store, own_head(&store, 7), 2).await.unwrap();
    close(store).await;
}

#[tokio::test]
async fn a_tree_that_contradicts_a_signed_head_ends_signing_for_good() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = with_leaves(ours.path(), 5).await;
    cosign(&store, own_head(&store, 5), 1).await.unwrap();
    close(store).await;
    // The same coordinator with another past: Raft's files of one life, the sign-once of another.
    let mut store = fresh(theirs.path());
    let mut other = history(8);
    other[3] = entry(3, support::pause(99));
    apply(&mut store.state_machine, other.clone()).await.unwrap();
    close(store).await;
    let name = StoreFile::SignOnce.file_name();
    std::fs::copy(ours.path().join(name), theirs.path().join(name)).unwrap();
    for _ in 0..2 {
        let mut store = reopen(theirs.path());
        apply(&mut store.state_machine, other.clone()).await.unwrap();
        for size in [6, 8] {
            let refused = cosign(&store, own_head(&store, size), 50).await.unwrap_err();
            assert!(matches!(refused, SignRefused::Diverged { .. }), "{refused}");
        }
        // Never again means refusals of decisions too.
        let refused =
            store.sign_once.refuse(refusal(7, Cause::Vetoed), time(60)).await.unwrap_err();
        assert!(matches!(refused, SignRefused::Diverged { .. }), "{refused}");
        let evidence = store.sign_once.evidence().await.unwrap();
        assert_eq!(evidence.len(), 1);
        assert!(evidence[0].is_final);
        assert!(store.fault.get().is_none(), "the replica goes on; only its key is silent");
        close(store).await;
    }
}

#[tokio::test]
async fn a_record_ahead_of_the_replayed_tree_waits_and_is_no_divergence() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 8).await;
    cosign(&store, own_head(&store, 8), 1).await.unwrap();
    let mut store = restart(store, directory.path(), 3).await;
    let refused = cosign(&store, own_head(&store, 3), 2).await.unwrap_err();
    assert!(matches!(refused, SignRefused::Behind { .. }), "{refused}");
    apply(&mut store.state_machine, history(9).split_off(3)).await.unwrap();
    cosign(&store, own_head(&store, 9), 2).await.unwrap();
    assert!(store.sign_once.evidence().await.unwrap().is_empty());
    close(store).await;
}

#[tokio::test]
async fn a_refused_decision_is_cosigned_only_where_it_is_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 8).await;
    cosign(&store, own_head(&store, 4), 1).await.unwrap();
    let first = store.sign_once.refuse(refusal(5, Cause::Vetoed), time(1)).await.unwrap();
    let line = Cosignature::from_line(&first.lines[0]).unwrap();
    assert_eq!(line.time, time(1));

    // Below the decision: fine. With it alone: never, also after a restart.
    cosign(&store, own_head(&store, 5), 2).await.unwrap();
    let store = restart(store, directory.path(), 8).await;
    for size in [6, 8] {
        let refused = cosign(&store, own_head(&store, size), 3).await.unwrap_err();
        assert!(matches!(refused, SignRefused::RefusedDecision { leaf: l } if l == leaf(5)));
    }
    // The refusal signed first stands, whatever cause is given later.
    let again = store.sign_once.refuse(refusal(5, Cause::Clock), time(9)).await.unwrap();
    assert_eq!(again, first);

    let resolved = BTreeSet::from([leaf(5)]);
    let request = HeadRequest { checkpoint: own_head(&store, 7), time: time(4), resolved };
    store.sign_once.cosign(request, store.leaves.view().unwrap()).await.unwrap();
    let refusals = store.sign_once.refusals().await.unwrap();
    assert_eq!(refusals[0].settled, Some(TreeSize::new(7).unwrap()));
    // Later heads contain the resolution too; nobody has to say so again.
    cosign(&store, own_head(&store, 8), 5).await.unwrap();
    close(store).await;
}

#[tokio::test]
async fn a_cosigned_decision_is_not_refused_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 8).await;
    cosign(&store, own_head(&store, 6), 1).await.unwrap();
    let store = restart(store, directory.path(), 8).await;
    let refused = store.sign_once.refuse(refusal(5, Cause::Vetoed), time(2)).await.unwrap_err();
    assert!(matches!(refused, SignRefused::AlreadyCosigned { .. }), "{refused}");
    store.sign_once.refuse(refusal(6, Cause::Vetoed), time(2)).await.unwrap();
    close(store).await;
}

#[tokio::test]
async fn another_origin_is_not_signed() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_leaves(directory.path(), 2).await;
    let mut head = own_head(&store, 2);
    head.origin.salt[0] ^= 1;
    let refused = cosign(&store, head, 1).await.unwrap_err();
    assert!(matches!(refused, SignRefused::ForeignOrigin), "{refused}");
    close(store).await;
}

#[tokio::test]
async fn a_snapshot_never_touches_what_was_signed() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = with_leaves(directory.path(), 6).await;
    cosign(&store, own_head(&store, 6), 1).await.unwrap();
    let before = store.sign_once.head().await.unwrap();
    let mut builder = store.state_machine.try_create_snapshot_builder(true).await.unwrap();
    let snapshot = builder.build_snapshot().await.unwrap();
    store.state_machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(store.sign_once.head().await.unwrap(), before);
    close(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_signature_survives_power_loss_and_no_second_root_follows() {
    let (mut released_total, mut crashes) = (0, 0);
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let image = CrashDisk::default();
        let disk = Disk::Simulated(Arc::new(image.clone()));
        Store::create(&disk, &origin(), support::NODE, &support::key(7)).unwrap();
        let mut released: Option<(u64, Hash, Cosignature)> = None;
        for round in 0..3_u64 {
            let mut store = Store::open(&disk, options()).unwrap();
            apply(&mut store.state_machine, history(12)).await.unwrap();
            let head = store.sign_once.head().await.unwrap();
            if let Some((size, root, signature)) = &released {
                let head = head.expect("a released signature was forgotten");
                assert!(head.size.get() >= *size, "seed {seed}");
                if head.size.get() == *size {
                    assert_eq!((&head.root, head.cosignature.time >= signature.time), (root, true));
                }
            }
            image.fail_after(chance.below(60));
            for step in 0..4 {
                let size = round * 4 + step + 1;
                let Ok(view) = store.leaves.view() else { break };
                let size = TreeSize::new(size).unwrap();
                let Ok(root) = root_at(&view, size) else { break };
                let checkpoint = Checkpoint { origin: origin(), size, root };
                match cosign(&store, checkpoint, round * 4 + step).await {
                    Ok(signature) => {
                        released = Some((size.get(), root, signature));
                        released_total += 1;
                    }
                    Err(SignRefused::Behind { .. }) => {}
                    Err(refused) => {
                        assert!(matches!(refused, SignRefused::Fault(_)), "seed {seed}: {refused}");
                        crashes += 1;
                        break;
                    }
                }
            }
            image.crash(&mut chance, 50);
            close(store).await;
        }
    }
    assert!(released_total > 100 && crashes > 30, "{released_total} released, {crashes} crashes");
}
