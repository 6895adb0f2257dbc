//! Power loss at any moment: what was acknowledged is there, and nothing is half applied.
//!
//! The log is compared with a model: after a crash its content must equal the state after some
//! prefix of the operations, and that prefix must contain every acknowledged one. This is stronger
//! than "acknowledged entries are there": it also catches votes reordered against entries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use openraft::StorageHelper;
use openraft::storage::{
    IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::type_config::TypeConfigExt;
use openraft::vote::{RaftLeaderId, RaftVote};
use quorate_store::{
    Disk, Entry, EntryPayload, Fault, LeaderId, LogId, LogStore, Membership, PeerNode, Store,
    TypeConfig, Vote,
};
use support::disk::{Chance, CrashDisk};

/// What the log holds, as the model and the recovered store are compared.
#[derive(Debug, Clone, PartialEq, Default)]
struct Model {
    entries: Vec<Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

fn entry(term: u64, index: u64, chance: &mut Chance) -> Entry {
    let log_id = LogId::new_term_index(term, index);
    if chance.percent(30) {
        return Entry { log_id, payload: EntryPayload::Blank };
    }
    let name = "n".repeat(usize::try_from(chance.below(250)).unwrap());
    let nodes = (1..=1 + chance.below(8)).map(|id| (id, PeerNode { name: name.clone() }));
    let nodes: std::collections::BTreeMap<u64, PeerNode> = nodes.collect();
    let voters = nodes.keys().copied().collect();
    let membership = Membership::new(vec![voters], nodes).unwrap();
    Entry { log_id, payload: EntryPayload::Membership(membership) }
}

async fn read(log: &mut LogStore) -> Model {
    let state = log.get_log_state().await.unwrap();
    let mut reader = log.get_log_reader().await;
    Model {
        entries: reader.try_get_log_entries(..).await.unwrap(),
        purged: state.last_purged_log_id,
        vote: reader.read_vote().await.unwrap(),
    }
}

struct Run {
    /// The state after each operation; the first is the empty log.
    prefixes: Vec<Model>,
    /// The number of operations known to be durable.
    acknowledged: usize,
}

/// Random operations until the disk fails. Appends are not awaited one by one, so groups form.
async fn operate(log: &mut LogStore, mut model: Model, chance: &mut Chance) -> Run {
    let mut run = Run { prefixes: vec![model.clone()], acknowledged: 0 };
    let mut waiting = Vec::new();
    let mut term = model.vote.as_ref().map_or(1, |vote| vote.leader_id().term);
    for _ in 0..60 {
        let next = model.entries.last().map(|last| last.log_id).or(model.purged);
        let next = next.map_or(0, |id| id.index + 1);
        match chance.below(10) {
            0..=5 => {
                let count = 1 + chance.below(4);
                let new: Vec<Entry> =
                    (next..next + count).map(|index| entry(term, index, chance)).collect();
                model.entries.extend(new.iter().cloned());
                let (tx, rx) = TypeConfig::oneshot();
                if log.append(new, IOFlushed::signal(tx)).await.is_err() {
                    break;
                }
                run.prefixes.push(model.clone());
                waiting.push((run.prefixes.len() - 1, rx));
            }
            6 => {
                term += 1;
                let vote = Vote::from_leader_id(LeaderId::new(term, 1), chance.percent(50));
                model.vote = Some(vote);
                run.prefixes.push(model.clone());
                if log.save_vote(&vote).await.is_err() {
                    break;
                }
                run.acknowledged = run.prefixes.len() - 1;
            }
            7 | 8 if !model.entries.is_empty() => {
                let keep = usize::try_from(chance.below(model.entries.len() as u64)).unwrap();
                model.entries.truncate(keep);
                let last = model.entries.last().map(|last| last.log_id).or(model.purged);
                if log.truncate_after(last).await.is_err() {
                    break;
                }
                run.prefixes.push(model.clone());
            }
            _ if !model.entries.is_empty() => {
                let upto = usize::try_from(chance.below(model.entries.len() as u64)).unwrap();
                model.purged = Some(model.entries[upto].log_id);
                model.entries.drain(..=upto);
                if log.purge(model.purged.unwrap()).await.is_err() {
                    break;
                }
                run.prefixes.push(model.clone());
            }
            _ => {}
        }
        if chance.percent(40) {
            tokio::task::yield_now().await;
        }
    }
    let mut failed = false;
    for (operation, flushed) in waiting {
        let answer = flushed.await.unwrap();
        assert!(!(failed && answer.is_ok()), "acknowledged after a failed write");
        failed |= answer.is_err();
        if answer.is_ok() {
            run.acknowledged = run.acknowledged.max(operation);
        }
    }
    run
}

fn assert_is_a_prefix(run: &Run, found: &Model, seed: u64) {
    let position = run.prefixes.iter().rposition(|prefix| prefix == found);
    assert!(
        position.is_some_and(|position| position >= run.acknowledged),
        "seed {seed}: {} operations were acknowledged, found {position:?} of {}",
        run.acknowledged,
        run.prefixes.len() - 1
    );
}

async fn crash_once(seed: u64, keep_percent: u64) -> (u64, u64) {
    let mut chance = Chance::new(seed);
    let image = CrashDisk::default();
    let disk = Disk::Simulated(Arc::new(image.clone()));
    Store::create(&disk, &support::origin(), support::NODE, &support::key(7)).unwrap();
    let mut model = Model::default();
    for _ in 0..3 {
        let mut store = Store::open(&disk, support::options()).unwrap();
        assert_eq!(read(&mut store.log).await, model, "seed {seed}: opening changed the log");
        image.fail_after(chance.below(400));
        let run = operate(&mut store.log, model.clone(), &mut chance).await;
        image.crash(&mut chance, keep_percent);
        drop(store.log);
        drop(store.state_machine);
        store.guard.close().await;
        if chance.percent(30) {
            // Power fails again while the files are being repaired.
            image.fail_after(chance.below(40));
            if let Ok(store) = Store::open(&disk, support::options()) {
                drop((store.log, store.state_machine));
                store.guard.close().await;
            }
            image.crash(&mut chance, keep_percent);
        }
        let mut store = Store::open(&disk, support::options()).unwrap();
        model = read(&mut store.log).await;
        assert_is_a_prefix(&run, &model, seed);
        drop(store.log);
        drop(store.state_machine);
        store.guard.close().await;
    }
    image.counts()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_power_loss_at_any_moment() {
    let (mut syncs, mut torn) = (0, 0);
    for seed in 0..120 {
        let counts = crash_once(seed, [10, 50, 90][usize::try_from(seed % 3).unwrap()]).await;
        syncs += counts.0;
        torn += counts.1;
    }
    assert!(syncs > 1_000 && torn > 200, "the crashes hurt nothing: {syncs} {torn}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_after_a_failed_fsync() {
    let image = CrashDisk::default();
    let disk = Disk::Simulated(Arc::new(image.clone()));
    Store::create(&disk, &support::origin(), support::NODE, &support::key(7)).unwrap();
    let mut store = Store::open(&disk, support::options()).unwrap();
    let mut watch = store.fault.watch();
    let blank =
        |index| Entry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank };

    let (tx, rx) = TypeConfig::oneshot();
    store.log.append([blank(0)], IOFlushed::signal(tx)).await.unwrap();
    rx.await.unwrap().unwrap();

    image.fail_syncs();
    let (tx, rx) = TypeConfig::oneshot();
    store.log.append([blank(1)], IOFlushed::signal(tx)).await.unwrap();
    assert!(rx.await.unwrap().is_err());
    let fault = watch.wait().await;
    assert!(matches!(*fault, Fault::Disk { .. }), "{fault}");

    // The disk is well again; the replica is not, and stays so until it is opened anew.
    image.crash(&mut Chance::new(1), 100);
    let (tx, rx) = TypeConfig::oneshot();
    assert!(store.log.append([blank(2)], IOFlushed::signal(tx)).await.is_err());
    assert!(rx.await.is_err(), "the callback of a refused append was told something");
    let vote = Vote::from_leader_id(LeaderId::new(9, 1), false);
    assert!(store.log.save_vote(&vote).await.is_err());
    assert!(store.log.purge(LogId::new_term_index(1, 0)).await.is_err());
    assert!(store.sign_once.head().await.is_err(), "the other files stop too");
    drop(store.log);
    drop(store.state_machine);
    store.guard.close().await;

    let mut store = Store::open(&disk, support::options()).unwrap();
    let found = read(&mut store.log).await;
    assert_eq!(found.vote, None);
    assert!(found.entries.first().is_some_and(|first| first.log_id.index == 0));
    assert!(!store.is_pristine);
}

/// What every coordinator has after the whole history: size, root and state.
async fn expected(leaves: u64) -> (u64, quorate_attest::id::Digest) {
    let mut store = support::fresh(Disk::Simulated(Arc::new(CrashDisk::default())));
    support::apply(&mut store.state_machine, support::history(leaves)).await.unwrap();
    let hash = support::state_hash(&store).await;
    let size = store.leaves.size().get();
    support::close(store).await;
    (size, hash)
}

/// Opens, lets openraft recover, applies what the log still holds, and compares.
async fn assert_recovers(disk: &Disk, leaves: u64, seed: u64) -> bool {
    let mut store = Store::open(disk, support::options()).unwrap();
    let mut helper = StorageHelper::new(&mut store.log, &mut store.state_machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    let (applied, _) = store.state_machine.applied_state().await.unwrap();
    let from_snapshot = applied.is_some();
    let next = applied.map_or(0, |id| id.index + 1);
    let mut reader = store.log.get_log_reader().await;
    let rest = reader.try_get_log_entries(next..leaves).await.unwrap();
    drop(reader);
    support::apply(&mut store.state_machine, rest).await.unwrap();
    let found = (store.leaves.size().get(), support::state_hash(&store).await);
    assert_eq!(found, expected(leaves).await, "seed {seed}");
    let machine = store.machine.read(|m| m.state().ledger().unwrap().history().head());
    assert_eq!(store.leaves.view().unwrap().head().unwrap(), machine.await.unwrap());
    support::close(store).await;
    from_snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_snapshot_is_built_or_the_log_purged_loses_nothing() {
    const LEAVES: u64 = 25;
    let (mut with, mut without) = (0, 0);
    for seed in 0..45 {
        let mut chance = Chance::new(seed);
        let image = CrashDisk::default();
        let disk = Disk::Simulated(Arc::new(image.clone()));
        let mut store = support::fresh(disk.clone());
        let (tx, rx) = TypeConfig::oneshot();
        store.log.append(support::history(LEAVES), IOFlushed::signal(tx)).await.unwrap();
        rx.await.unwrap().unwrap();
        support::apply(&mut store.state_machine, support::history(LEAVES)).await.unwrap();
        image.fail_after(chance.below(80));
        let mut builder = store.state_machine.try_create_snapshot_builder(true).await.unwrap();
        if builder.build_snapshot().await.is_ok() {
            // Purged only once the snapshot was reported, as openraft does.
            let purged = LogId::new_term_index(1, 20);
            let vote = Vote::from_leader_id(LeaderId::new(1, 1), true);
            if store.log.purge(purged).await.is_ok() && store.log.save_vote(&vote).await.is_ok() {
                with += 1;
            }
        }
        image.crash(&mut chance, [10, 50, 90][usize::try_from(seed % 3).unwrap()]);
        drop(builder);
        support::close(store).await;
        if !assert_recovers(&disk, LEAVES, seed).await {
            without += 1;
        }
    }
    assert!(with > 5 && without > 5, "{with} whole builds, {without} without a snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_snapshot_is_received_leaves_the_old_state_or_the_new_one() {
    const LEAVES: u64 = 25;
    let mut sender = support::fresh(Disk::Simulated(Arc::new(CrashDisk::default())));
    support::apply(&mut sender.state_machine, support::history(LEAVES)).await.unwrap();
    let (mut old, mut new) = (0, 0);
    for seed in 0..45 {
        let mut chance = Chance::new(seed);
        let image = CrashDisk::default();
        let disk = Disk::Simulated(Arc::new(image.clone()));
        let mut store = support::fresh(disk.clone());
        support::apply(&mut store.state_machine, support::history(4)).await.unwrap();
        let mut builder = sender.state_machine.try_create_snapshot_builder(true).await.unwrap();
        let snapshot = builder.build_snapshot().await.unwrap();
        image.fail_after(chance.below(100));
        let installed = receive(&mut store, snapshot).await.is_some();
        image.crash(&mut chance, 50);
        support::close(store).await;

        let mut store = Store::open(&disk, support::options()).unwrap();
        let mut helper = StorageHelper::new(&mut store.log, &mut store.state_machine).with_id(1);
        helper.get_initial_state().await.unwrap();
        let size = store.leaves.size().get();
        assert!(size == LEAVES || (size == 0 && !installed), "seed {seed}: {size} leaves");
        if size == LEAVES {
            assert_eq!(support::state_hash(&store).await, support::state_hash(&sender).await);
            new += 1;
        } else {
            // Whatever was left behind does not stand in the way of the same leaves.
            support::apply(&mut store.state_machine, support::history(LEAVES)).await.unwrap();
            old += 1;
        }
        let heads = (store.leaves.view().unwrap().head(), sender.leaves.view().unwrap().head());
        assert_eq!(heads.0.unwrap(), heads.1.unwrap());
        support::close(store).await;
    }
    support::close(sender).await;
    assert!(old > 5 && new > 5, "{old} with the old state, {new} with the new one");
}

/// Receives and installs a snapshot; `None` if the disk failed meanwhile.
async fn receive(store: &mut Store, snapshot: quorate_store::Snapshot) -> Option<()> {
    let mut incoming = store.snapshots.begin(snapshot.snapshot.header().clone()).await.ok()?;
    let mut outgoing = snapshot.snapshot.outgoing(incoming.have());
    while let Some(chunk) = outgoing.next_chunk().unwrap() {
        incoming.accept(chunk).await.ok()?;
    }
    let received = incoming.finish().ok()?;
    store.state_machine.install_snapshot(&snapshot.meta, received).await.ok()
}
