//! Cosigning the next head, and certifying what enough others cosigned too.

use std::{collections::BTreeSet, time::Duration};

use metrics::counter;
use quorate_attest::{
    checkpoint::Checkpoint,
    head::CosignedHead,
    id::ProposalId,
    log_time::{CosignTime, Span},
    merkle::{Hash, Head, root_at},
    number::{LeafIndex, TreeSize},
};
use quorate_store::{HeadRequest, LeavesView, SignRefused};
use tokio::time::Instant;

use super::{
    cosign::{Situation, next_size},
    task::Task,
    verify::{Suspect, Verifier},
};
use crate::clock::SKEW_MS_MAX;

impl Task {
    pub(super) fn certify(&mut self, view: &LeavesView) {
        let judged = self.judged();
        let latest = self.latest();
        let root = |size: u64| if size <= judged { own_root(view, size) } else { None };
        if let Some(certified) = self.book.certify(latest, root) {
            if let Some(verifier) = &mut self.verifier {
                verifier.settle_below(certified.size);
            }
            // k coordinators certified them: no void can name them any more.
            self.refused.forget_below(certified.size);
            self.forget_vetoes();
            self.certified.send_replace(Some(certified));
        }
        self.check_against_certified(view);
        let trails = judged > self.book.certified_size();
        self.uncertified_since = match (trails, self.uncertified_since) {
            (true, None) => Some(Instant::now()),
            (true, since) => since,
            (false, _) => None,
        };
    }

    /// What k coordinators certified stands: a log that says otherwise is not to be signed.
    fn check_against_certified(&mut self, view: &LeavesView) {
        if self.stopped.is_some() {
            return;
        }
        if let Some(foreign) = self.book.foreign() {
            let size = foreign.checkpoint.size;
            self.evidence(&format!("head-{size}-certified"), &foreign.to_bytes());
            let root = foreign.checkpoint.root;
            self.stop(format!(
                "enough coordinators cosigned the root {root} at size {size}, it is not ours"
            ));
            return;
        }
        let certified = self.book.certified_size();
        let voids = self.verifier.iter().flat_map(Verifier::voids);
        // Somebody may have started what was certified alone: no refusal takes it back.
        let taken_back =
            voids.into_iter().find(|(void, decision)| *decision < certified && certified <= *void);
        if let Some((void, decision)) = taken_back {
            if let Ok(Some(leaf)) = view.get(void) {
                self.evidence(&format!("leaf-{void}"), &leaf);
            }
            self.stop(format!(
                "leaf {void} voids the decision at leaf {decision}, which is certified"
            ));
        }
    }

    /// Vetoes of proposals that ended say nothing any more, once what they ended in is certified.
    fn forget_vetoes(&mut self) {
        let Some((verifier, history)) =
            self.verifier.as_ref().and_then(|verifier| Some((verifier, verifier.history()?)))
        else {
            return;
        };
        let uncertified: BTreeSet<ProposalId> =
            verifier.suspects_from(0).map(|suspect| suspect.decision.proposal.id()).collect();
        self.held.forget(|proposal| {
            history.ended(proposal).is_some() && !uncertified.contains(proposal)
        });
    }

    /// The latest cosignature time that is believed: now and the skew.
    pub(super) fn latest(&self) -> CosignTime {
        self.handle.clock().now().saturating_add(Span::from_millis(SKEW_MS_MAX)).to_cosign_time()
    }

    pub(super) fn judged(&self) -> u64 {
        self.verifier.as_ref().map_or(0, Verifier::size)
    }

    /// The largest size that may be signed: nothing refused in it, no time ahead of our clock.
    fn signable(&self) -> u64 {
        let judged = self.judged();
        let Some(verifier) = &self.verifier else { return 0 };
        let Some(history) = verifier.history() else { return 0 };
        if verifier.newest_time().is_some_and(|time| self.handle.clock().is_ahead(time)) {
            return self.signed;
        }
        let now = Instant::now();
        let is_barred = |suspect: &&Suspect| {
            // What was cosigned before a restart had its window then.
            let is_new = suspect.index >= self.signed;
            suspect.is_bare_in(judged)
                && (self.has_refused(suspect.index)
                    || is_new && self.windows.is_open(history, &suspect.decision, now))
        };
        let decisions = verifier.suspects_from(0).filter(is_barred).map(|suspect| suspect.index);
        // The machine counts the names under refusals; whoever cosigns counts signatures.
        let is_refused = |decision: u64| {
            let suspect = verifier.suspect(decision);
            suspect.is_some_and(|suspect| self.enough_refuse(verifier, suspect))
        };
        let voids = verifier.voids().filter(|(_, decision)| !is_refused(*decision));
        let barred = decisions.chain(voids.map(|(void, _)| void)).min();
        barred.map_or(judged, |index| index.min(judged))
    }

