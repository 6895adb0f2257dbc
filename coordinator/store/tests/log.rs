//! The log in memory: what replication reads, and what the next start finds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use quorate_store::codec::{self, APPEND_BYTES_BUDGET};
use quorate_store::{Entry, EntryPayload, LogId, Store, TypeConfig};
use support::{close, fresh, reopen};

fn blank(index: u64) -> Entry {
    Entry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank }
}

async fn append(store: &mut Store, entries: Vec<Entry>) {
    let (tx, rx) = TypeConfig::oneshot();
    store.log.append(entries, IOFlushed::signal(tx)).await.unwrap();
    rx.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_read_for_replication_stays_within_its_byte_budget() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = fresh(directory.path());
    // About 25 kB each: the founding charter.
    let entries: Vec<Entry> =
        (0..300).map(|index| support::entry(index, support::found())).collect();
    append(&mut store, entries.clone()).await;
    let mut reader = store.log.get_log_reader().await;
    let (mut next, mut reads) = (0, 0);
    while next < 300 {
        let read = reader.limited_get_log_entries(next, 300).await.unwrap();
        let bytes: usize = read.iter().map(|entry| codec::encode(entry).len()).sum();
        assert!(bytes <= APPEND_BYTES_BUDGET, "{bytes}");
        assert_eq!(read[0].log_id.index, next);
        next += read.len() as u64;
        reads += 1;
    }
    let total: usize = entries.iter().map(|entry| codec::encode(entry).len()).sum();
    assert!(reads >= total / APPEND_BYTES_BUDGET && reads <= 2 + total / (APPEND_BYTES_BUDGET / 2));
    // All at once is still possible where nothing is sent.
    assert_eq!(reader.try_get_log_entries(0..300).await.unwrap().len(), 300);
    // Never empty: replication would ask again for ever.
    reader.limited_get_log_entries(300, 310).await.unwrap_err();
    assert_eq!((store.log_size.bytes(), store.log_size.entries()), (total as u64, 300));
    store.log.purge(LogId::new_term_index(1, 299)).await.unwrap();
    assert_eq!((store.log_size.bytes(), store.log_size.entries()), (0, 0));
    drop(reader);
    close(store).await;
}

#[tokio::test]
async fn a_hole_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = fresh(directory.path());
    append(&mut store, vec![blank(0), blank(1)]).await;
    let (tx, _rx) = TypeConfig::oneshot();
    store.log.append([blank(3)], IOFlushed::signal(tx)).await.unwrap_err();
    close(store).await;
}

#[tokio::test]
async fn a_commit_beyond_the_local_log_is_cut_back_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = fresh(directory.path());
    append(&mut store, vec![blank(0), blank(1)]).await;
    store.log.save_committed(Some(LogId::new_term_index(1, 9))).await.unwrap();
    close(store).await;
    let mut store = reopen(directory.path());
    assert_eq!(store.log.read_committed().await.unwrap(), Some(LogId::new_term_index(1, 1)));
    close(store).await;
}

#[tokio::test]
async fn truncated_and_purged_entries_do_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = fresh(directory.path());
    append(&mut store, (0..10).map(blank).collect()).await;
    store.log.truncate_after(Some(LogId::new_term_index(1, 6))).await.unwrap();
    store.log.purge(LogId::new_term_index(1, 3)).await.unwrap();
    append(&mut store, vec![blank(7)]).await;
    close(store).await;
    let mut store = reopen(directory.path());
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(LogId::new_term_index(1, 3)));
    let mut reader = store.log.get_log_reader().await;
    let entries = reader.try_get_log_entries(..).await.unwrap();
    let indexes: Vec<u64> = entries.iter().map(|entry| entry.log_id.index).collect();
    assert_eq!(indexes, vec![4, 5, 6, 7]);
    drop(reader);
    close(store).await;
}
