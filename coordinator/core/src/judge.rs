//! Judging a proposal: its tally, and everything that holds its decision back.

use std::collections::BTreeSet;

use quorate_attest::agent_statement::Observe;
use quorate_attest::id::{ClusterId, KeyName, ProposalId, Word};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::Proposal;
use quorate_attest::quorum::{Electorate, Silenced, Tally};
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;

use crate::ledger::Ledger;
use crate::observation::Observations;
use crate::outcome::Standing;
use crate::proposal::OpenProposal;
use crate::rejection::Rejection;
use crate::rule::{self, Circumstances, Need, Scene};
use crate::state::State;

/// Who may approve a proposal: the charter's electorate without the dead.
pub(crate) fn electorate(ledger: &Ledger, proposal: &Proposal) -> Option<Electorate> {
    let tombstoned = ledger.tombstoned(&proposal.cluster);
    Electorate::of_proposal(ledger.charter(), proposal, Silenced { tombstoned: &tombstoned })
}

/// How the votes on an open proposal stand.
pub(crate) fn tally(ledger: &Ledger, open: &OpenProposal) -> Option<Tally> {
    let electorate = electorate(ledger, open.proposal())?;
    Some(electorate.tally(
        &open.voters(Verdict::Approve),
        &open.voters(Verdict::Reject),
        &ledger.history().equivocators(&open.id()),
    ))
}

/// The rules' view of an open proposal.
pub(crate) fn scene<'a>(
    state: &'a State,
    ledger: &'a Ledger,
    observations: &'a Observations,
    open: &'a OpenProposal,
    now: LogTime,
) -> Scene<'a> {
    let id = open.id();
    Scene {
        ledger,
        observations,
        outages: ledger.outages(),
        proposal: open.proposal(),
        id,
        circumstances: Circumstances {
            opened: Some(open.opened()),
            approved: open.approved(),
            approvers: open.voters(Verdict::Approve),
            pinned: pinned(state, ledger, &open.proposal().cluster, &id),
        },
        now,
    }
}

/// The backups that other proposals and the running decision of a cluster name.
fn pinned(
    state: &State,
    ledger: &Ledger,
    cluster: &ClusterId,
    without: &ProposalId,
) -> BTreeSet<Word> {
    let open = state.open.iter().filter(|(id, _)| *id != without).map(|(_, open)| open.proposal());
    let running = ledger.running(cluster).map(|running| running.proposal());
    open.chain(running)
        .filter(|proposal| proposal.cluster == *cluster)
        .flat_map(|proposal| proposal.params("backup").map(|param| param.value.clone()))
        .collect()
}

/// Everything that holds the decision back, votes aside: named rules first, then the slot, the
/// breaker, budgets and cooldowns. An abandon is held by its own rule alone.
pub(crate) fn blockers(scene: &Scene<'_>) -> Vec<Rejection> {
    let (ledger, proposal, now) = (scene.ledger, scene.proposal, scene.now);
    let mut blockers = rule::refusals(scene);
    if proposal.kind == Kind::Abandon {
        return blockers;
    }
    blockers.extend(dead_parties(ledger, proposal));
    if let (Some(slot), Some(running)) =
        (ledger.slot(&proposal.cluster), ledger.running(&proposal.cluster))
    {
        blockers.push(Rejection::SlotBusy {
            cluster: proposal.cluster.clone(),
            by: slot.token,
            since: running.since(),
            awaited: slot.awaited.iter().cloned().collect(),
        });
    }
    if !ledger.is_overridden(&scene.id, "retry-cap", now) {
        blockers.extend(ledger.breaker(proposal, now));
    }
    blockers.extend(ledger.held_by_budget(proposal, now));
    let not_before = ledger.charter().earliest_start(proposal, now);
    if not_before >= proposal.expires {
        blockers.push(Rejection::OutsideWindow { now, not_before, expires: proposal.expires });
    }
    blockers
}

