//! The machine's state as messages: pure functions, no waiting.

use std::collections::BTreeSet;

use quorate_attest::{
    charter::{AgentMode, Charter},
    id::{ClusterId, KeyName, MemberId},
    log_time::{LogTime, Span},
    operator_statement::{Pause, Scope},
    proposal::Proposal,
    quorum::TallyResult,
    signed::Signed,
    text::Statement as _,
    vote::Verdict,
};
use quorate_core::{
    BudgetLeft, Health, Machine, Observers, OpenProposal, Rejection, Standing, freshness, health,
};
use quorate_proto::pb::v1::{
    self as pb, ActionClass, MemberState, ProposalState, TallyState, ValidatorRole,
};

use super::error;
use crate::signer::Certified;

/// A validator as a tally shows it.
pub(crate) fn voter(charter: &Charter, name: &KeyName, excluded: &str) -> pb::Voter {
    let agent = charter.agent(name);
    let operator = charter.operator(name);
    let key = agent.map(|line| &line.key).or(operator.map(|line| &line.key));
    let domain = match (agent, operator) {
        (Some(agent), _) => {
            charter.member(&agent.cluster, &agent.member).and_then(|line| line.domain.clone())
        }
        (None, Some(operator)) => operator.domain.clone(),
        (None, None) => None,
    };
    let role = if agent.is_some() { ValidatorRole::Observer } else { ValidatorRole::Operator };
    pb::Voter {
        name: name.to_string(),
        role: role.into(),
        domain: domain.map_or_else(|| "-".to_owned(), |domain| domain.to_string()),
        key_id: key.map(|key| key.id().to_string()).unwrap_or_default(),
        excluded: excluded.to_owned(),
    }
}

/// The votes on a proposal.
pub(crate) fn tally(
    charter: &Charter,
    standing: &Standing,
    equivocators: &BTreeSet<KeyName>,
) -> pb::Tally {
    let voters = |names: &[KeyName]| names.iter().map(|name| voter(charter, name, "")).collect();
    let said_both = |name| voter(charter, name, "signed two verdicts");
    pb::Tally {
        state: match standing.tally.result {
            TallyResult::Pending => TallyState::Pending,
            TallyResult::Won => TallyState::Won,
            TallyResult::Lost => TallyState::Lost,
        }
        .into(),
        have: standing.tally.have,
        need: standing.tally.need,
        voices: standing.tally.voices,
        operators_have: standing.tally.operators_have,
        operators_need: standing.tally.operators_need,
        approved: voters(&standing.approved_by),
        rejected: voters(&standing.rejected_by),
        missing: voters(&standing.may_vote),
        excluded: equivocators.iter().map(said_both).collect(),
    }
}

/// Everything that holds a decision back.
pub(crate) fn refusals(waiting: &[Rejection], now: LogTime) -> Vec<pb::Refusal> {
    waiting.iter().map(|reason| pb::Refusal::from(&error::problem(reason, now))).collect()
}

/// What is left of a budget key.
pub(crate) fn budget(left: &BudgetLeft, waiting: &[Rejection]) -> pb::Budget {
    let mut shown = pb::Budget {
        key: left.key.to_string(),
        used: narrow(left.burst.saturating_sub(left.left)),
        limit: narrow(left.burst),
        period: Some(super::duration(std::time::Duration::from_millis(left.period_ms))),
        ..pb::Budget::default()
    };
    for reason in waiting {
        if let Rejection::BudgetExhausted { key, next_allowed, .. } = reason
            && *key == left.key
        {
            shown.next_allowed = Some((*next_allowed).into());
        }
        if let Rejection::Cooldown { key, by, next_allowed } = reason
            && *key == left.key
        {
            shown.cooldown_until = Some((*next_allowed).into());
            shown.last_used_by = by.to_string();
        }
        if let Rejection::BreakerOpen { cluster, target, attempts, cap, .. } = reason
            && shown.key == format!("{cluster}/target/{target}")
        {
            shown.attempts = narrow(*attempts);
            shown.attempts_max = narrow(*cap);
            shown.breaker_open = true;
        }
    }
    shown
}

