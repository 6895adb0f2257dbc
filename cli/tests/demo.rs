//! The demo as CI runs it: real processes, the story to its end, the guarantees checked, nothing
//! left.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{command, quorate, text};

/// The events of a demo that was played to its end.
fn events(out: &str) -> Vec<serde_json::Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn count(events: &[serde_json::Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

/// A demo is a dozen processes: on two cores one is played at a time.
#[expect(clippy::disallowed_types, reason = "tests are threads, and no task owns them")]
fn stage() -> impl Drop {
    static STAGE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // A failed demo leaves nothing behind that the next one could stumble over.
    STAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Processes whose command line names this directory.
fn processes_of(directory: &Path) -> Vec<u32> {
    let wanted = text(directory);
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(wanted))
        })
        .collect()
}

#[track_caller]
fn assert_gone(directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes_of(directory);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Plays the whole story and checks what it told.
fn plays(coordinators: &str) {
    let _alone = stage();
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("demo");
    let out = quorate(&[
        "demo",
        "--assert",
        "--json",
        "--port",
        "0",
        "--coordinators",
        coordinators,
        "--keep",
        text(&kept),
    ])
    .good();
    let events = events(&out);
    for name in [
        "memberKilled",
        "certificate",
        "healed",
        "lie",
        "evidence",
        "waiting",
        "leaderKilled",
        "newLeader",
        "back",
        "summary",
    ] {
        assert_eq!(count(&events, name), 1, "{name} in:\n{out}");
    }
    let guarantees: Vec<_> = events.iter().filter(|event| event["event"] == "guarantee").collect();
    assert!(guarantees.len() >= 9, "{out}");
    assert!(guarantees.iter().all(|event| event["holds"] == true), "{out}");
    // What the demo verified, anybody can: the export that it kept.
    let charter = kept.join("charter.leaf");
    let log = kept.join("log.txt");
    quorate(&["log", "verify", text(&log), "--charter", text(&charter)]).good();
    // Its directory is worth nothing to a real server.
    let config = kept.join("coordinator-1/coordinator.toml");
    quorate(&["coordinator", "run", "--config", text(&config), "-o", "json"])
        .refused(2, "CONFIG_INVALID");
    assert_gone(&kept);
}

#[test]
fn three_coordinators_play_the_story_and_every_guarantee_holds() {
    plays("3");
}

#[test]
#[ignore = "half a minute; run by .ci/run"]
fn four_coordinators_play_the_story_and_every_guarantee_holds() {
    plays("4");
}

#[test]
fn a_busy_port_is_named_before_anything_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("demo");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let ran = quorate(&["demo", "--port", &port, "--keep", text(&kept), "-o", "json"]);
    let error = ran.refused(1, "PORT_BUSY");
    assert_eq!(error["metadata"]["port"], port);
    assert!(!kept.exists());
}

/// Starts a demo, waits until it is up, ends it by `signal`, and expects nothing to be left.
fn ends_by(signal: &str) {
    let _alone = stage();
    let directory = tempfile::tempdir().expect("a directory");
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let mut demo = command()
        .args(["demo", "--port", "0", "--duration", "300s"])
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Five members, three coordinators, five agents.
    while processes_of(&temporary).len() < 13 {
        assert!(Instant::now() < deadline, "only {:?}", processes_of(&temporary));
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = Command::new("kill").args([signal, &demo.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let status = demo.wait().expect("the demo ends");
    assert!(!status.success());
    assert_gone(&temporary);
    if signal != "-KILL" {
        let left: Vec<_> = std::fs::read_dir(&temporary).expect("a directory").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn ctrl_c_leaves_neither_a_process_nor_a_file() {
    ends_by("-INT");
}

#[test]
fn a_killed_demo_leaves_no_process() {
    ends_by("-KILL");
}

#[test]
fn a_broken_guarantee_is_named_and_ends_with_3() {
    use std::io::{BufRead, BufReader, Read, Write};
    let _alone = stage();
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("demo");
    let mut demo = command()
        .args([
            "demo",
            "--assert",
            "--json",
            "--port",
            "0",
            "--duration",
            "20s",
            "--keep",
            text(&kept),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let is_back = |line: &str| line.contains("\"event\":\"back\"");
    let mut err = String::new();
    let mut told = lines.by_ref().map(|line| line.expect("readable"));
    if !told.any(|line| is_back(&line)) {
        demo.stderr.take().expect("piped").read_to_string(&mut err).expect("readable");
        panic!("the story ended before its last act: {err}");
    }
    // The members' own records say now that somebody started each of them once more.
    for member in 1..=5 {
        let record = kept.join(format!("member-n{member}/data/starts"));
        let mut file = std::fs::OpenOptions::new().append(true).open(record).expect("a record");
        writeln!(file, "1 1").expect("written");
    }
    let rest: Vec<String> = lines.map(|line| line.expect("readable")).collect();
    demo.stderr.take().expect("piped").read_to_string(&mut err).expect("readable");
    let ran =
        support::Ran { code: demo.wait().expect("it ends").code(), out: rest.join("\n"), err };
    assert!(ran.out.contains("\"holds\":false"), "{}", ran.out);
    let error = ran.refused(3, "GUARANTEE_BROKEN");
    assert!(
        error["message"].as_str().is_some_and(|words| words.contains("single-effect")),
        "{error}"
    );
    assert_gone(&kept);
}
