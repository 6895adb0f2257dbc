//! A decision and what became of it, put together from the leaves after it and the live state.

use std::{cmp::Ordering, collections::BTreeMap};

use quorate_attest::{
    agent_statement::{Answer, Effect, Finality, Report, Rollback},
    id::ClusterId,
    leaf::{Decision, Leaf, LeafKind as Kind},
    number::{DecisionNumber, FencingToken},
    operator_statement::{Act, Subject},
    remediation::Kind as Remediation,
    signed::Signed,
};
use quorate_core::Machine;
use quorate_proto::pb::v1::{self as pb, ActionClass, DecisionState};
use quorate_store::LeavesView;
use tokio::task::spawn_blocking;
use tonic::Status;

use super::{Context, leaves};

/// Leaves after a decision that are looked at for what became of it.
const STORY_MAX: u64 = 4_096;

/// What the leaves after a decision say of it.
#[derive(Debug, Default)]
struct Story {
    outcomes: Vec<(u64, Report)>,
    voided: bool,
    abandoned: bool,
    continued_by: Option<DecisionNumber>,
    acknowledged: Option<(String, String)>,
}

/// What only the live state knows of a decision.
#[derive(Debug, Default)]
struct Live {
    claims: Vec<(String, u64)>,
    instances: BTreeMap<String, String>,
    reports: Vec<Report>,
    holds_slot: bool,
}

/// A decision where it stands in the log.
pub(crate) struct Placed {
    pub(crate) index: u64,
    pub(crate) decision: Decision,
    bytes: Vec<u8>,
    story: Story,
}

impl Context {
    /// A decision by name; `None` if there is none.
    pub(crate) async fn decision(
        &self,
        cluster: &str,
        number: u64,
        full: bool,
    ) -> Result<Option<pb::Decision>, Status> {
        let near = self.catalog.near(cluster, number);
        let (view, cluster) = (self.view()?, cluster.to_owned());
        let found = spawn_blocking(move || {
            let index = find(&view, near, &cluster, number)?;
            place(&view, index)
        });
        match found.await.map_err(|error| Status::internal(error.to_string()))? {
            Some(placed) => self.show_decision(placed, full).await.map(Some),
            None => Ok(None),
        }
    }

    /// The leaf of a decision by name.
    pub(crate) async fn decision_leaf(
        &self,
        cluster: &str,
        number: u64,
    ) -> Result<Option<u64>, Status> {
        let near = self.catalog.near(cluster, number);
        let (view, cluster) = (self.view()?, cluster.to_owned());
        let found = spawn_blocking(move || find(&view, near, &cluster, number));
        found.await.map_err(|error| Status::internal(error.to_string()))
    }

    /// Joins what the log says with the live state.
    pub(crate) async fn show_decision(
        &self,
        placed: Placed,
        full: bool,
    ) -> Result<pb::Decision, Status> {
        let certified = self.signer.certified().borrow().as_ref().map_or(0, |head| head.size);
        let (cluster, number) = (placed.decision.cluster.clone(), placed.decision.number);
        let live = self.machine(move |machine| live(machine, &cluster, number)).await?;
        let refused = self.signer.refusals().await;
        let refused_by = refused
            .iter()
            .filter(|refusal| refusal.statement.leaf.get() == placed.index)
            .flat_map(|refusal| refusal.lines.iter().map(|line| line.name.clone()))
            .collect();
        let mut shown = show(&placed, &live, certified, full);
        shown.refused_by = refused_by;
        Ok(shown)
    }
}

/// The leaf of decision `number`, reading on from `near`.
fn find(view: &LeavesView, near: u64, cluster: &str, number: u64) -> Option<u64> {
    leaves::forwards(view, near, leaves::SCAN_MAX, |index, bytes| {
        if leaves::kind_of(bytes) != Some(Kind::Decision) {
            return None;
        }
        let Leaf::Decision(decision) = Leaf::parse(bytes).ok()? else { return None };
        if decision.cluster.as_str() != cluster {
            return None;
        }
        match decision.number.get().cmp(&number) {
            Ordering::Less => None,
            Ordering::Equal => Some(Some(index)),
            // Past it: there is no such decision.
            Ordering::Greater => Some(None),
        }
    })
    .flatten()
}

