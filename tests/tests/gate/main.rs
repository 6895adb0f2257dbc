//! `quorate gate` as it runs: the real binary before real processes, with the agent's real gatekeeper.

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_attest::history::Orders;
use quorate_attest::id::{JournalInstance, KeyName};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::merkle::leaf_hash;
use quorate_attest::number::Epoch;
use quorate_node::adapters::{ProcessConfig, Supervisor};
use quorate_node::clock::Clock;
use quorate_node::gate::{Carried, Desk, Gatekeeper, Permits, Who};
use quorate_node::journal::{Entry, Journal, JournalHandle, Owner, Phase};
use quorate_node::trust::View;
use quorate_tests::binary;
use quorate_tests::process::write_executable;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use world::{CLUSTER, World};

/// What one run gave.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(words: &[String]) -> Self {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = binary::run(&words, None);
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a run that must succeed.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self.out
    }

    /// The error of a run that must end with this code and reason.
    #[track_caller]
    fn refused(self, code: i32, reason: &str) -> serde_json::Value {
        let line = self.err.lines().find(|line| line.starts_with("{\"error\""));
        let line = line.unwrap_or_else(|| panic!("no JSON error in:\n{}\n{}", self.out, self.err));
        let error: serde_json::Value = serde_json::from_str(line).expect("an error is JSON");
        let error = error["error"].clone();
        assert_eq!((self.code, error["reason"].as_str()), (Some(code), Some(reason)), "{error}");
        error
    }
}

/// What `world` counts its time from: the real clock, which the binary reads.
fn time(ms: u64) -> LogTime {
    LogTime::new(Clock::system().now().get() + ms).expect("a time")
}

fn agent_name(member: &str) -> KeyName {
    format!("{}/agent/{member}", world::NETWORK).parse().expect("a key name")
}

/// One member's agent, of which only the gatekeeper and the journal run.
struct Agent {
    directory: tempfile::TempDir,
    member: String,
    journal: JournalHandle,
    permits: Permits,
    view: watch::Sender<View>,
    stop: CancellationToken,
}

impl Agent {
    fn new(world: &World, member: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("data");
        let charter = directory.path().join("charter.leaf");
        fs::write(charter, world.charter.to_bytes()).expect("charter");
        let config = format!(
            "name = \"{}\"\ncluster = \"{CLUSTER}\"\nmember = \"{member}\"\ndata_dir = \"data\"\n\
             charter = \"charter.leaf\"\nvote_key = \"vote.pem\"\n\
             endpoints = [{{ id = 1, address = \"127.0.0.1:1\" }}]\n\
             [tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nca = \"ca.pem\"\n",
            agent_name(member)
        );
        fs::write(directory.path().join("agent.toml"), config).expect("config");
        let owner = Owner::new(agent_name(member), CLUSTER.parse().expect("a cluster"));
        let instance = JournalInstance::from_bytes([3; 16]);
        let journal = Journal::create(&data.join("journal.redb"), &owner, instance);
        let (journal, _thread) = JournalHandle::spawn(journal.expect("journal")).expect("thread");
        let (view, _) = watch::channel(world.trust().view());
        let stop = CancellationToken::new();
        let permits = Permits::default();
        Self { directory, member: member.to_owned(), journal, permits, view, stop }
    }

    /// Serves its gate, with what it believes already written.
    async fn serve(self) -> Self {
        let who = Who {
            cluster: CLUSTER.parse().expect("a cluster"),
            member: self.member.parse().expect("a member"),
            agent: agent_name(&self.member),
        };
        let desk = Desk {
            who,
            journal: self.journal.clone(),
            permits: self.permits.clone(),
            clock: Clock::system(),
        };
        let data = self.directory.path().join("data");
        let keeper = Gatekeeper::bind(desk, data, self.view.subscribe()).expect("a socket");
        drop(tokio::spawn(keeper.run(self.stop.clone())));
        // It answers after it has written.
        let _asked = self.gate(&["-o", "json"], &[]).await;
        self
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("agent.toml")
    }

