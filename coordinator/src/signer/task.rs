//! The signer's task: judge new leaves, refuse or cosign, tell the others, certify.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use metrics::{counter, gauge};
use quorate_attest::{
    charter::Charter,
    checkpoint::Checkpoint,
    head::{CosignedHead, HeadPolicy},
    id::KeyName,
    log_time::CosignTime,
    merkle::Hash,
    number::LeafIndex,
    refusal::Refusal,
    signed::Signed,
};
use quorate_store::{SignOnce, SignRefused, sign_once::SignedHead};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    HeldCopy, Message, QUEUE_MAX, SignerHandle, SignerState,
    book::{Book, Certified, Divergence, Taken},
    exchange::{Outbox, bounded},
    held::Held,
    refusals::Refusals,
    shelf::Shelf,
    sign::own_root,
    verify::{Pinned, Verifier},
    window::Windows,
};
use crate::handle::Handle;

/// While something is uncertified, a look this often.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// Otherwise.
const LOOK_LATER: Duration = Duration::from_secs(1);
/// Kept heads are written at most this often.
const KEEP_EVERY: Duration = Duration::from_millis(500);

/// What the signer is made of.
pub struct Parts {
    /// The coordinator.
    pub handle: Handle,
    /// The store that owns the cosigning key.
    pub sign_once: SignOnce,
    /// The charter this coordinator was started with; later ones come from the log.
    pub charter: Charter,
    /// This coordinator's key name.
    pub own: KeyName,
    /// The data directory.
    pub data_dir: PathBuf,
    /// One outbox per peer.
    pub outbox: watch::Sender<Outbox>,
    /// Whether peers have confirmed that this disk is current: before that nothing is signed.
    pub permitted: watch::Receiver<bool>,
}

/// Starts the signer; it ends with `stop`.
pub async fn start(parts: Parts, stop: CancellationToken) -> Result<SignerHandle, StartError> {
    let shelf = Shelf::open(&parts.data_dir)?;
    let policy = head_policy(&parts.charter)?;
    let signed = parts.sign_once.head().await?;
    let refusals = parts.sign_once.refusals().await?;
    let (inbox, messages) = mpsc::channel(QUEUE_MAX);
    let certified = watch::Sender::new(None);
    let state = watch::Sender::new(SignerState::default());
    let handle = SignerHandle { inbox, certified: certified.subscribe(), state: state.subscribe() };
    let signed_size = signed.as_ref().map_or(0, |head| head.size.get());
    let refused = Refusals::new(parts.own.clone());
    let mut task = Task {
        book: Book::new(policy),
        verifier: Some(Verifier::new(Pinned::of(&parts.charter), signed_size)),
        held: Held::default(),
        charter: parts.charter,
        handle: parts.handle,
        sign_once: parts.sign_once,
        own: parts.own,
        outbox: parts.outbox,
        permitted: parts.permitted,
        shelf,
        certified,
        state,
        signed: signed_size,
        signed_time: signed.as_ref().map(|head| head.cosignature.time),
        uncertified_since: None,
        refused,
        proposed: BTreeMap::new(),
        open_refusals: BTreeSet::new(),
        windows: Windows::default(),
        stopped: None,
        kept: Instant::now(),
    };
    for refused in refusals {
        if refused.settled.is_none() {
            task.open_refusals.insert(refused.leaf());
        }
        // Settled ones too: others may still need them to believe the void.
        task.refused.keep_own(Signed::new(refused.refusal, vec![refused.line]));
    }
    task.recall(signed);
    tokio::spawn(task.run(messages, stop));
    Ok(handle)
}