/// The decision at `index`, with what the leaves after it say.
pub(crate) fn place(view: &LeavesView, index: u64) -> Option<Placed> {
    let bytes = view.get(index).ok()??;
    let Leaf::Decision(decision) = Leaf::parse(&bytes).ok()? else { return None };
    let mut story = Story::default();
    let token = decision.token();
    leaves::forwards(view, index + 1, STORY_MAX, |at, bytes| {
        match leaves::kind_of(bytes)? {
            Kind::Decision | Kind::Void | Kind::Outcome | Kind::Act => {
                story.read(at, &Leaf::parse(bytes).ok()?, &decision, token);
            }
            Kind::Charter | Kind::Evidence | Kind::Override | Kind::Pause | Kind::Incarnation => {}
        }
        None::<()>
    });
    Some(Placed { index, decision, bytes, story })
}

impl Story {
    fn read(&mut self, at: u64, leaf: &Leaf, decision: &Decision, token: FencingToken) {
        match leaf {
            Leaf::Outcome(outcome)
                if outcome.cluster == decision.cluster && outcome.number == decision.number =>
            {
                self.outcomes.push((at, outcome.report.statement.clone()));
            }
            Leaf::Void(void) if void.cluster == decision.cluster => {
                let refused = void.refused();
                self.voided |= refused == Some(decision.number);
                // A continuation that was never certified: this decision holds the slot again.
                self.continued_by = self.continued_by.filter(|number| Some(*number) != refused);
            }
            Leaf::Decision(later) if later.cluster == decision.cluster => {
                if later.continues == Some(decision.number) {
                    self.continued_by = Some(later.number);
                }
                // The first abandon after it is of the decision that held the slot then.
                let is_settled =
                    self.continued_by.is_some() || self.voided || !self.outcomes.is_empty();
                self.abandoned |= later.proposal.kind == Remediation::Abandon && !is_settled;
            }
            Leaf::Act(act) => self.acknowledge(act, decision, token),
            Leaf::Outcome(_)
            | Leaf::Void(_)
            | Leaf::Decision(_)
            | Leaf::Charter(_)
            | Leaf::Evidence(_)
            | Leaf::Override(_)
            | Leaf::Pause(_)
            | Leaf::Incarnation(_) => {}
        }
    }

    fn acknowledge(&mut self, act: &Signed<Act>, decision: &Decision, token: FencingToken) {
        let statement = &act.statement;
        if statement.cluster == decision.cluster
            && statement.subject() == Some(Subject::Decision(token))
        {
            let by = act.lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(" ");
            self.acknowledged = Some((by, statement.reason.to_string()));
        }
    }
}

fn live(machine: &Machine, cluster: &ClusterId, number: DecisionNumber) -> Live {
    let state = machine.state();
    let claims = state.claims().holders(cluster, number);
    let claims: Vec<_> = claims.map(|(agent, seq)| (agent.clone(), seq.get())).collect();
    let instances = claims.iter().filter_map(|(agent, _)| {
        Some((agent.to_string(), state.claims().journal(agent)?.instance.to_string()))
    });
    Live {
        instances: instances.collect(),
        reports: state
            .reports(cluster, number)
            .map(|taken| taken.report.statement.clone())
            .collect(),
        holds_slot: state
            .ledger()
            .and_then(|ledger| ledger.slot(cluster))
            .is_some_and(|slot| slot.token.number == number),
        claims: claims.into_iter().map(|(agent, seq)| (agent.to_string(), seq)).collect(),
    }
}

