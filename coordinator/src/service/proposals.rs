//! Proposals: open, get, list, watch, veto.

use quorate_attest::{
    id::ProposalId, proposal::Proposal, signed::Signed, text::Statement as _, vote::Veto,
};
use quorate_core::{Body, Machine, Novelty, Outcome};
use quorate_proto::{
    convert,
    error_code::ErrorCode,
    page::Page,
    pb::v1::{
        self as pb, GetProposalRequest, GetProposalResponse, ListProposalsRequest,
        ListProposalsResponse, OpenProposalRequest, OpenProposalResponse, ProposalState,
        VetoProposalRequest, VetoProposalResponse, View, WatchProposalsRequest,
        WatchProposalsResponse, proposals_server::Proposals,
    },
    problem::Problem,
};
use quorate_store::LeavesView;
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Context, caller, leaves, malformed, own_text, parse, show, verify, watch};

/// A proposal's text is at most this long.
const TEXT_BYTES_MAX: usize = 8_192;

/// Where a page of proposals ended.
enum Cursor {
    Open(ProposalId),
    Leaf(u64),
}

#[tonic::async_trait]
impl Proposals for Context {
    async fn open_proposal(
        &self,
        request: Request<OpenProposalRequest>,
    ) -> Result<Response<OpenProposalResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let proposal = read_text(&request.text)?;
        own_text(&caller, &proposal.proposer)?;
        if let Some(in_force) = self.handle.in_force()
            && proposal.origin != in_force.charter.origin
        {
            return Err(verify::wrong_origin(&proposal.origin, &in_force.charter.origin).into());
        }
        self.store.admit_new().map_err(|problem| Status::from(*problem))?;
        self.expect(request.expect, Some(proposal.cluster.clone())).await?;
        let body = Body::Open(proposal.clone());
        let (outcome, applied_index) = if request.validate_only {
            (self.consider(body).await?, 0)
        } else {
            let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
            (outcome, written.index)
        };
        let Outcome::Opened { proposal: id, novelty, standing } = outcome else {
            return Err(Status::internal("opening was answered like something else"));
        };
        let now = self.now();
        let validate_only = request.validate_only;
        let asked = proposal.clone();
        let (shown, assessment) = self
            .machine(move |machine| {
                let assessment = show::assessment(machine, &asked, &standing, now);
                let shown = match machine.state().open().get(&id) {
                    Some(open) => Some(show::open_proposal(machine, open, now, true)),
                    None if validate_only => Some(show::proposal_text(&asked, true)),
                    None => None,
                };
                (shown, assessment)
            })
            .await?;
        let shown = match shown {
            Some(shown) => shown,
            // It has ended in the same entry, for example as a decision.
            None => {
                self.ended(&id, true).await?.unwrap_or_else(|| show::proposal_text(&proposal, true))
            }
        };
        Ok(Response::new(OpenProposalResponse {
            existed: novelty == Novelty::Repeated || shown.id != proposal.id().to_string(),
            proposal: Some(shown),
            assessment: Some(assessment),
            applied_index,
        }))
    }

    async fn get_proposal(
        &self,
        request: Request<GetProposalRequest>,
    ) -> Result<Response<GetProposalResponse>, Status> {
        let request = request.into_inner();
        let id: ProposalId = parse("id", &request.id)?;
        let view = convert::known::<View>("view", request.view).map_err(Problem::from)?;
        let read = self.read(request.consistency).await?;
        let proposal = self.proposal(&id, view != View::Basic).await?;
        let proposal = proposal.ok_or_else(|| unknown(&id))?;
        Ok(Response::new(GetProposalResponse { proposal: Some(proposal), read: Some(read) }))
    }

    async fn list_proposals(
        &self,
        request: Request<ListProposalsRequest>,
    ) -> Result<Response<ListProposalsResponse>, Status> {
        let request = request.into_inner();
        let filter = format!(
            "proposals {} {:?} {} {}",
            request.cluster, request.states, request.kind, request.target
        );
        let page = Page::parse(request.page_size, &request.page_token, filter.as_bytes())?;
        let after = cursor(&page)?;
        let read = self.read(request.consistency).await?;
        let full = matches!(View::try_from(request.view), Ok(View::Full | View::WithProof));
        let mut proposals = Vec::new();
        let mut last = None;
        if !matches!(after, Some(Cursor::Leaf(_))) {
            let open = self.open_proposals(&request, full).await?;
            let skip = match &after {
                Some(Cursor::Open(id)) => {
                    open.iter().position(|shown| shown.id == id.to_string()).map_or(0, |at| at + 1)
                }
                Some(Cursor::Leaf(_)) | None => 0,
            };
            for shown in open.into_iter().skip(skip).take(page.size()) {
                last = shown.id.parse().ok().map(Cursor::Open);
                proposals.push(shown);
            }
        }
        if proposals.len() < page.size() && !may_have_ended(&request) {
            last = None;
        } else if proposals.len() < page.size() {
            let view = self.view()?;
            let before = match after {
                Some(Cursor::Leaf(index)) => index,
                Some(Cursor::Open(_)) | None => view.size().get(),
            };
            let room = page.size() - proposals.len();
            let found = spawn_blocking(move || ended(&view, before, room, &request, full)).await;
            let (found, end) = found.map_err(|error| Status::internal(error.to_string()))?;
            proposals.extend(found);
            last = end.map(Cursor::Leaf);
        }
        let next_page_token = last.map(|cursor| token(&page, &cursor)).unwrap_or_default();
        Ok(Response::new(ListProposalsResponse { proposals, next_page_token, read: Some(read) }))
    }

    type WatchProposalsStream = ReceiverStream<Result<WatchProposalsResponse, Status>>;

    async fn watch_proposals(
        &self,
        request: Request<WatchProposalsRequest>,
    ) -> Result<Response<Self::WatchProposalsStream>, Status> {
        let watching = self.watches.open(&caller(&request)?)?;
        let request = request.into_inner();
        let (events, stream) = mpsc::channel(16);
        let watch = watch::proposals(self.clone(), request, events.clone());
        watch::spawn(self.stop.clone(), watching, events, watch);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn veto_proposal(
        &self,
        request: Request<VetoProposalRequest>,
    ) -> Result<Response<VetoProposalResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let veto: Signed<Veto> =
            verify::verified_veto(&self.handle, &self.verifiers, &request.note).await?;
        let id = veto.statement.proposal;
        let body = Body::Veto(veto.clone());
        if request.validate_only {
            self.consider(body).await?;
            let proposal = self.proposal(&id, false).await?;
            return Ok(Response::new(VetoProposalResponse {
                proposal,
                held: false,
                applied_index: 0,
            }));
        }
        // Held before it is replicated: even a leader that withholds it gets no cosignature here.
        self.signer.hold_veto(veto).await;
        let (_, written) = self.write(body, &caller, &request.request_id).await?;
        let proposal = self.proposal(&id, true).await?;
        let applied_index = written.index;
        Ok(Response::new(VetoProposalResponse { proposal, held: true, applied_index }))
    }
}

