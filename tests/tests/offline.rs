//! What anyone can check without a server: a whole log, and one certificate with `openssl` alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::export::{ExportRefused, Root};
use quorate_attest::head::CosignedHead;
use quorate_attest::key::CosignSigner;
use quorate_attest::merkle::{Head, MemoryHashes, prove_inclusion, root_at};
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_attest::proof::TlogProof;
use quorate_tests::binary;
use quorate_tests::client::{now, random};
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::log::{WholeLog, verify_export};
use quorate_tests::process::code_of;
use quorate_tests::scenario::carry_out;
use quorate_tests::seed::Seed;

/// Positions changed in the plain test run; the ignored test changes every one.
const SAMPLE: usize = 500;

/// A deployment that has decided twice, and its exported log.
struct Exported {
    deployment: Deployment,
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Exported {
    async fn make() -> Self {
        let mut deployment = Options { adapter: Adapter::Counted, ..Options::of(3) }.build();
        deployment.start().await;
        drop(carry_out(&deployment, "service:one", "n1").await);
        let (_, number) = carry_out(&deployment, "service:two", "n2").await;
        let first = deployment.operator("o1");
        let decision = first.decision(&deployment.cluster, number).await.expect("a decision");
        // With the outcome behind it.
        deployment.certified(decision.leaf_index + 2).await;
        let bytes = deployment.stdout("o1", &["log", "export"]);
        let file = deployment.root.join("log.txt");
        std::fs::write(&file, &bytes).expect("the export is kept");
        Self { deployment, file, bytes }
    }

    fn charter(&self) -> PathBuf {
        self.deployment.root.join("charter.leaf")
    }

    /// `quorate log verify` of some bytes, as a stranger to the deployment.
    fn verify(&self, bytes: &[u8]) -> Output {
        let file = self.file.with_extension("changed");
        std::fs::write(&file, bytes).expect("the changed file");
        let charter = self.charter();
        let arguments =
            ["log", "verify", text_of(&file), "--charter", text_of(&charter), "-o", "json"];
        binary::run(&arguments, None)
    }

    /// Which entry the byte at a position belongs to: `None` for the header, the number of entries for
    /// the head.
    fn entry_at(&self, position: usize) -> Option<usize> {
        let line = self.bytes[..position].iter().filter(|byte| **byte == b'\n').count();
        line.checked_sub(1).map(|entry| entry.min(self.entries()))
    }

    fn entries(&self) -> usize {
        let text = std::str::from_utf8(&self.bytes).expect("text");
        text.lines().filter(|line| line.starts_with("leaf ")).count()
    }

    /// Changes one byte and verifies in this process.
    ///
    /// # Panics
    /// The change is not noticed, or another entry is named.
    fn one_change_is_noticed(&self, position: usize, by: u8) {
        let mut changed = self.bytes.clone();
        changed[position] ^= by;
        let root = Root::Pinned(self.deployment.charter.statement.id());
        let Err(refused) = verify_export(&changed, root) else {
            panic!("byte {position} changed by {by:#04x} and nobody noticed");
        };
        let named = refused.entry().map(|index| usize::try_from(index.get()).expect("small"));
        match self.entry_at(position) {
            None => assert!(matches!(refused, ExportRefused::Header { .. }), "{refused}"),
            // The head is not one of the entries: what is said of it names itself.
            Some(entry) if entry == self.entries() => {
                assert!(
                    named.is_none_or(|named| named == entry),
                    "head byte {position}: {refused}"
                );
            }
            Some(entry) => assert_eq!(named, Some(entry), "byte {position}: {refused}"),
        }
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("an UTF-8 path")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_log_verifies_and_a_changed_byte_names_its_entry() {
    let exported = Exported::make().await;
    let good = exported.verify(&exported.bytes);
    assert_eq!(code_of(good.status), 0, "{}", said(&good));

    let mut seed = Seed::of_this_run("offline");
    let length = exported.bytes.len() as u64;
    for _ in 0..SAMPLE {
        let position = usize::try_from(seed.below(length)).expect("small");
        let by = u8::try_from(1 + seed.below(255)).expect("a byte");
        exported.one_change_is_noticed(position, by);
    }
    // The same by the binary, once in each part: header, every entry, head.
    let mut ends = vec![3];
    ends.extend(
        exported.bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at - 9),
    );
    for position in ends.into_iter().skip(1) {
        let mut changed = exported.bytes.clone();
        changed[position] ^= 1;
        let refused = exported.verify(&changed);
        assert_eq!(code_of(refused.status), 3, "byte {position}: {}", said(&refused));
        if let Some(entry) = exported.entry_at(position).filter(|at| *at < exported.entries()) {
            let named = format!("entry {entry}:");
            assert!(said(&refused).contains(&named), "byte {position}: {}", said(&refused));
        }
    }
    eprintln!("{length} bytes, {} entries, {SAMPLE} changes: all noticed", exported.entries());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "changes each byte of a log: half a minute; run by .ci/run"]
async fn every_single_changed_byte_is_noticed() {
    let exported = Exported::make().await;
    let mut seed = Seed::of_this_run("offline, every byte");
    for position in 0..exported.bytes.len() {
        let by = u8::try_from(1 + seed.below(255)).expect("a byte");
        exported.one_change_is_noticed(position, by);
    }
    eprintln!("{} bytes, each changed: all noticed", exported.bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_early_or_lost_an_entry_is_refused() {
    let exported = Exported::make().await;
    let text = String::from_utf8(exported.bytes.clone()).expect("text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |at: usize| -> String {
        lines.iter().enumerate().filter(|(line, _)| *line != at).map(|(_, line)| *line).collect()
    };
    let cut: String = lines[..exported.entries()].concat();
    let swapped: String = {
        let mut lines = lines.clone();
        lines.swap(2, 3);
        lines.concat()
    };
    for changed in [without(1), without(2), cut, swapped, String::new()] {
        let refused = exported.verify(changed.as_bytes());
        assert_eq!(code_of(refused.status), 3, "{}", said(&refused));
    }
    // Another deployment's charter is not this log's.
    let other = Options::of(3).build();
    let charter = other.root.join("charter.leaf");
    let arguments = ["log", "verify", text_of(&exported.file), "--charter", text_of(&charter)];
    let refused = binary::run(&arguments, None);
    assert_eq!(code_of(refused.status), 3, "{}", said(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_accepts_a_real_certificate_and_refuses_a_changed_one() {
    for tool in ["bash", "openssl", "basenc"] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("SKIPPED: this machine has no {tool}");
            return;
        }
    }
    let exported = Exported::make().await;
    let certificate = exported.deployment.stdout("o1", &["decision", "certificate", "2"]);
    let good = by_shell(&exported, &certificate);
    assert_eq!(code_of(good.status), 0, "{}", said(&good));
    assert!(said(&good).contains("token 1.2"), "{}", said(&good));

    // In every line but the names of signers: a line of an unknown signer is ignored by design.
    let text = String::from_utf8(certificate.clone()).expect("text");
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let position = start + line.trim_end().len().saturating_sub(5);
        start += line.len();
        if line.trim().is_empty() {
            continue;
        }
        let mut changed = certificate.clone();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        let refused = by_shell(&exported, &changed);
        assert_eq!(code_of(refused.status), 3, "byte {position} in {line:?}: {}", said(&refused));
        let own = exported.verify(&changed);
        assert_eq!(code_of(own.status), 3, "byte {position} in {line:?}: {}", said(&own));
    }
}

/// What a lying quorum could hand out: a leaf of anybody's making behind the charter, under the genuine
/// cosignatures of all coordinators.
fn certified_by_all(exported: &Exported, leaf: &str) -> Vec<u8> {
    let charter = std::fs::read(exported.charter()).expect("the charter");
    let mut hashes = MemoryHashes::new();
    hashes.append(&charter);
    hashes.append(leaf.as_bytes());
    let size = TreeSize::new(2).expect("a size");
    let root = root_at(&hashes, size).expect("its root");
    let origin = exported.deployment.charter.statement.origin.clone();
    let checkpoint = Checkpoint::new(origin, Head { size, root });
    let sign = |key: &CosignSigner| key.cosign(&checkpoint, now().to_cosign_time()).to_line();
    let lines = exported.deployment.stolen_keys().iter().map(sign).collect();
    let index = LeafIndex::new(1).expect("an index");
    let path = prove_inclusion(&hashes, index, size).expect("a path");
    let head = CosignedHead { checkpoint, lines };
    TlogProof::new(leaf.as_bytes().to_vec(), index, path, head).expect("a proof").to_bytes()
}

/// The votes are what no coordinator can make up: shell and program check them behind the cosignatures.
#[tokio::test(flavor = "multi_thread")]
async fn votes_made_up_under_genuine_cosignatures_are_refused_by_shell_and_program() {
    let exported = Exported::make().await;
    let log = WholeLog::read(&exported.deployment.operator("o1")).await;
    let good = String::from_utf8(log.leaves[1].clone()).expect("text");
    let good = good.as_str();
    let certificate = certified_by_all(&exported, good);
    for accepted in [by_shell(&exported, &certificate), exported.verify(&certificate)] {
        assert_eq!(code_of(accepted.status), 0, "{}", said(&accepted));
    }

    let (rest, vote) = good.rsplit_once("\n\n").expect("the lines of the votes");
    let first = vote.lines().next().expect("a vote");
    let flipped = {
        let at = first.len() - 10;
        let by = if first.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{by}{}", &first[..at], &first[at + 1..])
    };
    let (words, votes) = rest.rsplit_once("\n\n").expect("the text of the votes");
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from:?} is not in\n{good}");
        good.replacen(from, to, 1)
    };
    let in_votes = |from: &str, to: &str| {
        assert!(votes.contains(from), "{from:?} is not in\n{votes}");
        format!("{words}\n\n{}\n\n{vote}", votes.replacen(from, to, 1))
    };
    let rows = [
        ("a flipped bit", replaced(first, &flipped), "is false"),
        ("a vote twice", replaced(first, &format!("{first}\n{first}")), "there twice"),
        ("a stranger's vote", replaced("/operator/o1 ", "/operator/o9 "), "not in the charter"),
        ("another target", replaced("service:one", "service:two"), "another proposal"),
        ("rejections", in_votes("verdict approve", "verdict reject"), "do not approve"),
        ("votes of another epoch", in_votes("epoch 1", "epoch 2"), "another epoch"),
        ("a decision of another epoch", replaced("epoch 1", "epoch 2"), "another epoch"),
    ];
    for (what, leaf, why) in rows {
        let certificate = certified_by_all(&exported, &leaf);
        let refused = by_shell(&exported, &certificate);
        assert_eq!(code_of(refused.status), 3, "{what}: {}", said(&refused));
        assert!(said(&refused).contains(why), "{what}: {}", said(&refused));
        let own = exported.verify(&certificate);
        assert_eq!(code_of(own.status), 3, "{what}: {}", said(&own));
    }
    // One vote too few: who had to approve is the program's to know, and it refuses.
    let one_short = certified_by_all(&exported, &replaced(&format!("{first}\n"), ""));
    let own = exported.verify(&one_short);
    assert_eq!(code_of(own.status), 3, "{}", said(&own));
}

fn by_shell(exported: &Exported, certificate: &[u8]) -> Output {
    let name = random::<4>().map(|byte| byte.to_string()).join("-");
    let file = exported.deployment.root.join(format!("{name}.tlog-proof"));
    std::fs::write(&file, certificate).expect("the certificate is kept");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify-certificate.sh");
    let arguments = [docs, file, exported.charter()];
    Command::new("bash").args(arguments).output().expect("bash runs")
}

/// Both outputs of a command.
fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}