fn show(placed: &Placed, live: &Live, certified: u64, full: bool) -> pb::Decision {
    let Placed { index, decision, bytes, story } = placed;
    let proposal = &decision.proposal;
    let votes = decision.votes.lines.iter().map(|line| line.name.clone());
    let (acknowledged_by, acknowledgement) = story.acknowledged.clone().unwrap_or_default();
    pb::Decision {
        cluster: decision.cluster.to_string(),
        number: decision.number.get(),
        token: decision.token().to_string(),
        state: state(placed, live, *index < certified).into(),
        proposal_id: proposal.id().to_string(),
        incident: proposal.incident.to_string(),
        kind: proposal.kind.to_string(),
        class: ActionClass::from(proposal.kind.class()).into(),
        target: proposal.target.to_string(),
        epoch: decision.epoch.get(),
        continues: decision.continues.map_or(0, DecisionNumber::get),
        time: Some(decision.time.into()),
        approved: Some(decision.approved.into()),
        not_before: Some(decision.not_before.into()),
        expires: Some(decision.expires.into()),
        leaf_index: *index,
        executions: executions(placed, live),
        approved_by: votes.collect(),
        acknowledged: story.acknowledged.is_some(),
        acknowledged_by,
        acknowledgement,
        refused_by: Vec::new(),
        leaf: if full { bytes.clone() } else { Vec::new() },
        certificate: Vec::new(),
        continued_by: story.continued_by.map_or(0, DecisionNumber::get),
    }
}

fn state(placed: &Placed, live: &Live, is_certified: bool) -> DecisionState {
    let story = &placed.story;
    if story.voided {
        return DecisionState::Voided;
    }
    if story.abandoned {
        return DecisionState::Abandoned;
    }
    if story.continued_by.is_some() {
        return DecisionState::Continued;
    }
    let executors = placed.decision.proposal.executor.len();
    if !live.holds_slot && (!story.outcomes.is_empty() || executors == 0) {
        return worst(story.outcomes.iter().map(|(_, report)| report.effect));
    }
    let is_open =
        |report: &Report| report.effect == Effect::Inconclusive || report.answer == Answer::Unknown;
    if live.reports.iter().any(is_open) {
        return DecisionState::Inconclusive;
    }
    if !live.claims.is_empty() || !story.outcomes.is_empty() {
        return DecisionState::Executing;
    }
    if is_certified { DecisionState::Certified } else { DecisionState::Decided }
}

/// The state of a decision whose executors all answered: the worst of their effects.
fn worst(effects: impl Iterator<Item = Effect>) -> DecisionState {
    let rank = |effect: Effect| match effect {
        Effect::None => (0, DecisionState::None),
        Effect::Effective => (1, DecisionState::Effective),
        Effect::Ineffective => (2, DecisionState::Ineffective),
        Effect::Inconclusive => (3, DecisionState::Inconclusive),
        Effect::Harmful => (4, DecisionState::Harmful),
    };
    effects.map(rank).max_by_key(|(rank, _)| *rank).map_or(DecisionState::None, |(_, state)| state)
}

fn executions(placed: &Placed, live: &Live) -> Vec<pb::Execution> {
    let execution = |agent: &quorate_attest::id::KeyName| {
        let name = agent.to_string();
        let claim = live.claims.iter().find(|(of, _)| *of == name);
        let leaf = placed.story.outcomes.iter().rev().find(|(_, report)| report.agent == *agent);
        let newest = live.reports.iter().rev().find(|report| report.agent == *agent);
        let report = leaf.map(|(_, report)| report).or(newest);
        pb::Execution {
            claimed: claim.is_some(),
            instance: live.instances.get(&name).cloned().unwrap_or_default(),
            sequence: claim.map_or(0, |(_, sequence)| *sequence),
            claimed_at: None,
            answer: report.map(|report| report.answer.to_string()).unwrap_or_default(),
            effect: report.map(|report| report.effect.to_string()).unwrap_or_default(),
            terminal: report.is_some_and(|report| {
                report.finality(Rollback::NoneOrOrdered) == Finality::Terminal
            }),
            started: report.and_then(|report| report.started).map(Into::into),
            finished: report.map(|report| report.finished.into()),
            leaf_index: leaf.map(|(index, _)| *index),
            agent: name,
        }
    };
    placed.decision.proposal.executor.iter().map(execution).collect()
}
