//! `declare-dead` by `force-new-cluster`: the one survivor starts alone, once.
//!
//! ```text
//! nobody else answers, no leader ─► room for a copy ─► stop ─► forensic copy
//!     ─► one permission offered ─► start through the gate ─► it leads a cluster of one
//!     ─► every key of the witness, revision not below, a new write readable
//! ```
//! A crash between two of these steps repeats none: the executor probes, and whatever was not
//! started by then is never started under this decision.

use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect};
use tokio::time::Instant;

use super::super::supervisor::{Running, Supervisor};
use super::super::{
    Execution, Held, Order, Precondition, PrepareRefused, Prepared, Verdict, forensic,
};
use super::act::Declared;
use super::measure::{Measured, nothing_is_lost, revision_of};
use super::{Answering, EtcdAdapter};
use crate::witness::{Measure, Witness};

const POLL: Duration = Duration::from_millis(50);
/// How long one call may take while a start is waited for.
const ASK: Duration = Duration::from_secs(1);

impl EtcdAdapter {
    /// Witness and conditions of a declaration. The dead must be silent now; the fenced may answer
    /// until their own agents have stopped them, and are asked again before the effect.
    pub(super) async fn before_declaration(
        &self,
        declared: &Declared,
        each: Duration,
    ) -> Result<(Witness, Vec<Precondition>), PrepareRefused> {
        let measured = self.measured(None, each).await;
        let mut conditions = self.silent(declared.dead.iter(), each).await;
        let is_survivor = declared.survivor == self.member;
        match measured {
            Ok(measured) => {
                conditions.push(no_leader(&measured));
                conditions.push(self.longest(declared, &measured));
                Ok((measured.witness(), conditions))
            }
            // Who starts alone is measured before, or does not start.
            Err(why) if is_survivor => Err(PrepareRefused::NoWitness { why }),
            Err(_) => Ok((Witness::default().with("member", Measure::Unreachable), conditions)),
        }
    }

