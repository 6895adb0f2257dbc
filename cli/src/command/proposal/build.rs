//! A proposal's text, made on this machine from the charter in force.

use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::declaration::Declaration;
use quorate_attest::id::{ClusterId, Digest, IncidentId, KeyName, Sentence, Word};
use quorate_attest::proposal::{Param, Proposal, TTL_PARAM, Target};
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement;
use quorate_node::plan::{ROLLBACK_PARAM, plan};
use quorate_proto::error_code::ErrorCode;

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
    let mut proposal = Proposal {
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
    check_time_to_live(&proposal)?;
    // What a declaration waits before it starts comes on top of the time for its votes.
    proposal.expires = charter.earliest_start(&proposal, proposal.expires);
    check_survivor(&proposal, charter)?;
    // The canonical text sorts repeated lines; what is returned is exactly what will be signed.
    Proposal::parse(&proposal.text())
        .map_err(|error| Failure::usage(format!("no valid proposal: {error}")))
}

/// What no coordinator opens and no agent carries out: a ban for good, a time to live that cannot be
/// read, or one of a kind that never ends by itself.
pub(in crate::command) fn check_time_to_live(proposal: &Proposal) -> Result<(), Failure> {
    let kind = proposal.kind;
    if !proposal.lacks_ttl() {
        return Ok(());
    }
    Err(if kind.may_end_by_itself() {
        Failure::usage(format!(
            "the time to live of {kind} is one parameter in milliseconds, for example \
             --param {TTL_PARAM}=600000"
        ))
    } else {
        Failure::usage(format!("{kind} does not end by itself: leave out --param {TTL_PARAM}"))
    })
}

/// Only the agent beside the survivor can permit its start alone. Another executor would refuse, and
/// the tombstones and the survivor would stand all the same.
fn check_survivor(proposal: &Proposal, charter: &Charter) -> Result<(), Failure> {
    if !Declaration::declares(proposal) {
        return Ok(());
    }
    let declaration = Declaration::of(charter, proposal)
        .map_err(|refused| Failure::usage(format!("no valid declaration: {refused}")))?;
    let Some(Declaration { survivor, .. }) = declaration else { return Ok(()) };
    let is_beside =
        |name: &KeyName| charter.agent(name).is_some_and(|line| line.member == survivor);
    match proposal.executor.iter().find(|name| !is_beside(name)) {
        Some(name) => Err(Failure::usage(format!(
            "{name} is not beside {survivor}: only the survivor's own agent carries a declaration out"
        ))),
        None => Ok(()),
    }
}

fn unknown(charter: &Charter, cluster: &ClusterId) -> Failure {
    let known: Vec<&str> = charter.cluster.iter().map(|line| line.name.as_str()).collect();
    Failure::usage(format!("the charter has no cluster {cluster}; it has {}", known.join(", ")))
        .known_as(ErrorCode::UnknownTarget)
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
    let survivor = draft.params.iter().find(|param| param.key.as_str() == "survivor");
    let usual = match (draft.kind, target) {
        (Kind::Abandon, _) => return Ok(Vec::new()),
        (Kind::DeclareDead | Kind::RestoreBackup, _) if survivor.is_some() => {
            names(&|member| survivor.is_some_and(|named| named.value.as_str() == member.as_str()))
        }
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

#[cfg(test)]
mod tests {
    use quorate_attest::leaf::Leaf;

    use super::*;
    use crate::exit::Exit;

    fn charter() -> Charter {
        let leaf = include_bytes!("../../../../proto/attest/tests/vectors/examples/charter.leaf");
        let Ok(Leaf::Charter(signed)) = Leaf::parse(leaf) else { panic!("the example's charter") };
        signed.statement
    }

    fn open(kind: Kind, params: &[&str]) -> Result<Proposal, Failure> {
        let charter = charter();
        let agent = charter.agent.first().unwrap();
        let draft = Draft {
            kind,
            target: format!("member:{}", agent.member).parse().unwrap(),
            cluster: agent.cluster.clone(),
            reason: "a test".parse().unwrap(),
            incident: None,
            params: params.iter().map(|param| param.parse().unwrap()).collect(),
            executors: Vec::new(),
            evidence: Vec::new(),
            expires: Duration::from_secs(600),
        };
        open_draft(draft, &charter, agent.key.name().clone())
    }

    #[test]
    fn a_ban_without_a_readable_time_to_live_is_refused_with_what_to_type() {
        for params in [
            &[][..],
            &["ttl-ms 0"],
            &["ttl-ms 10m"],
            &["ttl-ms -1"],
            &["ttl-ms 600000 1"],
            &["ttl-ms 600000", "ttl-ms 600001"],
        ] {
            let failure = open(Kind::BanPeer, params).unwrap_err();
            assert_eq!((failure.exit, failure.reason.as_str()), (Exit::Usage, "BAD_ARGUMENT"));
            assert_eq!(
                failure.message,
                "the time to live of ban-peer is one parameter in milliseconds, for example \
                 --param ttl-ms=600000",
                "{params:?}"
            );
        }
        let proposal = open(Kind::BanPeer, &["ttl-ms 600000"]).unwrap();
        assert_eq!(proposal.ttl().map(|ttl| ttl.get()), Some(600_000));
    }

    #[test]
    fn a_declaration_is_carried_out_by_its_survivor_and_outlives_its_wait() {
        let charter = charter();
        let cluster = charter.agent.first().unwrap().cluster.clone();
        let members: Vec<_> =
            charter.members(&cluster).map(|line| line.member.to_string()).collect();
        let declare = |executors: &[&str], others: &[String]| {
            let mut params = vec![format!("survivor {}", members[0])];
            for member in others {
                params.push(format!("dead {member} attest:power-off"));
                params.push(format!("identity {member} -"));
            }
            let draft = Draft {
                kind: Kind::DeclareDead,
                target: format!("cluster:{cluster}").parse().unwrap(),
                cluster: cluster.clone(),
                reason: "a test".parse().unwrap(),
                incident: None,
                params: params.iter().map(|param| param.parse().unwrap()).collect(),
                executors: executors.iter().map(|name| (*name).to_owned()).collect(),
                evidence: Vec::new(),
                expires: Duration::from_secs(600),
            };
            open_draft(draft, &charter, charter.agent.first().unwrap().key.name().clone())
        };
        let proposal = declare(&[], &members[1..]).unwrap();
        let own = charter.agents(&cluster).filter(|line| line.member.as_str() == members[0]);
        let own: Vec<_> = own.map(|line| line.key.name().clone()).collect();
        assert_eq!(proposal.executor, own);
        let now = quorate_attest::log_time::LogTime::new(now_ms()).unwrap();
        assert!(charter.earliest_start(&proposal, now) < proposal.expires);
        let other = charter.agents(&cluster).find(|line| line.member.as_str() != members[0]);
        let other = other.unwrap().key.name().to_string();
        let refused = declare(&[&other], &members[1..]).unwrap_err();
        assert!(refused.message.contains("is not beside"), "{}", refused.message);
        let refused = declare(&[], &members[2..]).unwrap_err();
        assert!(refused.message.contains("roster"), "{}", refused.message);
    }

    #[test]
    fn what_never_ends_by_itself_takes_no_time_to_live() {
        let failure = open(Kind::Restart, &["ttl-ms 600000"]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.message, "restart does not end by itself: leave out --param ttl-ms");
        assert!(open(Kind::Restart, &[]).is_ok());
        assert!(open(Kind::Quiesce, &[]).is_ok(), "it may end by itself, it need not");
    }
}
