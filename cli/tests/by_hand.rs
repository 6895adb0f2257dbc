//! `docs/verify-certificate.sh` accepts a good certificate and refuses each kind of bad one, with
//! bash, openssl and coreutils only. Where one of them is missing, the test says so and fails: the
//! document promises that they are enough.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli/ lies in the root").to_owned()
}

fn example(name: &str) -> PathBuf {
    root().join("proto/attest/tests/vectors/examples").join(name)
}

fn check(certificate: &Path, charter: &Path) -> Output {
    Command::new("bash")
        .arg(root().join("docs/verify-certificate.sh"))
        .args([certificate, charter])
        .output()
        .expect("bash runs")
}

/// The reason on standard error, and the exit code.
fn refusal(certificate: &[u8], charter: &[u8]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let (proof, leaf) = (directory.path().join("1.tlog-proof"), directory.path().join("charter"));
    std::fs::write(&proof, certificate).expect("written");
    std::fs::write(&leaf, charter).expect("written");
    let output = check(&proof, &leaf);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn good() -> (String, String) {
    let read = |name| std::fs::read_to_string(example(name)).expect("an example");
    (read("decision.tlog-proof"), read("charter.leaf"))
}

#[test]
fn a_good_certificate_is_accepted_with_names() {
    let output = check(&example("decision.tlog-proof"), &example("charter.leaf"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["cosignatures   3, needed 3", "inclusion      leaf 1 of 3", "votes          5 validators"]
    {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

/// Replaces the first occurrence, which must be there.
fn with(text: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(text.contains(from), "{from:?} is not in the example");
    text.replacen(from, to, 1).into_bytes()
}

/// A name for people, the certificate, the charter, and the words of the refusal.
type Case = (&'static str, Vec<u8>, Vec<u8>, &'static str);

/// Certificates changed in one place, with the true charter.
fn bad_certificates(proof: &str, charter: &str) -> Vec<Case> {
    let lines: Vec<&str> = proof.lines().collect();
    let (extra, hash) = (lines[1], lines[3]);
    let mut flipped = extra.to_owned();
    let at = "extra ".len() + 40;
    let letter = if extra.as_bytes()[at] == b'A' { "B" } else { "A" };
    flipped.replace_range(at..=at, letter);
    let last = format!("{}\n", lines.iter().rfind(|l| l.contains("/coordinator/")).expect("one"));
    let first = format!("{}\n", lines.iter().find(|l| l.contains("/coordinator/")).expect("one"));
    let without_extra = with(proof, &format!("{extra}\n"), "");
    let twice = with(proof, &last, &first);
    let double = with(proof, &format!("{hash}\n"), &format!("{hash}\n{hash}\n"));
    let cases: Vec<(&'static str, Vec<u8>, &'static str)> = vec![
        ("another index", with(proof, "index 1\n", "index 0\n"), "signed tree"),
        ("an index beyond", with(proof, "index 1\n", "index 9\n"), "not below"),
        ("another leaf", with(proof, extra, &flipped), "signed tree"),
        ("no leaf", without_extra, "no leaf"),
        ("a hash too few", with(proof, &format!("{hash}\n"), ""), "too short"),
        ("a hash too many", double, "too long"),
        ("a cosignature too few", with(proof, &last, ""), "only 2 cosignatures"),
        ("one cosignature twice", twice, "only 2 cosignatures"),
    ];
    let charter = charter.as_bytes();
    cases.into_iter().map(|(name, proof, why)| (name, proof, charter.to_vec(), why)).collect()
}

#[test]
fn each_kind_of_bad_certificate_is_refused_for_its_reason() {
    let (proof, charter) = good();
    let bytes = || proof.clone().into_bytes();
    let mut cases = bad_certificates(&proof, &charter);
    let other_rule = with(&charter, "rule * ban-cap 1", "rule * ban-cap 9");
    let lower = with(&charter, "threshold 3", "threshold 1");
    cases.push(("another charter", bytes(), other_rule, "is false"));
    cases.push(("a lower threshold", bytes(), lower, "is false"));
    cases.push(("no charter", bytes(), bytes(), "no charter"));
    for (name, certificate, charter, reason) in cases {
        let (code, words) = refusal(&certificate, &charter);
        assert_eq!(code, Some(3), "{name}: {words}");
        assert!(words.contains("REFUSED") && words.contains(reason), "{name}: {words}");
    }
}

#[test]
fn without_two_files_it_prints_its_usage() {
    let output = Command::new("bash")
        .arg(root().join("docs/verify-certificate.sh"))
        .output()
        .expect("bash runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: verify-certificate.sh"));
}

#[test]
fn every_step_of_the_document_can_be_pasted() {
    let document =
        std::fs::read_to_string(root().join("docs/verify-by-hand.md")).expect("it is there");
    let (_, steps) = document.split_once("## Step by step").expect("the chapter");
    let (steps, _) = steps.split_once("## What a shell does not check").expect("the next chapter");
    let commands: Vec<&str> = steps.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() > 15, "only {} commands", commands.len());
    let directory = tempfile::tempdir().expect("a directory");
    for (from, to) in [("decision.tlog-proof", "1.tlog-proof"), ("charter.leaf", "charter.leaf")] {
        std::fs::copy(example(from), directory.path().join(to)).expect("copied");
    }
    let output = Command::new("bash")
        .args(["-euc", &commands.join("\n")])
        .current_dir(directory.path())
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Signature Verified Successfully"), "{text}");
    let root = std::fs::read_to_string(directory.path().join("checkpoint")).expect("a checkpoint");
    let root = root.lines().nth(2).expect("the root");
    assert!(text.lines().any(|line| line == root), "the path does not end in {root}:\n{text}");
}
