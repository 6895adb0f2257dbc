//! Commands that ask nobody: keys, charters, votes, verification. Exit codes and reasons are exact.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{command, example, quorate, text};

fn init(directory: &Path) -> PathBuf {
    let prod = directory.join("prod");
    let arguments = ["init", text(&prod), "--network", "example.org/prod", "--cluster", "shop"];
    quorate(&[&arguments[..], &["--members", "n1,n2,n3,n4"]].concat()).good();
    prod
}

fn key(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(format!("{name}.pem"));
    let full = format!("example.org/prod/operator/{name}");
    quorate(&["key", "generate", "--name", &full, "--out", text(&path)]).good();
    path
}

#[test]
fn a_key_is_private_never_overwritten_and_never_printed() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = key(directory.path(), "ana");
    let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    let secret = fs::read_to_string(&path).expect("a key");
    let body = secret.lines().nth(1).expect("base64");
    let shown = quorate(&["key", "show", text(&path), "-o", "json"]).good();
    assert!(!shown.contains(body));
    let view: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(view["name"], "example.org/prod/operator/ana");
    let public = quorate(&["key", "show", text(&path.with_extension("pem.vkey")), "-o", "json"]);
    assert_eq!(public.good(), shown);
    let again = ["key", "generate", "--name", "a/operator/b", "--out", text(&path), "-o", "json"];
    quorate(&again).refused(1, "FILE_EXISTS");
    assert_eq!(fs::read_to_string(&path).expect("a key"), secret);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
    let error = quorate(&["key", "show", text(&path), "-o", "json"]).refused(1, "FILE_FAILED");
    assert!(error["message"].as_str().is_some_and(|words| words.contains("chmod 600")), "{error}");
}

#[test]
fn init_writes_a_whole_deployment_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    for file in [
        "charter.leaf",
        "config.toml",
        "operators/ana/key.pem",
        "coordinator-3/coordinator.toml",
        "coordinator-3/cosign.pem",
        "agent-n4/agent.toml",
        "agent-n4/vote.pem",
        "agent-n4/tls.key",
    ] {
        assert!(prod.join(file).is_file(), "{file} is missing");
    }
    let arguments = [
        "init",
        text(&prod),
        "--network",
        "example.org/prod",
        "--cluster",
        "shop",
        "--members",
        "n1",
    ];
    let error = quorate(&[&arguments[..], &["-o", "json"]].concat()).refused(1, "FILE_EXISTS");
    assert_eq!(error["help"], "choose another directory");
    let leftovers: Vec<_> = fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(leftovers, ["prod"]);
}

#[test]
fn init_refuses_what_could_not_work_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = directory.path().join("prod");
    let base = ["init", text(&prod), "--cluster", "shop", "-o", "json"];
    for more in [
        &["--network", "example.org/demo", "--members", "n1,n2,n3"][..],
        &["--network", "example.org/prod", "--members", "n1,n2,n3", "--coordinators", "6"],
        &["--network", "example.org/prod", "--members", "n1,n2,n3", "--faults", "1"],
        &["--network", "example.org/prod", "--members", "n1,n2,n3", "--operators", "ana"],
        &["--network", "example.org/prod", "--members", "n1,n2,n3", "--hosts", "a,b"],
        &["--network", "Example", "--members", "n1,n2,n3"],
    ] {
        quorate(&[&base[..], more].concat()).refused(2, "BAD_ARGUMENT");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "{more:?}");
    }
}

/// A vote on the example's proposal, signed offline.
fn sign(key: &Path, proposal: &Path, more: &[&str]) -> support::Ran {
    let arguments = ["vote", "sign", "--key", text(key), text(proposal), "-o", "json"];
    quorate(&[&arguments[..], more].concat())
}

fn proposal(directory: &Path) -> PathBuf {
    let leaf = fs::read_to_string(example("decision.leaf")).expect("an example");
    let block = leaf.split("\n\n").nth(1).expect("the proposal's block");
    let path = directory.join("p.txt");
    fs::write(&path, format!("{block}\n")).expect("written");
    path
}