    /// None of these members answers from here. *Unreachable is not dead*: what else a declaration
    /// needs, the coordinators' rules ask for.
    async fn silent<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        each: Duration,
    ) -> Vec<Precondition> {
        let answering = self.answering(names, each).await;
        let condition = |(name, answering): (String, Answering)| {
            let (held, fact) = match answering {
                Answering::No => (Held::Yes, "no answer".to_owned()),
                Answering::WithLeader => (Held::No, "it answers and knows a leader".to_owned()),
                Answering::Alone => (Held::No, "it answers".to_owned()),
                Answering::Unknown => {
                    (Held::Unknown, "its address is not in adapter.etcd.peers".to_owned())
                }
            };
            // This agent's own member may be the one that is dead: then nobody answers for it.
            Precondition { name: format!("silent:{name}"), held, fact }
        };
        answering.into_iter().map(condition).collect()
    }

    /// Nobody who can be asked has seen more than the survivor.
    fn longest(&self, declared: &Declared, own: &Measured) -> Precondition {
        let height = declared.heights.get(&declared.survivor).copied();
        let have = own.revision;
        let is_survivor = declared.survivor == self.member;
        let (held, fact) = match height {
            Some(height) if is_survivor => {
                let held = if have >= height { Held::Yes } else { Held::No };
                (held, format!("revision {have}, {height} was witnessed"))
            }
            Some(height) => {
                let held = if height >= have { Held::Yes } else { Held::No };
                (held, format!("revision {have} here, {height} at the survivor"))
            }
            None if is_survivor => (Held::Yes, format!("revision {have}")),
            None => {
                let fact = "no `param height` says what the survivor holds".to_owned();
                (Held::Unknown, fact)
            }
        };
        Precondition { name: "longest".to_owned(), held, fact }
    }

    /// Carries the declaration out.
    pub(super) async fn declare(
        &self,
        declared: &Declared,
        prepared: &Prepared,
        order: &Order,
    ) -> Execution {
        let end = Instant::now() + order.deadline;
        let refused = |why: String| Execution::new(Answer::RefusedPrecondition, why);
        if declared.survivor != self.member {
            return refused(format!(
                "{} survives, this agent is beside {}",
                declared.survivor, self.member
            ));
        }
        let Some(supervisor) = &self.supervisor else {
            return refused("this agent has no [member_process] to start".to_owned());
        };
        let now = match self.measured(revision_of(&prepared.witness), ASK).await {
            Ok(now) => now,
            Err(why) => return refused(why),
        };
        // Proof by probe: it leads a cluster of one, which the witness was not.
        if now.is_alone() && now.leads() {
            return match nothing_is_lost(&prepared.witness, &now) {
                Ok(()) => Execution::new(Answer::AlreadyApplied, "it leads a cluster of one"),
                Err((_, why)) => Execution::new(Answer::Unknown, why),
            };
        }
        let mut conditions = self.silent(declared.ended(), ASK).await;
        conditions.push(no_leader(&now));
        conditions.push(self.longest(declared, &now));
        if let Some(unmet) = conditions.iter().find(|condition| condition.held != Held::Yes) {
            return refused(format!("{}: {}", unmet.name, unmet.fact));
        }
        if let Err(failure) = self.room() {
            return refused(failure.to_string());
        }
        tokio::select! {
            () = order.stop.cancelled() => {
                self.give_up(supervisor).await;
                Execution::new(Answer::Unknown, "abandoned; the member was killed")
            }
            done = self.start_alone(supervisor, order, end) => done,
        }
    }

    fn room(&self) -> Result<(), forensic::ForensicError> {
        std::fs::create_dir_all(&self.forensic_dir).map_err(|source| {
            forensic::ForensicError::Disk { path: self.forensic_dir.clone(), source }
        })?;
        forensic::check_space(&self.data_dir, &self.forensic_dir)
    }

    async fn start_alone(&self, supervisor: &Supervisor, order: &Order, end: Instant) -> Execution {
        if let Some(running) = supervisor.find()
            && let Err(failure) = supervisor.stop(running).await
        {
            return Execution::new(Answer::Unknown, failure.to_string());
        }
        let kept = match self.keep_copy(order).await {
            Ok(kept) => kept,
            Err(why) => {
                return Execution::new(Answer::Failed, format!("{why}; the member is stopped"));
            }
        };
        let within = end.saturating_duration_since(Instant::now());
        let permission = match self.permits.offer(order.token, within) {
            Ok(permission) => permission,
            Err(refused) => {
                return Execution::new(Answer::RefusedPrecondition, refused.to_string());
            }
        };
        // From here on it may start alone, exactly once, whatever becomes of this process.
        let started = supervisor.start().await;
        let answered = match started {
            Ok(running) => self.leads_alone(supervisor, running, end).await,
            Err(failure) => Err(failure.to_string()),
        };
        match (permission.withdraw(), answered) {
            (true, Ok(())) => {
                Execution::new(Answer::Applied, format!("started alone; forensic copy {kept}"))
            }
            (true, Err(why)) => Execution::new(Answer::Unknown, format!("{why}; copy {kept}")),
            (false, answered) => {
                self.give_up(supervisor).await;
                let why = answered.err().unwrap_or_else(|| "its gate was not asked".to_owned());
                Execution::new(Answer::Failed, format!("it did not start alone: {why}"))
            }
        }
    }

    /// The forensic copy of this proposal, made while the member does not run.
    async fn keep_copy(&self, order: &Order) -> Result<String, String> {
        let (data, into, name) =
            (self.data_dir.clone(), self.forensic_dir.clone(), copy_name(order));
        let copying = tokio::task::spawn_blocking(move || forensic::keep(&data, &into, &name));
        match copying.await {
            Ok(Ok(digest)) => Ok(digest.to_string()),
            Ok(Err(failure)) => Err(failure.to_string()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// Waits until the member that was started leads a cluster of one.
    async fn leads_alone(
        &self,
        supervisor: &Supervisor,
        running: Running,
        end: Instant,
    ) -> Result<(), String> {
        loop {
            let seen = match self.measured(None, ASK).await {
                Ok(now) if now.is_alone() && now.leads() => return Ok(()),
                Ok(now) => format!("{} members, leader {:x}", now.members.len(), now.leader),
                Err(why) => why,
            };
            if supervisor.find() != Some(running) {
                return Err("the process ended during its start".to_owned());
            }
            if Instant::now() >= end {
                return Err(format!("it leads no cluster of one within the deadline: {seen}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn give_up(&self, supervisor: &Supervisor) {
        if let Some(running) = supervisor.find()
            && let Err(failure) = supervisor.kill(running).await
        {
            tracing::error!(%failure, "the member cannot be stopped");
        }
    }

    /// Leads a cluster of one, with every key of the witness, and takes a new write.
    pub(super) async fn verify_declaration(
        &self,
        prepared: &Prepared,
        deadline: Duration,
    ) -> Verdict {
        let end = Instant::now() + deadline;
        loop {
            let verdict = self.declared(prepared).await;
            let settled = matches!(verdict.effect, Effect::Effective | Effect::Harmful);
            if settled || Instant::now() >= end || !self.runs() {
                return verdict;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn runs(&self) -> bool {
        self.supervisor.as_ref().is_some_and(|supervisor| supervisor.find().is_some())
    }

    async fn declared(&self, prepared: &Prepared) -> Verdict {
        let before = &prepared.witness;
        let now = match self.measured(revision_of(before), ASK).await {
            Ok(now) => now,
            Err(difference) => {
                let (effect, difference) = if self.runs() {
                    (Effect::Inconclusive, difference)
                } else {
                    (Effect::Ineffective, "it does not run".to_owned())
                };
                let after = Witness::default().with("member", Measure::Unreachable);
                return Verdict { effect, after, difference };
            }
        };
        let (effect, difference) = match nothing_is_lost(before, &now) {
            Err((effect, difference)) => (effect, difference),
            Ok(()) if !now.is_alone() || !now.leads() => {
                let members = now.members.len();
                (Effect::Ineffective, format!("{members} members, leader {:x}", now.leader))
            }
            Ok(()) => self.takes_a_write(prepared).await,
        };
        Verdict { effect, after: now.witness(), difference }
    }

    async fn takes_a_write(&self, prepared: &Prepared) -> (Effect, String) {
        let digest = prepared.plan.digest.to_string();
        let key = format!("quorate/verify/{digest}");
        match self.own.write_and_read(&key, &digest, ASK).await {
            Ok(true) => {
                (Effect::Effective, "a cluster of one, every key there, a write readable".into())
            }
            Ok(false) => (Effect::Ineffective, "what was written is not what is read".to_owned()),
            Err(failed) => (Effect::Inconclusive, format!("a write: {failed}")),
        }
    }

    /// Stops the member and puts the forensic copy back. It is left stopped: with the copy it is one
    /// member of a cluster that has no quorum, and whether it starts is for people to say.
    pub(super) async fn put_back(&self, order: &Order) -> Execution {
        let Some(supervisor) = &self.supervisor else {
            return Execution::new(Answer::RefusedPrecondition, "no [member_process] to stop");
        };
        if let Some(running) = supervisor.find()
            && let Err(failure) = supervisor.stop(running).await
        {
            return Execution::new(Answer::Unknown, failure.to_string());
        }
        let (data, into, name) =
            (self.data_dir.clone(), self.forensic_dir.clone(), copy_name(order));
        let putting = tokio::task::spawn_blocking(move || forensic::put_back(&data, &into, &name));
        match putting.await {
            Ok(Ok(digest)) => Execution::new(Answer::Applied, format!("copy {digest} is back")),
            Ok(Err(failure)) => Execution::new(Answer::Failed, failure.to_string()),
            Err(failure) => Execution::new(Answer::Unknown, failure.to_string()),
        }
    }
}

/// The copy of a proposal: equal for every re-issue, so that the first one made is the one kept.
fn copy_name(order: &Order) -> String {
    let id = order.proposal.to_string();
    id.rsplit(':').next().unwrap_or(&id).to_owned()
}

/// The cluster has no leader that this member knows of: one that has lives.
fn no_leader(measured: &Measured) -> Precondition {
    let held = if measured.leader == 0 { Held::Yes } else { Held::No };
    let fact = format!("leader {:x}, {} members", measured.leader, measured.members.len());
    Precondition { name: "no-leader".to_owned(), held, fact }
}
