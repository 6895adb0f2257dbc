//! The ladder: which rung of a playbook a proposal climbs, and what its failure means.
//!
//! A playbook is data that agents and people hold; the log holds only its digest, in the charter. So
//! that anybody with the log alone can tell which attempt this was, how long the pause before the
//! next one is and whether people are asked after it, the opener writes that into the proposal, as
//! parameters, and every observer that approves has computed the same from the same pinned file.
//! What the parameters say is therefore voted on like the target itself (*authority*), and
//! [`History`](crate::history::History) counts with it (*budget*).

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::id::{Digest, ParamKey, PlaybookId, Word};
use crate::log_time::Span;
use crate::proposal::{Param, Proposal};
use crate::text::{decimal, words};

/// `param playbook <id> <digest>`.
pub const PLAYBOOK_PARAM: &str = "playbook";
/// `param rung <step> <attempt>/<attempts>`, all counted from 1.
pub const RUNG_PARAM: &str = "rung";
/// `param rung-pause <pause ms> <quiet ms>`.
pub const PAUSE_PARAM: &str = "rung-pause";
/// `param on-failure retry|next|escalate p1|p2|p3|p4`.
pub const FAILURE_PARAM: &str = "on-failure";
/// `param rto <target ms> <max ms>`; left out where the playbook names none.
pub const RTO_PARAM: &str = "rto";

/// Every parameter a rung is written with. They say where an action stands, not what it does, so
/// they are no part of a plan.
pub const PARAMS: [&str; 5] = [PLAYBOOK_PARAM, RUNG_PARAM, PAUSE_PARAM, FAILURE_PARAM, RTO_PARAM];

/// Most attempts of one step.
pub const ATTEMPTS_MAX: u32 = 10;
/// Most steps of one ladder.
pub const STEPS_MAX: u32 = 16;

/// How bad an incident is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Severity {
    /// An outage, or data at risk.
    P1,
    /// Degraded service, or consensus at risk.
    P2,
    /// Slow.
    P3,
    /// Minor.
    P4,
}

words!(Severity { P1 => "p1", P2 => "p2", P3 => "p3", P4 => "p4" });

/// What the recorded failure of an attempt opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum OnFailure {
    /// The same step once more.
    Retry,
    /// The first attempt of a later step.
    Next,
    /// Nothing that automation may do: people are asked, once.
    Escalate,
}

words!(OnFailure { Retry => "retry", Next => "next", Escalate => "escalate" });

/// The recovery time that was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rto {
    /// Past it, warn.
    pub target: Span,
    /// Past it, the next person in the chain. Not below the target.
    pub max: Span,
}

/// One attempt of one step.
///
/// Invariants of one that was read: `1 ≤ attempt ≤ attempts ≤ 10`, `1 ≤ step ≤ 16`, `on_failure` is
/// `retry` exactly if `attempt < attempts`, `target ≤ max`.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rung {
    /// The playbook.
    pub playbook: PlaybookId,
    /// SHA-256 of its file, which the charter pins.
    pub digest: Digest,
    /// Which step.
    pub step: u32,
    /// Which attempt of it.
    pub attempt: u32,
    /// How many attempts the step has.
    pub attempts: u32,
    /// The least time from the end of the attempt before to this one's decision.
    pub pause: Span,
    /// How long after a success the same trouble is still the same incident.
    pub quiet: Span,
    /// What the failure of this attempt opens.
    pub on_failure: OnFailure,
    /// How bad the incident is.
    pub severity: Severity,
    /// What was promised.
    pub rto: Option<Rto>,
}

/// A proposal whose parameters name no rung, although one of them is there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("param {param} does not fit a rung of a playbook: {why}")]
pub struct RungRefused {
    /// Which parameter.
    pub param: &'static str,
    /// Why.
    pub why: &'static str,
}

