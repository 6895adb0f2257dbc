//! A member dies: suspicion, votes, one decision, one restart, an effect that is verified.

use std::collections::BTreeSet;

use quorate_proto::pb::v1::get_certificate_request::Of;
use quorate_proto::pb::v1::{DecisionRef, DecisionState, GetCertificateRequest, ListFactsRequest};

use super::until;
use crate::connect::Session;
use crate::demo::audit;
use crate::demo::cluster::{CLUSTER, Cluster};
use crate::demo::member::health_of;
use crate::demo::observer::Observer;
use crate::demo::screen::{Beat, Screen};
use crate::failure::Failure;
use crate::view::last;

/// A member is killed; observers agree, its agent restarts it once and verifies the effect.
pub(super) async fn member_dies(
    cluster: &mut Cluster,
    screen: &Screen,
    session: &Session,
    observer: &Observer,
    victim: usize,
) -> Result<u64, Failure> {
    let name = cluster.deployment.members[victim].name.to_string();
    let pid = cluster.kill_member(victim)?;
    screen.tell(Beat::MemberKilled, format!("kill -9 {pid}: member {name} is dead"))?;
    let mut suspicious = BTreeSet::new();
    until(screen, cluster, &format!("agents miss {name}"), async || {
        let found = suspicions(session, &name).await;
        for (agent, word) in found.difference(&suspicious) {
            let text = format!("{}'s agent sees {name} {word}", last(agent));
            let facts = serde_json::json!({ "agent": agent, "member": name, "state": word });
            screen.tell_with(Beat::Suspected, text, facts).ok()?;
        }
        suspicious.extend(found);
        (suspicious.len() > 1).then_some(())
    })
    .await?;
    let target = format!("member:{name}");
    let what = format!("{name} is suspected, voted on, restarted and verified");
    let decision = until(screen, cluster, &what, async || {
        observer.look(|seen| {
            let effective = i32::from(DecisionState::Effective);
            let mut decisions = seen.decisions.values();
            decisions.find(|one| one.target == target && one.state == effective).cloned()
        })
    })
    .await?;
    let certificate = session
        .client
        .get_certificate(GetCertificateRequest {
            of: Some(Of::Decision(DecisionRef {
                cluster: CLUSTER.to_owned(),
                number: decision.number,
            })),
            consistency: session.consistency,
        })
        .await?
        .certificate;
    let (signers, votes) = audit::certificate(&certificate, &cluster.charter)?;
    screen.tell_with(
        Beat::Certificate,
        format!(
            "certificate of decision {}: cosigned by {} ({}/{}), votes by {}",
            decision.number,
            signers.iter().map(|name| format!("c{name}")).collect::<Vec<_>>().join(" "),
            signers.len(),
            cluster.charter.threshold,
            votes.join(" "),
        ),
        serde_json::json!({ "cosignedBy": signers, "votes": votes }),
    )?;
    let address = cluster.deployment.members[victim].probe.clone();
    let address = address.trim_start_matches("http://").trim_end_matches("/health").to_owned();
    let health = until(screen, cluster, &format!("{name} answers again"), async || {
        health_of(&address).await
    })
    .await?;
    let starts = health.get("starts").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let text = format!(
        "{name} runs again as process {}: started {starts} times in its life, once by the decision",
        cluster.member_pid(victim).map(|pid| pid.to_string()).unwrap_or_default()
    );
    screen.tell_with(Beat::Healed, text, health)?;
    Ok(decision.number)
}

/// Agents that say of a member that it is down or cannot be reached.
async fn suspicions(session: &Session, member: &str) -> BTreeSet<(String, String)> {
    let request = ListFactsRequest {
        cluster: CLUSTER.to_owned(),
        consistency: session.consistency,
        ..ListFactsRequest::default()
    };
    let facts = session.client.list_facts(request).await.map(|answer| answer.facts);
    let bad = facts.unwrap_or_default().into_iter().filter_map(|fact| {
        let words = fact.values.join(" ");
        let (name, word) = words.split_once(' ')?;
        let is_bad = fact.key == "member" && name == member && word != "up";
        is_bad.then(|| (fact.agent.clone(), word.to_owned()))
    });
    bad.collect()
}
