//! A validator lies: two verdicts of one key on one proposal are evidence; its ban waits for the
//! budget.

use std::time::Instant;

use quorate_attest::id::Digest;
use quorate_attest::vote::Verdict;
use quorate_proto::client::CallError;
use quorate_proto::pb::v1::{GetLeafRequest, Proposal, ProposalState, View};

use super::{LOOK, OBSERVERS_MAX, until};
use crate::connect::Session;
use crate::demo::cluster::{Cluster, OPERATORS};
use crate::demo::observer::{Observer, evidence, next_allowed};
use crate::demo::people::{Liar, Person};
use crate::demo::screen::{Beat, Screen};
use crate::failure::{Failure, LocalReason};
use crate::output::time::{now_ms, rfc3339, span};
use crate::view::{progress, short};

/// What came of the lie.
pub(super) struct Lie {
    pub(super) liar: String,
    pub(super) bait: String,
    pub(super) evidence: u64,
    pub(super) ban: String,
    pub(super) next_allowed: u64,
}

/// A validator signs two verdicts on one proposal; the evidence stays, and its ban waits for the
/// budget.
pub(super) async fn validator_lies(
    cluster: &mut Cluster,
    screen: &Screen,
    session: &Session,
    observer: &Observer,
    liar: usize,
) -> Result<Lie, Failure> {
    let count = cluster.deployment.members.len();
    let name = cluster.deployment.members[liar].name.to_string();
    let other = cluster.deployment.members[(liar + 1) % count].name.to_string();
    let proposer = Person::operator(cluster, OPERATORS[0])?;
    let stolen = Liar::steal(cluster, &name)?;
    let bait = proposer
        .propose_ban(&format!("member:{other}"), "a rumour, to see who signs what", Vec::new())
        .await?;
    stolen.say(&bait, Verdict::Approve).await?;
    let second = stolen.say(&bait, Verdict::Reject).await;
    let text =
        format!("{name}'s key signed approve AND reject on {}", short(&bait.id().to_string()));
    screen.tell(Beat::Lie, text)?;
    match second {
        Err(CallError::Refused(problem)) if problem.code().reason() == "EQUIVOCATION" => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {
            let message = "two verdicts of one key on one proposal were both accepted";
            return Err(Failure::local(LocalReason::DemoFailed, message));
        }
    }
    let index =
        until(screen, cluster, "the evidence becomes a leaf", async || observer.look(evidence))
            .await?;
    screen.tell_with(
        Beat::Evidence,
        format!("equivocation: evidence is leaf {index}, {name}'s vote does not count"),
        serde_json::json!({ "leafIndex": index, "key": stolen.name() }),
    )?;
    proposer.withdraw(&bait, "it was a trap").await?;
    let request =
        GetLeafRequest { index, consistency: session.consistency, view: View::Full.into() };
    let leaf = session.client.get_leaf(request).await?.leaf.unwrap_or_default();
    let proof = Digest::of(&leaf.content);
    let reason = format!("{name} signed two verdicts, leaf {index}");
    let target = format!("member:{name}");
    let ban = proposer.propose_ban(&target, &reason, vec![proof]).await?;
    let id = ban.id().to_string();
    let approved = approve(cluster, screen, observer, &ban).await?;
    let next = until(screen, cluster, "the ban waits for the budget", async || {
        observer.look(|seen| seen.proposals.get(&id).and_then(next_allowed))
    })
    .await?;
    let votes = approved.tally.as_ref().map(progress).unwrap_or_default();
    screen.tell_with(
        Beat::Waiting,
        format!(
            "BAN {name} is approved, votes {votes}; it waits: global budget, \
             next allowed at {} (in {})",
            rfc3339(next),
            span(next.saturating_sub(now_ms()))
        ),
        serde_json::json!({ "proposal": id, "nextAllowed": rfc3339(next) }),
    )?;
    Ok(Lie {
        liar: stolen.name().to_owned(),
        bait: bait.id().to_string(),
        evidence: index,
        ban: id,
        next_allowed: next,
    })
}

/// Waits for the observers' votes from their own evidence; what is missing the operators sign.
async fn approve(
    cluster: &mut Cluster,
    screen: &Screen,
    observer: &Observer,
    ban: &quorate_attest::proposal::Proposal,
) -> Result<Proposal, Failure> {
    let id = ban.id().to_string();
    let approved = || {
        observer.look(|seen| {
            let state = i32::from(ProposalState::Approved);
            seen.proposals.get(&id).filter(|one| one.state == state).cloned()
        })
    };
    let since = Instant::now();
    while approved().is_none() && since.elapsed() < OBSERVERS_MAX {
        screen.progress("observers vote on the ban", since);
        tokio::time::sleep(LOOK).await;
    }
    for operator in OPERATORS {
        if approved().is_some() {
            break;
        }
        match Person::operator(cluster, operator)?.approve(ban).await {
            Ok(_) => {}
            // The observers were quicker after all.
            Err(failure) if failure.reason == "PROPOSAL_CLOSED" => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK).await;
    }
    until(screen, cluster, "enough votes for the ban", async || approved()).await
}