/// A count that a message holds in 32 bits.
pub(crate) fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The fields a proposal's text gives, without where it stands.
pub(crate) fn proposal_text(proposal: &Proposal, full: bool) -> pb::Proposal {
    let param = |param: &quorate_attest::proposal::Param| {
        let values = std::iter::once(&param.value).chain(&param.extra);
        pb::Param { key: param.key.to_string(), values: values.map(ToString::to_string).collect() }
    };
    pb::Proposal {
        id: proposal.id().to_string(),
        cluster: proposal.cluster.to_string(),
        incident: proposal.incident.to_string(),
        kind: proposal.kind.to_string(),
        class: ActionClass::from(proposal.kind.class()).into(),
        target: proposal.target.to_string(),
        proposer: proposal.proposer.to_string(),
        executors: proposal.executor.iter().map(ToString::to_string).collect(),
        params: proposal.param.iter().map(param).collect(),
        plan: proposal.plan.to_string(),
        reason: proposal.reason.to_string(),
        evidence: proposal.evidence.iter().map(ToString::to_string).collect(),
        epoch: proposal.epoch.get(),
        expires: Some(proposal.expires.into()),
        text: if full { proposal.text().into_bytes() } else { Vec::new() },
        ..pb::Proposal::default()
    }
}

/// An open proposal.
pub(crate) fn open_proposal(
    machine: &Machine,
    open: &OpenProposal,
    now: LogTime,
    full: bool,
) -> pb::Proposal {
    let mut shown = proposal_text(open.proposal(), full);
    let state =
        if open.approved().is_some() { ProposalState::Approved } else { ProposalState::Open };
    shown.state = state.into();
    shown.opened = Some(open.opened().into());
    shown.approved = open.approved().map(Into::into);
    if full {
        let note = |verdict| open.note(verdict).map(|note| note.to_bytes()).unwrap_or_default();
        shown.approve_note = note(Verdict::Approve);
        shown.reject_note = note(Verdict::Reject);
    }
    let Some(ledger) = machine.state().ledger() else { return shown };
    let charter = ledger.charter();
    if let Some(standing) = machine.standing(now, &open.id()) {
        let equivocators = ledger.history().equivocators(&open.id());
        shown.tally = Some(tally(charter, &standing, &equivocators));
        if open.approved().is_some() {
            shown.waiting_for = refusals(&standing.waiting_for, now);
        }
    }
    let policy = charter.policy(&open.proposal().cluster, open.proposal().kind.class());
    if let (Some(policy), Some(approved)) = (policy, open.approved())
        && policy.veto.get() > 0
    {
        shown.veto_until = Some(approved.saturating_add(policy.veto).into());
    }
    shown
}

/// What stands between a proposal and a decision.
pub(crate) fn assessment(
    machine: &Machine,
    proposal: &Proposal,
    standing: &Standing,
    now: LogTime,
) -> pb::Assessment {
    let Some(ledger) = machine.state().ledger() else { return pb::Assessment::default() };
    let charter = ledger.charter();
    let cluster = &proposal.cluster;
    let number = match ledger.history().cluster(cluster) {
        Some(history) => history.next_number(),
        None => Some(quorate_attest::number::DecisionNumber::MIN),
    };
    let fenced: BTreeSet<String> = ["dead", "fenced"]
        .into_iter()
        .flat_map(|key| proposal.params(key).map(|param| param.value.to_string()))
        .collect();
    let veto = charter.policy(cluster, proposal.kind.class()).map(|policy| policy.veto);
    let (answering, members) = answering(machine, cluster, now);
    let id = proposal.id();
    let mut blocks = refusals(&standing.waiting_for, now);
    if let Some(age) = stale_facts(machine, cluster, now) {
        blocks.iter_mut().for_each(|block| judge_by_stale_facts(block, age));
    }
    pb::Assessment {
        tally: Some(tally(charter, standing, &ledger.history().equivocators(&id))),
        blocks,
        next_token: number.map(|number| ledger.token(number).to_string()).unwrap_or_default(),
        fenced: fenced.into_iter().collect(),
        budgets: standing.budget.iter().map(|left| budget(left, &standing.waiting_for)).collect(),
        veto_until: veto.filter(|veto| veto.get() > 0).map(|veto| now.saturating_add(veto).into()),
        answering,
        members,
    }
}

