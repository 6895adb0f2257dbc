//! Proposals that this agent opens by itself, from a suspicion that others share: the attempt that
//! the pinned playbook has next, or a plain `restart` where the charter pins no playbook for it.

use std::sync::Arc;

use quorate_attest::history::History;
use quorate_attest::id::{IncidentId, MemberId, Nonce, Sentence, Word};
use quorate_attest::ladder::Rung;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::{Param, Proposal};
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement as _;
use tokio::sync::mpsc;

use super::{Beliefs, News, Question, Watchman, beside};
use crate::config::Automation;
use crate::detect::{Surroundings, Suspicion, surroundings};
use crate::plan::{ROLLBACK_PARAM, plan};
use crate::playbook::Due;
use crate::probe::Reading;

/// After how many seconds the same may be proposed again.
pub(super) const REOPEN_SECONDS: u64 = 30;
/// How long a proposal outside a playbook collects votes.
const EXPIRES: Span = Span::from_secs(600);
/// Observers, this one included, whose fresh facts must say the same outside a playbook.
const OBSERVERS: usize = 2;

/// What is to be proposed for a suspicion.
struct Wish {
    kind: Kind,
    params: Vec<Param>,
    /// Its place on the playbook's ladder.
    rung: Option<Rung>,
    incident: IncidentId,
    /// How long it may wait for its decision.
    open_for: Span,
    /// Observers that must see it themselves, this one included.
    observers: usize,
}

impl Watchman {
    /// Opens what is due for each suspicion that others share and nobody has proposed yet.
    pub(super) fn open_what_is_agreed(&self, beliefs: &mut Beliefs, tell: &mpsc::Sender<News>) {
        let now = self.clock.now();
        let view = self.view.borrow().clone();
        let Some(history) = view.history() else { return };
        if self.automation == Automation::Off
            || view.alarm().is_some()
            || history.paused(&self.cluster, now).is_some()
        {
            return;
        }
        beliefs.opening.retain(|_, until| now < *until);
        for suspicion in beliefs.liveness.suspicions(now) {
            let Some(target) = target_of(&suspicion.member) else { continue };
            let Some(wish) = self.wish(history, &suspicion, &target, now) else { continue };
            let place = wish.rung.as_ref().map(|rung| (rung.step, rung.attempt));
            let question: Question = (target.clone(), place);
            let wanted = self.is_wanted(beliefs, history, &suspicion, (&target, &wish), now);
            if !wanted || beliefs.opening.contains_key(&question) {
                continue;
            }
            let Some(proposal) = self.proposal(history, &suspicion, (&target, wish), now) else {
                continue;
            };
            // Until the answer is here; it sets the time after which it may be asked again.
            beliefs.opening.insert(question.clone(), LogTime::MAX);
            let (quorum, tell) = (Arc::clone(&self.quorum), tell.clone());
            beside(async move {
                let kind = proposal.kind;
                match quorum.open(&proposal).await {
                    Ok(id) => tracing::info!(%id, %kind, %target, "proposed"),
                    Err(asked) => tracing::warn!(%kind, %target, %asked, "not proposed"),
                }
                let _stopped = tell.send(News::Opened { question }).await;
            });
        }
    }

