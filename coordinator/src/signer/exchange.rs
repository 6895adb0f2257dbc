//! Cosignatures straight between coordinators, not through the leader.
//!
//! One sender task per peer holds the newest outbox and repeats it until the peer has taken it;
//! older ones are overwritten, so nothing queues for a peer that is away. The answer brings the
//! peer's own newest head back, so one working direction is enough.

use std::time::Duration;

use prost::bytes::Bytes;
use quorate_attest::{head::CosignedHead, refusal::Refusal, signed::Signed};
use quorate_proto::pb::raft::v1::{
    FetchRequest, FetchResponse, OfferRequest, OfferResponse, OwnHeadRequest, OwnHeadResponse,
    exchange_server,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::SignerHandle;
use crate::{
    admission::Verifiers,
    handle::Handle,
    raft::{
        peers::Peers,
        server::{peer_of, refuse},
    },
    service::verify::verified_veto,
};

/// A peer has to answer within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Waits between attempts at a peer that does not answer: from, doubling, to.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Also without news the outbox is offered this often: it heals what both sides missed.
const REPEAT: Duration = Duration::from_secs(5);
/// Items of one kind given and taken in one offer.
const ITEMS_MAX: usize = 64;
/// Bytes of one kind given in one offer.
const ITEMS_BYTES_MAX: usize = 256 * 1024;
/// The largest message a peer may send here: two kinds of items, a head and an envelope.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What a peer is to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outbox {
    /// Our newest head with our own line.
    pub head: Option<Vec<u8>>,
    /// Every refusal known.
    pub refusals: Vec<Vec<u8>>,
    /// Vetoes held.
    pub vetoes: Vec<Vec<u8>>,
}

