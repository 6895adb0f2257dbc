//! What the signer tells the others, shows to those who watch, and keeps across a restart.

use std::{collections::BTreeMap, time::Duration};

use metrics::gauge;
use quorate_attest::{checkpoint::Checkpoint, head::CosignedHead, signed::Signed};
use quorate_store::sign_once::SignedHead;
use tokio::time::Instant;

use super::{
    SignerState,
    exchange::{Outbox, bounded},
    task::Task,
};

/// Kept heads are written at most this often.
const KEEP_EVERY: Duration = Duration::from_millis(500);

impl Task {
    /// What every peer is to know: our newest head, all refusals, vetoes held.
    pub(super) fn send_out(&self) {
        let head = self.book.newest_of(&self.own).map(|head| head.to_bytes());
        let refusals = bounded(self.known_refusals().iter().map(Signed::to_bytes));
        let vetoes = bounded(self.held.vetoes().map(Signed::to_bytes));
        self.outbox.send_replace(Outbox { head, refusals, vetoes });
    }

    /// Keeps bytes that prove a lie, for a person.
    pub(super) fn evidence(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.shelf.evidence(name, bytes) {
            tracing::error!(%error, name, "evidence could not be kept");
        }
    }

    /// What was kept before a restart.
    pub(super) fn recall(&mut self, signed: Option<SignedHead>) {
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

    /// Where the signer stands, for whoever watches.
    pub(super) fn publish(&self) {
        let ids = self.charter.coordinator.iter().filter_map(|key| {
            Some((self.charter.node_id(key.name())?, self.book.newest_size_of(key.name())))
        });
        let state = SignerState {
            judged: self.judged(),
            signed: self.signed,
            stopped: self.stopped.clone(),
            cosigned: ids.collect(),
            calm: self.liveness.marked(),
        };
        gauge!("quorate_log_certified_size").set(precise(self.book.certified_size()));
        if let Some(calm) = state.calm {
            gauge!("quorate_clock_calm_timestamp_seconds").set(precise(calm.get() / 1_000));
        }
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
    pub(super) fn keep(&mut self, now: KeepNow) {
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
pub(super) enum KeepNow {
    Always,
    IfDue,
}

/// Counts as Prometheus wants them; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn precise(count: u64) -> f64 {
    count as f64
}
