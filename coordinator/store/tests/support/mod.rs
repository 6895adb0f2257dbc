//! What the storage tests share: identities, stores, and commands that make leaves.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod disk;

use std::path::Path;

use futures::stream;
use openraft::storage::RaftStateMachine;
use quorate_attest::charter::Charter;
use quorate_attest::id::{Digest, KeyName, Nonce, Origin};
use quorate_attest::key::{CosignSigner, NoteSigner, SecretKey, VerifierKey};
use quorate_attest::log_time::LogTime;
use quorate_attest::operator_statement::{Automation, Pause, Scope};
use quorate_attest::signed::Signed;
use quorate_core::{Body, Command};
use quorate_store::{
    Disk, Entry, EntryPayload, LogId, OpenOptions, Proposed, StateMachine, Store, WriterMode,
};

/// The coordinator under test.
pub(crate) const NODE: u64 = 1;

const CHARTER: &[u8] =
    include_bytes!("../../../../proto/attest/tests/vectors/examples/charter.leaf");

/// The charter every history here begins with.
pub(crate) fn charter() -> Signed<Charter> {
    Signed::parse(CHARTER).unwrap()
}

/// The origin of every store here.
pub(crate) fn origin() -> Origin {
    charter().statement.origin
}

/// A signer from a fixed seed.
pub(crate) fn signer(seed: u8) -> CosignSigner {
    let name: KeyName = "quorate.example/testnet/coordinator/1".parse().unwrap();
    CosignSigner::new(name, SecretKey::from_seed([seed; 32].into()))
}

/// Its public half.
pub(crate) fn key(seed: u8) -> VerifierKey {
    signer(seed).vkey().clone()
}

/// Options for this coordinator.
pub(crate) fn options() -> OpenOptions {
    OpenOptions {
        origin: origin(),
        node_id: NODE,
        signer: signer(7),
        quota_bytes: None,
        mode: WriterMode::Thread,
        observer: None,
    }
}

/// Creates and opens a store.
pub(crate) fn fresh(disk: impl Into<Disk>) -> Store {
    let disk = disk.into();
    Store::create(&disk, &origin(), NODE, &key(7)).unwrap();
    Store::open(&disk, options()).unwrap()
}

/// Opens a store that exists.
pub(crate) fn reopen(directory: &Path) -> Store {
    Store::open(&Disk::from(directory), options()).unwrap()
}

/// Drops what Raft would hold, then closes the files.
pub(crate) async fn close(store: Store) {
    drop((store.log, store.state_machine));
    store.guard.close().await;
}

/// Log time `seconds` after the start.
pub(crate) fn at(seconds: u64) -> LogTime {
    LogTime::new(1_790_000_000_000 + seconds * 1_000).unwrap()
}

/// Begins the log: leaf 0.
pub(crate) fn found() -> Command {
    Command::internal(at(0), Body::Found(charter()))
}

/// One operator pauses automation: one leaf. Different numbers make different leaves.
pub(crate) fn pause(number: u64) -> Command {
    let charter = charter().statement;
    let operator = charter.operator[0].key.name().clone();
    let mut seed = b"quorate test key, do not use: ".to_vec();
    seed.extend_from_slice(operator.as_str().as_bytes());
    seed.push(1);
    let secret = SecretKey::from_seed((*Digest::of(&seed).as_bytes()).into());
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let statement = Pause {
        origin: charter.origin,
        epoch: charter.epoch,
        cluster: Scope::All,
        automation: Automation::Paused,
        until: None,
        reason: "a test of the store; ".repeat(12).trim_end_matches("; ").parse().unwrap(),
        expires: at(number + 600),
        nonce: Nonce::from_bytes(nonce),
    };
    let signed = NoteSigner::new(operator, secret).signed(statement);
    Command::internal(at(number), Body::Pause(signed))
}

/// An entry with a command.
pub(crate) fn entry(index: u64, command: Command) -> Entry {
    let payload = EntryPayload::Normal(Proposed::new(command).unwrap());
    Entry { log_id: LogId::new_term_index(1, index), payload }
}

/// The founding and `leaves - 1` pauses, one leaf per entry, from index 0.
pub(crate) fn history(leaves: u64) -> Vec<Entry> {
    (0..leaves).map(|index| entry(index, if index == 0 { found() } else { pause(index) })).collect()
}

/// Applies entries as openraft does, without anybody waiting.
pub(crate) async fn apply(machine: &mut StateMachine, entries: Vec<Entry>) -> std::io::Result<()> {
    machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
}

/// The hash of the whole state.
pub(crate) async fn state_hash(store: &Store) -> Digest {
    store.machine.read(|machine| machine.state_hash()).await.unwrap()
}