#[test]
fn a_vote_signed_offline_is_a_note_and_the_other_verdict_is_never_signed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, proposal) = (key(directory.path(), "ana"), proposal(directory.path()));
    let note = sign(&key, &proposal, &[]).good();
    assert!(note.starts_with("quorate-vote/v1\n") && note.contains("\nverdict approve\n"));
    assert_eq!(sign(&key, &proposal, &[]).good(), note, "the same text is signed again");
    let error = sign(&key, &proposal, &["--reject"]).refused(7, "WOULD_EQUIVOCATE");
    let words = error["message"].as_str().unwrap_or_default();
    assert!(words.contains("has already signed APPROVE on sha256:"), "{error}");
    let refused = quorate(&["vote", "sign", "--reject", "--key", text(&key), text(&proposal)]);
    assert!(!refused.err.contains("operator/ana"), "nothing was signed: {}", refused.err);
    let text = fs::read_to_string(&proposal).expect("a text");
    fs::write(&proposal, text.replace("kind ban-peer", "kind  ban-peer")).expect("written");
    sign(&key, &proposal, &[]).refused(3, "VERIFICATION_FAILED");
}

#[test]
fn a_ban_without_a_readable_time_to_live_is_not_signed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, proposal) = (key(directory.path(), "ana"), proposal(directory.path()));
    let right = fs::read_to_string(&proposal).expect("a text");
    let line = "param ttl-ms 3600000\n";
    assert!(right.contains(line), "{right}");
    for wrong in ["", "param ttl-ms 0\n", "param ttl-ms 1h\n", "param ttl-ms 1\nparam ttl-ms 2\n"] {
        fs::write(&proposal, right.replace(line, wrong)).expect("written");
        for more in [&[][..], &["--reject"]] {
            let error = sign(&key, &proposal, more).refused(2, "BAD_ARGUMENT");
            let words = error["message"].as_str().unwrap_or_default();
            assert!(words.starts_with("nobody opens this proposal: "), "{wrong:?}: {words}");
            assert!(words.ends_with("for example --param ttl-ms=600000"), "{wrong:?}: {words}");
            let help = error["help"].as_str().unwrap_or_default();
            assert!(help.contains("quorate proposal create"), "{help}");
        }
    }
    fs::write(&proposal, &right).expect("written");
    sign(&key, &proposal, &[]).good();
}

#[test]
fn operators_sign_one_charter_one_after_the_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    let show = ["charter", "show", "--file", text(&prod.join("charter.leaf")), "--text"]
        .map(str::to_owned);
    let next = directory.path().join("next.charter");
    fs::write(&next, quorate(&show.each_ref().map(String::as_str)).good()).expect("written");
    let mut from = next;
    for (at, name) in ["ana", "ben"].into_iter().enumerate() {
        let key = prod.join("operators").join(name).join("key.pem");
        let note = quorate(&["charter", "sign", "--key", text(&key), text(&from)]).good();
        assert_eq!(note.matches("\n— example.org/prod/operator/").count(), at + 1, "{note}");
        from = directory.path().join(format!("{name}.note"));
        fs::write(&from, note).expect("written");
    }
    let shown = quorate(&["charter", "show", "--file", text(&from), "-o", "json"]).good();
    let view: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(view["charter"]["threshold"], 2);
}

/// An export made of the example's leaves and their cosigned head.
fn export(directory: &Path) -> PathBuf {
    let leaves = ["charter.leaf", "decision.leaf", "void.leaf"];
    let proof = fs::read_to_string(example("decision.tlog-proof")).expect("an example");
    let (_, head) = proof.split_once("\n\n").expect("the head");
    let mut log = String::from("quorate-log/v1\n");
    for (at, name) in leaves.iter().enumerate() {
        let bytes = fs::read(example(name)).expect("an example");
        let index = quorate_attest::number::LeafIndex::new(at as u64).expect("an index");
        log += &quorate_attest::export::export_leaf(index, &bytes);
    }
    let path = directory.join("log.txt");
    fs::write(&path, log + head).expect("written");
    path
}

#[test]
fn an_export_verifies_and_any_changed_byte_is_refused_with_its_entry() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = export(directory.path());
    let charter = example("charter.leaf");
    let arguments = ["log", "verify", text(&path), "--charter", text(&charter), "-o", "json"];
    let view: serde_json::Value = serde_json::from_str(&quorate(&arguments).good()).expect("JSON");
    assert_eq!((&view["verified"], &view["trust"]), (&true.into(), &"pinned".into()));
    assert_eq!((&view["size"], &view["decisions"]), (&"3".into(), &1.into()));
    let unpinned = quorate(&["log", "verify", text(&path), "-o", "json"]).good();
    assert!(unpinned.contains("\"notPinned\""), "{unpinned}");

    let log = fs::read(&path).expect("a log");
    let lines: Vec<usize> = std::iter::once(0)
        .chain(log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
        .collect();
    for at in (0..log.len()).step_by(97) {
        let mut changed = log.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).expect("written");
        let error = quorate(&arguments).refused(3, "VERIFICATION_FAILED");
        let line = lines.iter().filter(|start| **start <= at).count() - 1;
        if (1..=3).contains(&line) {
            assert_eq!(error["metadata"]["entry"], (line - 1).to_string(), "byte {at}: {error}");
        }
    }
}

