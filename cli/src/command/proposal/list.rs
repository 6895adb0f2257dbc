//! Finding proposals: a list, and an id from its beginning.

use clap::{Args, ValueEnum};
use quorate_attest::id::{ClusterId, ProposalId};
use quorate_proto::error_code::ErrorCode;
use quorate_proto::pb::v1::{ListProposalsRequest, ListProposalsResponse, ProposalState, View};

use crate::Done;
use crate::command::Env;
use crate::connect::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `proposal list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterId>,
    /// Only in this state; may be given several times
    #[arg(long = "state", value_enum, value_name = "STATE")]
    states: Vec<State>,
    /// Only of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only with this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

/// A state to look for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Approved,
    Decided,
    Rejected,
    Vetoed,
    Withdrawn,
    Expired,
    Superseded,
    EpochEnded,
}

impl State {
    fn wire(self) -> i32 {
        match self {
            State::Open => ProposalState::Open,
            State::Approved => ProposalState::Approved,
            State::Decided => ProposalState::Decided,
            State::Rejected => ProposalState::Rejected,
            State::Vetoed => ProposalState::Vetoed,
            State::Withdrawn => ProposalState::Withdrawn,
            State::Expired => ProposalState::Expired,
            State::Superseded => ProposalState::Superseded,
            State::EpochEnded => ProposalState::EpochEnded,
        }
        .into()
    }
}

pub(super) async fn run(args: &ListArgs, env: &Env) -> Done {
    let session = env.session()?;
    let request = ListProposalsRequest {
        cluster: args.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        states: args.states.iter().map(|state| state.wire()).collect(),
        kind: args.kind.clone().unwrap_or_default(),
        target: args.target.clone().unwrap_or_default(),
        consistency: session.consistency,
        ..ListProposalsRequest::default()
    };
    let response =
        all(&session, request, usize::try_from(args.limit).unwrap_or(usize::MAX)).await?;
    env.printer.print(&response)?;
    Ok(Exit::Ok)
}

/// Reads pages until there are `limit` proposals or no more.
pub(in crate::command) async fn all(
    session: &Session,
    mut request: ListProposalsRequest,
    limit: usize,
) -> Result<ListProposalsResponse, Failure> {
    let mut found = ListProposalsResponse::default();
    loop {
        let left = limit.saturating_sub(found.proposals.len());
        request.page_size = i32::try_from(left.min(1_000)).unwrap_or(1_000);
        let page = session.client.list_proposals(request.clone()).await?;
        found.proposals.extend(page.proposals);
        found.read = page.read;
        found.next_page_token = page.next_page_token.clone();
        if page.next_page_token.is_empty() || found.proposals.len() >= limit {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

/// The full id of a proposal from its id or the beginning of it.
///
/// # Errors
/// No or several proposals begin so.
pub(in crate::command) async fn resolve(session: &Session, typed: &str) -> Result<String, Failure> {
    let hex = typed.trim_end_matches('…');
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex);
    let whole = format!("sha256:{hex}");
    if whole.parse::<ProposalId>().is_ok() {
        return Ok(whole);
    }
    if hex.len() < 4 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Failure::usage(format!("{typed:?} is no proposal id, nor four digits of one"))
            .help("quorate proposal list"));
    }
    let request = ListProposalsRequest {
        consistency: session.consistency,
        view: View::Basic.into(),
        ..ListProposalsRequest::default()
    };
    let known = all(session, request, 10_000).await?.proposals;
    let mut begin = known.iter().filter(|one| one.id.starts_with(&whole));
    match (begin.next(), begin.next()) {
        (Some(only), None) => Ok(only.id.clone()),
        (None, _) => Err(Failure::usage(format!("no proposal begins with {hex}"))
            .known_as(ErrorCode::UnknownProposal)
            .with("name", typed)
            .help("quorate proposal list")),
        (Some(_), Some(_)) => Err(Failure::usage(format!("several proposals begin with {hex}"))
            .help("quorate proposal list")),
    }
}