impl Rung {
    /// The rung a proposal climbs; none if it names none.
    ///
    /// # Errors
    /// One of the parameters is there, and together they are no rung.
    pub fn of(proposal: &Proposal) -> Result<Option<Self>, RungRefused> {
        if PARAMS.iter().all(|key| proposal.params(key).next().is_none()) {
            return Ok(None);
        }
        let (id, digest) = pair(proposal, PLAYBOOK_PARAM)?;
        let (step, attempt) = pair(proposal, RUNG_PARAM)?;
        let (pause, quiet) = pair(proposal, PAUSE_PARAM)?;
        let (on_failure, severity) = pair(proposal, FAILURE_PARAM)?;
        let rto = match proposal.params(RTO_PARAM).next() {
            None => None,
            Some(_) => {
                let (target, max) = pair(proposal, RTO_PARAM)?;
                Some(Rto { target: read(RTO_PARAM, target)?, max: read(RTO_PARAM, max)? })
            }
        };
        let (attempt, attempts) = attempt
            .split_once('/')
            .ok_or(RungRefused { param: RUNG_PARAM, why: "the attempt is not <n>/<of>" })?;
        let rung = Self {
            playbook: read(PLAYBOOK_PARAM, id)?,
            digest: read(PLAYBOOK_PARAM, digest)?,
            step: count(step)?,
            attempt: count(attempt)?,
            attempts: count(attempts)?,
            pause: read(PAUSE_PARAM, pause)?,
            quiet: read(PAUSE_PARAM, quiet)?,
            on_failure: read(FAILURE_PARAM, on_failure)?,
            severity: read(FAILURE_PARAM, severity)?,
            rto,
        };
        rung.check()?;
        Ok(Some(rung))
    }

    fn check(&self) -> Result<(), RungRefused> {
        let refuse = |param, why| Err(RungRefused { param, why });
        if !(1..=STEPS_MAX).contains(&self.step) {
            return refuse(RUNG_PARAM, "a step is 1 to 16");
        }
        if self.attempt < 1 || self.attempt > self.attempts || self.attempts > ATTEMPTS_MAX {
            return refuse(RUNG_PARAM, "an attempt is 1 to its step's number, which is at most 10");
        }
        if (self.on_failure == OnFailure::Retry) != (self.attempt < self.attempts) {
            return refuse(FAILURE_PARAM, "it is retry exactly before the last attempt");
        }
        if self.rto.is_some_and(|rto| rto.target > rto.max) {
            return refuse(RTO_PARAM, "the target is above the maximum");
        }
        Ok(())
    }

    /// The parameters that say this.
    pub fn params(&self) -> Vec<Param> {
        let ms = |span: Span| span.get().to_string();
        let (id, digest) = (self.playbook.to_string(), self.digest.to_string());
        let attempt = format!("{}/{}", self.attempt, self.attempts);
        let (then, severity) = (self.on_failure.to_string(), self.severity.to_string());
        let mut lines = vec![
            (PLAYBOOK_PARAM, id, digest),
            (RUNG_PARAM, self.step.to_string(), attempt),
            (PAUSE_PARAM, ms(self.pause), ms(self.quiet)),
            (FAILURE_PARAM, then, severity),
        ];
        lines.extend(self.rto.map(|rto| (RTO_PARAM, ms(rto.target), ms(rto.max))));
        lines.into_iter().filter_map(|(key, value, extra)| param(key, &value, &extra)).collect()
    }
}

/// None of the values above has a blank or is empty, so this never leaves one out.
fn param(key: &str, value: &str, extra: &str) -> Option<Param> {
    let key = key.parse::<ParamKey>().ok()?;
    Some(Param { key, value: value.parse().ok()?, extra: Some(extra.parse().ok()?) })
}

fn pair<'p>(
    proposal: &'p Proposal,
    param: &'static str,
) -> Result<(&'p str, &'p str), RungRefused> {
    let found = proposal.single(param).ok_or(RungRefused { param, why: "it must occur once" })?;
    let extra = found.extra.as_ref().map(Word::as_str);
    let extra = extra.ok_or(RungRefused { param, why: "it has two words" })?;
    Ok((found.value.as_str(), extra))
}

fn read<T: std::str::FromStr>(param: &'static str, word: &str) -> Result<T, RungRefused> {
    word.parse().map_err(|_| RungRefused { param, why: "a word of it does not read" })
}

fn count(word: &str) -> Result<u32, RungRefused> {
    decimal(word)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or(RungRefused { param: RUNG_PARAM, why: "a count is a decimal number" })
}
