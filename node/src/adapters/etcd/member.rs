//! `add-member`, `remove-member` and `transfer-leader`: changes of a cluster that has a leader.
//!
//! A new member comes as a learner and gets its vote when it has caught up: a voter that has not
//! started yet would raise the quorum at once and count as dead in it. Removals are judged by who
//! answers now (`quorum-floor`), not by what etcd is ready to do.

use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_proto::foreign::etcd::Member;
use tokio::time::Instant;

use super::super::{Execution, Held, Order, Precondition, PrepareRefused, Prepared, Verdict};
use super::client::CallFailed;
use super::measure::{Measured, nothing_is_lost, revision_of, term_of};
use super::{Answering, EtcdAdapter, inconclusive};
use crate::witness::Witness;

const POLL: Duration = Duration::from_millis(100);
/// How long one call may take.
const ASK: Duration = Duration::from_secs(2);

type Ready = Result<(Witness, Vec<Precondition>), PrepareRefused>;

fn condition(name: &str, holds: bool, fact: String) -> Precondition {
    let held = if holds { Held::Yes } else { Held::No };
    Precondition { name: name.to_owned(), held, fact }
}

fn has_leader(measured: &Measured) -> Precondition {
    condition("has-leader", measured.leader != 0, format!("leader {:x}", measured.leader))
}

/// What a call that changes something amounts to when it failed.
fn failed(failed: &CallFailed) -> Execution {
    let answer = match failed {
        CallFailed::Silent { .. } => Answer::Unknown,
        CallFailed::Answered { .. } => Answer::Failed,
    };
    Execution::new(answer, failed.to_string())
}

/// What it needs of the conditions, measured again: the first that does not hold refuses.
fn unmet(ready: Ready) -> Option<Execution> {
    let refused = |why: String| Some(Execution::new(Answer::RefusedPrecondition, why));
    match ready {
        Err(why) => refused(why.to_string()),
        Ok((_, conditions)) => {
            let unmet = conditions.into_iter().find(|condition| condition.held != Held::Yes)?;
            refused(format!("{}: {}", unmet.name, unmet.fact))
        }
    }
}

impl EtcdAdapter {
    async fn witnessed(&self, each: Duration) -> Result<Measured, PrepareRefused> {
        let measured = self.measured(None, each).await;
        measured.map_err(|why| PrepareRefused::NoWitness { why })
    }

    /// How many voters know a leader, without `gone`.
    async fn live_voters(
        &self,
        measured: &Measured,
        gone: Option<&str>,
        each: Duration,
    ) -> (usize, usize) {
        let voters: Vec<String> = measured
            .voters()
            .map(|member| member.name.clone())
            .filter(|name| Some(name.as_str()) != gone)
            .collect();
        let answering = self.answering(&voters, each).await;
        let live = answering.values().filter(|one| **one == Answering::WithLeader).count();
        (live, voters.len())
    }

    async fn quorum_floor(
        &self,
        measured: &Measured,
        gone: Option<&str>,
        each: Duration,
    ) -> Precondition {
        let (live, voters) = self.live_voters(measured, gone, each).await;
        let majority = voters / 2 + 1;
        let fact = format!("{live} of {voters} voters live after it, a majority is {majority}");
        condition("quorum-floor", voters > 0 && live >= majority, fact)
    }

    pub(super) async fn before_adding(&self, name: &str, peer_url: &str, each: Duration) -> Ready {
        let measured = self.witnessed(each).await?;
        let known = measured.at(peer_url).or_else(|| measured.named(name));
        let is_fresh = known.is_none_or(|member| member.is_learner);
        let fact = known.map_or("unknown".to_owned(), |member| format!("member {:x}", member.id));
        let floor = self.quorum_floor(&measured, None, each).await;
        let conditions =
            vec![has_leader(&measured), condition("fresh-member", is_fresh, fact), floor];
        Ok((measured.witness(), conditions))
    }

    /// Adds a learner, waits until it has started and caught up, and gives it its vote.
    pub(super) async fn add(&self, name: &str, peer_url: &str, order: &Order) -> Execution {
        let end = Instant::now() + order.deadline;
        let now = match self.measured(None, ASK).await {
            Ok(now) => now,
            Err(why) => return Execution::new(Answer::RefusedPrecondition, why),
        };
        let mut id = None;
        if let Some(member) = now.at(peer_url) {
            if !member.is_learner && member.name == name {
                return Execution::new(Answer::AlreadyApplied, "it is a voter");
            }
            id = Some(member.id);
        }
        if let Some(refused) = unmet(self.before_adding(name, peer_url, ASK).await) {
            return refused;
        }
        tokio::select! {
            () = order.stop.cancelled() => {
                Execution::new(Answer::Unknown, format!("abandoned; {peer_url} may be a learner"))
            }
            done = self.add_and_promote(id, peer_url, end) => done,
        }
    }