    fn words(&self, options: &[&str], command: &[&str]) -> Vec<String> {
        let mut words = vec!["gate".to_owned(), "--config".to_owned()];
        words.push(self.config().to_string_lossy().into_owned());
        words.extend(options.iter().map(|word| (*word).to_owned()));
        if !command.is_empty() {
            words.push("--".to_owned());
        }
        words.extend(command.iter().map(|word| (*word).to_owned()));
        words
    }

    async fn gate(&self, options: &[&str], command: &[&str]) -> Ran {
        let words = self.words(options, command);
        let ran = tokio::task::spawn_blocking(move || Ran::of(&words));
        ran.await.expect("the gate")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_answers_by_its_exit_code_and_becomes_the_command() {
    let world = World::new();
    let agent = Agent::new(&world, "n1").serve().await;
    let answer = agent.gate(&["-o", "json"], &[]).await.good();
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(
        (answer["start"].as_str(), answer["warnings"].as_array().map(Vec::len)),
        (Some("ordinary"), Some(0))
    );
    // The arguments of a start alone are not for an ordinary one; the exit code is the command's.
    let alone = ["--alone-argument=--force-new-cluster"];
    let ran = agent.gate(&alone, &["sh", "-c", "echo $#; exit 23", "sh", "one"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(23), "1\n"), "{}", ran.err);
    let ran = agent.gate(&["-o", "json"], &["/no/such/program"]).await;
    let error = ran.refused(1, "FILE_FAILED");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("/no/such/program")));
    agent.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_member_is_refused_with_code_7_and_told_what_readmits_it() {
    let mut world = World::new();
    world.declare_dead("n1");
    let agent = Agent::new(&world, "n2").serve().await;
    let ran = agent.gate(&["-o", "json"], &["touch", "started"]).await;
    let error = ran.refused(7, "DECLARED_DEAD");
    assert_eq!(error["metadata"]["decision"], "1");
    assert_eq!(error["metadata"]["member"], "n2");
    assert!(error["metadata"]["since"].is_string(), "{error}");
    let help = error["help"].as_str().expect("help");
    assert!(help.starts_with("quorate proposal create readmit member:n2"), "{help}");
    // A copy that knows nothing is closed too, and so is one whose head is too old.
    let blank = Agent::new(&world, "n1");
    let error = blank.gate(&["-o", "json"], &["true"]).await.refused(7, "GATE_CLOSED");
    assert_eq!(error["metadata"]["why"], "nothing-known");
    let mut old = World::new();
    old.now = old.now.saturating_sub(Span::from_secs(3_600));
    let stale = Agent::new(&old, "n1").serve().await;
    let error = stale.gate(&["-o", "json"], &["true"]).await.refused(7, "GATE_CLOSED");
    assert_eq!(error["metadata"]["why"], "stale");
    let missing = Ran::of(&["gate", "--config", "/none/agent.toml"].map(str::to_owned));
    assert_eq!(missing.code, Some(2));
    agent.stop.cancel();
    stale.stop.cancel();
}

/// A script as a member: it writes down its process id and its arguments, and stays.
fn member(directory: &Path) -> PathBuf {
    let path = directory.join("member");
    let script =
        format!("#!/bin/sh\necho $$ \"$@\" >> {}/starts\nexec sleep 600\n", directory.display());
    write_executable(&path, &script);
    path
}

async fn starts(directory: &Path, count: usize) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(directory.join("starts")).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < end, "{count} starts, not {lines:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_sees_through_the_gate_and_the_survivor_starts_alone_once() {
    let mut world = World::new();
    // So long ago that it may start now.
    world.now = world.now.saturating_sub(Span::from_secs(620));
    let index = world.declare_dead("n1");
    world.now = time(0);
    let agent = Agent::new(&world, "n1").serve().await;
    let directory = agent.directory.path().to_owned();
    let program = member(&directory);
    let mut command = vec![binary::quorate().display().to_string()];
    command.extend(agent.words(
        &["--alone-argument=--force-new-cluster"],
        &[&program.to_string_lossy(), "--name", "n1"],
    ));
    let config = ProcessConfig {
        command,
        pid_file: directory.join("member.pid"),
        directory: None,
        log_file: Some(directory.join("member.log")),
        environment: std::collections::BTreeMap::new(),
        stop_grace_ms: 5_000,
        stable_ms: 0,
        start_ms: 10_000,
    };
    let supervisor = Supervisor::new(config.clone(), "demo/n1");
    // An ordinary start: the gate's process becomes the member's, and the pid file stays right.
    let gate = supervisor.start().await.expect("it starts");
    let lines = starts(&directory, 1).await;
    assert_eq!(lines, [format!("{} --name n1", gate.pid)]);
    assert_eq!(supervisor.find(), Some(gate));
    // Also by a pid file of somebody else, which holds the id alone.
    fs::write(&config.pid_file, format!("{}\n", gate.pid)).expect("write");
    assert_eq!(supervisor.find(), Some(gate));
    supervisor.stop(gate).await.expect("it stops");
    assert_eq!(supervisor.find(), None);