#[test]
fn a_certificate_verifies_and_names_the_step_that_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let charter = example("charter.leaf");
    let path = directory.path().join("1.tlog-proof");
    let proof = fs::read_to_string(example("decision.tlog-proof")).expect("an example");
    let verify =
        || quorate(&["log", "verify", text(&path), "--charter", text(&charter), "-o", "json"]);
    fs::write(&path, &proof).expect("written");
    let view: serde_json::Value = serde_json::from_str(&verify().good()).expect("JSON");
    assert_eq!((&view["token"], &view["have"]), (&"1.1".into(), &4.into()));
    for (from, to, step) in [
        ("index 1\n", "index 01\n", "1"),
        ("\nquorate.example/testnet/1-0f", "\nquorate.example/testnet/1-0e", "2"),
        ("index 1\n", "index 0\n", "4"),
    ] {
        fs::write(&path, proof.replacen(from, to, 1)).expect("written");
        let error = verify().refused(3, "VERIFICATION_FAILED");
        assert_eq!(error["metadata"]["step"], step, "{from:?} → {to:?}: {error}");
    }
    fs::write(&path, &proof).expect("written");
    quorate(&["log", "verify", text(&path), "-o", "json"]).refused(2, "BAD_ARGUMENT");
}

#[test]
fn errors_obey_the_format_whatever_is_wrong() {
    for arguments in [
        &["status", "-o", "json"][..],
        &["status", "--nonsense", "-o", "json"],
        &["-o=json", "nonsense"],
        &["proposal", "create", "-ojson"],
        &["key", "show", "/nonexistent", "-o", "json"],
    ] {
        let ran = quorate(arguments);
        assert!(ran.out.is_empty() && ran.code != Some(0), "{arguments:?}: {}", ran.out);
        let error: serde_json::Value = serde_json::from_str(&ran.err)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", ran.err));
        let error = &error["error"];
        for field in ["code", "reason", "message"] {
            assert!(
                error[field].as_str().is_some_and(|words| !words.is_empty()),
                "{field}: {error}"
            );
        }
    }
    let by_environment: support::Ran =
        command().args(["status"]).env("QUORATE_OUTPUT", "json").output().expect("runs").into();
    by_environment.refused(2, "CONFIG_INVALID");
}

#[test]
fn without_a_quorum_the_exit_code_is_4_and_nothing_hangs() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    let config = prod.join("config.toml");
    let base = ["--client-config", text(&config), "--timeout", "1s", "-o", "json"];
    for more in [&["status"][..], &["decision", "list"], &["budget", "show"], &["quorum", "list"]] {
        let error = quorate(&[&base[..], more].concat()).refused(4, "NO_QUORUM");
        let words = error["message"].as_str().unwrap_or_default();
        let want = "0 of 3 coordinators answered, a majority is 2; not answering: 1 (connection \
                    refused), 2 (connection refused), 3 (connection refused)";
        assert_eq!(words, want);
        let help = error["help"].as_str().unwrap_or_default();
        assert!(help.contains("quorate coordinator run") && !help.contains("--stale"), "{help}");
    }
    quorate(&[&base[..], &["--context", "zoe", "status"]].concat()).refused(2, "CONFIG_INVALID");
}

#[test]
fn a_demo_directory_is_refused_by_the_real_servers() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    let charter = prod.join("coordinator-1/charter.leaf");
    let leaf = fs::read_to_string(&charter).expect("a charter");
    fs::write(&charter, leaf.replace("example.org/prod", "example.org/demo")).expect("written");
    let config = prod.join("coordinator-1/coordinator.toml");
    let run = ["coordinator", "run", "--config", text(&config), "-o", "json"];
    quorate(&run).refused(2, "CONFIG_INVALID");
}

