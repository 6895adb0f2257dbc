//! `quorate quorum`: the coordinators. The charter alone says who they are, so `add` and `remove`
//! write the next charter for the operators to sign.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorate_attest::charter::Charter;
use quorate_attest::key::{KeyType, VerifierKey};
use quorate_attest::text::Statement;
use quorate_proto::pb::v1::{ListCoordinatorsRequest, TransferLeaderRequest};

use super::Env;
use crate::Done;
use crate::args::Expect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::layout::coordinator_threshold;

/// Verbs of `quorum`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the coordinators: who leads, who trails, how many more may be lost
    #[command(after_help = "\
Examples:
  quorate quorum list
  quorate quorum list --stale -o json")]
    List,
    /// Print the next charter with one more coordinator, for the operators to sign
    #[command(after_help = "\
Examples:
  quorate quorum add cosign.pem.vkey > next.charter
  quorate quorum add cosign.pem.vkey --faults 1 > next.charter")]
    Add(AddArgs),
    /// Print the next charter without one coordinator, for the operators to sign
    #[command(after_help = "\
Examples:
  quorate quorum remove 3 > next.charter
  quorate quorum remove 3 --add cosign.pem.vkey > next.charter")]
    Remove(RemoveArgs),
    /// Hand leadership over, to one coordinator or to the most current
    #[command(after_help = "\
Examples:
  quorate quorum transfer-leader
  quorate quorum transfer-leader --to 2 --expect-leader 1")]
    TransferLeader(TransferArgs),
}

/// Arguments of `quorum add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Verifier keys of the new coordinators, from `key generate --purpose cosign`
    #[arg(required = true, value_name = "VKEY-FILE")]
    keys: Vec<PathBuf>,
    /// How many lying coordinators to tolerate then [default: as before, where it still fits]
    #[arg(long, value_name = "F")]
    faults: Option<u32>,
}

/// Arguments of `quorum remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Their ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
    /// Add these in the same step: a replacement keeps the size
    #[arg(long = "add", value_name = "VKEY-FILE")]
    keys: Vec<PathBuf>,
    /// How many lying coordinators to tolerate then [default: as before, where it still fits]
    #[arg(long, value_name = "F")]
    faults: Option<u32>,
}

/// Arguments of `quorum transfer-leader`.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// The new leader's id
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
    #[command(flatten)]
    expect: Expect,
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, env: &Env) -> Done {
    let session = env.session()?;
    match verb {
        Verb::List => {
            let request = ListCoordinatorsRequest { consistency: session.consistency };
            env.printer.print(&session.client.list_coordinators(request).await?)?;
        }
        Verb::Add(args) => {
            let charter = session.charter().await?;
            print_next(&charter, &[], &args.keys, args.faults, env)?;
        }
        Verb::Remove(args) => {
            let charter = session.charter().await?;
            print_next(&charter, &args.ids, &args.keys, args.faults, env)?;
        }
        Verb::TransferLeader(args) => {
            let response = session
                .client
                .transfer_leader(TransferLeaderRequest {
                    to: args.to.unwrap_or(0),
                    expect: Some(args.expect.message(None)),
                })
                .await?;
            env.printer.print(&response)?;
        }
    }
    Ok(Exit::Ok)
}

/// The charter of the next epoch with another set of coordinators.
fn next(
    charter: &Charter,
    remove: &[u64],
    add: Vec<VerifierKey>,
    faults: Option<u32>,
) -> Result<Charter, Failure> {
    let mut next = charter.clone();
    next.previous = Some(charter.id());
    next.epoch = charter.epoch.next().ok_or_else(|| Failure::usage("no epoch follows"))?;
    for id in remove {
        let before = next.coordinator.len();
        next.coordinator.retain(|key| charter.node_id(key.name()) != Some(*id));
        if next.coordinator.len() == before {
            return Err(Failure::usage(format!("the charter has no coordinator {id}")));
        }
    }
    for key in add {
        if key.key_type() != KeyType::Cosignature {
            return Err(Failure::usage(format!("{}: is no cosigning key", key.name()))
                .help("quorate key generate --purpose cosign"));
        }
        next.coordinator.push(key);
    }
    let n = u32::try_from(next.coordinator.len()).unwrap_or(u32::MAX);
    next.faults = faults.unwrap_or_else(|| charter.faults.min(n.saturating_sub(1) / 3));
    next.threshold = coordinator_threshold(next.coordinator.len(), next.faults);
    Charter::parse(&next.text())
        .map_err(|error| Failure::usage(format!("no valid charter: {error}")))
}

fn print_next(
    charter: &Charter,
    remove: &[u64],
    add: &[PathBuf],
    faults: Option<u32>,
    env: &Env,
) -> Result<(), Failure> {
    let add = add.iter().map(|path| files::read_vkey(path)).collect::<Result<_, _>>()?;
    let next = next(charter, remove, add, faults)?;
    env.printer.raw(next.text().as_bytes())?;
    env.printer.say(format!(
        "charter {} of epoch {}: {} coordinators, {} cosignatures, {} liars tolerated",
        next.id(),
        next.epoch,
        next.coordinator.len(),
        next.threshold,
        next.faults
    ));
    env.printer.say("Next: each operator runs `quorate charter sign --key …`, then one of them");
    env.printer.say("      quorate charter amend --note … --note …");
    Ok(())
}
