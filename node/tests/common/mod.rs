//! What several tests of the agent share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::time::{Duration, Instant};

use quorate_attest::history::Orders;
use quorate_attest::id::{Digest, JournalInstance, KeyName, ProposalId};
use quorate_attest::key::{NoteSigner, SecretKey};
use quorate_attest::log_time::LogTime;
use quorate_attest::merkle::{Hash, leaf_hash};
use quorate_attest::number::{DecisionNumber, Epoch, FencingToken, Incarnation};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Action, Prepared};
use quorate_node::journal::{Entry, Owner, Phase};
use quorate_node::plan::plan_of;
use quorate_node::witness::{Measure, Witness};
use zeroize::Zeroizing;

/// Waits until `condition` holds, at most ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn time(ms: u64) -> LogTime {
    LogTime::new(1_790_000_000_000 + ms).expect("a time")
}

pub fn name(id: &str) -> KeyName {
    format!("quorate.example/testnet/agent/{id}").parse().expect("a key name")
}

pub fn signer(id: &str) -> NoteSigner {
    let mut seed = [7; 32];
    seed[..id.len()].copy_from_slice(id.as_bytes());
    NoteSigner::new(name(id), SecretKey::from_seed(Zeroizing::new(seed)))
}

pub fn owner() -> Owner {
    Owner::new(name("n1"), "demo".parse().expect("a cluster"))
}

pub fn instance() -> JournalInstance {
    JournalInstance::from_bytes([3; 16])
}

pub fn token(number: u64) -> FencingToken {
    FencingToken {
        incarnation: Incarnation::MIN,
        number: DecisionNumber::new(number).expect("a number"),
    }
}

pub fn proposal(tag: &str) -> ProposalId {
    ProposalId(Digest::of(tag.as_bytes()))
}

pub fn leaf(tag: &str) -> Hash {
    leaf_hash(tag.as_bytes())
}

pub fn entry(number: u64, tag: &str) -> Entry {
    Entry {
        cluster: owner().cluster,
        token: token(number),
        epoch: Epoch::MIN,
        proposal: proposal(tag),
        leaf: leaf(&format!("{number}{tag}")),
        continues: None,
        forget_after: time(600_000),
        phase: Phase::Accepted,
        claim: None,
        prepared: None,
        started: None,
        report: None,
        orders: Orders::Action,
    }
}

pub fn action(kind: Kind, target: &str) -> Action {
    Action { kind, target: target.parse().expect("a word"), params: Vec::new() }
}

pub fn prepared(kind: Kind, target: &str) -> Prepared {
    let action = action(kind, target);
    let plan = plan_of(&"process".parse().expect("an adapter"), &action);
    let witness = Witness::default().with("process", Measure::Value("17 4711".into()));
    Prepared { action, plan, witness, preconditions: Vec::new() }
}

pub mod adapter;
pub mod booth;
pub mod executable;
pub mod fake;
pub mod forks;
pub mod scene;
pub mod stageplay;
pub mod stand_in;
pub mod world;
