//! The signer's task: judge new leaves, refuse or cosign, tell the others, certify.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use metrics::counter;
use quorate_attest::{
    charter::Charter,
    head::{CosignedHead, HeadPolicy},
    id::KeyName,
    log_time::CosignTime,
    merkle::Hash,
    number::LeafIndex,
    refusal::Refusal,
    signed::Signed,
};
use quorate_store::{SignOnce, SignRefused};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    HeldCopy, Message, QUEUE_MAX, SignerHandle, SignerState,
    book::{Book, Certified, Divergence, Taken},
    exchange::Outbox,
    held::Held,
    liveness::Liveness,
    refusals::Refusals,
    shelf::Shelf,
    shown::KeepNow,
    sign::own_root,
    verify::{Pinned, Verifier},
    window::Windows,
};
use crate::{handle::Handle, raft::clock_door::Calm};

/// While something is uncertified, a look this often.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// Otherwise.
const LOOK_LATER: Duration = Duration::from_secs(1);

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
    /// The newest calm message of the leader.
    pub calm: watch::Receiver<Option<Calm>>,
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
    let restored = parts.handle.restored();
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
        calm: parts.calm,
        liveness: Liveness::default(),
        restored,
        compared: 0,
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
    pub(super) calm: watch::Receiver<Option<Calm>>,
    pub(super) liveness: Liveness,
    /// How often the machine came from a snapshot, and how many of them were compared.
    pub(super) restored: watch::Receiver<u64>,
    pub(super) compared: u64,
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
        self.liveness.hear(*self.calm.borrow());
        // Before the view: what was applied by then is in it.
        let calm = self.liveness.due(self.handle.applied_index(), Instant::now());
        self.expect_ledger().await;
        let Ok(view) = self.handle.leaves().view() else { return false };
        let (view, more) = self.judge(view).await;
        let Some(view) = view else { return false };
        self.certify(&view);
        self.watch_windows().await;
        // A restored disk replays its log before peers were asked: it must not sign what it finds
        // there, or forget that it signed more before (sign-once). And a machine from a snapshot is
        // only what its sender says, until the next round has compared it.
        let is_own = *self.restored.borrow() == self.compared;
        if self.stopped.is_none() && !more && is_own && *self.permitted.borrow() {
            let settled = self.refuse_suspects().await;
            if let (true, Some(calm)) = (settled, calm) {
                self.liveness.mark(calm, view.size().get());
            }
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
                let history = self.verifier.as_ref().and_then(Verifier::history);
                let of_its_epoch = history.and_then(|it| it.charter_of_epoch(veto.statement.epoch));
                if self.held.veto(&veto, of_its_epoch.unwrap_or(&self.charter)) {
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
        let history = self.verifier.as_ref().and_then(Verifier::history);
        // Of an epoch that is not known here yet, or not any more: peers repeat what they hold.
        let Some(refusers) = history.and_then(|it| it.refusers(statement.epoch)) else { return };
        match refusal.signer(|line| refusers.of_line(line)) {
            Ok(key) => {
                let (signer, judged) = (key.name().clone(), self.judged());
                let suspect = |leaf| self.verifier.as_ref().and_then(|it| it.suspect(leaf));
                self.refused.keep(signer, refusal, judged, suspect);
            }
            Err(refused) => tracing::warn!(%refused, "a refusal of a peer does not count"),
        }
    }

    pub(super) fn known_refusals(&self) -> Vec<Signed<Refusal>> {
        self.refused.all().cloned().collect()
    }

    fn key_of(&self, id: u64) -> Option<KeyName> {
        let own =
            |key: &&quorate_attest::key::VerifierKey| self.charter.node_id(key.name()) == Some(id);
        self.charter.coordinator.iter().find(own).map(|key| key.name().clone())
    }

    /// Stops signing for good: this log or this coordinator cannot be trusted any more.
    pub(super) fn stop(&mut self, why: String) {
        if self.stopped.is_none() {
            tracing::error!(%why, "this coordinator stops cosigning for good");
            self.stopped = Some(why);
        }
    }
}
