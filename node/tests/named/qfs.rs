//! `qfs` against a STAND-IN engine: a program with one state before its effect and one after it, which
//! are those that were measured on the real engine (T1, T2).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Adapter, PrepareRefused};
use serde_json::{Value, json};

use crate::common::adapter::{SOON, action_with, configured, order, try_prepare};
use crate::common::executable::executable;

/// Five nodes, three shards of three copies, epoch 4.
fn state() -> Value {
    let node = json!({ "status": "active", "eligible": true });
    let nodes: Value = (1..=5).map(|at| (format!("n{at}"), node.clone())).collect();
    json!({
        "engine": "live", "epoch": 4, "min_active": 3, "nodes": nodes,
        "shards": { "s1": ["n1", "n2", "n3"], "s2": ["n3", "n4", "n5"], "s3": ["n1", "n4", "n5"] },
        "objects": { "o:1": "aa", "o:2": "bb" },
        "registry": { "age_ms": 10, "nodes": 5 },
        "telemetry": {
            "age_ms": 10, "nodes": 5, "schema_version": "v1.0", "telemetry_hash": "0".repeat(64),
        },
    })
}

fn isolated(mut state: Value) -> Value {
    state["nodes"]["n3"] = json!({ "status": "inactive", "eligible": false });
    state
}

struct Site {
    directory: tempfile::TempDir,
    adapter: Arc<dyn Adapter>,
}

impl Site {
    fn effects(&self) -> usize {
        let log = fs::read_to_string(self.directory.path().join("log"));
        log.map_or(0, |log| log.lines().count())
    }
}

fn write(path: &Path, state: &Value) {
    fs::write(path, state.to_string()).expect("write");
}

fn site(before: &Value, after: &Value) -> Site {
    let directory = tempfile::tempdir().expect("directory");
    let at = |name: &str| directory.path().join(name);
    write(&at("state"), before);
    write(&at("after"), after);
    write(&at("before"), before);
    let body = r#"#!/bin/sh
request=$(cat)
case "$request" in
*'"op":"execute"'*) echo "$request" >> log; cp after state; echo '{"answer":"applied"}' ;;
*'"op":"rollback"'*) echo "$request" >> log; cp before state; echo '{"answer":"applied"}' ;;
*) cat state ;;
esac
"#;
    let program = at("engine");
    executable(&program, body);
    let table =
        format!("[adapter.qfs]\ncommand = [{program:?}]\ndirectory = {:?}", directory.path());
    let adapter = configured(Kind::Replay, &table);
    Site { directory, adapter }
}

async fn verdict(kind: Kind, params: &[&str], before: &Value, after: &Value) -> (Site, Effect) {
    let site = site(before, after);
    let action = action_with(kind, "member:n3", params);
    let prepared = try_prepare(&*site.adapter, &action).await.expect("prepared");
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    (site, verdict.effect)
}

/// T1: the engine says applied, the node is inactive, every proof holds, and nothing has moved.
#[tokio::test]
async fn an_isolation_that_moves_no_shard_is_ineffective_and_taken_back() {
    let (site, effect) = verdict(Kind::IsolateMember, &[], &state(), &isolated(state())).await;
    assert_eq!(effect, Effect::Ineffective);
    let action = action_with(Kind::IsolateMember, "member:n3", &[]);
    let prepared = try_prepare(&*site.adapter, &action).await.expect("prepared");
    let back = site.adapter.rollback(&prepared, &order(SOON)).await;
    assert_eq!(back.answer, Answer::Applied, "{back:?}");
    assert_eq!(site.effects(), 2);
}