    async fn add_and_promote(&self, known: Option<u64>, peer_url: &str, end: Instant) -> Execution {
        let id = match known {
            Some(id) => id,
            None => match self.add_when_healthy(peer_url, end).await {
                Ok(Some(member)) => member.id,
                Ok(None) => return Execution::new(Answer::Unknown, "etcd names no new member"),
                Err(failure) => return failed(&failure),
            },
        };
        self.promote_when_ready(id, end).await
    }

    /// etcd takes no new member until all it has were connected for five seconds: an answer, so nothing
    /// was done, and it is asked again. Silence is settled by looking whether it is there.
    async fn add_when_healthy(
        &self,
        peer_url: &str,
        end: Instant,
    ) -> Result<Option<Member>, CallFailed> {
        loop {
            let failure = match self.own.add_learner(peer_url, ASK).await {
                Ok(member) => return Ok(member),
                Err(failure) => failure,
            };
            if let Ok(now) = self.measured(None, ASK).await
                && let Some(member) = now.at(peer_url)
            {
                return Ok(Some(member.clone()));
            }
            if Instant::now() >= end || !failure.may_pass() {
                return Err(failure);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn promote_when_ready(&self, id: u64, end: Instant) -> Execution {
        loop {
            let why = match self.own.promote(id, ASK).await {
                Ok(()) => return Execution::new(Answer::Applied, format!("{id:x} is a voter")),
                // Not started, or not level with the leader yet; silence may have been a yes.
                Err(failure) => failure.to_string(),
            };
            if let Ok(now) = self.measured(None, ASK).await
                && now.voters().any(|voter| voter.id == id)
            {
                return Execution::new(Answer::Applied, format!("{id:x} is a voter"));
            }
            if Instant::now() >= end {
                let left = format!("{id:x} stays a learner, which has no vote: {why}");
                return Execution::new(Answer::Failed, left);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn verify_added(
        &self,
        prepared: &Prepared,
        name: &str,
        peer_url: &str,
        deadline: Duration,
    ) -> Verdict {
        self.verify_until(prepared, deadline, |now| match now.at(peer_url) {
            Some(member) if member.is_learner => Err(format!("{name} is a learner still")),
            Some(member) if member.name != name => {
                Err(format!("the member at {peer_url} calls itself {:?}", member.name))
            }
            Some(_) => Ok(format!("{name} is a voter")),
            None => Err(format!("no member at {peer_url}")),
        })
        .await
    }

    pub(super) async fn before_removing(&self, name: &str, each: Duration) -> Ready {
        if name == self.member {
            let target = format!("member:{name}");
            let why = "its own agent cannot verify its removal; name another --executor".to_owned();
            return Err(PrepareRefused::TargetRefused { target, why });
        }
        let measured = self.witnessed(each).await?;
        let found = measured.named(name);
        // What is no member may not be "removed": its absence is no effect.
        let fact = found.map_or(format!("no member is called {name}"), |m| format!("{:x}", m.id));
        let floor = self.quorum_floor(&measured, Some(name), each).await;
        let conditions =
            vec![has_leader(&measured), condition("is-member", found.is_some(), fact), floor];
        Ok((measured.witness(), conditions))
    }

    pub(super) async fn remove(&self, name: &str, order: &Order) -> Execution {
        let end = Instant::now() + order.deadline;
        let now = match self.measured(None, ASK).await {
            Ok(now) => now,
            Err(why) => return Execution::new(Answer::RefusedPrecondition, why),
        };
        let Some(id) = now.named(name).map(|member| member.id) else {
            // `prepare` saw it: somebody has removed it since.
            return Execution::new(Answer::AlreadyApplied, format!("{name} is no member any more"));
        };
        if let Some(refused) = unmet(self.before_removing(name, ASK).await) {
            return refused;
        }
        tokio::select! {
            () = order.stop.cancelled() => {
                Execution::new(Answer::Unknown, format!("abandoned; {id:x} may be removed"))
            }
            done = self.remove_until_gone(id, end) => done,
        }
    }

    /// A request that is handed to a leader that has just died is never answered. An id is removed
    /// once and never given again, so asking again removes nobody else.
    async fn remove_until_gone(&self, id: u64, end: Instant) -> Execution {
        loop {
            let failure = match self.own.remove(id, ASK).await {
                Ok(()) => return Execution::new(Answer::Applied, format!("{id:x} was removed")),
                Err(failure) => failure,
            };
            if let Ok(now) = self.measured(None, ASK).await
                && now.members.iter().all(|member| member.id != id)
            {
                return Execution::new(Answer::Applied, format!("{id:x} is gone: {failure}"));
            }
            if Instant::now() >= end || !failure.may_pass() {
                return failed(&failure);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn verify_removed(
        &self,
        prepared: &Prepared,
        name: &str,
        deadline: Duration,
    ) -> Verdict {
        self.verify_until(prepared, deadline, |now| match now.named(name) {
            Some(member) => Err(format!("{name} is member {:x} still", member.id)),
            None => Ok(format!("{name} is no member")),
        })
        .await
    }

    pub(super) async fn before_leading(&self, name: &str, each: Duration) -> Ready {
        let measured = self.witnessed(each).await?;
        let voter = measured.voters().find(|member| member.name == name);
        let is_other = voter.is_some_and(|voter| voter.id != measured.leader);
        let fact = voter.map_or("no voter".to_owned(), |voter| format!("{:x}", voter.id));
        let answering = self.answering([&name.to_owned()], each).await;
        let lives = answering.get(name) == Some(&Answering::WithLeader);
        let conditions = vec![
            has_leader(&measured),
            condition("follows", is_other, fact),
            condition("answers", lives, format!("{answering:?}")),
        ];
        Ok((measured.witness(), conditions))
    }

    /// Sent to the leader: no other member can hand leadership over.
    pub(super) async fn lead(&self, name: &str, order: &Order) -> Execution {
        let ask = ASK.min(order.deadline);
        let refused = |why: String| Execution::new(Answer::RefusedPrecondition, why);
        let now = match self.measured(None, ask).await {
            Ok(now) => now,
            Err(why) => return refused(why),
        };
        let Some(id) = now.named(name).map(|member| member.id) else {
            return refused(format!("{name} is no member"));
        };
        if now.leader == id {
            return Execution::new(Answer::AlreadyApplied, format!("{name} leads"));
        }
        if let Some(refused) = unmet(self.before_leading(name, ask).await) {
            return refused;
        }
        let leader = now.members.iter().find(|member| member.id == now.leader);
        let Some(client) = leader.and_then(|leader| self.client(&leader.name)) else {
            return refused(format!("nobody knows where leader {:x} serves clients", now.leader));
        };
        match client.move_leader(id, order.deadline).await {
            Ok(()) => Execution::new(Answer::Applied, format!("leadership went to {id:x}")),
            Err(failure) => failed(&failure),
        }
    }

    pub(super) async fn verify_leader(
        &self,
        prepared: &Prepared,
        name: &str,
        deadline: Duration,
    ) -> Verdict {
        let before = term_of(&prepared.witness);
        self.verify_until(prepared, deadline, |now| {
            let leads = now.named(name).is_some_and(|member| member.id == now.leader);
            match before {
                Some(before) if leads && now.term > before => {
                    Ok(format!("{name} leads in term {}, before it was {before}", now.term))
                }
                Some(_) | None => Err(format!("leader {:x}, term {}", now.leader, now.term)),
            }
        })
        .await
    }

    /// Measures until `judge` is content and nothing is lost, or until the deadline.
    async fn verify_until(
        &self,
        prepared: &Prepared,
        deadline: Duration,
        judge: impl Fn(&Measured) -> Result<String, String> + Send + Sync,
    ) -> Verdict {
        let end = Instant::now() + deadline;
        loop {
            let verdict = match self.measured(revision_of(&prepared.witness), ASK).await {
                Err(why) => inconclusive(why),
                Ok(now) => {
                    let lost = nothing_is_lost(&prepared.witness, &now);
                    let (effect, difference) = match (lost, judge(&now)) {
                        (Err((Effect::Harmful, lost)), _) => (Effect::Harmful, lost),
                        (_, Err(why)) => (Effect::Ineffective, why),
                        (_, Ok(why)) if now.leader == 0 => {
                            (Effect::Inconclusive, format!("{why}, but no leader is known"))
                        }
                        // A member that was added or removed cannot lose keys by a compaction that
                        // happened meanwhile: a doubt about hashes is no doubt about this effect.
                        (Ok(()) | Err(_), Ok(why)) => (Effect::Effective, why),
                    };
                    Verdict { effect, after: now.witness(), difference }
                }
            };
            let settled = matches!(verdict.effect, Effect::Effective | Effect::Harmful);
            if settled || Instant::now() >= end {
                return verdict;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
