//! From approval to decision.
//!
//! An approval is not yet a decision. The oldest one that nothing holds back takes the cluster's
//! slot, gets the cluster's next number, and becomes one leaf. What it asks for is looked at once
//! more: if it is already so, it ends as superseded, without any effect.
//!
//! A crash here repeats nothing: the entry is applied as a whole or not at all, and applying it
//! again gives the same leaves.

use std::collections::BTreeSet;

use quorate_attest::id::{ClusterId, ProposalId, Sentence};
use quorate_attest::leaf::{Decision, Leaf, Void, VoidCause};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::{DecisionNumber, LeafIndex};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::vote::{Verdict, Veto, Vote};

use crate::effect::{Alarm, Effect};
use crate::grounds::Grounds;
use crate::judge;
use crate::ledger::{Ledger, Running};
use crate::outcome::Outcome;
use crate::proposal::OpenProposal;
use crate::rejection::Rejection;
use crate::rule;
use crate::step::Step;

/// What an approval that nothing holds back comes to.
enum Ripe {
    Decide,
    Supersede(String),
}

impl Step<'_> {
    /// Turns every approval that nothing holds back into a decision, oldest first, and raises what
    /// has become worth an alarm.
    pub(crate) fn settle(&mut self) {
        // A leaf that the ledger refuses is left alone until something changes.
        let mut left_alone = BTreeSet::new();
        while let Some((id, ripe)) = self.ripe(&left_alone) {
            let done = match ripe {
                Ripe::Decide => self.decide(id).map(drop),
                Ripe::Supersede(why) => self.end(id, VoidCause::Superseded, &why, None).map(drop),
            };
            if done.is_err() {
                left_alone.insert(id);
            }
        }
        self.raise_stuck();
    }

    /// The oldest approval that may become a decision now. An abandon goes before everything else:
    /// it frees a slot.
    fn ripe(&self, left_alone: &BTreeSet<ProposalId>) -> Option<(ProposalId, Ripe)> {
        let ledger = self.state.ledger.as_ref()?;
        let mut approved: Vec<&OpenProposal> = self
            .state
            .open
            .iter()
            .filter(|(id, open)| open.approved().is_some() && !left_alone.contains(*id))
            .map(|(_, open)| open)
            .collect();
        approved.sort_by_key(|open| {
            (open.proposal().kind != Kind::Abandon, open.approved(), open.opened(), open.order)
        });
        approved.into_iter().find_map(|open| {
            let scene =
                judge::scene(self.state, ledger, &self.state.observations, open, self.now());
            if !judge::blockers(&scene).is_empty() {
                return None;
            }
            let ripe = match rule::already_so(&scene, open.need) {
                Some(why) => Ripe::Supersede(why),
                None => Ripe::Decide,
            };
            Some((open.id(), ripe))
        })
    }

    fn decide(&mut self, id: ProposalId) -> Result<LeafIndex, Rejection> {
        let now = self.now();
        let ledger = self.ledger()?;
        let open = self.state.open.get(&id).ok_or_else(|| self.closed(id))?;
        let proposal = open.proposal();
        let not_before = ledger.charter().earliest_start(proposal, now);
        let expires = window_end(ledger, open.proposal(), not_before).min(proposal.expires);
        let votes =
            open.note(Verdict::Approve).ok_or(Rejection::UnknownProposal { proposal: id })?;
        let number = next_number(ledger, &proposal.cluster)?;
        let made = (&proposal.cluster, number, now);
        let grounds = Grounds::take(made, ledger, &self.state.observations, open.need);
        let leaf = Leaf::Decision(Decision {
            origin: ledger.history().origin().clone(),
            epoch: ledger.history().epoch(),
            time: now,
            cluster: proposal.cluster.clone(),
            number,
            continues: None,
            approved: open.approved().unwrap_or(now),
            not_before,
            expires,
            proposal: proposal.clone(),
            votes,
        });
        let cluster = proposal.cluster.clone();
        let index = self.append(&leaf)?;
        if self.ledger()?.running(&cluster).is_some() {
            self.state.decided_on.insert(cluster.clone(), grounds);
        }
        self.state.open.remove(&id);
        self.after_decision(&cluster);
        Ok(index)
    }

    /// A declaration takes voices away: what was approved with them is counted anew. And an opened
    /// breaker is worth telling.
    fn after_decision(&mut self, cluster: &ClusterId) {
        let here: Vec<ProposalId> = self
            .state
            .open
            .iter()
            .filter(|(_, open)| open.proposal().cluster == *cluster)
            .map(|(id, _)| *id)
            .collect();
        for id in here {
            self.note_approval(id);
        }
    }

    /// Re-issues the decision that holds a slot, to the same executors under the next token: the
    /// same action goes on, or the rollback it planned is ordered.
    pub(super) fn continue_running(
        &mut self,
        cluster: &ClusterId,
    ) -> Result<(Decision, LeafIndex), Rejection> {
        let now = self.now();
        let ledger = self.ledger()?;
        let running = ledger
            .running(cluster)
            .ok_or_else(|| Rejection::SlotFree { cluster: cluster.clone() })?;
        let head = running.head();
        // A declaration waits again: every gate has to hear of the new token.
        let not_before = ledger.charter().earliest_start(&head.proposal, now);
        let decision = Decision {
            origin: ledger.history().origin().clone(),
            epoch: ledger.history().epoch(),
            time: now,
            cluster: cluster.clone(),
            number: next_number(ledger, cluster)?,
            continues: Some(head.number),
            approved: head.approved,
            not_before,
            expires: window_end(ledger, &head.proposal, not_before),
            proposal: head.proposal.clone(),
            votes: head.votes.clone(),
        };
        let index = self.append(&Leaf::Decision(decision.clone()))?;
        Ok((decision, index))
    }

    /// A person asked for a re-issue: only when nobody can start the present token any more.
    pub(crate) fn reissue(
        &mut self,
        cluster: &ClusterId,
        number: DecisionNumber,
    ) -> Result<Outcome, Rejection> {
        let ledger = self.ledger()?;
        let running = ledger
            .running(cluster)
            .ok_or_else(|| Rejection::SlotFree { cluster: cluster.clone() })?;
        if running.newest() != number {
            return Err(stale(ledger, running, cluster, number));
        }
        let (have, want) = (running.head().epoch, ledger.history().epoch());
        if have != want {
            // R8: an action of an older epoch can only be abandoned.
            return Err(Rejection::EpochMismatch { have, want });
        }
        let over = running.expires().saturating_add(ledger.charter().skew);
        if self.now() <= over {
            let (now, expires) = (self.now(), LogTime::MAX);
            return Err(Rejection::OutsideWindow { now, not_before: over, expires });
        }
        let (decision, index) = self.continue_running(cluster)?;
        Ok(Outcome::Continued { token: decision.token(), index })
    }

    fn raise_stuck(&mut self) {
        let Some(ledger) = &self.state.ledger else { return };
        let now = self.state.time;
        let stuck: Vec<(ClusterId, DecisionNumber, Alarm)> = ledger
            .all_running()
            .filter(|(cluster, _)| ledger.stuck_at(cluster).is_some_and(|at| at <= now))
            .filter_map(|(cluster, running)| {
                let awaited = ledger.slot(cluster)?.awaited.iter().cloned().collect();
                let token = running.token();
                let alarm = Alarm::Stuck { cluster: cluster.clone(), token, awaited };
                Some((cluster.clone(), running.newest(), alarm))
            })
            .collect();
        for (cluster, number, alarm) in stuck {
            if self.state.stuck.insert((cluster, number)) {
                self.effects.push(Effect::Raise(alarm));
            }
        }
    }

    /// Adds to an answer what the settling made of its proposal.
    pub(crate) fn complete_standing(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Voted { proposal, standing, .. }
        | Outcome::Opened { proposal, standing, .. } = &mut outcome
        {
            let ledger = self.state.ledger.as_ref();
            standing.decision = ledger.and_then(|ledger| {
                ledger
                    .all_running()
                    .find(|(_, running)| running.proposal_id() == *proposal)
                    .map(|(_, running)| running.newest())
            });
            if standing.decision.is_some() {
                standing.waiting_for.clear();
            }
        }
        outcome
    }
}