fn read_text(bytes: &[u8]) -> Result<Proposal, Status> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(malformed("text", format!("{} bytes, at most {TEXT_BYTES_MAX}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| malformed("text", error))?;
    Proposal::parse(text).map_err(|error| {
        Problem::new(verify::text_code(&error), error.to_string()).with("field", "text").into()
    })
}

fn unknown(id: &ProposalId) -> Status {
    let what = format!("no proposal {id} is open or remembered");
    Problem::new(ErrorCode::UnknownProposal, what).with("name", id).into()
}

fn cursor(page: &Page) -> Result<Option<Cursor>, Status> {
    let foreign =
        || Status::from(Problem::new(ErrorCode::PageTokenInvalid, "the token is foreign"));
    match page.after().and_then(<[u8]>::split_first) {
        None => Ok(None),
        Some((b'l', index)) => {
            let index = index.try_into().map_err(|_| foreign())?;
            Ok(Some(Cursor::Leaf(u64::from_be_bytes(index))))
        }
        Some((b'o', digest)) => {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let id = format!("sha256:{hex}").parse().map_err(|_| foreign())?;
            Ok(Some(Cursor::Open(id)))
        }
        Some(_) => Err(foreign()),
    }
}

fn token(page: &Page, cursor: &Cursor) -> String {
    let bytes: Vec<u8> = match cursor {
        // The 32 bytes of the digest, from its text.
        Cursor::Open(id) => {
            let text = id.to_string();
            let digits = text.rsplit(':').next().unwrap_or_default().as_bytes();
            let byte = |pair: &[u8]| {
                u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16).unwrap_or(0)
            };
            std::iter::once(b'o').chain(digits.chunks(2).map(byte)).collect()
        }
        Cursor::Leaf(index) => std::iter::once(b'l').chain(index.to_be_bytes()).collect(),
    };
    page.token(&bytes)
}

/// Ended proposals below `before`, newest first; and where to go on, if there may be more.
fn ended(
    view: &LeavesView,
    before: u64,
    room: usize,
    request: &ListProposalsRequest,
    full: bool,
) -> (Vec<pb::Proposal>, Option<u64>) {
    let mut found = Vec::new();
    let mut lowest = before.saturating_sub(leaves::SCAN_MAX);
    let is_full = leaves::backwards(view, before, leaves::SCAN_MAX, |index, bytes| {
        if let Some(shown) = leaves::ended_proposal(index, bytes, full)
            && wanted(&shown, request)
        {
            found.push(shown);
        }
        (found.len() == room).then_some(index)
    });
    if let Some(index) = is_full {
        lowest = index;
    }
    (found, (lowest > 0).then_some(lowest))
}

/// Whether ended proposals are asked for too: only then the log is searched. Agents ask every
/// second for those that live, whatever the length of the log.
fn may_have_ended(request: &ListProposalsRequest) -> bool {
    let lives = |state: &i32| {
        matches!(ProposalState::try_from(*state), Ok(ProposalState::Open | ProposalState::Approved))
    };
    request.states.is_empty() || !request.states.iter().all(lives)
}

fn wanted(shown: &pb::Proposal, request: &ListProposalsRequest) -> bool {
    let same = |filter: &str, value: &str| filter.is_empty() || filter == value;
    same(&request.cluster, &shown.cluster)
        && same(&request.kind, &shown.kind)
        && same(&request.target, &shown.target)
        && (request.states.is_empty() || request.states.contains(&shown.state))
}

impl Context {
    pub(crate) fn view(&self) -> Result<LeavesView, Status> {
        self.handle.leaves().view().map_err(|error| Status::unavailable(error.to_string()))
    }

    /// A proposal, open or ended.
    pub(crate) async fn proposal(
        &self,
        id: &ProposalId,
        full: bool,
    ) -> Result<Option<pb::Proposal>, Status> {
        let (wanted, now) = (*id, self.now());
        let open = self.machine(move |machine: &Machine| {
            let open = machine.state().open().get(&wanted)?;
            Some(show::open_proposal(machine, open, now, full))
        });
        match open.await? {
            Some(shown) => Ok(Some(shown)),
            None => self.ended(id, full).await,
        }
    }

    /// An ended proposal that the log still remembers, or that ended not too many leaves ago.
    pub(super) async fn ended(
        &self,
        id: &ProposalId,
        full: bool,
    ) -> Result<Option<pb::Proposal>, Status> {
        let (view, wanted) = (self.view()?, *id);
        let found = spawn_blocking(move || leaves::find_ended(&view, &wanted, full)).await;
        found.map_err(|error| Status::internal(error.to_string()))
    }

    /// Open proposals that match, newest first.
    pub(super) async fn open_proposals(
        &self,
        request: &ListProposalsRequest,
        full: bool,
    ) -> Result<Vec<pb::Proposal>, Status> {
        let (request, now) = (request.clone(), self.now());
        self.machine(move |machine| {
            let mut open: Vec<_> = machine
                .state()
                .open()
                .values()
                .filter(|open| {
                    let ListProposalsRequest { cluster, kind, target, .. } = &request;
                    leaves::matches(open.proposal(), cluster, kind, target)
                })
                .collect();
            open.sort_by_key(|open| (std::cmp::Reverse(open.opened()), open.id()));
            open.into_iter()
                .map(|open| show::open_proposal(machine, open, now, full))
                .filter(|shown| wanted(shown, &request))
                .collect()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_living_proposals_never_has_the_log_searched() {
        let asks = |states: &[ProposalState]| {
            may_have_ended(&ListProposalsRequest {
                states: states.iter().map(|state| (*state).into()).collect(),
                ..ListProposalsRequest::default()
            })
        };
        assert!(!asks(&[ProposalState::Open, ProposalState::Approved]));
        assert!(!asks(&[ProposalState::Open]));
        assert!(asks(&[]), "every state");
        assert!(asks(&[ProposalState::Open, ProposalState::Decided]));
        assert!(asks(&[ProposalState::Vetoed]));
    }
}
