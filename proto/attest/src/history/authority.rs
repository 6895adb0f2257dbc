//! What of a decision needs no history: the text, the votes and the times (R1 to R4, R6, R12).
//!
//! Shared by the log's judge and by the certificate's verifier, so they cannot differ (*authority*).

use std::collections::BTreeSet;

use super::LeafRefused;
use crate::charter::Charter;
use crate::declaration::{Declaration, Readmission};
use crate::id::{CharterId, KeyName, Origin};
use crate::ladder::Rung;
use crate::leaf::{Decision, VoidCause};
use crate::number::Epoch;
use crate::proposal::{Proposal, TTL_PARAM, Target};
use crate::quorum::{Electorate, Silenced, Tally};
use crate::remediation::Kind;
use crate::signed::{Signatures, Signed};
use crate::vote::{Verdict, Vote};

/// R1: origin and epoch in force.
pub(crate) fn check_in_force(
    charter: &Charter,
    origin: &Origin,
    epoch: Epoch,
) -> Result<(), LeafRefused> {
    if *origin != charter.origin {
        let (expected, found) = (charter.origin.clone(), origin.clone());
        return Err(LeafRefused::OtherOrigin { expected, found });
    }
    if epoch != charter.epoch {
        return Err(LeafRefused::OtherEpoch { expected: charter.epoch, found: epoch });
    }
    Ok(())
}

/// Whether a key has no say against a proposal: it would be revoked by it, or its member is the
/// target. The veto window does not wait for it.
pub fn excludes(charter: &Charter, proposal: &Proposal, key: &KeyName) -> bool {
    match proposal.target() {
        Target::Key(revoked) => revoked == *key,
        Target::Member(member) => charter
            .agent(key)
            .is_some_and(|agent| agent.cluster == proposal.cluster && agent.member == member),
        Target::Decision(_) | Target::Other => false,
    }
}

/// What a veto by `key` does to a proposal; nothing if it does not count.
///
/// The proposer withdraws its own, whatever it is about. An operator vetoes, unless the proposal
/// would revoke that very key, or is an abandon: that is the way out of a stuck slot, and whoever is
/// against it rejects it by a vote.
#[must_use]
pub fn effect_of_veto(charter: &Charter, proposal: &Proposal, key: &KeyName) -> Option<VoidCause> {
    if *key == proposal.proposer {
        return Some(VoidCause::Withdrawn);
    }
    let counts = charter.operator(key).is_some()
        && proposal.kind != Kind::Abandon
        && !excludes(charter, proposal, key);
    counts.then_some(VoidCause::Vetoed)
}

/// Judges a proposal by itself, as the machine does before it opens one.
///
/// # Errors
/// It is not of the charter in force, has executors that do not exist, a parameter of another kind,
/// no readable time to live, or breaks R12.
pub fn judge_proposal(
    charter: &Charter,
    charter_id: CharterId,
    proposal: &Proposal,
) -> Result<(), LeafRefused> {
    check_in_force(charter, &proposal.origin, proposal.epoch)?;
    if proposal.charter != charter_id {
        let (expected, found) = (charter_id, proposal.charter);
        return Err(LeafRefused::OtherCharter { expected, found });
    }
    let cluster = &proposal.cluster;
    if charter.cluster(cluster).is_none() {
        return Err(LeafRefused::UnknownCluster { cluster: cluster.clone() });
    }
    let (kind, found) = (proposal.kind, proposal.executor.len());
    if (kind == Kind::Abandon) != (found == 0) {
        return Err(LeafRefused::Executors { kind, found });
    }
    for executor in &proposal.executor {
        if charter.agent(executor).is_none_or(|agent| agent.cluster != *cluster) {
            let (executor, cluster) = (executor.clone(), cluster.clone());
            return Err(LeafRefused::ExecutorUnknown { executor, cluster });
        }
    }
    judge_params(charter, proposal)?;
    if kind == Kind::Abandon {
        if !matches!(proposal.target(), Target::Decision(_)) {
            return Err(LeafRefused::NothingToAbandon { holder: None });
        }
        if proposal.single("stopped").is_none() {
            return Err(LeafRefused::AbandonWithoutStop);
        }
    }
    Declaration::of(charter, proposal)?;
    Readmission::of(charter, proposal)?;
    Ok(())
}