/// The number asked about is not the newest of its cluster.
pub(super) fn stale(
    ledger: &Ledger,
    running: &Running,
    cluster: &ClusterId,
    number: DecisionNumber,
) -> Rejection {
    if number > running.newest() {
        return Rejection::UnknownDecision { cluster: cluster.clone(), number };
    }
    Rejection::StaleToken { token: ledger.token(number), highest: running.token() }
}

/// R5: the cluster's previous number plus one.
fn next_number(ledger: &Ledger, cluster: &ClusterId) -> Result<DecisionNumber, Rejection> {
    let next = match ledger.history().cluster(cluster) {
        Some(history) => history.next_number(),
        None => Some(DecisionNumber::MIN),
    };
    next.ok_or_else(|| Rejection::LeafRefused {
        rule: "NoNumberLeft".to_owned(),
        why: format!("{cluster} has no decision number left"),
    })
}

/// The end of the class's start window.
fn window_end(
    ledger: &Ledger,
    proposal: &quorate_attest::proposal::Proposal,
    not_before: LogTime,
) -> LogTime {
    match ledger.charter().policy(&proposal.cluster, proposal.kind.class()) {
        Some(policy) => not_before.saturating_add(policy.start),
        None => not_before,
    }
}

/// The leaf of a proposal that ends without effect: with every vote counted, so that it can be
/// judged alone.
pub(super) fn void(
    ledger: &Ledger,
    time: LogTime,
    open: &OpenProposal,
    cause: VoidCause,
    detail: &str,
    veto: Option<Signed<Veto>>,
) -> Void {
    Void {
        origin: ledger.history().origin().clone(),
        epoch: ledger.history().epoch(),
        time,
        cluster: open.proposal().cluster.clone(),
        cause,
        detail: sentence(detail),
        proposal: open.proposal().clone(),
        approve: open.note(Verdict::Approve),
        reject: open.note(Verdict::Reject),
        veto,
    }
}

/// The leaf of a decision that enough coordinators refused to certify.
pub(super) fn refused_void(
    ledger: &Ledger,
    time: LogTime,
    running: &Running,
    cause: VoidCause,
) -> Void {
    let head = running.head();
    let approve: Signed<Vote> = head.votes.clone();
    Void {
        origin: ledger.history().origin().clone(),
        epoch: ledger.history().epoch(),
        time,
        cluster: head.cluster.clone(),
        cause,
        detail: Void::refused_detail(head.number),
        proposal: head.proposal.clone(),
        approve: Some(approve),
        reject: None,
        veto: None,
    }
}

fn sentence(text: &str) -> Sentence {
    let short: String = text.chars().take(256).collect();
    short.trim().parse().unwrap_or_else(|_| Sentence::none())
}
