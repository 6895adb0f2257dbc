//! `quorate log`: the decision log. `verify` and `replay` ask nobody.

mod export;
mod replay;
mod verify;

pub(crate) use export::write as export_to;
pub(crate) use replay::stream as replay;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use quorate_attest::id::ClusterId;
use quorate_proto::pb::v1::get_certificate_request::Of;
use quorate_proto::pb::v1::{
    GetCertificateRequest, GetCheckpointRequest, GetConsistencyProofRequest, LeafKind,
    ListLeavesRequest, ListLeavesResponse, View,
};

use super::Env;
use crate::Done;
use crate::exit::Exit;
use crate::output::Format;
use crate::view::Plain;

/// Verbs of `log`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the newest certified head, or print it as a signed note
    #[command(after_help = "\
Examples:
  quorate log checkpoint
  quorate log checkpoint --note > head.note")]
    Checkpoint(CheckpointArgs),
    /// List leaves in order
    #[command(after_help = "\
Examples:
  quorate log entries --from 0 --limit 100
  quorate log entries --kind decision --kind outcome -o jsonl")]
    Entries(EntriesArgs),
    /// Print the proof that a leaf is in the log, or that the log only grew
    #[command(after_help = "\
Examples:
  quorate log prove 7 > 7.tlog-proof
  quorate log prove --since 40 -o json")]
    Prove(ProveArgs),
    /// Verify an export or a certificate offline; names the first bad entry
    #[command(after_help = "\
Examples:
  quorate log verify log.txt --charter charter.leaf
  quorate log verify 1.tlog-proof --charter charter.leaf -o json")]
    Verify(verify::VerifyArgs),
    /// Rebuild the state from an export and compare its hash with the coordinators'
    #[command(after_help = "\
Examples:
  quorate log replay log.txt
  quorate log replay log.txt --offline --evidence replay.json")]
    Replay(replay::ReplayArgs),
    /// Print the whole log with its certified head: one file that anyone can verify
    #[command(after_help = "\
Examples:
  quorate log export > log.txt
  quorate log export --policy > tlog-policy.txt")]
    Export(export::ExportArgs),
}

/// Arguments of `log checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// The head of exactly this size, if it is still held
    #[arg(long, value_name = "SIZE", default_value_t = 0, hide_default_value = true)]
    size: u64,
    /// Print the signed note, and nothing else
    #[arg(long)]
    note: bool,
}

/// Arguments of `log entries`.
#[derive(Debug, Args)]
pub(crate) struct EntriesArgs {
    /// First index
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    from: u64,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// Only of this kind; may be given several times
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
}

/// Arguments of `log prove`.
#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The leaf
    #[arg(required_unless_present = "since", conflicts_with = "since")]
    index: Option<u64>,
    /// Prove that the head of this size is a beginning of the newest one
    #[arg(long, value_name = "SIZE")]
    since: Option<u64>,
}

/// A kind of leaf to look for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Charters.
    Charter,
    /// Decisions.
    Decision,
    /// Ends without a decision.
    Void,
    /// Terminal reports.
    Outcome,
    /// Conflicting signatures.
    Evidence,
    /// Overrides.
    Override,
    /// Pauses and resumes.
    Pause,
    /// Operators' acts.
    Act,
    /// New incarnations.
    Incarnation,
}

impl Kind {
    fn wire(self) -> i32 {
        match self {
            Kind::Charter => LeafKind::Charter,
            Kind::Decision => LeafKind::Decision,
            Kind::Void => LeafKind::Void,
            Kind::Outcome => LeafKind::Outcome,
            Kind::Evidence => LeafKind::Evidence,
            Kind::Override => LeafKind::Override,
            Kind::Pause => LeafKind::Pause,
            Kind::Act => LeafKind::Act,
            Kind::Incarnation => LeafKind::Incarnation,
        }
        .into()
    }
}

/// The charter pinned on this machine: the one named, else the context's.
fn pinned(named: Option<&PathBuf>, env: &Env) -> Result<Option<PathBuf>, crate::failure::Failure> {
    match named {
        Some(path) => Ok(Some(path.clone())),
        None => Ok(crate::connect::Context::of(&env.global.connection)?.charter),
    }
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Checkpoint(args) => checkpoint(&args, env).await,
        Verb::Entries(args) => entries(&args, env).await,
        Verb::Prove(args) => prove(&args, env).await,
        Verb::Verify(args) => verify::run(&args, env),
        Verb::Replay(args) => replay::run(&args, env).await,
        Verb::Export(args) => export::run(&args, env).await,
    }
}

async fn checkpoint(args: &CheckpointArgs, env: &Env) -> Done {
    let session = env.session()?;
    let request = GetCheckpointRequest { size: args.size, consistency: session.consistency };
    let response = session.client.get_checkpoint(request).await?;
    if args.note {
        env.printer.raw(&response.head.unwrap_or_default().note)?;
    } else {
        env.printer.print(&response)?;
    }
    Ok(Exit::Ok)
}

async fn entries(args: &EntriesArgs, env: &Env) -> Done {
    let session = env.session()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut request = ListLeavesRequest {
        from_index: args.from,
        cluster: args.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        kinds: args.kinds.iter().map(|kind| kind.wire()).collect(),
        consistency: session.consistency,
        view: View::Basic.into(),
        ..ListLeavesRequest::default()
    };
    let mut found = ListLeavesResponse::default();
    loop {
        let left = limit.saturating_sub(found.leaves.len()).min(1_000);
        request.page_size = i32::try_from(left).unwrap_or(1_000);
        let page = session.client.list_leaves(request.clone()).await?;
        found.leaves.extend(page.leaves);
        found.size = page.size;
        found.read = page.read;
        found.next_page_token = page.next_page_token.clone();
        if page.next_page_token.is_empty() || found.leaves.len() >= limit {
            break;
        }
        request.page_token = page.next_page_token;
    }
    env.printer.print(&found)?;
    Ok(Exit::Ok)
}

async fn prove(args: &ProveArgs, env: &Env) -> Done {
    let session = env.session()?;
    if let Some(from_size) = args.since {
        let request =
            GetConsistencyProofRequest { from_size, to_size: 0, consistency: session.consistency };
        let response = session.client.get_consistency_proof(request).await?;
        env.printer.print(&Plain(&response))?;
        return Ok(Exit::Ok);
    }
    let request = GetCertificateRequest {
        of: args.index.map(Of::LeafIndex),
        consistency: session.consistency,
    };
    let response = session.client.get_certificate(request).await?;
    match env.printer.format() {
        Format::Table => env.printer.raw(&response.certificate)?,
        Format::Json | Format::Jsonl | Format::Yaml => env.printer.print(&Plain(&response))?,
    }
    Ok(Exit::Ok)
}