/// The age of the newest fact about a cluster where none is fresh; `None` while any is, and before
/// the first.
fn stale_facts(machine: &Machine, cluster: &ClusterId, now: LogTime) -> Option<Span> {
    let charter = machine.state().ledger()?.charter();
    let seen = machine.state().observations();
    if seen.fresh(cluster, freshness(charter, cluster), now).next().is_some() {
        return None;
    }
    let latest = charter.agents(cluster).filter_map(|agent| seen.latest(agent.key.name()));
    latest.map(|seen| seen.observed).max().map(|newest| now.since(newest))
}

/// Agents tell facts while a proposal is open; before that a rule judges by old ones. Nobody should
/// override a rule because of what the next fact changes.
fn judge_by_stale_facts(block: &mut pb::Refusal, age: Span) {
    if block.command.starts_with("quorate override ") {
        block.command.clear();
        let age = age.words();
        block.message +=
            &format!("; facts are {age} old; agents refresh them once a proposal is open");
    }
}

/// Members of a cluster that are known to answer, and how many there are.
pub(crate) fn answering(machine: &Machine, cluster: &ClusterId, now: LogTime) -> (u32, u32) {
    let Some(ledger) = machine.state().ledger() else { return (0, 0) };
    let members: Vec<_> = ledger.charter().members(cluster).collect();
    let healthy = members
        .iter()
        .filter(|line| member_health(machine, cluster, &line.member, now) == Health::Healthy);
    (narrow(healthy.count() as u64), narrow(members.len() as u64))
}

/// What is believed of a member now.
pub(crate) fn member_health(
    machine: &Machine,
    cluster: &ClusterId,
    member: &MemberId,
    now: LogTime,
) -> Health {
    let Some(ledger) = machine.state().ledger() else { return Health::Unknown };
    let charter = ledger.charter();
    let own = charter.agents(cluster).find(|line| line.member == *member);
    let others = charter
        .agents(cluster)
        .filter(|line| line.member != *member && ledger.tombstone(cluster, &line.member).is_none());
    let window = freshness(charter, cluster);
    let fresh = machine.state().observations().fresh(cluster, window, now);
    let observers = Observers { own: own.map(|line| line.key.name()), others: others.count() };
    health(fresh, observers, member)
}

/// The state of a member, the log's word before what agents say.
pub(crate) fn member_state(
    machine: &Machine,
    cluster: &ClusterId,
    member: &MemberId,
    now: LogTime,
) -> MemberState {
    let Some(ledger) = machine.state().ledger() else { return MemberState::Unspecified };
    if ledger.tombstone(cluster, member).is_some() {
        return MemberState::Dead;
    }
    match member_health(machine, cluster, member, now) {
        Health::Healthy => MemberState::Up,
        Health::Down => MemberState::Down,
        Health::Unreachable => MemberState::Unreachable,
        Health::Unknown => MemberState::Unspecified,
    }
}

