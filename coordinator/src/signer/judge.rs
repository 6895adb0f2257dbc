//! Judging new leaves, and refusing what something held here stands against.

use std::time::Duration;

use metrics::counter;
use quorate_attest::{
    charter::Charter,
    history::Refusers,
    refusal::{Cause, Refusal},
    signed::Signed,
};
use quorate_core::Body;
use quorate_store::{LeavesView, SignRefused};
use tokio::time::Instant;

use super::{
    task::{Task, head_policy},
    verify::{Differs, Suspect, Verifier, VerifyError},
};
use crate::handle::Asked;

/// The leader proposes the same refusals again only after this time.
const PROPOSE_AGAIN: Duration = Duration::from_secs(2);

impl Task {
    /// Judges the next leaves off the runtime's threads.
    pub(super) async fn judge(&mut self, view: LeavesView) -> (Option<LeavesView>, bool) {
        let Some(mut verifier) = self.verifier.take() else { return (Some(view), false) };
        if verifier.size() == view.size().get() || self.stopped.is_some() {
            self.verifier = Some(verifier);
            return (Some(view), false);
        }
        let judged = tokio::task::spawn_blocking(move || {
            let result = verifier.step(&view);
            (verifier, view, result)
        });
        let Ok((mut verifier, view, result)) = judged.await else {
            self.stop("the second judge panicked".to_owned());
            return (None, false);
        };
        for (index, charter) in verifier.take_charters() {
            self.charter_in_force(index, charter);
        }
        self.refused.sift(verifier.size(), |leaf| verifier.suspect(leaf));
        self.verifier = Some(verifier);
        match result {
            Ok(more) => (Some(view), more),
            Err(VerifyError::Leaves(error)) => {
                tracing::debug!(%error, "leaves cannot be read");
                (None, false)
            }
            Err(VerifyError::Differs(differs)) => {
                self.differs(&differs).await;
                (Some(view), false)
            }
            Err(VerifyError::Lie(lie)) => {
                counter!("quorate_cosign_refusals_total", "cause" => "votes").increment(1);
                self.evidence(&format!("leaf-{}", lie.index), &lie.leaf);
                self.stop(lie.to_string());
                (Some(view), false)
            }
        }
    }

    /// The machine came from a snapshot: its ledger has to be what the leaves make of it. The
    /// machine is read before the leaves are looked at, so they reach at least as far.
    pub(super) async fn expect_ledger(&mut self) {
        let restored = *self.restored.borrow();
        if restored == self.compared {
            return;
        }
        let said = self.handle.machine(|machine| {
            let ledger = machine.state().ledger()?;
            Some((ledger.history().size().get(), ledger.hash()))
        });
        let Ok(said) = said.await else { return };
        if let (Some((size, hash)), Some(verifier)) = (said, &mut self.verifier)
            && let Err(differs) = verifier.expect(size, hash)
        {
            self.differs(&differs).await;
        }
        self.compared = restored;
    }

    async fn differs(&mut self, differs: &Differs) {
        if let Ok(state) = self.handle.machine(quorate_core::Machine::snapshot).await {
            self.evidence(&format!("state-{}", differs.size), &state);
        }
        self.stop(differs.to_string());
    }

    fn charter_in_force(&mut self, index: u64, charter: Charter) {
        match head_policy(&charter) {
            // Certificates switch to the new k at that leaf.
            Ok(policy) if index > 0 => self.book.policy_from(index + 1, policy),
            Ok(_) => {}
            Err(error) => return self.stop(format!("the charter at leaf {index}: {error}")),
        }
        self.charter = charter;
    }

    /// Refuses every decision that something held here stands against; answers whether each was
    /// considered, and what had to be refused was.
    pub(super) async fn refuse_suspects(&mut self) -> bool {
        let from = self.signed.max(self.book.certified_size());
        let Some(verifier) = &self.verifier else { return false };
        let suspects: Vec<Suspect> = verifier
            .suspects_from(from)
            .filter(|suspect| suspect.voided.is_none() && suspect.abandoned.is_none())
            .filter(|suspect| !self.has_refused(suspect.index))
            .cloned()
            .collect();
        let mut settled = true;
        for suspect in suspects {
            if let Some(cause) = self.cause_against(&suspect).await {
                settled &= self.refuse(&suspect, cause).await;
            }
        }
        settled
    }

    pub(super) fn has_refused(&self, leaf: u64) -> bool {
        self.refused.has_own(leaf)
    }

