//! Snapshots: built, found again after a restart, streamed to another coordinator, refused when
//! they lie.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use openraft::StorageHelper;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use quorate_attest::merkle::{Head, prove_inclusion, root_at, verify_inclusion};
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_store::{
    Entry, Fault, LogId, SnapshotChunk, SnapshotData, SnapshotRefused, Store, TypeConfig,
};
use support::{apply, close, fresh, history, reopen, state_hash};

async fn append(store: &mut Store, entries: Vec<Entry>) {
    let (tx, rx) = TypeConfig::oneshot();
    store.log.append(entries, IOFlushed::signal(tx)).await.unwrap();
    rx.await.unwrap().unwrap();
}

/// A store whose machine has applied `leaves` entries, one leaf each.
async fn applied(directory: &std::path::Path, leaves: u64) -> Store {
    let mut store = fresh(directory);
    append(&mut store, history(leaves)).await;
    apply(&mut store.state_machine, history(leaves)).await.unwrap();
    store
}

async fn build(store: &mut Store) -> SnapshotData {
    let mut builder = store.state_machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap().snapshot
}

/// Streams `snapshot` into `store` and returns what was sent.
async fn transfer(
    snapshot: SnapshotData,
    store: &Store,
) -> Result<(SnapshotData, Vec<SnapshotChunk>), SnapshotRefused> {
    let mut incoming = store.snapshots.begin(snapshot.header().clone()).await?;
    let mut outgoing = snapshot.outgoing(incoming.have());
    let mut sent = Vec::new();
    while let Some(chunk) = outgoing.next_chunk().unwrap() {
        sent.push(chunk.clone());
        incoming.accept(chunk).await?;
    }
    Ok((incoming.finish()?, sent))
}

fn leaves_in(chunks: &[SnapshotChunk]) -> u64 {
    let count = |chunk: &SnapshotChunk| match chunk {
        SnapshotChunk::State(_) => 0,
        SnapshotChunk::Leaves { leaves, .. } => leaves.len() as u64,
    };
    chunks.iter().map(count).sum()
}

#[tokio::test]
async fn leaves_are_readable_and_provable_once_they_are_announced() {
    let directory = tempfile::tempdir().unwrap();
    let store = applied(directory.path(), 9).await;
    assert_eq!(store.leaves.size().get(), 9);
    let view = store.leaves.view().unwrap();
    let machine = store.machine.read(|m| m.state().ledger().unwrap().history().head());
    let head = view.head().unwrap();
    assert_eq!(head, machine.await.unwrap());
    for index in 0..9 {
        let leaf = view.get(index).unwrap().unwrap();
        let index = LeafIndex::new(index).unwrap();
        let proof = prove_inclusion(&view, index, head.size).unwrap();
        verify_inclusion(index, &leaf, &proof, &head).unwrap();
    }
    assert_eq!(view.get(9).unwrap(), None);
    let five = TreeSize::new(5).unwrap();
    let older = Head { size: five, root: root_at(&view, five).unwrap() };
    assert_ne!(older.root, head.root);
    close(store).await;
}

#[tokio::test]
async fn after_a_restart_snapshot_and_log_give_the_same_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = applied(directory.path(), 12).await;
    let snapshot = build(&mut store).await;
    assert_eq!(snapshot.header().leaves, 12);
    drop(snapshot);
    store.log.purge(LogId::new_term_index(1, 7)).await.unwrap();
    let more = vec![support::entry(12, support::pause(12)), support::entry(13, support::pause(13))];
    append(&mut store, more.clone()).await;
    apply(&mut store.state_machine, more).await.unwrap();
    store.log.save_committed(Some(LogId::new_term_index(1, 13))).await.unwrap();
    // Rides on the next group: one more append makes it durable.
    append(&mut store, vec![support::entry(14, support::pause(14))]).await;
    let before = state_hash(&store).await;
    close(store).await;

    let mut store = reopen(directory.path());
    assert!(!store.is_pristine);
    assert_eq!(store.leaves.size().get(), 0, "nothing is shown before it was applied again");
    let mut helper = StorageHelper::new(&mut store.log, &mut store.state_machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    assert_eq!(state_hash(&store).await, before);
    assert_eq!(store.leaves.size().get(), 14);
    close(store).await;
}

#[tokio::test]
async fn a_receiver_gets_only_the_leaves_it_misses() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = applied(ours.path(), 40).await;
    let mut receiver = applied(theirs.path(), 15).await;
    let (received, sent) = transfer(build(&mut sender).await, &receiver).await.unwrap();
    assert_eq!(leaves_in(&sent), 25);
    assert_eq!(receiver.leaves.size().get(), 15, "nothing is visible before it is installed");

    let meta = received.header().meta.clone();
    receiver.state_machine.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(state_hash(&receiver).await, state_hash(&sender).await);
    let (view, other) = (receiver.leaves.view().unwrap(), sender.leaves.view().unwrap());
    assert_eq!(view.head().unwrap(), other.head().unwrap());
    for index in 0..40 {
        assert_eq!(view.get(index).unwrap(), other.get(index).unwrap());
    }
    // The receiver can pass it on, and finds it again.
    let stored = receiver.state_machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(stored.meta, meta);
    close(receiver).await;
    let mut receiver = reopen(theirs.path());
    let mut helper = StorageHelper::new(&mut receiver.log, &mut receiver.state_machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    assert_eq!(state_hash(&receiver).await, state_hash(&sender).await);
    close(receiver).await;
    close(sender).await;
}

