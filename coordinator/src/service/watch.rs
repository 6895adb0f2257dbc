//! Watches: tasks that follow the state for one caller each, and end with it.
//!
//! A watch resumes by index (leaves, decisions) or starts with a sweep (proposals), so nobody needs
//! an old one to live: connections may be closed at any age.

use std::{collections::BTreeMap, time::Duration};

use quorate_attest::{id::ProposalId, leaf::LeafKind as Kind};
use quorate_proto::pb::v1::{
    self as pb, ListDecisionsRequest, ListProposalsRequest, ProposalState, View,
    WatchDecisionsRequest, WatchDecisionsResponse, WatchLogResponse, WatchProposalsRequest,
    WatchProposalsResponse, watch_decisions_response, watch_log_response,
    watch_proposals_response::Event as ProposalEvent,
};
use quorate_store::LeavesView;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Context, leaves,
    log::{BYTES_MAX, known_view, unread, wanted},
    parse, show,
};
use crate::admission::Watching;

/// Without news a watch sends a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Decisions a watch keeps an eye on after they were sent.
const FOLLOWED_MAX: usize = 256;
/// Between two looks of a watch at decisions under way.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A watch of proposals looks again at most this often, whatever happens.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs a watch until it ends, the caller leaves, or the process stops.
pub(super) fn spawn<T: Send + 'static>(
    stop: CancellationToken,
    watching: Watching,
    events: mpsc::Sender<Result<T, Status>>,
    watch: impl Future<Output = Result<(), Status>> + Send + 'static,
) {
    tokio::spawn(async move {
        let _watching = watching;
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = watch => ended,
        };
        if let Err(status) = ended
            && events.send(Err(status)).await.is_err()
        {
            tracing::trace!("a watcher has gone");
        }
    });
}

type LogEvents = mpsc::Sender<Result<WatchLogResponse, Status>>;

/// Leaves from `next` on, gapless; each newly certified head after its leaves.
pub(super) async fn log(
    context: Context,
    mut next: u64,
    detail: View,
    events: LogEvents,
) -> Result<(), Status> {
    use watch_log_response::Event;
    let mut sizes = context.handle.leaves().watch();
    let mut heads = context.signer.certified();
    let mut shown: Option<Vec<u8>> = None;
    let mut heard = Instant::now();
    loop {
        let size = *sizes.borrow_and_update();
        while next < size {
            let view = context.view()?;
            let read = spawn_blocking(move || view.range(next..size, BYTES_MAX).ok());
            let certified = context.certified_size();
            for (index, bytes) in unread(read.await)? {
                let leaf = leaves::leaf(index, &bytes, detail, certified);
                if !send_log(&events, Event::Leaf(leaf)).await {
                    return Ok(());
                }
                next = index + 1;
                heard = Instant::now();
            }
        }
        let certified = heads.borrow_and_update().clone();
        if let Some(certified) = certified.filter(|certified| certified.size <= next) {
            let head = show::head(&certified);
            if shown.as_ref() != Some(&head.note) {
                shown = Some(head.note.clone());
                heard = Instant::now();
                if !send_log(&events, Event::Head(head)).await {
                    return Ok(());
                }
            }
        }
        if heard.elapsed() >= HEARTBEAT {
            heard = Instant::now();
            let heartbeat = context.heartbeat().await?;
            if !send_log(&events, Event::Heartbeat(heartbeat)).await {
                return Ok(());
            }
        }
        tokio::select! {
            changed = sizes.changed() => if changed.is_err() { return Ok(()) },
            changed = heads.changed() => if changed.is_err() { return Ok(()) },
            () = sleep_until(heard + HEARTBEAT) => {}
            () = events.closed() => return Ok(()),
        }
    }
}

/// Whether the watcher is still there.
async fn send_log(events: &LogEvents, event: watch_log_response::Event) -> bool {
    events.send(Ok(WatchLogResponse { event: Some(event) })).await.is_ok()
}

type DecisionEvents = mpsc::Sender<Result<WatchDecisionsResponse, Status>>;

