//! A real deployment by pasting commands: `init`, three coordinators, a decision by operators that
//! sign offline, its certificate, the export. Every command's `-o json` parses, and every exit code
//! is exact.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use support::{Ran, command, quorate, text};

/// Three coordinators in real processes, killed when the test ends.
struct Deployment {
    directory: tempfile::TempDir,
    coordinators: Vec<Child>,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for child in &mut self.coordinators {
            // They may have ended already.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// The first of six ports in a row that are free now, below those of outgoing connections: a killed
/// coordinator must find its port free again.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 1_000).expect("small");
    loop {
        let block = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        let first = 20_000 + block % 2_000 * 6;
        if (first..first + 6).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

impl Deployment {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let prod = directory.path().join("prod");
        let port = free_ports().to_string();
        let arguments = ["init", text(&prod), "--network", "example.org/prod", "--cluster", "shop"];
        let more = ["--members", "n1,n2,n3,n4,n5", "--port", &port];
        quorate(&[&arguments[..], &more].concat()).good();
        // A test machine is busy: patient elections, or a leader loses its lease to its neighbours.
        for id in 1..=3 {
            let file = prod.join(format!("coordinator-{id}/coordinator.toml"));
            let config = fs::read_to_string(&file).expect("a configuration");
            let raft = "[raft]\nheartbeat_ms = 150\nelection_min_ms = 600\n\
                        election_max_ms = 1000\n\n[peers]";
            fs::write(&file, config.replace("[peers]", raft)).expect("written");
        }
        let mut deployment = Self { directory, coordinators: Vec::new() };
        for id in 1..=3 {
            deployment.run(id);
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ran = deployment.quorate(&["status", "--timeout", "2s", "-o", "json"]);
            if ran.code == Some(0) && ran.out.contains("\"head\"") {
                return deployment;
            }
            assert!(Instant::now() < deadline, "no certified head: {}{}", ran.out, ran.err);
        }
    }

    fn prod(&self) -> PathBuf {
        self.directory.path().join("prod")
    }

    fn run(&mut self, id: u16) {
        let config = self.prod().join(format!("coordinator-{id}/coordinator.toml"));
        let log = fs::File::create(self.directory.path().join(format!("{id}.log"))).expect("a log");
        let child = command()
            .args(["coordinator", "run", "--config", text(&config)])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        self.coordinators.push(child);
    }

    fn quorate(&self, arguments: &[&str]) -> Ran {
        let mut command = command();
        command.env("QUORATE_CONFIG", self.prod().join("config.toml")).args(arguments);
        command.output().expect("it runs").into()
    }

    /// The JSON of a command that succeeds.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.quorate(&[arguments, &["-o", "json"]].concat()).good();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Opens a drill, which needs no agent's word, and returns its id.
    fn propose(&self, reason: &str) -> String {
        let view = self.json(&[
            "proposal",
            "create",
            "drill",
            "member:n4",
            "--reason",
            reason,
            "--confirm",
        ]);
        view["proposal"]["id"].as_str().expect("an id").to_owned()
    }

    /// Decides a drill by two notes that were signed without a connection.
    fn decide(&self) -> String {
        let id = self.propose("to see whether we can");
        let proposal = self.file("p.txt");
        fs::write(&proposal, self.quorate(&["proposal", "show", &id, "--text"]).good())
            .expect("written");
        let notes: Vec<PathBuf> = ["ana", "ben"]
            .map(|name| {
                let key = self.prod().join("operators").join(name).join("key.pem");
                let signed = quorate(&["vote", "sign", "--key", text(&key), text(&proposal)]);
                let note = self.file(&format!("{name}.note"));
                fs::write(&note, signed.good()).expect("written");
                note
            })
            .to_vec();
        let first = self.json(&["vote", "approve", "--note", text(&notes[0])]);
        assert_eq!(first["tally"]["have"], 1, "{first}");
        let both = ["vote", "approve", "--note", text(&notes[0]), "--note", text(&notes[1])];
        let second = self.json(&both);
        assert_eq!(second["state"], "PROPOSAL_STATE_DECIDED", "{second}");
        id
    }
}

/// Waits for a certificate and returns its file.
fn certificate(deployment: &Deployment) -> PathBuf {
    let proof = deployment.file("1.tlog-proof");
    let bytes = deployment.quorate(&["decision", "certificate", "1"]).good();
    fs::write(&proof, bytes).expect("written");
    proof
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli/ lies in the root")
}

#[test]
fn a_decision_by_offline_votes_is_certified_exported_and_verified_by_everybody() {
    let deployment = Deployment::start();
    let id = deployment.decide();
    let decision = deployment.json(&["decision", "show", "1"]);
    assert_eq!((&decision["token"], &decision["proposalId"]), (&"1.1".into(), &id.clone().into()));

    let charter = deployment.prod().join("charter.leaf");
    let proof = certificate(&deployment);
    quorate(&["log", "verify", text(&proof), "--charter", text(&charter)]).good();
    let by_hand = Command::new("bash")
        .arg(root().join("docs/verify-certificate.sh"))
        .args([&proof, &charter])
        .output()
        .expect("bash runs");
    assert!(by_hand.status.success(), "{}", String::from_utf8_lossy(&by_hand.stderr));

    let log = deployment.file("log.txt");
    fs::write(&log, deployment.quorate(&["log", "export"]).good()).expect("written");
    quorate(&["log", "verify", text(&log), "--charter", text(&charter)]).good();
    let evidence = deployment.file("replay.json");
    deployment.quorate(&["log", "replay", text(&log), "--evidence", text(&evidence)]).good();
    let replayed = fs::read_to_string(&evidence).expect("evidence");
    let replayed: serde_json::Value = serde_json::from_str(&replayed).expect("JSON");
    let equal = |one: &serde_json::Value| one["result"] == "equal";
    assert!(replayed["compared"].as_array().is_some_and(|all| all.iter().any(equal)), "{replayed}");
    let wrong = format!("sha256:{}", "0".repeat(64));
    deployment
        .quorate(&["log", "replay", text(&log), "--against", &wrong, "-o", "json"])
        .refused(3, "VERIFICATION_FAILED");

    // Any changed byte is found, wherever it is.
    let good = fs::read(&log).expect("a log");
    for at in (0..good.len()).step_by(211) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        fs::write(&log, &changed).expect("written");
        quorate(&["log", "verify", text(&log), "--charter", text(&charter), "-o", "json"])
            .refused(3, "VERIFICATION_FAILED");
    }
}

#[test]
fn every_command_answers_in_json_and_every_refusal_has_its_exit_code() {
    let deployment = Deployment::start();
    deployment.decide();
    for arguments in [
        &["status", "--hashes"][..],
        &["status", "--stale"],
        &["proposal", "list"],
        &["decision", "list"],
        &["decision", "list", "--unacknowledged"],
        &["decision", "certificate", "1"],
        &["decision", "watch", "--count", "1"],
        &["log", "checkpoint"],
        &["log", "entries"],
        &["log", "prove", "1"],
        &["log", "prove", "--since", "1"],
        &["action", "current"],
        &["agent", "list"],
        &["budget", "show"],
        &["charter", "show"],
        &["override", "list"],
        &["quorum", "list"],
        &["automation", "pause", "--reason", "CHG-1", "--for", "1h"],
        &["automation", "resume", "--reason", "CHG-1 done"],
        &["decision", "ack", "1", "--comment", "seen"],
        &["budget", "reset", "member:n4", "--reason", "looked"],
        &["quorum", "transfer-leader"],
    ] {
        deployment.json(arguments);
    }
    let refused = |arguments: &[&str], code, reason| {
        deployment.quorate(&[arguments, &["-o", "json"]].concat()).refused(code, reason);
    };
    let drill = ["proposal", "create", "drill", "member:n4", "--reason", "again"];
    let with = |more: &[&'static str]| -> Vec<&str> { [&drill[..], more].concat() };
    refused(&with(&[]), 6, "NOT_CONFIRMED");
    refused(&with(&["--confirm", "--expect-epoch", "9"]), 7, "EXPECTATION_FAILED");
    refused(
        &[
            "proposal",
            "create",
            "drill",
            "member:n9",
            "--reason",
            "x",
            "--confirm",
            "--executor",
            "n4",
        ],
        1,
        "UNKNOWN_TARGET",
    );
    refused(&["proposal", "show", "deadbeef"], 1, "UNKNOWN_PROPOSAL");
    refused(&["decision", "show", "99"], 1, "UNKNOWN_DECISION");
    refused(&["log", "prove", "99"], 2, "INDEX_OUT_OF_RANGE");
    refused(&["quorum", "transfer-leader", "--expect-leader", "9"], 7, "EXPECTATION_FAILED");
    refused(&["quorum", "remove", "3"], 2, "BAD_ARGUMENT");
    // The slot is taken: `--dry-run` ends like the real call would.
    let busy = deployment.quorate(&[&with(&["--dry-run"])[..], &["-o", "json"]].concat());
    assert_eq!(busy.code, Some(7), "{}{}", busy.out, busy.err);
    // A charter of the same epoch, and one with too few operators, are refused.
    let charter = deployment.prod().join("charter.leaf");
    refused(&["charter", "amend", "--note", text(&charter), "--dry-run"], 7, "EPOCH_MISMATCH");
}

#[test]
fn a_ban_is_created_with_one_time_to_live_in_milliseconds_or_not_at_all() {
    let deployment = Deployment::start();
    let ban = ["proposal", "create", "ban-peer", "member:n5", "--reason", "lies", "-o", "json"];
    for wrong in [
        &[][..],
        &["--param", "ttl-ms=0"],
        &["--param", "ttl-ms=10m"],
        &["--param", "ttl-ms=1 2"],
        &["--param", "ttl-ms=1", "--param", "ttl-ms=2"],
    ] {
        for more in [&["--dry-run"][..], &["--confirm"]] {
            let ran = deployment.quorate(&[&ban[..], wrong, more].concat());
            let error = ran.refused(2, "BAD_ARGUMENT");
            let words = error["message"].as_str().unwrap_or_default();
            assert!(words.ends_with("for example --param ttl-ms=600000"), "{wrong:?}: {words}");
        }
    }
    let bare = deployment.quorate(&[&ban[..], &["--param", "ttl-ms"]].concat());
    let error = bare.refused(2, "BAD_ARGUMENT");
    assert_eq!(error["message"], "--param ttl-ms: write it as KEY=VALUE");
    assert!(!deployment.json(&["proposal", "list"]).to_string().contains("ban-peer"));
}

#[test]
fn a_veto_reaches_every_coordinator_and_ends_the_proposal() {
    let deployment = Deployment::start();
    let id = deployment.propose("will be vetoed");
    let veto = ["proposal", "veto", &id, "--reason", "not today", "--context", "ben", "-o", "json"];
    let ran = deployment.quorate(&veto);
    assert!(ran.err.contains("held by 3 of 3"), "{}", ran.err);
    let view: serde_json::Value = serde_json::from_str(&ran.good()).expect("JSON");
    assert_eq!(view["proposal"]["state"], "PROPOSAL_STATE_VETOED", "{view}");
    deployment.quorate(&["vote", "approve", &id, "-o", "json"]).refused(7, "PROPOSAL_CLOSED");
    let own = deployment.propose("will be withdrawn");
    let view = deployment.json(&["proposal", "withdraw", &own, "--reason", "changed my mind"]);
    assert_eq!(view["proposal"]["state"], "PROPOSAL_STATE_WITHDRAWN", "{view}");
}

#[test]
fn a_pause_is_its_holders_unless_two_operators_end_it() {
    let deployment = Deployment::start();
    deployment.json(&["automation", "pause", "--reason", "CHG-1", "--for", "1h"]);
    let resume = ["automation", "resume", "--reason", "ana is away", "--context", "ben"];
    let alone = deployment.quorate(&[&resume[..], &["-o", "json"]].concat());
    let error = alone.refused(8, "ROLE_NOT_ALLOWED");
    assert!(error.to_string().contains("two operators together"), "{error}");
    let note = deployment.file("ben.note");
    fs::write(&note, deployment.quorate(&[&resume[..], &["--print"]].concat()).good())
        .expect("written");
    let text = text(&note);
    deployment.json(&["automation", "resume", "--note", text, "--context", "chen"]);
    let status = deployment.json(&["status"]);
    assert!(!status.to_string().contains("CHG-1"), "{status}");
}

#[test]
fn a_repeated_request_has_one_effect() {
    let deployment = Deployment::start();
    let id = deployment.propose("voted on twice");
    let request = ["--request-id", "0d2f3a52-6f5e-4f60-9d70-1f2a3b4c5d6e"];
    let vote = [&["vote", "approve", &id][..], &request].concat();
    let first = deployment.json(&vote);
    let again = deployment.json(&vote);
    // The earlier answer, not "already counted": the state machine remembers the request.
    assert_eq!(
        (&first["tally"], &first["alreadyCounted"]),
        (&again["tally"], &again["alreadyCounted"])
    );
    assert_eq!(again["tally"]["have"], 1, "{again}");
    let pause = [&["automation", "pause", "--reason", "x", "--for", "1h"][..], &request].concat();
    deployment.quorate(&[&pause[..], &["-o", "json"]].concat()).refused(2, "REQUEST_ID_REUSED");
}

#[test]
fn a_coordinator_joins_by_the_operators_charter_and_by_nothing_else() {
    let deployment = Deployment::start();
    let key = deployment.file("cosign.pem");
    let name = "example.org/prod/coordinator/4";
    let make = ["key", "generate", "--purpose", "cosign", "--name", name, "--out", text(&key)];
    quorate(&make).good();
    let next = deployment.file("next.charter");
    let vkey = key.with_extension("pem.vkey");
    let charter = deployment.quorate(&["quorum", "add", text(&vkey), "--faults", "1"]).good();
    assert!(charter.contains("\nepoch 2\n") && charter.contains("\nthreshold 3\n"), "{charter}");
    fs::write(&next, charter).expect("written");
    let sign = |name: &str| {
        let key = deployment.prod().join("operators").join(name).join("key.pem");
        let note = quorate(&["charter", "sign", "--key", text(&key), text(&next)]).good();
        let path = deployment.file(&format!("{name}.note"));
        fs::write(&path, note).expect("written");
        path
    };
    let (ana, ben) = (sign("ana"), sign("ben"));
    let one =
        ["charter", "amend", "--note", text(&ana), "--confirm=example.org/prod", "-o", "json"];
    let alone = deployment.quorate(&one);
    assert!(alone.code != Some(0), "one operator of three amended the charter: {}", alone.out);
    let both = ["charter", "amend", "--note", text(&ana), "--note", text(&ben)];
    let refused = deployment.quorate(&[&both[..], &["-o", "json"]].concat());
    refused.refused(6, "NOT_CONFIRMED");
    let view = deployment.json(&[&both[..], &["--confirm=example.org/prod"]].concat());
    assert_eq!(view["charter"]["epoch"], "2", "{view}");
    let shown = deployment.json(&["charter", "show"]);
    assert_eq!(shown["charter"]["coordinators"].as_array().map(Vec::len), Some(4), "{shown}");
}

#[test]
fn a_watch_says_where_to_resume_when_it_is_interrupted() {
    use std::io::{BufRead, BufReader, Read};
    let deployment = Deployment::start();
    deployment.decide();
    let mut watch = command()
        .args(["decision", "watch", "-o", "jsonl"])
        .env("QUORATE_CONFIG", deployment.prod().join("config.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("readable");
    let decision: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(decision["token"], "1.1");
    let killed = Command::new("kill").args(["-INT", &watch.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let status = watch.wait().expect("it ends");
    let mut words = String::new();
    watch.stderr.take().expect("piped").read_to_string(&mut words).expect("readable");
    assert_eq!(status.code(), Some(130), "{words}");
    assert!(words.contains("resume with: quorate decision watch --from "), "{words}");
}
