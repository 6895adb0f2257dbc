//! openraft's own storage suite: the contract of the traits, on a real disk with real fsyncs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use quorate_store::{LogStore, StateMachine, StoreGuard, TypeConfig};
use tempfile::TempDir;

struct Builder;

/// Kept until a test is over: the directory, and the writers.
struct Held {
    _directory: TempDir,
    _guard: StoreGuard,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Held> for Builder {
    async fn build(&self) -> Result<(Held, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let store = support::fresh(directory.path());
        let held = Held { _directory: directory, _guard: store.guard };
        Ok((held, store.log, store.state_machine))
    }
}

#[test]
fn openraft_finds_its_contract_kept() {
    TypeConfig::run(async { Suite::test_all(Builder).await }).unwrap();
}