/// Decisions from a leaf index on, each again when it changes.
pub(super) async fn decisions(
    context: Context,
    request: WatchDecisionsRequest,
    events: DecisionEvents,
) -> Result<(), Status> {
    use watch_decisions_response::Event;
    let full = known_view(request.view, View::Basic)? != View::Basic;
    let filter = ListDecisionsRequest {
        cluster: request.cluster,
        kind: request.kind,
        target: request.target,
        ..ListDecisionsRequest::default()
    };
    let mut next = request.from_index;
    let mut followed: BTreeMap<u64, pb::Decision> = BTreeMap::new();
    let mut heard = Instant::now();
    let mut applied = context.handle.applied();
    let mut heads = context.signer.certified();
    loop {
        applied.borrow_and_update();
        heads.borrow_and_update();
        let size = context.handle.leaves().size().get();
        let view = context.view()?;
        let fresh = spawn_blocking(move || decision_leaves(&view, next, size));
        let fresh = fresh.await.map_err(|error| Status::internal(error.to_string()))?;
        next = size;
        let known: Vec<u64> = followed.keys().copied().chain(fresh).collect();
        for index in known {
            let view = context.view()?;
            let placed = spawn_blocking(move || super::decisions::place(&view, index));
            let Some(placed) = placed.await.map_err(|error| Status::internal(error.to_string()))?
            else {
                continue;
            };
            let shown = context.show_decision(placed, full).await?;
            if !wanted(&shown, &filter) || followed.get(&index) == Some(&shown) {
                continue;
            }
            heard = Instant::now();
            followed.insert(index, shown.clone());
            if !send_decision(&events, Event::Decision(shown), next).await {
                return Ok(());
            }
        }
        while followed.len() > FOLLOWED_MAX {
            followed.pop_first();
        }
        if heard.elapsed() >= HEARTBEAT {
            heard = Instant::now();
            let heartbeat = context.heartbeat().await?;
            if !send_decision(&events, Event::Heartbeat(heartbeat), next).await {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            changed = heads.changed() => if changed.is_err() { return Ok(()) },
            () = sleep_until(heard + HEARTBEAT) => {}
            () = events.closed() => return Ok(()),
        }
    }
}

fn decision_leaves(view: &LeavesView, from: u64, to: u64) -> Vec<u64> {
    let mut found = Vec::new();
    leaves::forwards(view, from, to.saturating_sub(from), |index, bytes| {
        if leaves::kind_of(bytes) == Some(Kind::Decision) {
            found.push(index);
        }
        None::<()>
    });
    found
}

/// Whether the watcher is still there.
async fn send_decision(
    events: &DecisionEvents,
    event: watch_decisions_response::Event,
    next_index: u64,
) -> bool {
    events.send(Ok(WatchDecisionsResponse { event: Some(event), next_index })).await.is_ok()
}

type ProposalEvents = mpsc::Sender<Result<WatchProposalsResponse, Status>>;

/// Sends what matches, then each change. Ends with an error, or when the watcher leaves.
pub(super) async fn proposals(
    context: Context,
    request: WatchProposalsRequest,
    events: ProposalEvents,
) -> Result<(), Status> {
    let wanted = super::parse_optional::<ProposalId>("id", &request.id)?;
    let full = matches!(View::try_from(request.view), Ok(View::Full | View::WithProof));
    let list = ListProposalsRequest { cluster: request.cluster, ..ListProposalsRequest::default() };
    let mut applied = context.handle.applied();
    let mut shown: BTreeMap<String, pb::Proposal> = BTreeMap::new();
    let mut swept = false;
    let mut heard = Instant::now();
    loop {
        applied.borrow_and_update();
        let mut open = context.open_proposals(&list, full).await?;
        open.retain(|proposal| wanted.is_none_or(|id| id.to_string() == proposal.id));
        let mut news: Vec<pb::Proposal> = Vec::new();
        let gone: Vec<String> = shown
            .keys()
            .filter(|id| !open.iter().any(|proposal| proposal.id == **id))
            .cloned()
            .collect();
        for id in gone {
            shown.remove(&id);
            if let Some(ended) = context.ended(&parse("id", &id)?, full).await? {
                news.push(ended);
            }
        }
        for proposal in open {
            if shown.get(&proposal.id) != Some(&proposal) {
                shown.insert(proposal.id.clone(), proposal.clone());
                news.push(proposal);
            }
        }
        if let (false, Some(id)) = (swept, &wanted)
            && news.is_empty()
            && let Some(ended) = context.ended(id, full).await?
        {
            news.push(ended);
        }
        for proposal in news {
            heard = Instant::now();
            let ended = is_ended(&proposal);
            if !send_proposal(&events, ProposalEvent::Proposal(proposal)).await {
                return Ok(());
            }
            // The one that was asked for has ended: nothing more will happen to it.
            if ended && wanted.is_some() {
                return Ok(());
            }
        }
        if !swept || heard.elapsed() >= HEARTBEAT {
            let label = context.label(pb::Consistency::Stale).await?;
            if !send_proposal(&events, ProposalEvent::Heartbeat(label)).await {
                return Ok(());
            }
            (swept, heard) = (true, Instant::now());
        }
        sleep(PAUSE).await;
        let left = HEARTBEAT.saturating_sub(heard.elapsed());
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = sleep(left) => {}
            () = events.closed() => return Ok(()),
        }
    }
}

fn is_ended(proposal: &pb::Proposal) -> bool {
    !matches!(
        ProposalState::try_from(proposal.state),
        Ok(ProposalState::Open | ProposalState::Approved | ProposalState::Unspecified)
    )
}

/// Whether the watcher is still there.
async fn send_proposal(events: &ProposalEvents, event: ProposalEvent) -> bool {
    events.send(Ok(WatchProposalsResponse { event: Some(event) })).await.is_ok()
}
