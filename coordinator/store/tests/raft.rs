//! The store under a real Raft of one voter: answers, restarts, shared fsyncs, snapshots.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use openraft::{Config, OptionalSend, Raft, SnapshotPolicy};
use quorate_core::Outcome;
use quorate_store::{
    Disk, OpenOptions, PeerNode, Proposed, Reply, Snapshot, SnapshotData, StateMachine, Store,
    StoreFile, TypeConfig, Vote,
};
use support::{options, pause};

/// A quorum of one has no peers.
#[derive(Clone)]
struct Alone;

fn nobody() -> RPCError<TypeConfig> {
    let reason = std::io::Error::other("there is no peer");
    RPCError::Unreachable(Unreachable::new(&reason))
}

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Alone;

    async fn new_client(&mut self, _: u64, _: &PeerNode) -> Alone {
        Alone
    }
}

impl NetStreamAppend<TypeConfig> for Alone {
    fn stream_append<'s, S>(
        &'s mut self,
        _: S,
        _: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>,
            RPCError<TypeConfig>,
        >,
    >
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>>
            + OptionalSend
            + Unpin
            + 'static,
    {
        Box::pin(async { Err(nobody()) })
    }
}

impl NetVote<TypeConfig> for Alone {
    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(nobody())
    }
}

impl NetSnapshot<TypeConfig> for Alone {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl std::future::Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let reason = std::io::Error::other("there is no peer");
        Err(StreamingError::Unreachable(Unreachable::new(&reason)))
    }
}

impl NetTransferLeader<TypeConfig> for Alone {
    async fn transfer_leader(
        &mut self,
        _: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<openraft::raft::TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(nobody())
    }
}

impl NetBackoff<TypeConfig> for Alone {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

struct Running {
    raft: Raft<TypeConfig, StateMachine>,
    store: Rest,
}

/// What stays when log and state machine went to Raft.
struct Rest {
    machine: quorate_store::MachineHandle,
    leaves: quorate_store::Leaves,
    guard: quorate_store::StoreGuard,
}

async fn start(directory: &Path, options: OpenOptions, snapshot_entries: u64) -> Running {
    let disk = Disk::from(directory);
    let is_new = !directory.join(StoreFile::Raft.file_name()).exists();
    if is_new {
        Store::create(&disk, &support::origin(), support::NODE, &support::key(7)).unwrap();
    }
    let store = Store::open(&disk, options).unwrap();
    assert_eq!(store.is_pristine, is_new);
    let config = Config {
        heartbeat_interval: 50,
        election_timeout_min: 100,
        election_timeout_max: 200,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        max_in_snapshot_log_to_keep: 10,
        ..Config::default()
    };
    let config = Arc::new(config.validate().unwrap());
    let raft =
        Raft::new(support::NODE, config, Alone, store.log, store.state_machine).await.unwrap();
    if is_new {
        let node = PeerNode { name: "quorate.example/testnet/coordinator/1".to_owned() };
        raft.initialize(BTreeMap::from([(support::NODE, node)])).await.unwrap();
    }
    raft.wait(Some(Duration::from_secs(10)))
        .metrics(|metrics| metrics.current_leader == Some(support::NODE), "leads")
        .await
        .unwrap();
    let rest = Rest { machine: store.machine, leaves: store.leaves, guard: store.guard };
    Running { raft, store: rest }
}

async fn stop(running: Running) {
    running.raft.shutdown().await.unwrap();
    drop(running.raft);
    running.store.guard.close().await;
}

async fn write(raft: &Raft<TypeConfig, StateMachine>, command: quorate_core::Command) -> u64 {
    let reply = raft.client_write(Proposed::new(command).unwrap()).await.unwrap().data;
    let Reply::Answer(answer) = reply else { panic!("{reply:?}") };
    assert!(
        matches!(answer.outcome, Ok(Outcome::Chartered { .. } | Outcome::Recorded { .. })),
        "{:?}",
        answer.outcome
    );
    answer.first_leaf().unwrap().get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_leaves_that_can_be_read_and_all_of_them_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path(), options(), 1_000_000).await;
    assert_eq!(write(&running.raft, support::found()).await, 0);
    for number in 1..50 {
        let index = write(&running.raft, pause(number)).await;
        assert_eq!(index, number);
        assert!(running.store.leaves.get(index).unwrap().is_some(), "readable once answered");
    }
    let head = running.store.leaves.view().unwrap().head().unwrap();
    let hash = running.store.machine.read(|machine| machine.ledger_hash()).await.unwrap();
    stop(running).await;

    let running = start(directory.path(), options(), 1_000_000).await;
    running.raft.wait_for_recovery(Some(Duration::from_secs(10))).await.unwrap();
    assert_eq!(running.store.leaves.view().unwrap().head().unwrap(), head);
    let again = running.store.machine.read(|machine| machine.ledger_hash()).await.unwrap();
    assert_eq!(again, hash);
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_bounded_by_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path(), options(), 40).await;
    write(&running.raft, support::found()).await;
    for number in 1..200 {
        write(&running.raft, pause(number)).await;
    }
    let metrics = running
        .raft
        .wait(Some(Duration::from_secs(10)))
        .metrics(|metrics| metrics.purged.is_some_and(|id| id.index > 100), "purged")
        .await
        .unwrap();
    assert!(metrics.snapshot.is_some_and(|id| id.index > 100));
    let hash = running.store.machine.read(|machine| machine.ledger_hash()).await.unwrap();
    stop(running).await;

    let running = start(directory.path(), options(), 40).await;
    running.raft.wait_for_recovery(Some(Duration::from_secs(10))).await.unwrap();
    let again = running.store.machine.read(|machine| machine.ledger_hash()).await.unwrap();
    assert_eq!(again, hash);
    assert_eq!(running.store.leaves.size().get(), 200);
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_proposals_share_an_fsync() {
    let directory = tempfile::tempdir().unwrap();
    let commits = Arc::new(AtomicU64::new(0));
    let held = Arc::new(AtomicBool::new(false));
    let (counter, gate) = (Arc::clone(&commits), Arc::clone(&held));
    let observer: quorate_store::CommitObserver = Arc::new(move |file, took| {
        if file == StoreFile::Raft {
            assert!(took > Duration::ZERO);
            counter.fetch_add(1, Ordering::Relaxed);
            while gate.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let options = OpenOptions { observer: Some(observer), ..options() };
    let running = start(directory.path(), options, 1_000_000).await;
    write(&running.raft, support::found()).await;
    let before = commits.load(Ordering::Relaxed);
    // The first write's fsync takes until all others wait behind it, however fast the disk is.
    held.store(true, Ordering::Relaxed);
    let writes = (1..=256).map(|number| {
        let raft = running.raft.clone();
        tokio::spawn(async move { write(&raft, pause(number)).await })
    });
    let writes: Vec<_> = writes.collect();
    let queued = running.raft.wait(Some(Duration::from_secs(30)));
    let queued = queued.metrics(|metrics| metrics.last_log_index >= Some(257), "all queued").await;
    held.store(false, Ordering::Relaxed);
    queued.unwrap();
    for written in join_all(writes).await {
        written.unwrap();
    }
    let fsyncs = commits.load(Ordering::Relaxed) - before;
    assert!(fsyncs < 128, "{fsyncs} fsyncs for 256 concurrent proposals");
    stop(running).await;
}
