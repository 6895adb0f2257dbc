//! A store driven without Raft is found by Raft as if it had been driven with it.
#![cfg(feature = "solo")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use openraft::StorageHelper;
use quorate_store::solo::Solo;
use quorate_store::{PeerNode, Proposed, Reply, Store, Vote};
use support::{NODE, close, fresh, reopen, state_hash};

fn roster() -> BTreeMap<u64, PeerNode> {
    (1..=3).map(|id| (id, PeerNode { name: format!("t/coordinator/{id}") })).collect()
}

/// The founding and `leaves - 1` pauses.
fn commands(leaves: std::ops::Range<u64>) -> Vec<Proposed> {
    let command = |at| if at == 0 { support::found() } else { support::pause(at) };
    leaves.map(|at| Proposed::new(command(at)).unwrap()).collect()
}

#[tokio::test]
async fn what_it_leaves_behind_recovers_like_any_other_past() {
    let directory = tempfile::tempdir().unwrap();
    let Store { log, state_machine, machine, leaves, guard, .. } = fresh(directory.path());
    let mut solo = Solo::begin(log, state_machine, roster()).await.unwrap();
    for batch in [0..5, 5..30] {
        let replies = solo.commit(commands(batch.clone())).await.unwrap();
        assert_eq!(replies.len() as u64, batch.end - batch.start);
        for reply in replies {
            let Reply::Answer(answer) = reply else { panic!("{reply:?}") };
            assert!(answer.outcome.is_ok(), "{answer:?}");
        }
    }
    let header = solo.snapshot(10).await.unwrap();
    assert_eq!((header.leaves, header.meta.last_log_id.unwrap().index), (30, 31));
    solo.commit(commands(30..40)).await.unwrap();
    assert_eq!((solo.last_index(), leaves.size().get()), (41, 40));
    let before = machine.read(|machine| machine.state_hash()).await.unwrap();
    drop(solo);
    guard.close().await;

    let mut store = reopen(directory.path());
    assert!(!store.is_pristine);
    assert_eq!(store.log_size.entries(), 20, "entries 22 to 41 are left");
    let mut helper = StorageHelper::new(&mut store.log, &mut store.state_machine).with_id(1);
    let state = helper.get_initial_state().await.unwrap();
    assert_eq!(*state.vote_ref(), Vote::new_committed(1, 1));
    assert_eq!(state.membership_state.effective().voter_ids().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(state_hash(&store).await, before);
    assert_eq!(store.leaves.size().get(), 40);
    close(store).await;

    let Store { log, state_machine, leaves, guard, .. } = reopen(directory.path());
    let mut solo = Solo::resume(log, state_machine, NODE).await.unwrap();
    solo.commit(commands(40..41)).await.unwrap();
    assert_eq!((solo.last_index(), leaves.size().get()), (42, 41));
    drop(solo);
    guard.close().await;
}

#[tokio::test]
async fn it_takes_no_store_that_has_a_past() {
    let directory = tempfile::tempdir().unwrap();
    let Store { log, state_machine, guard, .. } = fresh(directory.path());
    drop(Solo::begin(log, state_machine, roster()).await.unwrap());
    guard.close().await;
    let Store { log, state_machine, guard, .. } = reopen(directory.path());
    assert!(Solo::begin(log, state_machine, roster()).await.is_err());
    guard.close().await;
}