#[tokio::test]
async fn chunks_stay_small_however_long_the_log_is() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = applied(ours.path(), 2_000).await;
    let receiver = fresh(theirs.path());
    let (_, sent) = transfer(build(&mut sender).await, &receiver).await.unwrap();
    assert!(sent.len() > 2, "{} chunks", sent.len());
    for chunk in &sent {
        let bytes = quorate_store::codec::encode(chunk);
        assert!(bytes.len() <= (1 << 20) + 64 * 1024, "{}", bytes.len());
        let back: SnapshotChunk = quorate_store::codec::decode(&bytes).unwrap();
        assert_eq!(&back, chunk);
    }
    close(receiver).await;
    close(sender).await;
}

#[tokio::test]
async fn a_lying_snapshot_is_refused_before_anything_is_visible() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = applied(ours.path(), 10).await;
    let mut receiver = applied(theirs.path(), 4).await;
    let before = state_hash(&receiver).await;
    let header = build(&mut sender).await.header().clone();
    let mut outgoing = build(&mut sender).await.outgoing(4);
    let mut chunks = Vec::new();
    while let Some(chunk) = outgoing.next_chunk().unwrap() {
        chunks.push(chunk);
    }
    let attempt = async |header: quorate_store::SnapshotHeader, chunks: Vec<SnapshotChunk>| {
        let mut incoming = receiver.snapshots.begin(header).await?;
        for chunk in chunks {
            incoming.accept(chunk).await?;
        }
        incoming.finish().map(drop)
    };

    let mut bad = chunks.clone();
    for chunk in &mut bad {
        if let SnapshotChunk::Leaves { leaves, .. } = chunk {
            leaves[2][5] ^= 1;
        }
    }
    let refused = attempt(header.clone(), bad).await.unwrap_err();
    assert!(matches!(refused, SnapshotRefused::RootDiffers { size: 10, .. }), "{refused}");

    let mut bad = chunks.clone();
    if let SnapshotChunk::State(state) = &mut bad[0] {
        state[9] ^= 1;
    }
    let refused = attempt(header.clone(), bad).await.unwrap_err();
    assert!(matches!(refused, SnapshotRefused::StateDiffers), "{refused}");

    let mut bad = header.clone();
    bad.leaves = 9;
    let refused = attempt(bad, chunks.clone()).await.unwrap_err();
    assert!(matches!(refused, SnapshotRefused::TooLong), "{refused}");

    let refused = attempt(header.clone(), chunks[..1].to_vec()).await.unwrap_err();
    assert!(matches!(refused, SnapshotRefused::TooShort { leaves: 4, .. }), "{refused}");

    let mut bad = chunks.clone();
    if let Some(SnapshotChunk::Leaves { first, .. }) = bad.last_mut() {
        *first += 1;
    }
    let refused = attempt(header.clone(), bad).await.unwrap_err();
    let is_order = matches!(refused, SnapshotRefused::OutOfOrder { expected: 4, found: 5 });
    assert!(is_order, "{refused}");

    let held = receiver.snapshots.begin(header.clone()).await.unwrap();
    let refused = attempt(header.clone(), chunks.clone()).await.unwrap_err();
    assert!(matches!(refused, SnapshotRefused::Busy), "{refused}");
    drop(held);

    assert_eq!(state_hash(&receiver).await, before);
    assert!(receiver.fault.get().is_none(), "a lying sender is not a fault of this disk");
    attempt(header, chunks).await.unwrap();
    // And the log of leaves goes on where it was.
    apply(&mut receiver.state_machine, vec![support::entry(4, support::pause(4))]).await.unwrap();
    assert_eq!(receiver.leaves.size().get(), 5);
    close(receiver).await;
    close(sender).await;
}

#[tokio::test]
async fn a_build_that_was_overtaken_does_not_put_the_older_snapshot_back() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = applied(ours.path(), 20).await;
    let mut receiver = applied(theirs.path(), 5).await;
    let mut slow = receiver.state_machine.try_create_snapshot_builder(true).await.unwrap();
    let (received, _) = transfer(build(&mut sender).await, &receiver).await.unwrap();
    let meta = received.header().meta.clone();
    receiver.state_machine.install_snapshot(&meta, received).await.unwrap();
    slow.build_snapshot().await.unwrap();
    let stored = receiver.state_machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(stored.meta.last_log_id, Some(LogId::new_term_index(1, 19)));
    close(receiver).await;
    close(sender).await;
}

#[tokio::test]
async fn another_past_is_a_fault_not_a_second_history() {
    let directory = tempfile::tempdir().unwrap();
    let store = applied(directory.path(), 3).await;
    close(store).await;
    let mut store = reopen(directory.path());
    let mut watch = store.fault.watch();
    let mut other = history(3);
    other[2] = support::entry(2, support::pause(99));
    apply(&mut store.state_machine, other).await.unwrap_err();
    assert!(matches!(*watch.wait().await, Fault::LeafChanged { index: 2 }));
    assert!(store.machine.read(|_| ()).await.is_err(), "reads stop too");
    close(store).await;
}