/// As many of the first items as one offer holds: the caller puts what matters first.
pub(super) fn bounded(items: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut left = ITEMS_BYTES_MAX;
    let fits = |item: &Vec<u8>| match left.checked_sub(item.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    items.take(ITEMS_MAX).take_while(fits).collect()
}

/// Offers every outbox to `peer` until `stop`.
pub async fn offer_to(
    peer: u64,
    peers: Peers,
    mut outbox: watch::Receiver<Outbox>,
    signer: SignerHandle,
    stop: CancellationToken,
) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let news = outbox.borrow_and_update().clone();
        let pause = match offer(peer, &peers, news).await {
            Ok(answer) => {
                backoff = BACKOFF_MIN;
                if let Ok(head) = CosignedHead::parse(&answer.head) {
                    signer.offer_head(head).await;
                }
                REPEAT
            }
            Err(status) => {
                tracing::debug!(peer, %status, "an offer did not arrive");
                let pause = backoff;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                pause
            }
        };
        let failed = pause != REPEAT;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = outbox.changed(), if !failed => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

async fn offer(peer: u64, peers: &Peers, news: Outbox) -> Result<OfferResponse, Status> {
    let mut client =
        peers.exchange(peer).map_err(|error| Status::unavailable(error.to_string()))?;
    let bytes = |notes: Vec<Vec<u8>>| notes.into_iter().map(Bytes::from).collect();
    let request = OfferRequest {
        envelope: Some(peers.desk().envelope(peer)),
        heads: news.head.into_iter().map(Bytes::from).collect(),
        refusals: bytes(news.refusals),
        vetoes: bytes(news.vetoes),
        observations: Vec::new(),
    };
    timeout(ANSWER_WITHIN, client.offer(request))
        .await
        .map_err(|_| Status::deadline_exceeded("the peer is silent"))?
        .map(Response::into_inner)
}

/// The exchange service of one coordinator.
#[derive(Clone)]
pub struct ExchangeServer {
    handle: Handle,
    signer: SignerHandle,
    verifiers: Verifiers,
}

impl ExchangeServer {
    /// Serves what `signer` knows.
    pub fn new(handle: Handle, signer: SignerHandle, verifiers: Verifiers) -> Self {
        Self { handle, signer, verifiers }
    }

    async fn own_newest(&self) -> Bytes {
        let newest = self.signer.newest_of(self.handle.own()).await;
        newest.map(|head| Bytes::from(head.to_bytes())).unwrap_or_default()
    }
}

#[tonic::async_trait]
impl exchange_server::Exchange for ExchangeServer {
    async fn offer(
        &self,
        request: Request<OfferRequest>,
    ) -> Result<Response<OfferResponse>, Status> {
        let peer = peer_of(&request, &self.handle)?;
        let offer = request.into_inner();
        let desk = self.handle.peers().desk();
        desk.check_envelope(peer, offer.envelope.as_ref()).map_err(|no| refuse(peer, &no))?;
        for note in offer.heads.iter().take(ITEMS_MAX) {
            let head = CosignedHead::parse(note);
            let head = head.map_err(|refused| Status::invalid_argument(refused.to_string()))?;
            self.signer.offer_head(head).await;
        }
        let refusals: Result<Vec<Signed<Refusal>>, _> =
            offer.refusals.iter().take(ITEMS_MAX).map(|note| Signed::parse(note)).collect();
        let refusals = refusals.map_err(|refused| Status::invalid_argument(refused.to_string()))?;
        if !refusals.is_empty() {
            self.signer.offer_refusals(refusals).await;
        }
        for note in offer.vetoes.iter().take(ITEMS_MAX) {
            // A veto that does not verify here may be of an epoch this replica has not reached.
            if let Ok(veto) = verified_veto(&self.handle, &self.verifiers, note).await {
                self.signer.hold_veto(veto).await;
            }
        }
        let applied_size = self.handle.leaves().size().get();
        Ok(Response::new(OfferResponse { head: self.own_newest().await, applied_size }))
    }

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<FetchResponse>, Status> {
        let peer = peer_of(&request, &self.handle)?;
        let fetch = request.into_inner();
        let desk = self.handle.peers().desk();
        desk.check_envelope(peer, fetch.envelope.as_ref()).map_err(|no| refuse(peer, &no))?;
        let head = self.signer.head_at(fetch.size).await;
        let refusals = self.signer.refusals().await;
        let refusals = bounded(refusals.iter().map(Signed::to_bytes));
        Ok(Response::new(FetchResponse {
            head: head.map(|head| Bytes::from(head.to_bytes())).unwrap_or_default(),
            refusals: refusals.into_iter().map(Bytes::from).collect(),
        }))
    }

    async fn own_head(
        &self,
        request: Request<OwnHeadRequest>,
    ) -> Result<Response<OwnHeadResponse>, Status> {
        let peer = peer_of(&request, &self.handle)?;
        let desk = self.handle.peers().desk();
        desk.check_envelope(peer, request.get_ref().envelope.as_ref())
            .map_err(|no| refuse(peer, &no))?;
        let head = self.signer.newest_of(peer).await;
        let (acknowledged_index, voted_term) = self.handle.acknowledged_by(peer);
        Ok(Response::new(OwnHeadResponse {
            head: head.map(|head| Bytes::from(head.to_bytes())).unwrap_or_default(),
            acknowledged_index,
            voted_term,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_bounded_and_begins_with_what_comes_first() {
        let items = |count: usize, bytes: usize| (0..count).map(move |_| vec![7; bytes]);
        assert_eq!(bounded(items(10, 100)).len(), 10);
        assert_eq!(bounded(items(10_000, 100)).len(), ITEMS_MAX);
        assert_eq!(bounded(items(64, 32 * 1024)).len(), ITEMS_BYTES_MAX / (32 * 1024));
        let first = bounded((0..200_u8).map(|n| vec![n]));
        assert_eq!(first[..3], [vec![0], vec![1], vec![2]]);
        const { assert!(2 * ITEMS_BYTES_MAX < MESSAGE_BYTES_MAX, "two kinds fit into one message") };
    }
}
