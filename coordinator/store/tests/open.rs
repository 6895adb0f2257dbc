//! Created once, opened only by whom it belongs to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use quorate_store::{CreateError, Disk, OpenError, OpenOptions, Store, StoreFile};
use support::{NODE, close, fresh, key, options, origin, reopen, signer};

fn refusal(directory: &std::path::Path, options: OpenOptions) -> OpenError {
    match Store::open(&Disk::from(directory), options) {
        Ok(_) => panic!("the store was opened"),
        Err(refused) => refused,
    }
}

#[tokio::test]
async fn a_store_is_created_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = fresh(directory.path());
    assert!(store.is_pristine);
    close(store).await;
    let disk = Disk::from(directory.path());
    let refused = Store::create(&disk, &origin(), NODE, &key(7)).unwrap_err();
    assert!(matches!(refused, CreateError::AlreadyCreated { .. }), "{refused}");
    close(reopen(directory.path())).await;
}

#[tokio::test]
async fn run_never_creates_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let refused = refusal(directory.path(), options());
    assert!(matches!(refused, OpenError::NotCreated { file: StoreFile::Raft, .. }), "{refused}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    for file in StoreFile::ALL {
        let directory = tempfile::tempdir().unwrap();
        close(fresh(directory.path())).await;
        std::fs::remove_file(directory.path().join(file.file_name())).unwrap();
        let refused = refusal(directory.path(), options());
        assert!(matches!(refused, OpenError::NotCreated { file: f, .. } if f == file), "{refused}");
        assert!(!directory.path().join(file.file_name()).exists());
    }
}

#[tokio::test]
async fn files_of_another_log_coordinator_or_key_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    close(fresh(directory.path())).await;
    let mut foreign = origin();
    foreign.salt[15] ^= 1;
    let refused = refusal(directory.path(), OpenOptions { origin: foreign, ..options() });
    assert!(matches!(refused, OpenError::Foreign { what: "origin", .. }), "{refused}");
    let refused = refusal(directory.path(), OpenOptions { node_id: 2, ..options() });
    assert!(matches!(refused, OpenError::Foreign { what: "coordinator", .. }), "{refused}");
    let refused = refusal(directory.path(), OpenOptions { signer: signer(8), ..options() });
    assert!(matches!(refused, OpenError::Foreign { what: "key", .. }), "{refused}");
    close(reopen(directory.path())).await;
}

#[tokio::test]
async fn a_store_is_open_in_one_place_and_its_lock_is_released_by_closing() {
    let directory = tempfile::tempdir().unwrap();
    let store = fresh(directory.path());
    let refused = refusal(directory.path(), options());
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    // Handles that somebody still holds do not keep the files open.
    let (leaves, machine) = (store.leaves.clone(), store.machine.clone());
    close(store).await;
    let again = reopen(directory.path());
    assert!(leaves.view().is_err());
    assert!(machine.read(|_| ()).await.is_ok());
    close(again).await;
}

#[tokio::test]
async fn a_damaged_file_is_an_answer_not_a_panic() {
    for file in StoreFile::ALL {
        let directory = tempfile::tempdir().unwrap();
        close(fresh(directory.path())).await;
        std::fs::write(directory.path().join(file.file_name()), b"not a database").unwrap();
        let refused = refusal(directory.path(), options());
        assert!(matches!(refused, OpenError::File { file: f, .. } if f == file), "{refused}");
    }
}

#[tokio::test]
async fn the_quota_counts_the_files_and_says_when_it_is_exceeded() {
    let directory = tempfile::tempdir().unwrap();
    let store = fresh(directory.path());
    let usage = store.quota.measure().unwrap();
    let sizes = StoreFile::ALL.map(|file| directory.path().join(file.file_name()));
    let sum: u64 = sizes.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!(usage.used, sum);
    assert!(directory.path().join(quorate_store::quota::BALLAST_FILE).exists());
    close(store).await;

    let options = OpenOptions { quota_bytes: Some(sum / 2), ..options() };
    let mut store = Store::open(&Disk::from(directory.path()), options).unwrap();
    assert!(store.quota.measure().unwrap().is_exceeded());
    // Exceeded means that *new work* is refused above; the store itself goes on writing.
    support::apply(&mut store.state_machine, support::history(3)).await.unwrap();
    close(store).await;
}
