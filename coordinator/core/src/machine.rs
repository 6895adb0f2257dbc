//! `Machine::apply`: the only place that branches over commands.

use quorate_attest::agent_statement::Observe;
use quorate_attest::id::{ClusterId, Digest, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::DecisionNumber;

use crate::command::{Body, Command, LogId, Request};
use crate::grounds::Grounds;
use crate::ledger::Ledger;
use crate::outcome::{Applied, Outcome, Standing};
use crate::rejection::Rejection;
use crate::snapshot::{self, SnapshotError};
use crate::state::State;
use crate::step::Step;
use crate::{deadline, judge};

/// The decision machine: one state, changed by [`Machine::apply`] alone.
///
/// Same entries, same bytes, on every replica: `apply` reads no clock and no randomness, verifies
/// no signature and performs no IO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    state: State,
}

impl Machine {
    /// A machine that has applied nothing. Its first command is [`Body::Found`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A machine that goes on from what leaves determine, as after `recover`: nothing is open, and
    /// every claim has to be made anew.
    #[must_use]
    pub fn resume(ledger: Ledger) -> Self {
        let mut state = State { time: ledger.history().time(), ..State::default() };
        state.observations.watch(ledger.charter(), state.time);
        state.ledger = Some(ledger);
        Self { state }
    }

    /// Applies one entry of the Raft log.
    ///
    /// Time never falls: the entry counts at its stamp or at the highest stamp before it. What has
    /// become due by then ends first, then the command is answered, then approvals that nothing
    /// holds back any more become decisions.
    ///
    /// # Panics
    /// Where assertions are on, if an invariant of the state is broken: a defect of this crate.
    pub fn apply(&mut self, at: LogId, command: Command) -> Applied {
        let applied = self.run(at, command);
        debug_assert_eq!(self.state.validate(), Ok(()), "after {at}");
        applied
    }

    fn run(&mut self, at: LogId, command: Command) -> Applied {
        let Command { version, time, request, body } = command;
        self.state.applied = at;
        self.state.time = self.state.time.max(time);
        let mut step = Step::new(&mut self.state);
        step.expire();
        let fresh = step.check_version(version).and_then(|()| match &request {
            Some(request) => step.remembered(request),
            None => Ok(None),
        });
        let outcome = match fresh {
            Ok(None) => {
                let outcome = step.answer(body);
                step.settle();
                let outcome = outcome.map(|outcome| step.complete_standing(outcome));
                step.remember(request, outcome)
            }
            Ok(Some(first)) => {
                step.settle();
                Ok(first)
            }
            Err(rejection) => {
                step.settle();
                Err(rejection)
            }
        };
        Applied { outcome, effects: step.effects }
    }

    /// What `apply` would answer at `now`, by the same code on a copy: `validate_only`.
    ///
    /// For a proposal or a vote the answer's [`Standing`] says who may vote, how many are missing,
    /// what would hold the decision back, and what is left of the budget. Ask
    /// [`Applied::is_worth_an_entry`] before proposing the command to Raft: refused and repeated
    /// commands that change nothing need no entry.
    #[must_use]
    pub fn consider(&self, now: LogTime, body: &Body) -> Applied {
        let version = self.state.versions.in_force();
        let command = Command { version, time: now, request: None, body: body.clone() };
        Self { state: self.state.without_requests() }.run(self.state.applied, command)
    }

    /// The answer to a request that needs no entry: the first answer, if it is remembered, or the
    /// refusal of an id that served something else. `None`: the command has to be considered.
    #[must_use]
    pub fn answered(&self, request: &Request) -> Option<Result<Outcome, Rejection>> {
        match self.state.requests.answer(request) {
            Ok(first) => first.cloned().map(Ok),
            Err(rejection) => Some(Err(rejection)),
        }
    }

    /// Where an open proposal stands at `now`.
    #[must_use]
    pub fn standing(&self, now: LogTime, proposal: &ProposalId) -> Option<Standing> {
        let open = self.state.open.get(proposal)?;
        judge::standing(&self.state, open, now.max(self.state.time))
    }

    /// What the decision `number` of `cluster` rested on, while it runs.
    #[must_use]
    pub fn grounds(&self, cluster: &ClusterId, number: DecisionNumber) -> Option<&Grounds> {
        self.state.decided_on(cluster).filter(|grounds| grounds.number() == number)
    }

    /// What contradicts the decision `number`, which holds the slot of `cluster`: a coordinator
    /// refuses to cosign it then.
    ///
    /// `held` are the observations this coordinator took itself, each verified; the leader may have
    /// withheld them. The signatures under the [`Grounds`] are verified here, and facts that the
    /// agents did not sign count for nothing: the leader may have made them up. Of each agent the
    /// newest counts, by `observed`. All is judged by the time of the decision. `now` only bounds
    /// how far ahead an observation may lie.
    ///
    /// `None` also for a continuation and for a decision that does not run.
    #[must_use]
    pub fn contradiction(
        &self,
        now: LogTime,
        cluster: &ClusterId,
        number: DecisionNumber,
        held: &[Observe],
    ) -> Option<Rejection> {
        judge::contradiction(&self.state, now, (cluster, number), held)
    }

    /// When the leader should append a [`Body::Tick`]: the next time at which something is due.
    /// `None` while only other events can change anything, so that an idle quorum appends nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<LogTime> {
        deadline::next(&self.state)
    }

    /// The state as bytes, format byte first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(&self.state)
    }

    /// The machine of a snapshot.
    ///
    /// # Errors
    /// Bytes that are no snapshot of this format, or of a state whose invariants do not hold.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Ok(Self { state: snapshot::read(bytes)? })
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// SHA-256 of the whole state: equal on all replicas that applied the same entries.
    #[must_use]
    pub fn state_hash(&self) -> Digest {
        snapshot::digest(&self.state)
    }

    /// SHA-256 of what the leaves determine: equal to that of a replay of the log.
    #[must_use]
    pub fn ledger_hash(&self) -> Option<Digest> {
        self.state.ledger.as_ref().map(Ledger::hash)
    }
}

impl Step<'_> {
    fn answer(&mut self, body: Body) -> Result<Outcome, Rejection> {
        match body {
            Body::Found(charter) => self.found(charter),
            Body::Open(proposal) => self.open(proposal),
            Body::Vote(vote) => self.vote(&vote),
            Body::Veto(veto) => self.veto(&veto),
            Body::Observe(observe) => self.observe(&observe),
            Body::Claim(claim) => self.claim(&claim),
            Body::Report(report) => self.report(&report),
            Body::Override(signed) => self.record_override(signed),
            Body::Act(signed) => self.record_act(signed),
            Body::Pause(signed) => self.record_pause(signed),
            Body::Amend(charter) => self.amend(charter),
            Body::Refuse(refusals) => self.refuse(&refusals),
            Body::Continue { cluster, number } => self.reissue(&cluster, number),
            Body::Support { coordinator, version } => self.support(coordinator, version),
            Body::Tick => Ok(Outcome::Ticked),
        }
    }
}