    pub(super) async fn cosign(&mut self, view: LeavesView) {
        let signable = self.signable();
        let stale_after = self.charter.max_age.get() / 3 / 1_000;
        let now = self.handle.clock().cosign_time();
        let age = self.signed_time.map_or(0, |time| now.get().saturating_sub(time.get()));
        let situation = Situation {
            signed: self.signed,
            signable,
            certified: self.book.certified_size(),
            wanted: self.wanted(&view, signable),
            leads: self.handle.leads(),
            uncertified: self.uncertified_since.map_or(Duration::ZERO, |since| since.elapsed()),
            stale: age >= stale_after.max(1),
        };
        let Some(size) = next_size(&situation) else { return };
        // A certificate then means k durable copies: nothing is signed that this disk has not got.
        if !self.handle.is_flushed() {
            return;
        }
        self.sign(size, now, view).await;
    }

    /// Sizes others signed over our own roots. Not one at which a decision stands alone that was
    /// refused here: it is never signed, so nobody waits for it.
    fn wanted(&self, view: &LeavesView, signable: u64) -> Vec<u64> {
        let above = self.signed.max(self.book.certified_size());
        let wanted = self.book.wanted_above(above, &self.own);
        let suspects = self.verifier.iter().flat_map(|verifier| verifier.suspects_from(0));
        let refused: Vec<&Suspect> =
            suspects.filter(|suspect| self.has_refused(suspect.index)).collect();
        wanted
            .into_iter()
            .filter(|(size, _)| !refused.iter().any(|suspect| suspect.is_bare_in(*size)))
            .filter(|(size, roots)| match own_root(view, *size) {
                Some(own) if *size <= signable => roots.contains(&own),
                // Not applied here yet: it is pending, and will be judged when it is.
                Some(_) | None => true,
            })
            .map(|(size, _)| size)
            .collect()
    }

    async fn sign(&mut self, size: u64, time: CosignTime, view: LeavesView) {
        let (Ok(tree_size), Some(root)) = (TreeSize::new(size), own_root(&view, size)) else {
            return;
        };
        let head = Head { size: tree_size, root };
        let checkpoint = Checkpoint::new(self.charter.origin.clone(), head);
        let request =
            HeadRequest { checkpoint: checkpoint.clone(), time, resolved: self.resolved(size) };
        match self.sign_once.cosign(request, view).await {
            Ok(cosignature) => {
                counter!("quorate_cosignatures_total").increment(1);
                self.signed = size;
                self.signed_time = Some(cosignature.time);
                let own = CosignedHead { checkpoint, lines: vec![cosignature.to_line()] };
                self.take(&own, Some(root));
                self.send_out();
                if let Ok(view) = self.handle.leaves().view() {
                    self.certify(&view);
                }
            }
            Err(SignRefused::Diverged { size, signed, own }) => {
                counter!("quorate_log_divergence_total").increment(1);
                let what = format!(
                    "this coordinator signed {signed} at size {size}, its tree now has {own}"
                );
                self.stop(what);
            }
            Err(SignRefused::Fork { size, signed, requested }) => {
                counter!("quorate_log_divergence_total").increment(1);
                self.stop(format!(
                    "two roots at size {size}: {signed} is signed, {requested} is asked"
                ));
            }
            // Wait: for the clock, for the tree to be as large as it was, for a void.
            Err(
                waiting @ (SignRefused::ClockFellBack { .. }
                | SignRefused::NotOwnTree { .. }
                | SignRefused::Behind { .. }
                | SignRefused::RefusedDecision { .. }
                | SignRefused::AlreadyCosigned { .. }
                | SignRefused::ForeignOrigin
                | SignRefused::Fault(_)
                | SignRefused::Closed),
            ) => tracing::debug!(reason = %waiting, size, "nothing was cosigned"),
        }
    }

    /// Refused decisions that a head of `size` may hold: voided or abandoned in it, or certified by
    /// others.
    fn resolved(&self, size: u64) -> BTreeSet<LeafIndex> {
        let certified = self.book.certified_size();
        let Some(verifier) = &self.verifier else { return BTreeSet::new() };
        let resolved = verifier
            .suspects_from(0)
            .filter(|suspect| suspect.is_resolved_in(size))
            .filter_map(Suspect::leaf);
        let others = self.open_refusals.iter().filter(|leaf| leaf.get() < certified).copied();
        resolved.chain(others).collect()
    }
}

pub(super) fn own_root(view: &LeavesView, size: u64) -> Option<Hash> {
    root_at(view, TreeSize::new(size).ok()?).ok()
}
