//! The decision log: heads, leaves, proofs, certificates, decisions, and watches by index.

use quorate_attest::{
    leaf::LeafKind as Kind,
    merkle::{leaf_hash, prove_consistency, prove_inclusion, root_at},
    number::{LeafIndex, TreeSize},
};
use quorate_proto::{
    convert,
    error_code::ErrorCode,
    page::Page,
    pb::v1::{
        self as pb, GetCertificateRequest, GetCertificateResponse, GetCheckpointRequest,
        GetCheckpointResponse, GetConsistencyProofRequest, GetConsistencyProofResponse,
        GetDecisionRequest, GetDecisionResponse, GetInclusionProofRequest,
        GetInclusionProofResponse, GetLeafRequest, GetLeafResponse, Heartbeat,
        ListDecisionsRequest, ListDecisionsResponse, ListLeavesRequest, ListLeavesResponse, View,
        WatchDecisionsRequest, WatchDecisionsResponse, WatchLogRequest, WatchLogResponse,
        get_certificate_request::Of, log_server::Log,
    },
    problem::Problem,
};
use quorate_store::LeavesView;
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Context, caller, decisions, leaves, malformed, show, watch};
use crate::signer::Certified;

/// Bytes of leaves read for one page or one burst of a watch.
pub(super) const BYTES_MAX: usize = 2 << 20;

