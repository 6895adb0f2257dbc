//! A proposal's text, made on this machine from the charter in force.

use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, Digest, IncidentId, KeyName, Sentence, Word};
use quorate_attest::proposal::{Param, Proposal, TTL_PARAM, Target};
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement;
use quorate_node::plan::{ROLLBACK_PARAM, plan};

use crate::clock;
use crate::failure::Failure;
use crate::output::time::now_ms;
use crate::signing::nonce;

/// What a person wants done.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) target: Word,
    pub(crate) cluster: ClusterId,
    pub(crate) reason: Sentence,
    pub(crate) incident: Option<IncidentId>,
    pub(crate) params: Vec<Param>,
    /// Agents by key name or id; empty: the usual ones.
    pub(crate) executors: Vec<String>,
    pub(crate) evidence: Vec<Digest>,
    pub(crate) expires: Duration,
}

/// Completes a draft: origin, epoch, charter, executors, the plan that every agent computes alike.
pub(crate) fn open_draft(
    draft: Draft,
    charter: &Charter,
    proposer: KeyName,
) -> Result<Proposal, Failure> {
    let cluster =
        charter.cluster(&draft.cluster).ok_or_else(|| unknown(charter, &draft.cluster))?;
    let plan = plan(&cluster.adapter, draft.kind, &draft.target, &draft.params);
    let mut params = draft.params.clone();
    if let Some(rollback) = &plan.rollback {
        let word = |text: &str| text.parse().map_err(|_| Failure::usage("the rollback's digest"));
        let key = ROLLBACK_PARAM.parse().map_err(|_| Failure::usage("the rollback's key"))?;
        params.push(Param::new(key, word(&rollback.to_string())?));
    }
    let executor = executors(&draft, charter)?;
    let incident = match draft.incident {
        Some(incident) => incident,
        None => format!("{}-{}", draft.kind, now_ms() / 1_000)
            .parse()
            .map_err(|error| Failure::usage(format!("--incident: {error}")))?,
    };
    let proposal = Proposal {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        charter: charter.id(),
        cluster: draft.cluster,
        incident,
        kind: draft.kind,
        target: draft.target,
        proposer,
        executor,
        param: params,
        plan: plan.digest,
        reason: draft.reason,
        evidence: draft.evidence,
        expires: clock::in_span(draft.expires)?,
        nonce: nonce()?,
    };
    if proposal.kind.may_end_by_itself() && proposal.lacks_ttl() {
        return Err(Failure::usage(format!(
            "the time to live of {} is one parameter in milliseconds, for example \
             --param {TTL_PARAM}=600000",
            proposal.kind
        )));
    }
    // The canonical text sorts repeated lines; what is returned is exactly what will be signed.
    Proposal::parse(&proposal.text())
        .map_err(|error| Failure::usage(format!("no valid proposal: {error}")))
}

fn unknown(charter: &Charter, cluster: &ClusterId) -> Failure {
    let known: Vec<&str> = charter.cluster.iter().map(|line| line.name.as_str()).collect();
    Failure::usage(format!("the charter has no cluster {cluster}; it has {}", known.join(", ")))
        .known_as(crate::exit::Exit::Error, "UNKNOWN_TARGET")
        .with("name", cluster)
}

/// The agents named, or the usual ones for the kind.
fn executors(draft: &Draft, charter: &Charter) -> Result<Vec<KeyName>, Failure> {
    let agents: Vec<_> = charter.agents(&draft.cluster).collect();
    if !draft.executors.is_empty() {
        return draft
            .executors
            .iter()
            .map(|typed| {
                let ending = format!("/agent/{typed}");
                agents
                    .iter()
                    .map(|line| line.key.name())
                    .find(|name| name.as_str() == typed || name.as_str().ends_with(&ending))
                    .cloned()
                    .ok_or_else(|| Failure::usage(format!("the cluster has no agent {typed}")))
            })
            .collect();
    }
    let target = Target::of(&draft.target);
    let names = |keep: &dyn Fn(&quorate_attest::id::MemberId) -> bool| {
        let kept = agents.iter().filter(|line| keep(&line.member));
        kept.map(|line| line.key.name().clone()).collect::<Vec<_>>()
    };
    let usual = match (draft.kind, target) {
        (Kind::Abandon, _) => return Ok(Vec::new()),
        (Kind::BanPeer | Kind::UnbanPeer, Target::Member(member)) => {
            names(&|other| *other != member)
        }
        (Kind::BanPeer | Kind::UnbanPeer, Target::Key(_) | Target::Other | Target::Decision(_)) => {
            names(&|_| true)
        }
        (_, Target::Member(member)) => names(&|other| *other == member),
        (_, Target::Key(_) | Target::Other | Target::Decision(_)) => Vec::new(),
    };
    if usual.is_empty() {
        return Err(Failure::usage(format!(
            "no usual executor for {} {}: name the agents with --executor",
            draft.kind, draft.target
        )));
    }
    Ok(usual)
}