    // The declaration is carried out: the executor arms, an adapter offers, the gate takes.
    let bytes = &world.leaves[usize::try_from(index.get()).expect("small")];
    let Leaf::Decision(decision) = Leaf::parse(bytes).expect("a leaf") else {
        panic!("a decision")
    };
    let token = decision.token();
    let entry = Entry {
        cluster: decision.cluster.clone(),
        token,
        epoch: Epoch::MIN,
        proposal: decision.proposal.id(),
        leaf: leaf_hash(bytes),
        continues: None,
        forget_after: decision.expires,
        phase: Phase::Accepted,
        claim: None,
        prepared: None,
        started: None,
        report: None,
        orders: Orders::Action,
    };
    let (cluster, now) = (decision.cluster.clone(), time(0));
    let started = agent.journal.with(move |journal| {
        journal.accept(entry)?;
        journal.ready(&cluster, token, None)?;
        journal.start(&cluster, token, now, None, None)
    });
    started.await.expect("the journal").expect("started");
    let armed = agent.permits.arm(Carried {
        cluster: decision.cluster.clone(),
        token,
        certificate: world.certificate(index),
    });
    let error = agent.gate(&["-o", "json"], &["true"]).await.refused(7, "GATE_CLOSED");
    assert_eq!(error["metadata"]["why"], "reserved");
    let permission = agent.permits.offer(token, Duration::from_secs(60)).expect("offered");
    // Without a command, and without a way to start alone.
    for command in [&[][..], &["true"]] {
        let ran = agent.gate(&["-o", "json"], command).await;
        assert_eq!(ran.refused(7, "START_ALONE_REFUSED")["metadata"]["why"], "argument");
    }
    let alone = supervisor.start().await.expect("it starts");
    let lines = starts(&directory, 2).await;
    assert_eq!(lines[1], format!("{} --name n1 --force-new-cluster", alone.pid));
    assert!(permission.withdraw());
    assert_eq!(supervisor.find(), Some(alone));
    drop(armed);
    supervisor.stop(alone).await.expect("it stops");
    // Ever after it starts as ever.
    let after = supervisor.start().await.expect("it starts");
    let lines = starts(&directory, 3).await;
    assert_eq!(lines[2], format!("{} --name n1", after.pid));
    supervisor.stop(after).await.expect("it stops");
    agent.stop.cancel();
}

#[test]
fn the_example_unit_asks_the_gate() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/systemd/member-gate.conf");
    let unit = fs::read_to_string(path).expect("the example");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecCondition=")).expect("a line");
    let words = line.trim_start_matches('+').split(' ').skip(1).chain(["-o", "json"]);
    let words: Vec<String> = words.map(str::to_owned).collect();
    // Parsed as typed: what is wrong is the configuration, not the command line.
    Ran::of(&words).refused(2, "CONFIG_INVALID");
}