    /// What is due for a suspicion: by the pinned playbook that answers it, else a restart.
    fn wish(
        &self,
        history: &History,
        suspicion: &Suspicion,
        target: &Word,
        now: LogTime,
    ) -> Option<Wish> {
        let charter = history.charter();
        let member = suspicion.member.as_str();
        let Some(answer) = self.shelf.for_member(charter, &self.cluster, suspicion) else {
            let seconds = suspicion.since.get() / 1_000;
            return Some(Wish {
                kind: Kind::Restart,
                params: Vec::new(),
                rung: None,
                incident: format!("restart-{member:.40}-{seconds}").parse().ok()?,
                open_for: EXPIRES,
                observers: OBSERVERS,
            });
        };
        if now < answer.from {
            return None;
        }
        let playbook = answer.playbook;
        let (incident, due) = playbook.due(history, (&self.cluster, target), now);
        let (step, rung) = match due {
            Due::Attempt { step, rung } => (step, rung),
            Due::Wait { .. } | Due::Running | Due::People => return None,
        };
        let next = history.cluster(&self.cluster).map_or(Some(DecisionNumber::MIN), |cluster| {
            // A new incident is named after the decision it begins with.
            cluster.next_number()
        })?;
        let incident = match incident {
            Some(incident) => incident.clone(),
            None => format!("{:.20}-{member:.20}-{next}", playbook.id.as_str()).parse().ok()?,
        };
        let mut params = step.params.clone();
        params.extend(rung.params());
        Some(Wish {
            kind: step.kind,
            params,
            rung: Some(rung),
            incident,
            open_for: step.deadline,
            observers: answer.observers,
        })
    }

    /// Whether a wish is agreed on and not under way in any form.
    fn is_wanted(
        &self,
        beliefs: &Beliefs,
        history: &History,
        suspicion: &Suspicion,
        (target, wish): (&Word, &Wish),
        now: LogTime,
    ) -> bool {
        let member = &suspicion.member;
        let freshness = self.settings.freshness;
        let against = beliefs.agreement.against(member, &self.name, now, freshness);
        let for_it = beliefs.agreement.for_it(member, &self.name, now, freshness);
        if against + 1 < wish.observers || for_it > against {
            return false;
        }
        let others = beliefs.liveness.readings(now).filter(|(other, _)| *other != member);
        let around = surroundings(others.map(|(_, reading)| reading));
        if suspicion.reading == Reading::Unreachable && around == Surroundings::CutOff {
            return false;
        }
        let proposed = beliefs
            .open
            .iter()
            .any(|open| open.proposal.kind == wish.kind && open.proposal.target == *target);
        let slot = history.cluster(&self.cluster).and_then(|cluster| cluster.slot());
        let under_way = slot.is_some_and(|slot| slot.target == *target);
        let dead = history.tombstoned(&self.cluster).contains(member);
        !proposed && !under_way && !dead
    }

    /// The proposal: of the charter in force, its plan computed like everybody's. `None` if no agent
    /// runs beside the member.
    fn proposal(
        &self,
        history: &History,
        suspicion: &Suspicion,
        (target, wish): (&Word, Wish),
        now: LogTime,
    ) -> Option<Proposal> {
        let charter = history.charter();
        let member = &suspicion.member;
        let executor: Vec<_> = charter
            .agents(&self.cluster)
            .filter(|line| line.member == *member)
            .map(|line| line.key.name().clone())
            .collect();
        let adapter = &charter.cluster(&self.cluster)?.adapter;
        let mut param = wish.params;
        let plan = plan(adapter, wish.kind, target, &param);
        if let Some(rollback) = plan.rollback {
            let value = rollback.to_string().parse().ok()?;
            param.push(Param::new(ROLLBACK_PARAM.parse().ok()?, value));
        }
        param.sort();
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).ok()?;
        let reason: Sentence = format!(
            "{member} is {} for {}, {} failures in a row",
            suspicion.reading.word(),
            now.since(suspicion.since).words(),
            suspicion.failures
        )
        .parse()
        .ok()?;
        let proposal = Proposal {
            origin: history.origin().clone(),
            epoch: history.epoch(),
            charter: history.charter_id(),
            cluster: self.cluster.clone(),
            incident: wish.incident,
            kind: wish.kind,
            target: target.clone(),
            proposer: self.name.clone(),
            executor,
            param,
            plan: plan.digest,
            reason,
            evidence: Vec::new(),
            expires: now.saturating_add(wish.open_for),
            nonce: Nonce::from_bytes(nonce),
        };
        // What does not read back as itself is nothing anybody could vote on.
        proposal.check().ok()?;
        (!proposal.executor.is_empty()).then_some(proposal)
    }
}

fn target_of(member: &MemberId) -> Option<Word> {
    format!("member:{member}").parse().ok()
}
