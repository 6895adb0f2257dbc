//! `neo` against a STAND-IN network of four validators: JSON-RPC as neo-go answers it, `/readyz` that is
//! green with no peers, and a consensus that goes on when the stuck validator got SIGUSR2.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Adapter, Held, PrepareRefused, ProcessConfig, Supervisor};
use quorate_node::probe::{Probe, Reading};
use quorate_node::witness::Measure;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::web::{Asked, Says, json as said, serve};
use crate::common::adapter::{SOON, action_with, beside, order, try_prepare};
use crate::common::executable::executable;
use crate::common::{action, eventually};

const N: usize = 4;
const HEIGHT: u64 = 100;

/// STAND-IN chain, as its nodes see it.
struct Net {
    /// Heights above [`HEIGHT`] after the signal came, or a file of another name is there.
    signalled: PathBuf,
    goes_on: bool,
    silent: BTreeSet<usize>,
    /// Nodes that nobody is connected with.
    alone: BTreeSet<usize>,
    /// A node that has another block at the same height, once the signal came.
    forks: Option<usize>,
    /// How far node 0 lies behind.
    behind: u64,
}

struct Site {
    net: Arc<Mutex<Net>>,
    supervisor: Supervisor,
    adapter: Arc<dyn Adapter>,
    readyz: Probe,
    directory: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(running) = self.supervisor.find() {
            let pid = rustix::process::Pid::from_raw(running.pid).expect("a pid");
            let _sent = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

fn rpc(asked: &Asked, at: usize, net: &Net) -> Says {
    if asked.path == "/readyz" {
        return Says::Answer(200, "ready".into());
    }
    if net.silent.contains(&at) {
        return Says::Hangs;
    }
    let moved = net.goes_on && net.signalled.exists();
    let behind = if at == 0 && !moved { net.behind } else { 0 };
    let height = HEIGHT + u64::from(moved) - behind;
    let forked = net.forks == Some(at) && net.signalled.exists();
    let hash = |height: u64| format!("0x{height:x}{}", if forked { "f" } else { "" });
    let peer = |other: usize| json!({ "address": "10.0.0.1", "port": 20_000 + other });
    let apart = |other: usize| net.alone.contains(&at) != net.alone.contains(&other);
    let peers: Vec<Value> =
        (0..N).filter(|other| *other != at && !apart(*other)).map(peer).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis();
    let call = asked.json();
    let result = match call["method"].as_str() {
        Some("getblockcount") => json!(height + 1),
        Some("getblockhash") => json!(hash(call["params"][0].as_u64().expect("a height"))),
        Some("getblockheader") => json!({
            "hash": hash(height), "time": u64::try_from(now).expect("small") - 60_000,
            "primary": height % 4,
        }),
        Some("getpeers") => json!({ "connected": peers, "unconnected": [], "bad": [] }),
        Some("getversion") => {
            json!({ "protocol": { "validatorscount": N, "msperblock": 1_000 } })
        }
        _ => return said(&json!({ "error": { "code": -32_601 } })),
    };
    said(&json!({ "jsonrpc": "2.0", "id": 1, "result": result }))
}

fn script(path: &Path, body: &str) {
    executable(path, &format!("#!/bin/sh\n{body}\n"));
}

async fn site(extra: &str) -> Site {
    let directory = tempfile::tempdir().expect("directory");
    let signalled = directory.path().join("signalled");
    let net = Arc::new(Mutex::new(Net {
        signalled: signalled.clone(),
        goes_on: true,
        silent: BTreeSet::new(),
        alone: BTreeSet::new(),
        forks: None,
        behind: 0,
    }));
    let mut nodes = Vec::new();
    for at in 0..N {
        let net = Arc::clone(&net);
        let address = serve(move |asked| {
            let net = Arc::clone(&net);
            async move { rpc(&asked, at, &*net.lock().await) }
        })
        .await;
        nodes.push(address);
    }
    let lines: Vec<String> = nodes
        .iter()
        .enumerate()
        .map(|(at, address)| {
            let (member, port) = (at + 1, 20_000 + at);
            format!("{{ member = \"n{member}\", rpc = \"http://{address}\", p2p = \"10.0.0.1:{port}\" }}")
        })
        .collect();
    let node = directory.path().join("node");
    let ready = directory.path().join("ready");
    let body = format!(
        "trap 'echo usr2 >> {}' USR2\necho ready > {}\nwhile :; do sleep 0.05; done",
        signalled.display(),
        ready.display()
    );
    script(&node, &body);
    let process = ProcessConfig {
        command: vec![node.display().to_string()],
        pid_file: directory.path().join("pid"),
        directory: None,
        log_file: None,
        environment: std::collections::BTreeMap::new(),
        stop_grace_ms: 500,
        stable_ms: 300,
        start_ms: 2_000,
    };
    let supervisor = Supervisor::new(process.clone(), "demo/n1");
    supervisor.start().await.expect("started");
    eventually("its trap is set", || ready.exists()).await;
    let table = format!(
        "[adapter.neo]\nprogram = \"neo-go\"\nverify_ms = 1500\nnodes = [{}]\n{extra}",
        lines.join(", ")
    );
    let adapter = beside(Kind::ForceViewChange, &table, None, Some(&process));
    let readyz = format!("http://{}/readyz", nodes[0]).parse().expect("a probe");
    Site { net, supervisor, adapter, readyz, directory }
}

/// A neo-go whose operator can tell what it has committed.
async fn told(committed: &str) -> Site {
    let answer = format!("committed = [\"/bin/echo\", '{committed}']");
    site(&answer).await
}

fn force() -> quorate_node::adapters::Action {
    action_with(Kind::ForceViewChange, "member:n1", &["height 100"])
}

fn signals(site: &Site) -> usize {
    fs::read_to_string(site.directory.path().join("signalled")).map_or(0, |s| s.lines().count())
}

#[tokio::test]
async fn a_stalled_validator_restarts_its_own_consensus_once() {
    let site = told(r#"{"committed":false}"#).await;
    let prepared = try_prepare(&*site.adapter, &force()).await.expect("prepared");
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    assert_eq!(prepared.witness.get("height"), &Measure::Value("100".into()));
    let running = site.supervisor.find();
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
    assert_eq!(site.supervisor.find(), running, "the process is the same");
    let again = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(again.answer, Answer::RefusedPrecondition, "the height moved: {again:?}");
    assert_eq!(signals(&site), 1);
}

/// The signal was sent and the call said so; what counts is that nothing moved.
#[tokio::test]
async fn a_signal_that_moves_nothing_is_ineffective() {
    let site = told(r#"{"committed":false}"#).await;
    site.net.lock().await.goes_on = false;
    let prepared = try_prepare(&*site.adapter, &force()).await.expect("prepared");
    assert_eq!(site.adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
}

#[tokio::test]
async fn another_block_at_the_same_height_is_harmful() {
    let site = told(r#"{"committed":false}"#).await;
    site.net.lock().await.forks = Some(2);
    let prepared = try_prepare(&*site.adapter, &force()).await.expect("prepared");
    assert_eq!(site.adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    eventually("the signal came", || signals(&site) == 1).await;
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Harmful, "{verdict:?}");
    assert!(verdict.difference.contains("n3"), "{verdict:?}");
}

#[tokio::test]
async fn below_m_validators_nothing_is_done_and_the_silent_ones_are_named() {
    let site = told(r#"{"committed":false}"#).await;
    site.net.lock().await.silent = BTreeSet::from([2, 3]);
    let prepared = try_prepare(&*site.adapter, &force()).await.expect("prepared");
    let unmet = prepared.unmet().expect("too few");
    assert_eq!((unmet.name.as_str(), unmet.held), ("validators-live", Held::No));
    assert!(unmet.fact.contains("n3") && unmet.fact.contains("n4"), "{unmet:?}");
    let executed = site.adapter.execute(&prepared, &order(Duration::from_secs(20))).await;
    assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
    assert_eq!(signals(&site), 0);
}

#[tokio::test]
async fn validators_that_do_not_see_each_other_are_a_partition_and_no_stall() {
    let site = told(r#"{"committed":false}"#).await;
    site.net.lock().await.alone = BTreeSet::from([1, 2]);
    let prepared = try_prepare(&*site.adapter, &force()).await.expect("prepared");
    assert_eq!(prepared.unmet().map(|unmet| unmet.name.as_str()), Some("validators-connected"));
}

#[tokio::test]
async fn one_that_has_committed_or_cannot_tell_is_never_restarted() {
    for (site, wanted) in [
        (told(r#"{"committed":true}"#).await, Held::No),
        (told("surely not").await, Held::Unknown),
        (site("").await, Held::Unknown),
    ] {
        let prepared = try_prepare(&*site.adapter, &force()).await.expect("prepared");
        let unmet = prepared.unmet().expect("it must not be restarted");
        assert_eq!((unmet.name.as_str(), unmet.held), ("not-committed", wanted));
        let executed = site.adapter.execute(&prepared, &order(SOON)).await;
        assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
        assert_eq!(signals(&site), 0);
    }
}

#[tokio::test]
async fn another_height_another_node_or_no_height_is_refused() {
    let site = told(r#"{"committed":false}"#).await;
    let old = action_with(Kind::ForceViewChange, "member:n1", &["height 99"]);
    let prepared = try_prepare(&*site.adapter, &old).await.expect("prepared");
    assert_eq!(prepared.unmet().map(|unmet| unmet.name.as_str()), Some("height-unchanged"));
    let nobody = action_with(Kind::ForceViewChange, "member:n9", &["height 100"]);
    let refused = try_prepare(&*site.adapter, &nobody).await;
    assert!(matches!(refused, Err(PrepareRefused::TargetRefused { .. })), "{refused:?}");
    let without = try_prepare(&*site.adapter, &action(Kind::ForceViewChange, "member:n1")).await;
    assert!(matches!(without, Err(PrepareRefused::ParamRefused { .. })), "{without:?}");
    // An observer elsewhere judges it, and never acts on it.
    let other = action_with(Kind::ForceViewChange, "member:n2", &["height 100"]);
    let prepared = try_prepare(&*site.adapter, &other).await.expect("prepared");
    assert_eq!(prepared.unmet(), None);
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
}

/// T10: a naive probe of `/readyz` says ready, with no peers at all.
#[tokio::test]
async fn a_node_without_peers_is_seen_although_its_page_is_green() {
    let site = told(r#"{"committed":false}"#).await;
    {
        let mut net = site.net.lock().await;
        net.alone = BTreeSet::from([0]);
        net.behind = 5;
        net.goes_on = false;
    }
    assert_eq!(site.readyz.read(SOON).await, Reading::Up, "the naive answer");
    let reset = action(Kind::ResetPeers, "member:n1");
    let prepared = try_prepare(&*site.adapter, &reset).await.expect("prepared");
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    assert_eq!(prepared.witness.get("peers"), &Measure::Value("0".into()));
    let before = site.supervisor.find();
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    assert_ne!(site.supervisor.find(), before, "restarted");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "it runs, and is alone: {verdict:?}");
    site.net.lock().await.alone = BTreeSet::new();
    site.net.lock().await.behind = 0;
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
}

/// T9: a naive check of the process passes; a node that stays behind is not healed.
#[tokio::test]
async fn a_restarted_node_that_stays_behind_is_not_healed() {
    let site = told(r#"{"committed":false}"#).await;
    site.net.lock().await.behind = 5;
    let running = site.supervisor.find().expect("it runs");
    site.supervisor.kill(running).await.expect("killed");
    let restart = action(Kind::Restart, "member:n1");
    let prepared = try_prepare(&*site.adapter, &restart).await.expect("prepared");
    assert_eq!(site.adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert!(site.supervisor.find().is_some(), "the naive answer: it is active");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
    site.net.lock().await.behind = 0;
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
}
