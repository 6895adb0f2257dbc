//! `log replay`: the state rebuilt from an export, its hash *compared* with another, not asserted.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use quorate_attest::export::Root;
use quorate_attest::id::Digest;
use quorate_attest::leaf::Leaf;
use quorate_attest::number::LeafIndex;
use quorate_coordinator::replay::{Replay, ReplayError, Replayed};
use serde::Serialize;

use super::verify;
use crate::command::Env;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::{Paper, Tone, View};
use crate::{Done, files};

/// Arguments of `log replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// An export of the log
    file: PathBuf,
    /// The charter you trust
    #[arg(long, value_name = "FILE")]
    charter: Option<PathBuf>,
    /// Compare with this hash instead of asking every coordinator for its own
    #[arg(long, value_name = "DIGEST")]
    against: Option<Digest>,
    /// Only rebuild: compare with nothing
    #[arg(long, conflicts_with = "against")]
    offline: bool,
    /// Also write the result to this file, as JSON; never overwritten
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

/// One comparison.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    with: String,
    #[serde(serialize_with = "crate::output::value::text")]
    log_size: u64,
    hash: String,
    result: Comparison,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Comparison {
    Equal,
    Different,
    /// Another size of the log: nothing can be said.
    OtherSize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayView {
    origin: String,
    #[serde(serialize_with = "crate::output::value::text")]
    size: u64,
    root: String,
    ledger_hash: String,
    compared: Vec<Compared>,
}

impl View for ReplayView {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[
            ("origin", self.origin.clone()),
            ("leaves", self.size.to_string()),
            ("root", self.root.clone()),
            ("ledger hash", self.ledger_hash.clone()),
        ]);
        for one in &self.compared {
            let (tone, word) = match one.result {
                Comparison::Equal => (Tone::Good, "✔ equal"),
                Comparison::Different => (Tone::Bad, "✖ DIFFERENT"),
                Comparison::OtherSize => (Tone::Warn, "– another size, not comparable"),
            };
            let text = paper.tone(tone, format!("{word}: {} at size {}", one.with, one.log_size));
            paper.line(text);
        }
    }
}

pub(super) async fn run(args: &ReplayArgs, env: &Env) -> Done {
    let root = match super::pinned(args.charter.as_ref(), env)? {
        Some(path) => Root::Pinned(verify::read_charter(&path)?.id()),
        None => Root::OwnCharter,
    };
    let replayed = stream(verify::open(&args.file)?, &args.file, root, |_, _| {})?;
    let (history, ledger_hash) = (&replayed.export.history, replayed.ledger_hash.to_string());
    let size = history.size().get();
    let compare = |with: String, log_size: u64, hash: String| {
        let result = match (log_size == size, hash == ledger_hash) {
            (true, true) => Comparison::Equal,
            (true, false) => Comparison::Different,
            (false, _) => Comparison::OtherSize,
        };
        Compared { with, log_size, hash, result }
    };
    let mut compared = Vec::new();
    if let Some(hash) = &args.against {
        compared.push(compare("the given hash".to_owned(), size, hash.to_string()));
    } else if !args.offline {
        let session = env.session()?;
        for endpoint in session.context.endpoints.clone() {
            let with = format!("coordinator {}", endpoint.id);
            match session.client.status_of(endpoint.id, true).await {
                Ok(status) => compared.push(compare(with, status.log_size, status.ledger_hash)),
                Err(error) => env.printer.say(format!("{with}: {}", Failure::from(error).message)),
            }
        }
    }
    let view = ReplayView {
        origin: history.origin().to_string(),
        size,
        root: crate::view::hex(history.root().as_bytes()),
        ledger_hash,
        compared,
    };
    if let Some(path) = &args.evidence {
        let text =
            serde_json::to_string_pretty(&view).map_err(|error| Failure::file(path, error))?;
        files::create(path, (text + "\n").as_bytes())?;
    }
    env.printer.print(&view)?;
    if view.compared.iter().any(|one| one.result == Comparison::Different) {
        return Err(Failure::unverified("the replayed state differs: replay-equal is broken")
            .with("ledger_hash", &view.ledger_hash));
    }
    if !args.offline && !view.compared.iter().any(|one| one.result == Comparison::Equal) {
        return Err(Failure::unverified("nothing of the same size to compare with")
            .help("export again, or --against DIGEST, or --offline"));
    }
    Ok(Exit::Ok)
}

/// Verifies an export and folds its leaves into a fresh ledger, with the code that the coordinators
/// run, in bounded memory.
pub(crate) fn stream(
    mut file: impl Read,
    path: &Path,
    root: Root,
    mut on_leaf: impl FnMut(LeafIndex, &Leaf),
) -> Result<Replayed, Failure> {
    let mut replay = Replay::new(root);
    let mut chunk = vec![0; verify::CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).map_err(|error| Failure::file(path, error))?;
        if read == 0 {
            break;
        }
        let bytes = chunk.get(..read).unwrap_or_default();
        replay.push(bytes, &mut on_leaf).map_err(|error| refused(&error))?;
    }
    replay.finish(verify::latest()?).map_err(|error| refused(&error))
}

fn refused(error: &ReplayError) -> Failure {
    match error {
        ReplayError::Export(refused) => verify::bad_entry(refused),
        ReplayError::Ledger { index, .. } => Failure::unverified(chain(error)).with("entry", index),
    }
}
