//! Which attempt is due: from the playbook and the verified log, and from nothing else.
//!
//! Every agent computes the same, so the one that opens the proposal and the ones that vote on it
//! need no word from each other (*authority*, *budget*).

use quorate_attest::history::{AttemptEnd, History, Incident};
use quorate_attest::id::{ClusterId, IncidentId, Word};
use quorate_attest::ladder::{OnFailure, Rung};
use quorate_attest::log_time::LogTime;

use super::{Opens, Playbook, Step};

/// What comes next in an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due<'p> {
    /// This attempt of this step.
    Attempt {
        /// The step.
        step: &'p Step,
        /// Where it stands, as a proposal says it.
        rung: Rung,
    },
    /// Nothing before this time.
    Wait {
        /// When the pause is over.
        until: LogTime,
    },
    /// The attempt before has not ended.
    Running,
    /// Nothing that automation may do.
    People,
}

impl Playbook {
    /// What is due for a target at `now`, and in which incident; none: a new one.
    #[must_use]
    pub fn due<'h>(
        &self,
        history: &'h History,
        (cluster, target): (&ClusterId, &Word),
        now: LogTime,
    ) -> (Option<&'h IncidentId>, Due<'_>) {
        let mut known = history.incidents().filter(|(of, _, incident)| {
            let rung = &incident.last.rung;
            *of == cluster
                && incident.target == *target
                && rung.playbook == self.id
                && rung.digest == self.digest
                && !incident.is_over(now)
        });
        match known.next() {
            Some((_, id, incident)) => (Some(id), self.follows(incident, now)),
            None => (None, self.attempt(0, 1)),
        }
    }

    fn follows(&self, incident: &Incident, now: LogTime) -> Due<'_> {
        if incident.escalated.is_some() {
            return Due::People;
        }
        let last = &incident.last;
        let Some((ended, end)) = last.ended else { return Due::Running };
        let until = ended.saturating_add(last.rung.pause);
        if now < until {
            return Due::Wait { until };
        }
        let Ok(at) = usize::try_from(last.rung.step.saturating_sub(1)) else { return Due::People };
        let again = last.rung.attempt < last.rung.attempts;
        match (end, last.rung.on_failure) {
            (_, OnFailure::Retry) => self.attempt(at, last.rung.attempt + 1),
            // It worked, and the same is ill again before its quiet is over.
            (AttemptEnd::Effective, _) if again => self.attempt(at, last.rung.attempt + 1),
            (_, OnFailure::Next) => {
                self.after_failure(at).map_or(Due::People, |at| self.attempt(at, 1))
            }
            (_, OnFailure::Escalate) => Due::People,
        }
    }

    fn attempt(&self, at: usize, attempt: u32) -> Due<'_> {
        match self.steps.get(at).filter(|step| step.automatic && attempt <= step.attempts) {
            Some(step) => Due::Attempt { step, rung: self.rung(at, step, attempt) },
            None => Due::People,
        }
    }

    /// The step that automation opens when all attempts of another have failed.
    fn after_failure(&self, at: usize) -> Option<usize> {
        let opens = |step: &Step| {
            step.after == Some(at) && step.on.iter().any(|on| *on != Opens::Effective)
        };
        let next = self.steps.iter().position(opens)?;
        self.steps.get(next).filter(|step| step.automatic).map(|_| next)
    }

    fn rung(&self, at: usize, step: &Step, attempt: u32) -> Rung {
        let on_failure = if attempt < step.attempts {
            OnFailure::Retry
        } else if self.after_failure(at).is_some() {
            OnFailure::Next
        } else {
            OnFailure::Escalate
        };
        Rung {
            playbook: self.id.clone(),
            digest: self.digest,
            // A ladder has at most 16 steps.
            step: u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1),
            attempt,
            attempts: step.attempts,
            pause: step.pause,
            quiet: self.quiet,
            on_failure,
            severity: self.urgency.level,
            rto: self.rto,
        }
    }
}
