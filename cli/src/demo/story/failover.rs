//! The leader is killed: another leads, nothing is lost, and the killed one comes back.

use std::time::{Duration, Instant};

use quorate_proto::pb::v1::{GetProposalRequest, GetStatusRequest, View};

use super::until;
use crate::connect::Session;
use crate::demo::cluster::Cluster;
use crate::demo::observer::{Observer, Seen};
use crate::demo::screen::{Beat, Screen};
use crate::failure::Failure;
use crate::output::time::span;
use crate::view::progress;

/// The leading coordinator is killed; another leads, nothing is lost; then it comes back.
pub(super) async fn leader_dies(
    cluster: &mut Cluster,
    screen: &Screen,
    session: &Session,
    observer: &Observer,
    ban: &str,
) -> Result<(), Failure> {
    let request = || GetStatusRequest { consistency: session.consistency, with_hashes: false };
    let before = session.client.get_status(request()).await?;
    let at = usize::try_from(before.leader_id.saturating_sub(1)).unwrap_or(usize::MAX);
    let pid = cluster.kill_coordinator(at)?;
    let killed = Instant::now();
    let text = format!("kill -9 {pid}: c{}, the leader, is dead", before.leader_id);
    screen.tell(Beat::LeaderKilled, text)?;
    let after = until(screen, cluster, "another coordinator leads", async || {
        let client = session.client.clone().with_deadline(Duration::from_secs(2));
        let status = client.get_status(request()).await.ok()?;
        (status.leader_id != before.leader_id && status.leader_id != 0).then_some(status)
    })
    .await?;
    let votes = until(screen, cluster, "the ban is still there", async || {
        let client = session.client.clone().with_deadline(Duration::from_secs(2));
        let request = GetProposalRequest {
            id: ban.to_owned(),
            consistency: session.consistency,
            view: View::Basic.into(),
        };
        client.get_proposal(request).await.ok()?.proposal?.tally.as_ref().map(progress)
    })
    .await?;
    screen.tell_with(
        Beat::NewLeader,
        format!(
            "c{} leads term {} after {}; {} leaves, the ban still has {votes}; nothing lost",
            after.leader_id,
            after.term,
            span(u64::try_from(killed.elapsed().as_millis()).unwrap_or(u64::MAX)),
            after.log_size
        ),
        serde_json::json!({ "leader": after.leader_id, "term": after.term }),
    )?;
    cluster.start_coordinator(at)?;
    let target = observer.look(Seen::certified);
    until(screen, cluster, "the killed coordinator catches up", async || {
        let client = session.client.clone().with_deadline(Duration::from_secs(2));
        let own = client.status_of(before.leader_id, false).await.ok()?;
        (own.log_size >= after.log_size && own.log_size >= target).then_some(())
    })
    .await?;
    let text = format!("c{} is back and has the whole log again", before.leader_id);
    screen.tell(Beat::Back, text)
}