    async fn cause_against(&self, suspect: &Suspect) -> Option<Cause> {
        let decision = &suspect.decision;
        let now = self.handle.clock().now();
        // The machine has applied at least what the judged view holds.
        let term = self.handle.machine(|machine| machine.state().applied().term).await.ok()?;
        if self.liveness.refuses_time_of(decision, suspect.index, term, now) {
            return Some(Cause::Clock);
        }
        // What goes on was decided before: a veto comes too late for it, and would only stand
        // before the rollback that a harmful effect needs.
        let history = self.verifier.as_ref().and_then(Verifier::history)?;
        if decision.continues.is_none() && self.held.vetoes_against(history, decision) {
            return Some(Cause::Vetoed);
        }
        let observations: Vec<_> = self
            .held
            .observations()
            .map(|observe| &observe.statement)
            .filter(|observe| observe.cluster == decision.cluster)
            .cloned()
            .collect();
        let (cluster, number) = (decision.cluster.clone(), decision.number);
        let contradicted = self.handle.machine(move |machine| {
            machine.contradiction(now, &cluster, number, &observations).is_some()
        });
        contradicted.await.unwrap_or(false).then_some(Cause::Contradicted)
    }

    /// Signs a refusal; answers whether that is done, or came too late for good.
    async fn refuse(&mut self, suspect: &Suspect, cause: Cause) -> bool {
        let Some(leaf) = suspect.leaf() else { return false };
        let refusal = Refusal {
            // Of the decision: a charter that came since changes nothing of what is refused.
            origin: suspect.decision.origin.clone(),
            epoch: suspect.decision.epoch,
            cluster: suspect.decision.cluster.clone(),
            number: suspect.decision.number,
            leaf,
            cause,
        };
        match self.sign_once.refuse(refusal, self.handle.clock().cosign_time()).await {
            Ok(signed) => {
                let cause = signed.statement.cause.to_string();
                counter!("quorate_cosign_refusals_total", "cause" => cause).increment(1);
                tracing::warn!(
                    cluster = %suspect.decision.cluster,
                    decision = %suspect.decision.token(),
                    cause = %signed.statement.cause,
                    "this coordinator does not cosign a decision"
                );
                self.open_refusals.insert(leaf);
                self.refused.keep_own(signed);
                self.send_out();
                true
            }
            Err(SignRefused::AlreadyCosigned { .. }) => true,
            Err(error) => {
                tracing::warn!(%error, "a refusal could not be signed");
                false
            }
        }
    }

    /// The leader proposes refusals once enough coordinators have signed one for a leaf.
    pub(super) fn propose_refusals(&mut self) {
        if !self.handle.leads() {
            return;
        }
        let judged = self.judged();
        let Some(verifier) = &self.verifier else { return };
        for suspect in verifier.suspects_from(0).filter(|suspect| suspect.is_bare_in(judged)) {
            let leaf = suspect.index;
            let Some(refusers) = refusers(verifier, suspect) else { continue };
            let refusals = countable(&refusers, self.refused.of(suspect));
            let recent = self.proposed.get(&leaf).is_some_and(|(count, at)| {
                *count == refusals.len() && at.elapsed() < PROPOSE_AGAIN
            });
            if !self.enough_of(&refusers, suspect) || recent {
                continue;
            }
            self.proposed.insert(leaf, (refusals.len(), Instant::now()));
            let handle = self.handle.clone();
            let asked = Asked::internally(Body::Refuse(refusals));
            tokio::spawn(async move {
                match handle.propose(asked).await.map(|written| written.outcome) {
                    Ok(Ok(_)) => {}
                    Ok(Err(rejection)) => tracing::warn!(%rejection, "refusals were rejected"),
                    Err(error) => tracing::warn!(%error, "refusals could not be proposed"),
                }
            });
        }
        self.proposed.retain(|leaf, _| verifier.suspect(*leaf).is_some());
    }

    /// Whether so many refuse a decision that it can never be certified alone, under the charter it
    /// was made in or the one in force.
    pub(super) fn enough_refuse(&self, verifier: &Verifier, suspect: &Suspect) -> bool {
        refusers(verifier, suspect).is_some_and(|refusers| self.enough_of(&refusers, suspect))
    }

    fn enough_of(&self, refusers: &Refusers, suspect: &Suspect) -> bool {
        refusers.tally(|name| self.refused.has(suspect, name)).is_enough()
    }
}

/// Whose refusals of a decision count.
fn refusers(verifier: &Verifier, suspect: &Suspect) -> Option<Refusers> {
    verifier.history()?.refusers(suspect.decision.epoch)
}

/// Without those of coordinators that neither charter has: the machine takes all or none.
fn countable(refusers: &Refusers, mut refusals: Vec<Signed<Refusal>>) -> Vec<Signed<Refusal>> {
    refusals.retain(|refusal| refusal.lines.iter().all(|line| refusers.of_line(line).is_some()));
    refusals
}