/// Why the signer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of kept heads.
    #[error("the folder of kept heads cannot be used: {0}")]
    Shelf(#[from] std::io::Error),
    /// The charter's keys judge no heads.
    #[error("the charter's coordinators judge no heads: {0}")]
    Policy(#[from] quorate_attest::head::HeadPolicyError),
    /// The sign-once store.
    #[error(transparent)]
    SignOnce(#[from] SignRefused),
}

/// The part of a charter that judges heads.
pub(crate) fn head_policy(
    charter: &Charter,
) -> Result<HeadPolicy, quorate_attest::head::HeadPolicyError> {
    HeadPolicy::new(
        charter.origin.clone(),
        charter.coordinator.iter().cloned(),
        charter.log.iter().cloned(),
        usize::try_from(charter.threshold).unwrap_or(usize::MAX),
    )
}

pub(super) struct Task {
    pub(super) handle: Handle,
    pub(super) sign_once: SignOnce,
    pub(super) own: KeyName,
    pub(super) charter: Charter,
    pub(super) book: Book,
    /// In the blocking pool while it judges.
    pub(super) verifier: Option<Verifier>,
    pub(super) held: Held,
    pub(super) outbox: watch::Sender<Outbox>,
    pub(super) permitted: watch::Receiver<bool>,
    pub(super) shelf: Shelf,
    pub(super) certified: watch::Sender<Option<Arc<Certified>>>,
    pub(super) state: watch::Sender<SignerState>,
    pub(super) signed: u64,
    pub(super) signed_time: Option<CosignTime>,
    pub(super) uncertified_since: Option<Instant>,
    pub(super) refused: Refusals,
    pub(super) proposed: BTreeMap<u64, (usize, Instant)>,
    /// Leaves this coordinator refused and has not cosigned since.
    pub(super) open_refusals: BTreeSet<LeafIndex>,
    pub(super) windows: Windows,
    pub(super) stopped: Option<String>,
    pub(super) kept: Instant,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>, stop: CancellationToken) {
        let mut leaves = self.handle.leaves().watch();
        loop {
            let more = self.step().await;
            let uncertified = self.uncertified_since.is_some();
            let pause = match (more, uncertified) {
                (true, _) => Duration::ZERO,
                (false, true) => LOOK_SOON,
                (false, false) => LOOK_LATER,
            };
            let wake = Instant::now() + pause;
            tokio::select! {
                () = stop.cancelled() => break,
                message = messages.recv() => match message {
                    Some(message) => self.receive(message),
                    None => break,
                },
                changed = leaves.changed() => if changed.is_err() { break },
                () = sleep_until(wake) => {}
            }
            // What else has come is taken in one go: one signature covers all of it.
            while let Ok(message) = messages.try_recv() {
                self.receive(message);
            }
        }
        self.keep(KeepNow::Always);
    }

    /// One round; answers whether more leaves wait to be judged.
    async fn step(&mut self) -> bool {
        let Ok(view) = self.handle.leaves().view() else { return false };
        let (view, more) = self.judge(view).await;
        let Some(view) = view else { return false };
        self.certify(&view);
        self.watch_windows().await;
        // A restored disk replays its log before peers were asked: it must not sign what it finds
        // there, or forget that it signed more before (sign-once).
        if self.stopped.is_none() && !more && *self.permitted.borrow() {
            self.refuse_suspects().await;
            // What was found out just now may have stopped it.
            if self.stopped.is_none() {
                self.cosign(view).await;
            }
            self.propose_refusals();
        }
        self.publish();
        self.keep(KeepNow::IfDue);
        more
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Head(head) => {
                let size = head.checkpoint.size.get();
                let judged = self.judged();
                let view = self.handle.leaves().view().ok().filter(|_| size <= judged);
                let root = view.and_then(|view| own_root(&view, size));
                self.take(&head, root);
            }
            Message::Refusals(refusals) => {
                refusals.into_iter().for_each(|refusal| self.refusal(refusal))
            }
            Message::Veto(veto) => {
                if self.held.veto(&veto, &self.charter) {
                    self.send_out();
                }
            }
            Message::Observe(observe) => {
                self.held.observe(observe);
            }
            // A caller that went away needs no answer.
            Message::HeadAt(0, answer) => {
                drop(answer.send(self.book.certified().map(|certified| certified.head.clone())));
            }
            Message::HeadAt(size, answer) => drop(answer.send(self.book.head_at(size))),
            Message::NewestOf(id, answer) => {
                let newest = self.key_of(id).and_then(|key| self.book.newest_of(&key));
                drop(answer.send(newest));
            }
            Message::Held(answer) => drop(answer.send(HeldCopy {
                vetoes: self.held.vetoes().cloned().collect(),
                observations: self.held.observations().cloned().collect(),
            })),
            Message::RefusalsKnown(answer) => drop(answer.send(self.known_refusals())),
        }
    }

    /// Takes the lines of a note; contradictions are kept and told.
    pub(super) fn take(&mut self, head: &CosignedHead, root: Option<Hash>) {
        for taken in self.book.take(head, root) {
            match taken {
                Taken::New | Taken::Nothing => {}
                Taken::Divergent(divergence) => self.divergent(&divergence),
            }
        }
    }

    /// Somebody signed a root that contradicts ours, or two roots at one size. One liar must not
    /// stop us: its line does not count, and the evidence is kept.
    fn divergent(&mut self, divergence: &Divergence) {
        counter!("quorate_log_divergence_total").increment(1);
        let Divergence { key, size, expected, found, note } = divergence;
        tracing::error!(%key, size, %expected, %found, "a coordinator cosigned a contradicting root");
        let name = format!("head-{size}-{}", key.as_str().replace('/', "_"));
        self.evidence(&name, note);
    }

    fn refusal(&mut self, refusal: Signed<Refusal>) {
        let statement = &refusal.statement;
        let certified = self.book.certified_size();
        if statement.origin != self.charter.origin || statement.leaf.get() < certified {
            return;
        }
        match refusal.signer(&self.charter.coordinator_ring()) {
            Ok(key) => {
                let (signer, judged) = (key.name().clone(), self.judged());
                let suspect = |leaf| self.verifier.as_ref().and_then(|it| it.suspect(leaf));
                self.refused.keep(signer, refusal, judged, suspect);
            }
            Err(refused) => tracing::warn!(%refused, "a refusal of a peer does not count"),
        }
    }

    fn known_refusals(&self) -> Vec<Signed<Refusal>> {
        self.refused.all().cloned().collect()
    }

    fn key_of(&self, id: u64) -> Option<KeyName> {
        let own =
            |key: &&quorate_attest::key::VerifierKey| self.charter.node_id(key.name()) == Some(id);
        self.charter.coordinator.iter().find(own).map(|key| key.name().clone())
    }

    /// What every peer is to know: our newest head, all refusals, vetoes held.
    pub(super) fn send_out(&self) {
        let head = self.book.newest_of(&self.own).map(|head| head.to_bytes());
        let refusals = bounded(self.known_refusals().iter().map(Signed::to_bytes));
        let vetoes = bounded(self.held.vetoes().map(Signed::to_bytes));
        self.outbox.send_replace(Outbox { head, refusals, vetoes });
    }

    /// Stops signing for good: this log or this coordinator cannot be trusted any more.
    pub(super) fn stop(&mut self, why: String) {
        if self.stopped.is_none() {
            tracing::error!(%why, "this coordinator stops cosigning for good");
            self.stopped = Some(why);
        }
    }

    /// Keeps bytes that prove a lie, for a person.
    pub(super) fn evidence(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.shelf.evidence(name, bytes) {
            tracing::error!(%error, name, "evidence could not be kept");
        }
    }

    fn recall(&mut self, signed: Option<SignedHead>) {
        match self.shelf.load() {
            // Roots are compared when our tree is that large: nothing is certified before.
            Ok(heads) => heads.iter().for_each(|head| self.take(head, None)),
            Err(error) => tracing::warn!(%error, "kept heads cannot be read"),
        }
        let Some(signed) = signed else { return };
        if let Ok(checkpoint) = Checkpoint::parse(&signed.text) {
            let lines = vec![signed.cosignature.to_line()];
            self.take(&CosignedHead { checkpoint, lines }, None);
        }
        self.send_out();
    }

    fn publish(&self) {
        let ids = self.charter.coordinator.iter().filter_map(|key| {
            Some((self.charter.node_id(key.name())?, self.book.newest_size_of(key.name())))
        });
        let state = SignerState {
            judged: self.judged(),
            signed: self.signed,
            stopped: self.stopped.clone(),
            cosigned: ids.collect(),
        };
        gauge!("quorate_log_certified_size").set(precise(self.book.certified_size()));
        if let Some(certified) = self.book.certified() {
            let time = certified.verified.as_of().get();
            gauge!("quorate_log_certified_timestamp_seconds").set(precise(time));
        }
        self.state.send_if_modified(|before| {
            let changed = *before != state;
            *before = state;
            changed
        });
    }

    /// Writes what changed on the shelf, not too often.
    fn keep(&mut self, now: KeepNow) {
        if matches!(now, KeepNow::IfDue) && self.kept.elapsed() < KEEP_EVERY {
            return;
        }
        self.kept = Instant::now();
        let mut heads = BTreeMap::new();
        if let Some(certified) = self.book.certified() {
            heads.insert("certified".to_owned(), certified.head.to_bytes());
        }
        for key in &self.charter.coordinator {
            let id = self.charter.node_id(key.name());
            if let (Some(id), Some(head)) = (id, self.book.newest_of(key.name())) {
                heads.insert(format!("coordinator-{id}"), head.to_bytes());
            }
        }
        if let Err(error) = self.shelf.keep(heads) {
            tracing::warn!(%error, "known heads could not be kept");
        }
    }
}

/// Whether the shelf is written now, or only if it was not for a while.
enum KeepNow {
    Always,
    IfDue,
}

/// Counts as Prometheus wants them; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn precise(count: u64) -> f64 {
    count as f64
}
