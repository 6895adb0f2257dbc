//! Memory of a coordinator is bounded: closed decisions leave nothing behind in the machine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_attest::log_time::{LogTime, Span};
use quorate_bench::history::{History, LEAVES_PER_DECISION, Pace};
use quorate_bench::world::World;
use quorate_core::{Command, LogId, Machine};

const DECISIONS: u64 = 2_000;
/// By then every memory that is bounded by time or number is as full as it ever gets.
const SETTLED: u64 = 400;
/// What may differ between two moments: hashes of the Merkle frontier (one for each set bit of the
/// size) and the digits of numbers written as text. One word per decision would be 12 kB.
const SLACK_BYTES: usize = 1_500;

fn apply(machine: &mut Machine, index: &mut u64, commands: Vec<Command>) -> u64 {
    let mut leaves = 0;
    for command in commands {
        let line = command.to_string();
        let applied = machine.apply(LogId { term: 1, index: *index }, command);
        *index += 1;
        assert!(applied.outcome.is_ok(), "{line}: {:?}", applied.outcome);
        leaves += applied.leaves().count() as u64;
    }
    leaves
}

/// Decides `decisions` times and answers the snapshot's bytes at every 25th moment from `SETTLED` on.
fn snapshot_bytes(open_for: Span, decisions: u64) -> Vec<usize> {
    let world = World::of_fixed_keys().unwrap();
    let start = LogTime::new(1_790_000_000_000).unwrap();
    let mut history = History::new(&world, Pace { start, step: Span::from_secs(10), open_for });
    let (mut machine, mut index) = (Machine::new(), 1);
    assert_eq!(apply(&mut machine, &mut index, history.begin().unwrap()), 1);
    let mut bytes = Vec::new();
    for decision in 1..=decisions {
        let leaves = apply(&mut machine, &mut index, history.decision().unwrap());
        assert_eq!(leaves, LEAVES_PER_DECISION, "decision {decision} and its outcome");
        if decision >= SETTLED && decision % 25 == 0 {
            bytes.push(machine.snapshot().len());
        }
    }
    let ledger = machine.state().ledger().unwrap();
    assert_eq!(ledger.history().size().get(), 1 + decisions * LEAVES_PER_DECISION);
    assert!(machine.state().open().is_empty());
    let restored = Machine::restore(&machine.snapshot()).unwrap();
    assert_eq!(restored.state_hash(), machine.state_hash());
    bytes
}

fn grown(bytes: &[usize]) -> usize {
    bytes.iter().max().unwrap() - bytes.iter().min().unwrap()
}

#[test]
fn the_snapshot_does_not_grow_with_the_number_of_closed_decisions() {
    let bytes = snapshot_bytes(Span::from_secs(600), DECISIONS);
    assert!(grown(&bytes) < SLACK_BYTES, "{bytes:?}");
}

/// The control: an end is remembered until its proposal expires, and a week is longer than this
/// history. So the measure above sees what a memory per decision would be.
#[test]
fn what_is_remembered_per_decision_would_be_seen() {
    let bytes = snapshot_bytes(Span::from_secs(7 * 24 * 3_600), SETTLED + 100);
    assert!(grown(&bytes) > SLACK_BYTES, "{bytes:?}");
}
