//! `log verify`: an export or a certificate, offline and streaming.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use quorate_attest::certificate::{Trusted, verify_certificate};
use quorate_attest::charter::Charter;
use quorate_attest::export::{ExportRefused, ExportVerifier, Root, VerifiedExport};
use quorate_attest::id::CharterId;
use quorate_attest::leaf::{Leaf, LeafKind};
use quorate_attest::log_time::{CosignTime, Span};
use quorate_attest::number::LeafIndex;
use quorate_attest::signed::Signed;
use serde::Serialize;

use crate::command::Env;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::{Paper, Tone, View};
use crate::{Done, clock, files};

/// How much of a file is read at once.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// How a tlog-proof file begins.
const PROOF_HEADER: &[u8] = b"c2sp.org/tlog-proof@v1\n";

/// Arguments of `log verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// An export (`quorate log export`) or a certificate (a tlog-proof file)
    file: PathBuf,
    /// The charter you trust; without one an export is only consistent in itself
    #[arg(long, value_name = "FILE")]
    charter: Option<PathBuf>,
}

/// Whether the verifier brought the root of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Trust {
    Pinned,
    NotPinned,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogView {
    verified: bool,
    trust: Trust,
    origin: String,
    #[serde(serialize_with = "crate::output::value::text")]
    epoch: u64,
    charter: String,
    #[serde(serialize_with = "crate::output::value::text")]
    size: u64,
    root: String,
    cosigned_by: Vec<String>,
    #[serde(serialize_with = "crate::output::value::instant")]
    as_of: u64,
    decisions: usize,
    voids: usize,
    outcomes: usize,
    evidence: usize,
}

impl View for LogView {
    fn draw(&self, paper: &mut Paper) {
        let good = match self.trust {
            Trust::Pinned => paper.tone(Tone::Good, "✔ verified against the pinned charter"),
            Trust::NotPinned => {
                paper.tone(Tone::Warn, "◐ consistent, charter not pinned: --charter FILE")
            }
        };
        paper.line(good);
        paper.facts(&[
            ("origin", self.origin.clone()),
            ("charter", format!("epoch {}, {}", self.epoch, self.charter)),
            ("leaves", self.size.to_string()),
            ("root", self.root.clone()),
            ("cosigned by", self.cosigned_by.join(" ")),
            ("as of", paper.time(self.as_of)),
            (
                "holds",
                format!(
                    "{} decisions, {} outcomes, {} voids, {} of evidence",
                    self.decisions, self.outcomes, self.voids, self.evidence
                ),
            ),
        ]);
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateView {
    verified: bool,
    trust: Trust,
    origin: String,
    cluster: String,
    token: String,
    kind: String,
    target: String,
    proposal: String,
    #[serde(serialize_with = "crate::output::value::text")]
    leaf_index: u64,
    #[serde(serialize_with = "crate::output::value::text")]
    size: u64,
    approved_by: Vec<String>,
    have: u32,
    need: u32,
    cosigned_by: Vec<String>,
    /// Steps 7 to 12 need an agent's stored state and its clock.
    not_checked: &'static str,
}

impl View for CertificateView {
    fn draw(&self, paper: &mut Paper) {
        let good = paper.tone(Tone::Good, "✔ verified against the pinned charter");
        paper.line(good);
        paper.facts(&[
            ("decision", format!("token {} of {}", self.token, self.cluster)),
            ("act", format!("{} {}", self.kind, self.target)),
            ("proposal", self.proposal.clone()),
            ("votes", format!("{}/{}: {}", self.have, self.need, self.approved_by.join(" "))),
            ("leaf", format!("{} of {}", self.leaf_index, self.size)),
            ("cosigned by", self.cosigned_by.join(" ")),
            ("not checked", self.not_checked.to_owned()),
        ]);
    }
}

/// Verifies a file; exit 3 names what is wrong.
pub(super) fn run(args: &VerifyArgs, env: &Env) -> Done {
    let charter = match super::pinned(args.charter.as_ref(), env)? {
        Some(path) => Some(read_charter(&path)?),
        None => None,
    };
    let mut file = open(&args.file)?;
    let mut begin = vec![0; PROOF_HEADER.len()];
    let read = fill(&mut file, &mut begin).map_err(|error| Failure::file(&args.file, error))?;
    begin.truncate(read);
    if begin == PROOF_HEADER {
        let charter = charter.ok_or_else(|| {
            Failure::usage("a certificate proves nothing without the charter: --charter FILE")
        })?;
        let mut bytes = begin;
        let limit = quorate_attest::proof::MAX_PROOF_FILE_BYTES as u64 + 1;
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::file(&args.file, error))?;
        env.printer.print(&certificate(&bytes, charter)?)?;
        return Ok(Exit::Ok);
    }
    let root = charter.as_ref().map_or(Root::OwnCharter, |charter| Root::Pinned(charter.id()));
    let mut counts = Counts::default();
    let verified = stream(file, &begin, &args.file, root, |_, leaf| counts.note(leaf.kind()))?;
    env.printer.print(&log_view(&verified, root, &counts))?;
    Ok(Exit::Ok)
}

/// The charter of a note or a bare text. Its signatures do not matter: the caller trusts the file.
pub(super) fn read_charter(path: &Path) -> Result<Charter, Failure> {
    let bytes = files::read_bytes(path)?;
    Signed::<Charter>::parse(&bytes).map(|signed| signed.statement).map_err(|error| {
        Failure::usage(format!("{}: is no charter: {}", path.display(), chain(&error)))
    })
}

pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(path).map_err(|error| Failure::file(path, error))?;
    Ok(Box::new(file))
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut at = 0;
    while let Some(rest) = buffer.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => at += read,
        }
    }
    Ok(at)
}