/// The target or an executor is beside a member that is declared dead.
pub(crate) fn dead_parties(ledger: &Ledger, proposal: &Proposal) -> Vec<Rejection> {
    let cluster = &proposal.cluster;
    let executors = proposal
        .executor
        .iter()
        .filter_map(|name| ledger.charter().agent(name).map(|line| line.member.clone()));
    let target = proposal.target_member().filter(|_| !brings_back(proposal.kind));
    executors
        .filter(|_| proposal.kind != Kind::Readmit)
        .chain(target)
        .filter_map(|member| {
            let decision = ledger.tombstone(cluster, &member)?;
            Some(Rejection::DeclaredDead { cluster: cluster.clone(), member, decision })
        })
        .collect()
}

/// Kinds whose target may be declared dead.
const fn brings_back(kind: Kind) -> bool {
    matches!(kind, Kind::Readmit | Kind::DeclareDead | Kind::RemoveMember)
}

/// Where an open proposal stands at `now`.
pub(crate) fn standing(state: &State, open: &OpenProposal, now: LogTime) -> Option<Standing> {
    let ledger = state.ledger.as_ref()?;
    let electorate = electorate(ledger, open.proposal())?;
    let equivocators = ledger.history().equivocators(&open.id());
    let approvers = open.voters(Verdict::Approve);
    let rejecters = open.voters(Verdict::Reject);
    let said = |name: &KeyName| {
        approvers.contains(name) || rejecters.contains(name) || equivocators.contains(name)
    };
    let may_vote = electorate
        .operators
        .iter()
        .chain(electorate.observers.values().flatten())
        .filter(|name| !said(name))
        .cloned()
        .collect();
    Some(Standing {
        tally: electorate.tally(&approvers, &rejecters, &equivocators),
        may_vote,
        approved_by: approvers.into_iter().collect(),
        rejected_by: rejecters.into_iter().collect(),
        approved: open.approved(),
        waiting_for: blockers(&scene(state, ledger, &state.observations, open, now)),
        budget: ledger.budget_left(open.proposal(), now),
        decision: None,
    })
}

/// What would have forbidden the decision `number`, had the facts been known that agents signed: those
/// it rested on, less the false ones, and the fresher ones `held`.
///
/// Judged by the decision's own time and by what was out then, so that neither a late cosigner nor
/// the decision's own effect on the ledger changes the answer.
pub(crate) fn contradiction(
    state: &State,
    now: LogTime,
    (cluster, number): (&ClusterId, DecisionNumber),
    held: &[Observe],
) -> Option<Rejection> {
    let ledger = state.ledger.as_ref()?;
    let running = ledger.running(cluster)?;
    let grounds = state.decided_on.get(cluster)?;
    if running.newest() != number || grounds.number() != number {
        // A continuation goes on with what was started.
        return None;
    }
    let held: Vec<Observe> = held.iter().filter(|fact| fact.cluster == *cluster).cloned().collect();
    let latest = now.saturating_add(ledger.charter().skew);
    let verified = grounds.verified(ledger.history(), &held, latest);
    let scene = |observations| Scene {
        ledger,
        observations,
        outages: grounds.outages(),
        proposal: running.proposal(),
        id: running.proposal_id(),
        circumstances: Circumstances::default(),
        now: grounds.time(),
    };
    let needs = [grounds.need(), rule::need(&scene(grounds.observations()))];
    if needs.contains(&Need::ToRepair)
        && let Some(why) = rule::already_so(&scene(&verified), Need::ToRepair)
    {
        return Some(Rejection::Superseded { proposal: running.proposal_id(), why });
    }
    // Empty but for rules whose override or word is no longer on record.
    let had: BTreeSet<String> = rule::refusals_on_facts(&scene(grounds.observations()))
        .iter()
        .filter_map(|refusal| refusal.rule().map(ToString::to_string))
        .collect();
    rule::refusals_on_facts(&scene(&verified))
        .into_iter()
        .find(|refusal| refusal.rule().is_some_and(|rule| !had.contains(rule.as_str())))
}