#[tokio::test]
async fn an_isolation_is_judged_by_map_eligible_set_and_content() {
    let mut moved = isolated(state());
    moved["shards"] =
        json!({ "s1": ["n1", "n2", "n4"], "s2": ["n1", "n4", "n5"], "s3": ["n1", "n4", "n5"] });
    let (_, effect) = verdict(Kind::IsolateMember, &[], &state(), &moved).await;
    assert_eq!(effect, Effect::Effective);
    let mut damaged = moved.clone();
    damaged["objects"]["o:2"] = json!("cc");
    let mut nobody = moved.clone();
    for at in ["n1", "n2", "n4", "n5"] {
        nobody["nodes"][at]["eligible"] = json!(false);
    }
    // T1: with too few nodes the engine names one of them three times.
    let mut thrice = moved.clone();
    thrice["shards"]["s1"] = json!(["n1", "n1", "n1"]);
    for harmful in [damaged, nobody, thrice] {
        let (_, effect) = verdict(Kind::IsolateMember, &[], &state(), &harmful).await;
        assert_eq!(effect, Effect::Harmful, "{harmful}");
    }
}

/// T1: `advance_epoch(.., {}, {})` would make every node ineligible.
#[tokio::test]
async fn empty_stale_and_malformed_snapshots_and_other_epochs_are_refused() {
    let mut empty = state();
    empty["registry"]["nodes"] = json!(0);
    let mut stale = state();
    stale["telemetry"]["age_ms"] = json!(300_001);
    let mut unhashed = state();
    unhashed["telemetry"]["telemetry_hash"] = json!("abc");
    for (before, params, wanted) in [
        (empty, "epoch 5", "registry-snapshot"),
        (stale, "epoch 5", "telemetry-snapshot"),
        (unhashed, "epoch 5", "telemetry-snapshot"),
        (state(), "epoch 3", "epoch-next"),
        (state(), "epoch 9", "epoch-next"),
    ] {
        let site = site(&before, &before);
        let action = action_with(Kind::AdvanceEpoch, "cluster:demo", &[params]);
        let prepared = try_prepare(&*site.adapter, &action).await.expect("prepared");
        assert_eq!(prepared.unmet().map(|unmet| unmet.name.as_str()), Some(wanted));
        let executed = site.adapter.execute(&prepared, &order(SOON)).await;
        assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
        assert_eq!(site.effects(), 0);
    }
}

#[tokio::test]
async fn no_live_engine_too_few_nodes_and_unknown_states_do_nothing() {
    let mut none = state();
    none["engine"] = json!("none");
    let mut few = state();
    few["min_active"] = json!(5);
    for (before, wanted) in [(none, "engine-live"), (few, "min-healthy")] {
        let site = site(&before, &before);
        let action = action_with(Kind::IsolateMember, "member:n3", &[]);
        let prepared = try_prepare(&*site.adapter, &action).await.expect("prepared");
        assert_eq!(prepared.unmet().map(|unmet| unmet.name.as_str()), Some(wanted));
        let executed = site.adapter.execute(&prepared, &order(SOON)).await;
        assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
        assert_eq!(site.effects(), 0);
    }
    let mut unknown = state();
    unknown["nodes"]["n3"]["status"] = json!("sleeping");
    let site = site(&unknown, &unknown);
    let action = action_with(Kind::IsolateMember, "member:n3", &[]);
    let refused = try_prepare(&*site.adapter, &action).await;
    assert!(matches!(refused, Err(PrepareRefused::NoWitness { .. })), "{refused:?}");
}

/// T2: evidence with PASSED as a constant; here the hash is compared with the one that was voted on.
#[tokio::test]
async fn a_replay_is_compared_and_never_asserted() {
    let replay = |replayed: u64, hash: &str| {
        let mut state = state();
        state["replay"] = json!({
            "replayed": replayed, "total": 9, "hash": hash, "differs_at": "event 3",
            "bit_for_bit_match": true, "result": "PASSED",
        });
        state
    };
    for (after, wanted) in [
        (replay(9, "feed"), Effect::Effective),
        (replay(9, "beef"), Effect::Ineffective),
        (replay(8, "feed"), Effect::Ineffective),
        (state(), Effect::Ineffective),
    ] {
        let (_, effect) = verdict(Kind::Replay, &["expected feed"], &state(), &after).await;
        assert_eq!(effect, wanted, "{after}");
    }
    let site = site(&state(), &state());
    let blind = try_prepare(&*site.adapter, &action_with(Kind::Replay, "place:a", &[])).await;
    assert!(matches!(blind, Err(PrepareRefused::ParamRefused { .. })), "{blind:?}");
}
