//! Proposals that this agent opens by itself: a `restart`, from a suspicion that others share.

use std::sync::Arc;

use quorate_attest::history::History;
use quorate_attest::id::{IncidentId, MemberId, Nonce, Sentence, Word};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::proposal::{Param, Proposal};
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement as _;
use tokio::sync::mpsc;

use super::{Beliefs, News, Watchman, beside};
use crate::config::Automation;
use crate::detect::{Surroundings, Suspicion, surroundings};
use crate::plan::{ROLLBACK_PARAM, plan};
use crate::probe::Reading;

/// After how many seconds the same target may be proposed again.
pub(super) const REOPEN_SECONDS: u64 = 30;
/// How long a proposal of automation collects votes.
const EXPIRES: Span = Span::from_secs(600);
/// Agents besides this one whose fresh facts must say the same.
const OTHERS_NEEDED: usize = 1;

impl Watchman {
    /// Opens a restart for each suspicion that others share and nobody has proposed yet.
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
            let wanted = self.is_wanted(beliefs, history, &suspicion, &target, now);
            if !wanted || beliefs.opening.contains_key(&target) {
                continue;
            }
            let Some(proposal) = self.restart(history, &suspicion, &target, now) else { continue };
            // Until the answer is here; it sets the time after which it may be asked again.
            beliefs.opening.insert(target.clone(), LogTime::MAX);
            let (quorum, tell) = (Arc::clone(&self.quorum), tell.clone());
            beside(async move {
                match quorum.open(&proposal).await {
                    Ok(id) => tracing::info!(%id, %target, "a restart is proposed"),
                    Err(asked) => tracing::warn!(%target, %asked, "a restart is not proposed"),
                }
                let _stopped = tell.send(News::Opened { target }).await;
            });
        }
    }

    /// Whether a restart of the suspected member is agreed on and not under way in any form.
    fn is_wanted(
        &self,
        beliefs: &Beliefs,
        history: &History,
        suspicion: &Suspicion,
        target: &Word,
        now: LogTime,
    ) -> bool {
        let member = &suspicion.member;
        let freshness = self.settings.freshness;
        let against = beliefs.agreement.against(member, &self.name, now, freshness);
        let for_it = beliefs.agreement.for_it(member, &self.name, now, freshness);
        if against < OTHERS_NEEDED || for_it > against {
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
            .any(|open| open.proposal.kind == Kind::Restart && open.proposal.target == *target);
        let slot = history.cluster(&self.cluster).and_then(|cluster| cluster.slot());
        let under_way = slot.is_some_and(|slot| slot.target == *target);
        let dead = history.tombstoned(&self.cluster).contains(member);
        !proposed && !under_way && !dead
    }

    /// The proposal: of the charter in force, its plan computed like everybody's. `None` if no agent
    /// runs beside the member.
    fn restart(
        &self,
        history: &History,
        suspicion: &Suspicion,
        target: &Word,
        now: LogTime,
    ) -> Option<Proposal> {
        let charter = history.charter();
        let member = &suspicion.member;
        let executor: Vec<_> = charter
            .agents(&self.cluster)
            .filter(|line| line.member == *member)
            .map(|line| line.key.name().clone())
            .collect();
        let plan = plan(&charter.cluster(&self.cluster)?.adapter, Kind::Restart, target, &[]);
        let mut param = Vec::new();
        if let Some(rollback) = plan.rollback {
            let value = rollback.to_string().parse().ok()?;
            param.push(Param::new(ROLLBACK_PARAM.parse().ok()?, value));
        }
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).ok()?;
        let seconds = suspicion.since.get() / 1_000;
        let incident: IncidentId =
            format!("restart-{:.40}-{seconds}", member.as_str()).parse().ok()?;
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
            incident,
            kind: Kind::Restart,
            target: target.clone(),
            proposer: self.name.clone(),
            executor,
            param,
            plan: plan.digest,
            reason,
            evidence: Vec::new(),
            expires: now.saturating_add(EXPIRES),
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