/// Verifies an export in bounded memory, whatever its length.
fn stream(
    mut file: impl Read,
    begin: &[u8],
    path: &Path,
    root: Root,
    mut on_leaf: impl FnMut(LeafIndex, &Leaf),
) -> Result<VerifiedExport, Failure> {
    let mut verifier = ExportVerifier::new(root);
    let mut push = |verifier: &mut ExportVerifier, bytes: &[u8]| {
        verifier.push(bytes, &mut on_leaf).map_err(|error| bad_entry(&error))
    };
    push(&mut verifier, begin)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).map_err(|error| Failure::file(path, error))?;
        if read == 0 {
            break;
        }
        push(&mut verifier, chunk.get(..read).unwrap_or_default())?;
    }
    verifier.finish(latest()?).map_err(|error| bad_entry(&error))
}

/// The latest cosignature time that is believed: coordinators' clocks may be a little ahead of this
/// one.
pub(super) fn latest() -> Result<CosignTime, Failure> {
    Ok(clock::now()?.saturating_add(Span::from_secs(10)).to_cosign_time())
}

/// Exit 3, naming the entry.
pub(super) fn bad_entry(error: &ExportRefused) -> Failure {
    let failure = Failure::unverified(chain(error));
    match error.entry() {
        Some(index) => failure.with("entry", index),
        None => failure,
    }
}

/// What an export holds.
#[derive(Debug, Default)]
struct Counts {
    decisions: usize,
    voids: usize,
    outcomes: usize,
    evidence: usize,
}

impl Counts {
    fn note(&mut self, kind: LeafKind) {
        match kind {
            LeafKind::Decision => self.decisions += 1,
            LeafKind::Void => self.voids += 1,
            LeafKind::Outcome => self.outcomes += 1,
            LeafKind::Evidence => self.evidence += 1,
            LeafKind::Charter
            | LeafKind::Override
            | LeafKind::Pause
            | LeafKind::Act
            | LeafKind::Incarnation => {}
        }
    }
}

fn log_view(verified: &VerifiedExport, root: Root, counts: &Counts) -> LogView {
    let history = &verified.history;
    let charter: CharterId = history.charter_id();
    LogView {
        verified: true,
        trust: match root {
            Root::Pinned(_) => Trust::Pinned,
            Root::OwnCharter => Trust::NotPinned,
        },
        origin: history.origin().to_string(),
        epoch: history.charter().epoch.get(),
        charter: charter.to_string(),
        size: history.size().get(),
        root: crate::view::hex(history.root().as_bytes()),
        cosigned_by: verified
            .head
            .cosigned()
            .keys()
            .map(|name| crate::view::last(name.as_str()).to_owned())
            .collect(),
        as_of: verified.head.as_of().get().saturating_mul(1_000),
        decisions: counts.decisions,
        voids: counts.voids,
        outcomes: counts.outcomes,
        evidence: counts.evidence,
    }
}

fn certificate(bytes: &[u8], charter: Charter) -> Result<CertificateView, Failure> {
    let now = clock::now()?;
    let verified = verify_certificate(bytes, &Trusted::pin(charter), now).map_err(|error| {
        Failure::unverified(format!("step {}: {}", error.step(), chain(&error)))
            .with("step", error.step())
    })?;
    let decision = &verified.decision;
    let last = |name: &quorate_attest::id::KeyName| crate::view::last(name.as_str()).to_owned();
    Ok(CertificateView {
        verified: true,
        trust: Trust::Pinned,
        origin: decision.origin.to_string(),
        cluster: decision.cluster.to_string(),
        token: verified.token.to_string(),
        kind: decision.proposal.kind.to_string(),
        target: decision.proposal.target.to_string(),
        proposal: decision.proposal.id().to_string(),
        leaf_index: verified.index.get(),
        size: verified.head.checkpoint.size.get(),
        approved_by: decision
            .votes
            .lines
            .iter()
            .map(|line| crate::view::last(&line.name).to_owned())
            .collect(),
        have: verified.tally.as_ref().map_or(0, |tally| tally.have),
        need: verified.tally.as_ref().map_or(0, |tally| tally.need),
        cosigned_by: verified.verified.cosigned().keys().map(last).collect(),
        not_checked: "whether it may be started now: that takes the newest log and a clock",
    })
}
