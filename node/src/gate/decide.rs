//! The gate itself: ask the agent, verify what it left, judge, take, and only then start.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use quorate_attest::charter::Charter;
use quorate_attest::declaration::Readmission;
use quorate_attest::id::Digest;
use quorate_attest::log_time::{CosignTime, LogTime};
use quorate_attest::number::FencingToken;
use quorate_attest::signed::Signed;

use super::ask::Agent;
use super::judge::{Who, judge_alone, judge_start};
use super::place::{GateConfig, Place};
use super::refusal::{AloneRefused, Refusal};
use super::state::{GateState, Known, NotKnown};
use super::used;
use super::wire::Answer;
use crate::app::{AgentError, pinned_charter};
use crate::clock::Clock;
use crate::config::Config;
use crate::trust::{Anchor, View};

/// What the gate could do with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means<'a> {
    /// Answer by exit code, or start a command that knows no way to start alone.
    Ordinary,
    /// Start this program, with the arguments of a start alone if one is permitted.
    Alone {
        /// The program.
        program: &'a OsStr,
    },
}

/// How the member starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As ever.
    Ordinary,
    /// Alone, once, under this decision. The permission is used up already.
    Alone(FencingToken),
}

/// The gate is open.
#[derive(Debug)]
pub struct Allowed {
    /// How.
    pub start: Start,
    /// How fresh what is known is; `None` if nothing is.
    pub as_of: Option<CosignTime>,
    /// What the data directory says of itself, as a declaration would name it.
    pub identity: Option<Digest>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

/// The gate of one member.
#[derive(Debug)]
pub struct Gate {
    who: Who,
    data_dir: PathBuf,
    place: GateConfig,
    charter: Signed<Charter>,
    clock: Clock,
}

impl Gate {
    /// The gate of the member beside which the agent of `config` runs.
    ///
    /// # Errors
    /// [`AgentError`] if the pinned charter cannot be read.
    pub fn of(config: &Config, clock: Clock) -> Result<Self, AgentError> {
        Ok(Self {
            who: Who {
                cluster: config.cluster.clone(),
                member: config.member.clone(),
                agent: config.name.clone(),
            },
            data_dir: config.data_dir.clone(),
            place: config.gate.clone(),
            charter: pinned_charter(&config.charter)?,
            clock,
        })
    }

    /// Decides once. After [`Start::Alone`] the caller starts the member at once, or nobody ever
    /// does under that decision.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is to be started.
    pub fn decide(&self, means: Means<'_>) -> Result<Allowed, Refusal> {
        let asked = Agent::ask(&self.data_dir, &self.who);
        let place = Place::look(&self.place).map_err(|source| Refusal::Place { source })?;
        let now = self.clock.now();
        let (view, warning) = match self.known(now) {
            Ok(known) => {
                let warning = self.judge(Ok(&known), &place, now)?;
                (known.view, warning)
            }
            Err(unknown) => (View::default(), self.judge(Err(unknown), &place, now)?),
        };
        let mut warnings: Vec<String> = warning.iter().map(ToString::to_string).collect();
        let start = match asked {
            Ok((_, Answer::Ordinary)) => Start::Ordinary,
            Ok((_, Answer::Reserved { token })) => return Err(self.reserved(&token)),
            Ok((agent, Answer::Alone { certificate, .. })) => {
                Start::Alone(self.alone(agent, certificate.as_bytes(), &view, means)?)
            }
            Ok((_, Answer::Failed { why })) => return Err(Refusal::AgentFailed { why }),
            Ok((_, Answer::Taken | Answer::Gone { .. })) => {
                warnings.push("the agent answered what was not asked; judged by gate.state".into());
                Start::Ordinary
            }
            Err(silent) => {
                warnings.push(format!("no agent answered ({silent}); judged by gate.state"));
                Start::Ordinary
            }
        };
        let readmission = self.readmission(&view);
        match place.mark(readmission) {
            Ok(()) => {}
            // Unmarked, the re-admitted directory would be taken for the old one at the next start.
            Err(source) if readmission.is_some() => return Err(Refusal::Place { source }),
            Err(source) => warnings.push(format!("the data directory is not marked: {source}")),
        }
        Ok(Allowed {
            start,
            as_of: view.head().map(quorate_attest::head::VerifiedHead::as_of),
            identity: Place::look(&self.place).ok().and_then(|place| place.identity()),
            warnings,
        })
    }

    fn judge(
        &self,
        known: Result<&Known, NotKnown>,
        place: &Place,
        now: LogTime,
    ) -> Result<Option<Refusal>, Refusal> {
        judge_start(&self.who, known, &self.charter.statement, place, now)
    }

    /// What the agent left, verified.
    fn known(&self, now: LogTime) -> Result<Known, NotKnown> {
        let path = GateState::path(&self.data_dir);
        let state = GateState::read(&path, &self.who.cluster, &self.who.member)?;
        state.verify(&path, Anchor::of(&self.charter), now)
    }

    fn readmission<'a>(&self, view: &'a View) -> Option<&'a Readmission> {
        let cluster = view.history()?.cluster(&self.who.cluster)?;
        cluster.standing.readmitted.get(&self.who.member)
    }

    fn reserved(&self, token: &str) -> Refusal {
        match token.parse() {
            Ok(token) => Refusal::Reserved { member: self.who.member.clone(), token },
            Err(_) => Refusal::AgentFailed { why: "it named no token".into() },
        }
    }

    /// Verifies everything, takes the permission, writes its use down, and verifies again.
    fn alone(
        &self,
        agent: Agent,
        certificate: &[u8],
        view: &View,
        means: Means<'_>,
    ) -> Result<FencingToken, AloneRefused> {
        let Means::Alone { program } = means else { return Err(AloneRefused::NoArgument) };
        if !exists(program) {
            return Err(AloneRefused::NoProgram { program: program.display().to_string() });
        }
        let path = used::path(&self.data_dir);
        // A record that cannot be read may hold any token.
        let used = used::read(&path).map_err(|source| AloneRefused::Unreadable { source })?;
        let token = judge_alone(&self.who, view, certificate, used, self.clock.now())?;
        let gone = |why: String| AloneRefused::Gone { token, why };
        match agent.take(token) {
            Ok(Answer::Taken) => {}
            Ok(Answer::Gone { why } | Answer::Failed { why }) => return Err(gone(why)),
            Ok(Answer::Ordinary | Answer::Reserved { .. } | Answer::Alone { .. }) => {
                return Err(gone("the agent answered what was not asked".into()));
            }
            Err(silent) => return Err(gone(silent.to_string())),
        }
        // A crash from here on starts nothing: the permission is gone.
        used::write(&path, token).map_err(|source| AloneRefused::Record { token, source })?;
        let now = self.clock.now();
        let known = self.known(now).map_err(|unknown| gone(unknown.to_string()))?;
        judge_alone(&self.who, &known.view, certificate, used, now)
    }
}

/// Whether `program` can be found as `exec` will look for it.
fn exists(program: &OsStr) -> bool {
    if Path::new(program).components().count() > 1 {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
