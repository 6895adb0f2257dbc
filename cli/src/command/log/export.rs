//! `log export`: every leaf, then the certified head, as one text that anyone can verify.

use clap::Args;
use quorate_attest::export::{HEADER, export_leaf};
use quorate_attest::number::LeafIndex;
use quorate_attest::policy::write_policy;
use quorate_proto::pb::v1::{GetCheckpointRequest, ListLeavesRequest, View};

use crate::Done;
use crate::command::Env;
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// How many leaves are asked for at once: answers stay below four mebibytes.
const PAGE: i32 = 64;

/// Arguments of `log export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Print the charter's coordinators as a C2SP tlog-policy, for other tools
    #[arg(long)]
    policy: bool,
}

pub(super) async fn run(args: &ExportArgs, env: &Env) -> Done {
    let session = env.session()?;
    if args.policy {
        let charter = session.charter().await?;
        let policy = charter
            .head_policy()
            .map_err(|error| Failure::unverified(format!("the charter: {error}")))?;
        env.printer.raw(write_policy(&policy, None).as_bytes())?;
        return Ok(Exit::Ok);
    }
    let size = write(&session, &mut |bytes| env.printer.raw(bytes)).await?;
    env.printer.say(format!(
        "{size} leaves; check them with: quorate log verify FILE --charter charter.leaf"
    ));
    Ok(Exit::Ok)
}

/// Streams the log up to its newest certified head. Nothing is kept: memory stays bounded.
pub(crate) async fn write(
    session: &Session,
    out: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let request = GetCheckpointRequest { size: 0, consistency: session.consistency };
    let head = session.client.get_checkpoint(request).await?.head.ok_or_else(|| {
        Failure::unverified("no head is certified yet, so there is nothing to export")
    })?;
    out(format!("{HEADER}\n").as_bytes())?;
    let mut next = 0;
    while next < head.size {
        let page = session
            .client
            .list_leaves(ListLeavesRequest {
                page_size: PAGE,
                from_index: next,
                consistency: session.consistency,
                view: View::Full.into(),
                ..ListLeavesRequest::default()
            })
            .await?;
        let before = next;
        for leaf in page.leaves.iter().filter(|leaf| leaf.index < head.size) {
            if leaf.index != next {
                return Err(Failure::unverified(format!(
                    "asked for leaf {next}, the coordinator sent leaf {}",
                    leaf.index
                )));
            }
            let index = LeafIndex::new(leaf.index)
                .map_err(|error| Failure::unverified(error.to_string()))?;
            out(export_leaf(index, &leaf.content).as_bytes())?;
            next += 1;
        }
        if next == before {
            return Err(Failure::unverified(format!("the coordinator has no leaf {next}")));
        }
    }
    out(&head.note)?;
    Ok(head.size)
}