/// What rules read, only where they read it (*authority*, *floor*): on another kind it would mean
/// nothing, or more than its voters see. All other names are the adapters' own.
fn judge_params(charter: &Charter, proposal: &Proposal) -> Result<(), LeafRefused> {
    let kind = proposal.kind;
    let declares = Declaration::declares(proposal);
    let belongs = [
        ("dead", declares),
        ("fenced", declares),
        ("identity", declares),
        ("survivor", declares),
        ("stopped", kind == Kind::Abandon),
        (TTL_PARAM, kind.may_end_by_itself()),
    ];
    for (param, belongs) in belongs {
        if !belongs && proposal.params(param).next().is_some() {
            return Err(LeafRefused::ParamElsewhere { kind, param });
        }
    }
    if let Some(rung) = Rung::of(proposal)? {
        let mut pinned = charter.playbook.iter();
        if !pinned.any(|line| line.playbook == rung.playbook && line.digest == rung.digest) {
            let (playbook, digest) = (rung.playbook, rung.digest);
            return Err(LeafRefused::PlaybookNotPinned { playbook, digest });
        }
    }
    if proposal.lacks_ttl() { Err(LeafRefused::TimeToLive { kind }) } else { Ok(()) }
}

/// Judges a decision by itself: R1 but for the log's time, R2, R3, R4, R6 and R12.
///
/// `silenced` and `equivocators` are what the log says of the voters.
///
/// # Errors
/// The first rule it breaks.
pub fn judge_authority(
    charter: &Charter,
    charter_id: CharterId,
    decision: &Decision,
    silenced: Silenced<'_>,
    equivocators: &BTreeSet<KeyName>,
    signatures: Signatures,
) -> Result<Tally, LeafRefused> {
    check_in_force(charter, &decision.origin, decision.epoch)?;
    let proposal = &decision.proposal;
    if proposal.cluster != decision.cluster {
        let (leaf, inner) = (decision.cluster.clone(), proposal.cluster.clone());
        return Err(LeafRefused::OtherCluster { leaf, inner });
    }
    judge_proposal(charter, charter_id, proposal)?;
    let approvers = judge_votes(charter, proposal, &decision.votes, Verdict::Approve, signatures)?;
    let Some(electorate) = Electorate::of_proposal(charter, proposal, silenced) else {
        return Err(LeafRefused::UnknownCluster { cluster: decision.cluster.clone() });
    };
    let tally = electorate.tally(&approvers, &BTreeSet::new(), equivocators);
    if !tally.is_won() {
        return Err(LeafRefused::TooFewApprovals {
            kind: proposal.kind,
            have: tally.have,
            need: tally.need,
            operators_have: tally.operators_have,
            operators_need: tally.operators_need,
        });
    }
    judge_times(charter, decision, &electorate, &approvers)?;
    let attests = Declaration::of(charter, proposal)?.is_some_and(|told| told.needs_attestation());
    if attests && tally.operators_have < 2 {
        return Err(LeafRefused::AttestationUnsupported { found: tally.operators_have });
    }
    Ok(tally)
}

/// R2 and R3: one text on this proposal, and who signed it.
pub(super) fn judge_votes(
    charter: &Charter,
    proposal: &Proposal,
    votes: &Signed<Vote>,
    verdict: Verdict,
    signatures: Signatures,
) -> Result<BTreeSet<KeyName>, LeafRefused> {
    if votes.statement != Vote::on(proposal, verdict) {
        return Err(LeafRefused::OtherVote { verdict });
    }
    let what = match verdict {
        Verdict::Approve => "approve note",
        Verdict::Reject => "reject note",
    };
    let signers = votes
        .verify_strict(signatures, |line| charter.validator_of_line(&proposal.cluster, line))
        .map_err(|source| LeafRefused::Lines { what, source })?;
    Ok(signers.into_iter().map(|key| key.name().clone()).collect())
}

/// R6, the start window of the class, and the delay of a declaration.
fn judge_times(
    charter: &Charter,
    decision: &Decision,
    electorate: &Electorate,
    approvers: &BTreeSet<KeyName>,
) -> Result<(), LeafRefused> {
    let Decision { time, approved, not_before, expires, ref proposal, .. } = *decision;
    if !(approved <= time && time <= not_before && not_before < expires) {
        return Err(LeafRefused::TimesOutOfOrder { approved, time, not_before, expires });
    }
    let ends = approved.saturating_add(electorate.policy.veto);
    // The window ends early once everybody who could veto has approved instead.
    let everybody = electorate
        .operators
        .iter()
        .all(|name| approvers.contains(name) || excludes(charter, proposal, name));
    if time < ends && !everybody {
        return Err(LeafRefused::VetoWindowOpen { ends, time });
    }
    if decision.continues.is_none() && expires > proposal.expires {
        return Err(LeafRefused::OutlivesProposal { max: proposal.expires, found: expires });
    }
    let max = not_before.saturating_add(electorate.policy.start);
    if expires > max {
        return Err(LeafRefused::OutlivesWindow { class: electorate.class, max, found: expires });
    }
    let min = charter.earliest_start(proposal, time);
    if not_before < min {
        return Err(LeafRefused::StartsTooEarly { min, found: not_before });
    }
    Ok(())
}