#[test]
fn a_key_that_others_can_read_is_refused_in_the_same_words_whatever_it_is_for() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    let ana = prod.join("operators/ana");
    for file in ["tls.key", "key.pem"] {
        let path = ana.join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    }
    let show = ["key", "show", text(&ana.join("key.pem")), "-o", "json"].map(str::to_owned);
    quorate(&show.each_ref().map(String::as_str)).refused(1, "FILE_FAILED");
    let ask = ["status", "--endpoints", "1=127.0.0.1:1", "--identity", text(&ana), "-o", "json"];
    quorate(&ask).refused(1, "FILE_FAILED");
}

#[test]
fn a_server_that_does_not_start_names_its_files_and_the_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("none.toml");
    for server in ["coordinator", "agent"] {
        let run = [server, "run", "--config", text(&missing), "-o", "json"];
        let error = quorate(&run).refused(2, "CONFIG_INVALID");
        let words = error["message"].as_str().unwrap_or_default();
        assert_eq!(words.matches("none.toml").count(), 1, "{words}");
        assert!(error["help"].as_str().is_some_and(|help| help.contains("quorate init")));
    }
    let prod = init(directory.path());
    for (server, folder) in [("coordinator", "coordinator-1"), ("agent", "agent-n1")] {
        let folder = prod.join(folder);
        fs::remove_dir_all(folder.join("data")).expect("removed");
        let config = folder.join(format!("{server}.toml"));
        let run = [server, "run", "--config", text(&config), "-o", "json"];
        let error = quorate(&run).refused(1, "SERVER_FAILED");
        let words = error["message"].as_str().unwrap_or_default();
        assert!(words.contains(server) && words.contains(text(&folder.join("data"))), "{words}");
        assert!(error["help"].as_str().is_some_and(|help| help.contains("data_dir")), "{error}");
    }
}

#[test]
fn a_server_that_runs_already_is_said_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    for (server, folder, file) in
        [("coordinator", "coordinator-1", "raft.redb"), ("agent", "agent-n1", "journal.redb")]
    {
        let folder = prod.join(folder);
        let held = fs::File::open(folder.join("data").join(file)).expect("a file of the server");
        held.lock().expect("as the other process holds it");
        let config = folder.join(format!("{server}.toml"));
        let run = [server, "run", "--config", text(&config), "-o", "json"];
        let error = quorate(&run).refused(1, "SERVER_FAILED");
        let words = error["message"].as_str().unwrap_or_default();
        assert!(words.ends_with("it is in use by another process"), "{words}");
        assert!(
            error["help"].as_str().is_some_and(|help| help.contains("runs already")),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_named_once_by_every_command_that_reads_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = init(directory.path());
    for (server, folder, wrong) in [
        ("coordinator", "coordinator-1", "[raft]\nheartbeat_ms = 1\n"),
        ("coordinator", "coordinator-1", "[nonsense\n"),
        ("agent", "agent-n1", "[nonsense\n"),
    ] {
        let config = prod.join(folder).join(format!("{server}.toml"));
        let right = fs::read_to_string(&config).expect("a configuration");
        fs::write(&config, format!("{right}\n{wrong}")).expect("written");
        let run = [server, "run", "--config", text(&config), "-o", "json"];
        let error = quorate(&run).refused(2, "CONFIG_INVALID");
        let words = error["message"].as_str().unwrap_or_default();
        let names = words.split_whitespace().map(|word| word.trim_end_matches(':'));
        assert_eq!(names.filter(|name| *name == text(&config)).count(), 1, "{words}");
        fs::write(&config, right).expect("written");
    }
    let missing = directory.path().join("none.toml");
    let enrol = ["agent", "enrol", "--new-journal", text(&missing), "-o", "json"];
    let error = quorate(&enrol).refused(2, "CONFIG_INVALID");
    assert!(error["help"].as_str().is_some_and(|help| help.contains("quorate init")), "{error}");
}

#[test]
fn what_a_small_charter_cannot_lose_is_said_once_for_each_class_with_the_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let prod = directory.path().join("prod");
    let arguments = ["init", text(&prod), "--network", "example.org/prod", "--cluster", "shop"];
    let more = ["--members", "n1,n2,n3", "-o", "json"];
    let out = quorate(&[&arguments[..], &more].concat()).good();
    let view: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let warnings = view["warnings"].as_array().expect("a list");
    assert!((1..=3).contains(&warnings.len()), "{warnings:#?}");
    for warning in warnings {
        let words = warning.as_str().unwrap_or_default();
        assert!(words.starts_with("losing ") && words.ends_with("avoids it"), "{words}");
    }
}
