//! The life of a decision, over and over: a member dies, its agent says so, a restart is opened,
//! two observers vote, the decision follows, the executor claims it, acts, reports, and the member
//! is up again.
//!
//! Seven entries of the Raft log, two leaves of the decision log. Every statement is properly
//! signed, so that whatever judges the log later finds nothing to refuse. The history is a function
//! of the world and the pace: every coordinator gets the same bytes.

use anyhow::{Context as _, Result};
use quorate_attest::agent_statement::{Answer, Claim, Effect, Fact, Observe, Report};
use quorate_attest::id::{Digest, JournalInstance, KeyName, Nonce};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::number::{DecisionNumber, Sequence};
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Vote};
use quorate_core::{Body, Command, MachineVersion, Request};

use crate::world::{Agent, World};

/// Leaves of the decision log for each decision: the decision and its outcome.
pub const LEAVES_PER_DECISION: u64 = 2;
/// Log time between two entries of one decision.
const BETWEEN: Span = Span::from_millis(20);

/// How log time passes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Log time of the founding.
    pub start: LogTime,
    /// Between two decisions.
    pub step: Span,
    /// How long each proposal may be open: how long the log remembers that it has ended.
    pub open_for: Span,
}

/// Makes the commands, in order.
pub struct History<'a> {
    world: &'a World,
    pace: Pace,
    /// Decisions made so far.
    decided: u64,
    /// Signed statements of each agent so far: the sequence of its observations.
    observed: Vec<u64>,
    requests: u64,
}

impl<'a> History<'a> {
    /// A history that has not begun.
    pub fn new(world: &'a World, pace: Pace) -> Self {
        let observed = vec![0; world.agents.len()];
        Self { world, pace, decided: 0, observed, requests: 0 }
    }

    /// The founding, and every agent's first look: everything is up.
    ///
    /// # Errors
    /// A statement of ours is no statement: a defect of this crate.
    pub fn begin(&mut self) -> Result<Vec<Command>> {
        let start = self.pace.start;
        let mut commands = vec![Command::internal(start, Body::Found(self.world.charter.clone()))];
        for at in 0..self.world.agents.len() {
            commands.push(self.look(at, start.saturating_add(BETWEEN), None)?);
        }
        Ok(commands)
    }

    /// The commands of the next decision.
    ///
    /// # Errors
    /// A statement of ours is no statement: a defect of this crate.
    pub fn decision(&mut self) -> Result<Vec<Command>> {
        self.decided += 1;
        let number = DecisionNumber::new(self.decided)?;
        let count = self.world.agents.len();
        let at = usize::try_from(self.decided)? % count;
        let own = &self.world.agents[at];
        let waited = self.pace.step.get().checked_mul(self.decided).context("time ends")?;
        let begin = self.pace.start.saturating_add(Span::from_millis(waited));
        let time = |entry: u64| {
            begin.saturating_add(Span::from_millis(BETWEEN.get().saturating_mul(entry)))
        };
        let proposal = self.proposal(own, time(1))?;
        let other = &self.world.agents[(at + 1) % count];
        let claim = Claim {
            origin: proposal.origin.clone(),
            epoch: proposal.epoch,
            cluster: proposal.cluster.clone(),
            number,
            agent: own.name.clone(),
            instance: JournalInstance::from_bytes([u8::try_from(at)?; 16]),
            sequence: Sequence::new(self.decided)?,
            nonce: Nonce::from_bytes([u8::try_from(at)?; 16]),
        };
        let report = Report {
            origin: proposal.origin.clone(),
            epoch: proposal.epoch,
            cluster: proposal.cluster.clone(),
            number,
            proposal: proposal.id(),
            agent: own.name.clone(),
            answer: Answer::Applied,
            effect: Effect::Effective,
            witness: Digest::of(&self.decided.to_be_bytes()),
            evidence: Vec::new(),
            started: Some(time(4)),
            finished: time(5),
        };
        let vote =
            |agent: &Agent| Body::Vote(agent.signer.signed(Vote::on(&proposal, Verdict::Approve)));
        let (first, second) = (vote(own), vote(other));
        Ok(vec![
            self.look(at, time(0), Some(own))?,
            self.asked(&own.name, time(1), Body::Open(proposal)),
            self.asked(&own.name, time(2), first),
            self.asked(&other.name, time(3), second),
            self.asked(&own.name, time(4), Body::Claim(own.signer.signed(claim))),
            self.asked(&own.name, time(5), Body::Report(own.signer.signed(report))),
            self.look(at, time(6), None)?,
        ])
    }

    fn proposal(&self, own: &Agent, now: LogTime) -> Result<Proposal> {
        let charter = &self.world.charter.statement;
        let mut nonce = [0; 16];
        nonce[8..].copy_from_slice(&self.decided.to_be_bytes());
        let proposal = Proposal {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            charter: charter.id(),
            cluster: self.world.cluster.clone(),
            incident: format!("i-{}", self.decided).parse()?,
            kind: Kind::Restart,
            target: format!("member:{}", own.member).parse()?,
            proposer: own.name.clone(),
            executor: vec![own.name.clone()],
            param: Vec::new(),
            plan: Digest::of(own.name.as_str().as_bytes()),
            reason: format!("{} does not answer and its process is gone", own.member).parse()?,
            evidence: vec![Digest::of(&self.decided.to_le_bytes())],
            expires: now.saturating_add(self.pace.open_for),
            nonce: Nonce::from_bytes(nonce),
        };
        Ok(Proposal::parse(&proposal.text())?)
    }

    /// What agent `at` sees: everything up, except the member of `down`.
    fn look(&mut self, at: usize, now: LogTime, down: Option<&Agent>) -> Result<Command> {
        self.observed[at] += 1;
        let agent = &self.world.agents[at];
        let charter = &self.world.charter.statement;
        let mut facts = Vec::new();
        for seen in &self.world.agents {
            let is_down = down.is_some_and(|down| down.member == seen.member);
            let word = if is_down { "down" } else { "up" };
            facts.push(format!("member {} {word}", seen.member).parse::<Fact>()?);
        }
        facts.sort();
        let observe = Observe {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            cluster: self.world.cluster.clone(),
            agent: agent.name.clone(),
            sequence: Sequence::new(self.observed[at])?,
            observed: now,
            fact: facts,
        };
        Ok(Command::internal(now, Body::Observe(agent.signer.signed(observe))))
    }

    /// As a client asks: under a request id, which the machine remembers for a while.
    fn asked(&mut self, caller: &KeyName, time: LogTime, body: Body) -> Command {
        self.requests += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.requests.to_be_bytes());
        let request = Request { id, caller: caller.clone(), digest: Digest::of(&id) };
        Command { version: MachineVersion::FIRST, time, request: Some(request), body }
    }
}
