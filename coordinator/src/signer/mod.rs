//! The signer: what this coordinator cosigns, and when.
//!
//! One task owns everything; others send it messages. A head is cosigned only after this replica's
//! own state machine applied it and every new leaf was judged again here (`verify`), and only
//! through the sign-once store, which makes it durable before it is released. Reading order:
//! `verify` (the second judge), `held` (vetoes and facts a leader cannot withhold), `liveness`
//! (a leader that dates back), `book` (whose line under which head), `cosign` (which size next, and
//! what stands against it), `exchange` (straight to the other coordinators).

pub mod book;
mod cosign;
pub mod exchange;
#[cfg(test)]
mod fixture;
pub mod held;
mod judge;
mod liveness;
mod refusals;
mod shelf;
mod shown;
mod sign;
mod task;
pub mod verify;
mod window;

use std::sync::Arc;

use quorate_attest::{
    agent_statement::Observe, head::CosignedHead, log_time::LogTime, refusal::Refusal,
    signed::Signed, vote::Veto,
};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::{
    book::Certified,
    task::{Parts, StartError, start},
};

/// Messages that wait for the signer. Senders wait; nothing is lost.
const QUEUE_MAX: usize = 256;

/// What the signer is told and asked.
enum Message {
    /// A note with cosignature lines, from a peer.
    Head(CosignedHead),
    /// Signed refusals, from a peer.
    Refusals(Vec<Signed<Refusal>>),
    /// A veto, verified at the door.
    Veto(Signed<Veto>),
    /// An observation, verified at the door.
    Observe(Signed<Observe>),
    /// Every line known for a size; 0 is the newest certified head.
    HeadAt(u64, oneshot::Sender<Option<CosignedHead>>),
    /// The largest head that a coordinator has cosigned.
    NewestOf(u64, oneshot::Sender<Option<CosignedHead>>),
    /// What is held, for the leader to propose.
    Held(oneshot::Sender<HeldCopy>),
    /// Refusals known, by everybody.
    RefusalsKnown(oneshot::Sender<Vec<Signed<Refusal>>>),
}

/// A copy of what is held.
#[derive(Debug, Clone, Default)]
pub struct HeldCopy {
    /// Vetoes.
    pub vetoes: Vec<Signed<Veto>>,
    /// The newest observation of each agent.
    pub observations: Vec<Signed<Observe>>,
}

/// Where the signer stands, for status, metrics and alarms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignerState {
    /// Leaves judged.
    pub judged: u64,
    /// The size this coordinator signed last.
    pub signed: u64,
    /// Why it stopped signing for good, if it did.
    pub stopped: Option<String>,
    /// Sizes of the largest heads known, by coordinator id.
    pub cosigned: std::collections::BTreeMap<u64, u64>,
    /// When the leader was last found calm: it cannot date a decision back behind that.
    pub calm: Option<LogTime>,
}

/// Speaks to the signer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignerHandle {
    inbox: mpsc::Sender<Message>,
    certified: watch::Receiver<Option<Arc<Certified>>>,
    state: watch::Receiver<SignerState>,
}

impl SignerHandle {
    /// The newest certified head; changes when it grows or is refreshed.
    pub fn certified(&self) -> watch::Receiver<Option<Arc<Certified>>> {
        self.certified.clone()
    }

    /// Where the signer stands.
    pub fn state(&self) -> watch::Receiver<SignerState> {
        self.state.clone()
    }

    /// Keeps a veto, so that no decision against it is cosigned.
    pub async fn hold_veto(&self, veto: Signed<Veto>) {
        self.send(Message::Veto(veto)).await;
    }

    /// Keeps an observation, so that no decision it contradicts is cosigned.
    pub async fn hold_observe(&self, observe: Signed<Observe>) {
        self.send(Message::Observe(observe)).await;
    }

    /// Hands over a note with cosignature lines; each line is verified.
    pub async fn offer_head(&self, head: CosignedHead) {
        self.send(Message::Head(head)).await;
    }

    /// Hands over refusals; each is verified.
    pub async fn offer_refusals(&self, refusals: Vec<Signed<Refusal>>) {
        self.send(Message::Refusals(refusals)).await;
    }

    /// Every line known for a size; 0 is the newest certified head.
    pub async fn head_at(&self, size: u64) -> Option<CosignedHead> {
        self.ask(|answer| Message::HeadAt(size, answer)).await.flatten()
    }

    /// The largest head that coordinator `id` has cosigned.
    pub async fn newest_of(&self, id: u64) -> Option<CosignedHead> {
        self.ask(|answer| Message::NewestOf(id, answer)).await.flatten()
    }

    /// What is held, for the leader to propose.
    pub async fn held(&self) -> HeldCopy {
        self.ask(Message::Held).await.unwrap_or_default()
    }

    /// Refusals known.
    pub async fn refusals(&self) -> Vec<Signed<Refusal>> {
        self.ask(Message::RefusalsKnown).await.unwrap_or_default()
    }

    async fn send(&self, message: Message) {
        if self.inbox.send(message).await.is_err() {
            tracing::debug!("the signer has ended");
        }
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(message(answer)).await;
        answered.await.ok()
    }
}