/// An agent of the charter.
pub(crate) fn agent(machine: &Machine, name: &KeyName, now: LogTime) -> Option<pb::Agent> {
    let ledger = machine.state().ledger()?;
    let charter = ledger.charter();
    let line = charter.agent(name)?;
    let latest = machine.state().observations().latest(name);
    let journal = machine.state().claims().journal(name);
    let domain = charter.member(&line.cluster, &line.member).and_then(|line| line.domain.clone());
    let tombstoned = ledger.tombstone(&line.cluster, &line.member);
    Some(pb::Agent {
        name: name.to_string(),
        cluster: line.cluster.to_string(),
        member: line.member.to_string(),
        domain: domain.map_or_else(|| "-".to_owned(), |domain| domain.to_string()),
        observer: line.mode == AgentMode::Observer,
        last_seen: latest.map(|seen| seen.observed.into()),
        member_state: member_state(machine, &line.cluster, &line.member, now).into(),
        instance: journal.map(|journal| journal.instance.to_string()).unwrap_or_default(),
        sequence: journal.and_then(|journal| journal.sequence).map_or(0, |sequence| sequence.get()),
        tombstoned_by: tombstoned.map(|by| ledger.token(by).to_string()).unwrap_or_default(),
    })
}

/// A pause in force, and the operators who still hold it.
pub(crate) fn pause(pause: &Pause, leaf_index: u64, operators: Vec<String>) -> pb::Pause {
    pb::Pause {
        id: pause.digest().to_string(),
        cluster: match &pause.cluster {
            Scope::All => "*".to_owned(),
            Scope::Cluster(cluster) => cluster.to_string(),
        },
        operators,
        reason: pause.reason.to_string(),
        since: None,
        until: pause.until.map(Into::into),
        leaf_index,
    }
}

/// A certified head.
pub(crate) fn head(certified: &Certified) -> pb::Head {
    let checkpoint = certified.verified.checkpoint();
    pb::Head {
        origin: checkpoint.origin.to_string(),
        size: certified.size,
        root: checkpoint.root.as_bytes().to_vec(),
        note: certified.head.to_bytes(),
        cosigners: certified.verified.cosigned().keys().map(ToString::to_string).collect(),
        threshold: narrow(certified.threshold as u64),
        time: Some(certified.verified.as_of().into()),
    }
}

/// A charter; the note with `full`.
pub(crate) fn charter(signed: &Signed<Charter>, leaf_index: u64, full: bool) -> pb::Charter {
    let charter = &signed.statement;
    let cluster = |line: &quorate_attest::charter::ClusterLine| pb::CharterCluster {
        name: line.name.to_string(),
        adapter: line.adapter.to_string(),
        fail_open: !charter.fails_closed(&line.name),
        members: charter.members(&line.name).map(|line| line.member.to_string()).collect(),
        agents: charter.agents(&line.name).map(|line| line.key.to_string()).collect(),
    };
    pb::Charter {
        epoch: charter.epoch.get(),
        id: charter.id().to_string(),
        leaf_index,
        origin: charter.origin.to_string(),
        faults: charter.faults,
        threshold: charter.threshold,
        coordinators: charter.coordinator.iter().map(ToString::to_string).collect(),
        operators: charter.operator.iter().map(|line| line.key.to_string()).collect(),
        clusters: charter.cluster.iter().map(cluster).collect(),
        note: if full { signed.to_bytes() } else { Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_override_a_rule_because_of_old_facts() {
        let refusal = |command: &str| {
            let command = command.to_owned();
            pb::Refusal { message: "n4 answers".to_owned(), command, ..pb::Refusal::default() }
        };
        let mut block = refusal("quorate override sign --rule partition-not-death");
        judge_by_stale_facts(&mut block, Span::from_secs(3_725));
        assert_eq!(block.command, "");
        assert_eq!(
            block.message,
            "n4 answers; facts are 1h2m5s old; agents refresh them once a proposal is open"
        );
        let mut other = refusal("quorate decision ack shop/1");
        judge_by_stale_facts(&mut other, Span::from_secs(3_725));
        assert_eq!(other, refusal("quorate decision ack shop/1"), "no rule is overridden here");
    }
}