type Streamed<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl Log for Context {
    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let request = request.into_inner();
        let read = self.read(request.consistency).await?;
        let certified = self.certified().ok_or_else(|| leaves::not_certified(self, 0))?;
        let applied_size = self.handle.leaves().size().get();
        if request.size != 0 && request.size != certified.size {
            return Err(out_of_range("size", request.size, certified.size));
        }
        let head = Some(show::head(&certified));
        Ok(Response::new(GetCheckpointResponse { head, applied_size, read: Some(read) }))
    }

    async fn get_leaf(
        &self,
        request: Request<GetLeafRequest>,
    ) -> Result<Response<GetLeafResponse>, Status> {
        let request = request.into_inner();
        let view = known_view(request.view, View::Full)?;
        let read = self.read(request.consistency).await?;
        let leaf = self.leaf(request.index, view).await?;
        Ok(Response::new(GetLeafResponse { leaf: Some(leaf), read: Some(read) }))
    }

    async fn list_leaves(
        &self,
        request: Request<ListLeavesRequest>,
    ) -> Result<Response<ListLeavesResponse>, Status> {
        let request = request.into_inner();
        let detail = known_view(request.view, View::Basic)?;
        let filter =
            format!("leaves {} {} {:?}", request.from_index, request.cluster, request.kinds);
        let page = Page::parse(request.page_size, &request.page_token, filter.as_bytes())?;
        let from = page.after_index()?.map_or(request.from_index, |after| after + 1);
        let read = self.read(request.consistency).await?;
        let certified = self.certified_size();
        let view = self.view()?;
        let size = view.size().get();
        let room = page.size();
        let listed = spawn_blocking(move || list(&view, from, room, &request, detail, certified));
        let (leaves, end) = listed.await.map_err(|error| Status::internal(error.to_string()))?;
        let next_page_token = end.map(|end| page.token_of_index(end)).unwrap_or_default();
        Ok(Response::new(ListLeavesResponse { leaves, next_page_token, size, read: Some(read) }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        let request = request.into_inner();
        let read = self.read(request.consistency).await?;
        let view = self.view()?;
        let size = self.size_or_certified(request.size, &view)?;
        if request.index >= size {
            return Err(out_of_range("index", request.index, size));
        }
        let index = request.index;
        let proof = spawn_blocking(move || {
            let (tree, leaf) = (TreeSize::new(size).ok()?, LeafIndex::new(index).ok()?);
            let entry = view.get(index).ok()??;
            let hashes = prove_inclusion(&view, leaf, tree).ok()?;
            Some((leaf_hash(&entry), hashes, root_at(&view, tree).ok()?))
        });
        let (hash, hashes, root) = unread(proof.await)?;
        Ok(Response::new(GetInclusionProofResponse {
            index,
            size,
            leaf_hash: hash.as_bytes().to_vec(),
            hashes: hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
            root: root.as_bytes().to_vec(),
            head: self.certified().filter(|head| head.size == size).map(|head| show::head(&head)),
            read: Some(read),
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        let request = request.into_inner();
        let read = self.read(request.consistency).await?;
        let view = self.view()?;
        let to = self.size_or_certified(request.to_size, &view)?;
        let from = request.from_size;
        if from == 0 || from > to {
            return Err(out_of_range("from_size", from, to));
        }
        let proof = spawn_blocking(move || {
            let (older, newer) = (TreeSize::new(from).ok()?, TreeSize::new(to).ok()?);
            let hashes = prove_consistency(&view, older, newer).ok()?;
            Some((hashes, root_at(&view, older).ok()?, root_at(&view, newer).ok()?))
        });
        let (hashes, from_root, to_root) = unread(proof.await)?;
        Ok(Response::new(GetConsistencyProofResponse {
            from_size: from,
            to_size: to,
            hashes: hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
            from_root: from_root.as_bytes().to_vec(),
            to_root: to_root.as_bytes().to_vec(),
            read: Some(read),
        }))
    }

    async fn get_certificate(
        &self,
        request: Request<GetCertificateRequest>,
    ) -> Result<Response<GetCertificateResponse>, Status> {
        let request = request.into_inner();
        let read = self.read(request.consistency).await?;
        let index = match request.of {
            Some(Of::LeafIndex(index)) => index,
            Some(Of::Decision(name)) => {
                let found = self.decision_leaf(&name.cluster, name.number).await?;
                found.ok_or_else(|| unknown_decision(&name.cluster, name.number))?
            }
            None => return Err(malformed("of", "a decision or a leaf index is needed")),
        };
        let leaf = self.leaf(index, View::WithProof).await?;
        let certified = self.certified().ok_or_else(|| leaves::not_certified(self, index))?;
        let token = match quorate_attest::leaf::Leaf::parse(&leaf.content) {
            Ok(quorate_attest::leaf::Leaf::Decision(decision)) => decision.token().to_string(),
            Ok(_) | Err(_) => String::new(),
        };
        Ok(Response::new(GetCertificateResponse {
            certificate: leaf.proof,
            leaf_index: index,
            head: Some(show::head(&certified)),
            token,
            read: Some(read),
        }))
    }

    type WatchLogStream = Streamed<WatchLogResponse>;

    async fn watch_log(
        &self,
        request: Request<WatchLogRequest>,
    ) -> Result<Response<Self::WatchLogStream>, Status> {
        let watching = self.watches.open(&caller(&request)?)?;
        let request = request.into_inner();
        let detail = known_view(request.view, View::Full)?;
        let size = self.handle.leaves().size().get();
        if request.from_index > size {
            return Err(out_of_range("from_index", request.from_index, size));
        }
        let (events, stream) = mpsc::channel(64);
        let watch = watch::log(self.clone(), request.from_index, detail, events.clone());
        watch::spawn(self.stop.clone(), watching, events, watch);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_decision(
        &self,
        request: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        let request = request.into_inner();
        let view = known_view(request.view, View::Full)?;
        let name = request.decision.ok_or_else(|| malformed("decision", "it is missing"))?;
        let read = self.read(request.consistency).await?;
        let full = view != View::Basic;
        let found = self.decision(&name.cluster, name.number, full).await?;
        let mut decision = found.ok_or_else(|| unknown_decision(&name.cluster, name.number))?;
        if view == View::WithProof && decision.leaf_index < self.certified_size() {
            decision.certificate = self.leaf(decision.leaf_index, View::WithProof).await?.proof;
        }
        Ok(Response::new(GetDecisionResponse { decision: Some(decision), read: Some(read) }))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        let request = request.into_inner();
        let filter = format!(
            "decisions {} {} {} {:?} {}",
            request.cluster, request.kind, request.target, request.states, request.unacknowledged
        );
        let page = Page::parse(request.page_size, &request.page_token, filter.as_bytes())?;
        let full = known_view(request.view, View::Basic)? != View::Basic;
        let read = self.read(request.consistency).await?;
        let mut before = match page.after_index()? {
            Some(after) => after,
            None => self.handle.leaves().size().get(),
        };
        let floor = before.saturating_sub(leaves::SCAN_MAX);
        let mut decisions = Vec::new();
        while decisions.len() < page.size() && before > floor {
            let Some(placed) = self.decision_before(before, floor).await? else {
                before = floor;
                break;
            };
            before = placed.index;
            let shown = self.show_decision(placed, full).await?;
            if wanted(&shown, &request) {
                decisions.push(shown);
            }
        }
        let next_page_token = if before > 0 { page.token_of_index(before) } else { String::new() };
        Ok(Response::new(ListDecisionsResponse { decisions, next_page_token, read: Some(read) }))
    }

    type WatchDecisionsStream = Streamed<WatchDecisionsResponse>;

    async fn watch_decisions(
        &self,
        request: Request<WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        let watching = self.watches.open(&caller(&request)?)?;
        let request = request.into_inner();
        let size = self.handle.leaves().size().get();
        if request.from_index > size {
            return Err(out_of_range("from_index", request.from_index, size));
        }
        let (events, stream) = mpsc::channel(16);
        let watch = watch::decisions(self.clone(), request, events.clone());
        watch::spawn(self.stop.clone(), watching, events, watch);
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What a blocking read answered; nothing means that the store is closed or broken.
pub(super) fn unread<T>(read: Result<Option<T>, tokio::task::JoinError>) -> Result<T, Status> {
    let read = read.map_err(|error| Status::internal(error.to_string()))?;
    read.ok_or_else(|| Status::unavailable("the log cannot be read"))
}

pub(super) fn known_view(view: i32, unspecified: View) -> Result<View, Status> {
    match convert::known::<View>("view", view).map_err(Problem::from)? {
        View::Unspecified => Ok(unspecified),
        view @ (View::Basic | View::Full | View::WithProof) => Ok(view),
    }
}

fn out_of_range(field: &str, have: u64, size: u64) -> Status {
    let what = format!("`{field}` is {have}, the log has {size} leaves");
    Problem::new(ErrorCode::IndexOutOfRange, what).with("field", field).with("size", size).into()
}

fn unknown_decision(cluster: &str, number: u64) -> Status {
    let what = format!("there is no decision {number} of {cluster}");
    Problem::new(ErrorCode::UnknownDecision, what)
        .with("name", format_args!("{cluster}/{number}"))
        .into()
}

pub(super) fn wanted(shown: &pb::Decision, request: &ListDecisionsRequest) -> bool {
    let same = |filter: &str, value: &str| filter.is_empty() || filter == value;
    same(&request.cluster, &shown.cluster)
        && same(&request.kind, &shown.kind)
        && same(&request.target, &shown.target)
        && (request.states.is_empty() || request.states.contains(&shown.state))
        && !(request.unacknowledged && shown.acknowledged)
}

fn list(
    view: &LeavesView,
    from: u64,
    room: usize,
    request: &ListLeavesRequest,
    detail: View,
    certified: u64,
) -> (Vec<pb::Leaf>, Option<u64>) {
    let mut listed = Vec::new();
    let mut bytes_used = 0;
    let mut last = None;
    let stopped = leaves::forwards(view, from, leaves::SCAN_MAX, |index, bytes| {
        last = Some(index);
        let shown = leaves::leaf(index, bytes, detail, certified);
        let is_wanted = (request.cluster.is_empty() || request.cluster == shown.cluster)
            && (request.kinds.is_empty() || request.kinds.contains(&shown.kind));
        if is_wanted {
            bytes_used += bytes.len();
            listed.push(shown);
        }
        (listed.len() == room || bytes_used > BYTES_MAX).then_some(index)
    });
    let end = stopped.or(last).filter(|end| end + 1 < view.size().get());
    (listed, end)
}

impl Context {
    pub(crate) fn certified(&self) -> Option<std::sync::Arc<Certified>> {
        self.signer.certified().borrow().clone()
    }

    pub(crate) fn certified_size(&self) -> u64 {
        self.certified().map_or(0, |certified| certified.size)
    }

    /// The size asked for, or for 0 the certified one; refused beyond what is applied.
    fn size_or_certified(&self, size: u64, view: &LeavesView) -> Result<u64, Status> {
        let applied = view.size().get();
        match size {
            0 => match self.certified_size() {
                0 => Err(leaves::not_certified(self, 0)),
                size => Ok(size),
            },
            size if size <= applied => Ok(size),
            size => Err(out_of_range("size", size, applied)),
        }
    }

    /// One leaf; with its certificate where it is asked for.
    async fn leaf(&self, index: u64, detail: View) -> Result<pb::Leaf, Status> {
        let view = self.view()?;
        let size = view.size().get();
        let certified = self.certified();
        let certified_size = self.certified_size();
        if index >= size {
            return Err(out_of_range("index", index, size));
        }
        if detail == View::WithProof && index >= certified_size {
            return Err(leaves::not_certified(self, index));
        }
        let read = spawn_blocking(move || {
            let bytes = view.get(index).ok()??;
            let mut leaf = leaves::leaf(index, &bytes, detail, certified_size);
            if let (View::WithProof, Some(certified)) = (detail, certified) {
                leaf.proof = leaves::certificate(&view, index, bytes, &certified).ok()?;
            }
            Some(leaf)
        });
        unread(read.await)
    }

    /// The newest decision below `before` and at or above `floor`.
    async fn decision_before(
        &self,
        before: u64,
        floor: u64,
    ) -> Result<Option<decisions::Placed>, Status> {
        let view = self.view()?;
        let found = spawn_blocking(move || {
            let index = leaves::backwards(&view, before, before - floor, |index, bytes| {
                (leaves::kind_of(bytes) == Some(Kind::Decision)).then_some(index)
            })?;
            decisions::place(&view, index)
        });
        found.await.map_err(|error| Status::internal(error.to_string()))
    }

    pub(super) async fn heartbeat(&self) -> Result<Heartbeat, Status> {
        Ok(Heartbeat {
            size: self.handle.leaves().size().get(),
            certified_size: self.certified_size(),
            read: Some(self.label(pb::Consistency::Stale).await?),
        })
    }
}
