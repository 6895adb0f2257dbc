//! The story: a member dies, a validator lies, the leader is killed.
//!
//! Every step waits for what the coordinators, the members and the agents themselves say; nothing
//! is assumed after a pause.

mod death;
mod failover;
mod lie;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_proto::pb::v1::{GetStatusRequest, ListAgentsRequest, MemberState};

use super::cluster::{CLUSTER, Cluster, OPERATORS};
use super::observer::{Observer, approvers};
use super::screen::{Beat, Screen};
use crate::connect::Session;
use crate::failure::{Failure, LocalReason};
use crate::output::time::span;

use death::member_dies;
use failover::leader_dies;
use lie::validator_lies;

/// How long one step may take on a busy machine.
const STEP_MAX: Duration = Duration::from_secs(90);
/// How long observers get to vote before the operators do.
const OBSERVERS_MAX: Duration = Duration::from_secs(8);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What the story did: the audit holds the cluster's records against it.
pub(super) struct Told {
    /// What was watched.
    pub(super) observer: Observer,
    /// The member that was killed.
    pub(super) victim: usize,
    /// The number of the decision that restarted it.
    pub(super) restart: u64,
    /// Key name of the validator that lied.
    pub(super) liar: String,
    /// The proposal on which it lied.
    pub(super) bait: String,
    /// The leaf with the evidence.
    pub(super) evidence: u64,
    /// The ban that waits.
    pub(super) ban: String,
    /// When it is next allowed.
    pub(super) ban_next_allowed: u64,
    /// Who approved the ban before the leader was killed.
    pub(super) ban_approved_by: BTreeSet<String>,
    /// Leaves before the leader was killed.
    pub(super) size_before_kill: u64,
}

/// Waits until `look` gives something.
async fn until<T>(
    screen: &Screen,
    cluster: &mut Cluster,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T, Failure> {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        cluster.check_alive()?;
        if since.elapsed() > STEP_MAX {
            let message = format!("waited {} for: {what}", span(90_000));
            return Err(Failure::local(LocalReason::DemoFailed, message));
        }
        screen.progress(what, since);
        tokio::time::sleep(LOOK).await;
    }
}

/// Plays it from the first process to the last act.
pub(super) async fn play(
    cluster: &mut Cluster,
    screen: &Screen,
    seed: u64,
) -> Result<Told, Failure> {
    cluster.start()?;
    let session = cluster.session(OPERATORS[0])?;
    come_up(cluster, screen, &session).await?;
    let observer = Observer::start(&session.client, screen);
    let (victim, liar) = cast(seed, cluster.deployment.members.len());
    let restart = member_dies(cluster, screen, &session, &observer, victim).await?;
    let lie = validator_lies(cluster, screen, &session, &observer, liar).await?;
    let size_before_kill =
        observer.look(|seen| seen.leaves.keys().next_back().map_or(0, |at| at + 1));
    let ban_approved_by =
        observer.look(|seen| seen.proposals.get(&lie.ban).map(approvers).unwrap_or_default());
    leader_dies(cluster, screen, &session, &observer, &lie.ban).await?;
    Ok(Told {
        observer,
        victim,
        restart,
        liar: lie.liar,
        bait: lie.bait,
        evidence: lie.evidence,
        ban: lie.ban,
        ban_next_allowed: lie.next_allowed,
        ban_approved_by,
        size_before_kill,
    })
}

/// Who dies and who lies, by the seed: two different members.
fn cast(seed: u64, members: usize) -> (usize, usize) {
    // SplitMix64: two draws from one seed, the same on every machine.
    let mut state = seed;
    let mut draw = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let below = u64::try_from(below.max(1)).unwrap_or(1);
        usize::try_from((z ^ (z >> 31)) % below).unwrap_or(0)
    };
    let victim = draw(members);
    let liar = (victim + 1 + draw(members.saturating_sub(1))) % members.max(1);
    (victim, liar)
}

/// Waits for a leader, a certified head, and every agent's word that its member is up.
async fn come_up(cluster: &mut Cluster, screen: &Screen, session: &Session) -> Result<(), Failure> {
    let what = "coordinators elect a leader and certify the charter";
    let status = until(screen, cluster, what, async || {
        let request = GetStatusRequest { consistency: session.consistency, with_hashes: false };
        let client = session.client.clone().with_deadline(Duration::from_secs(2));
        client.get_status(request).await.ok().filter(|status| status.head.is_some())
    })
    .await?;
    let agents = cluster.deployment.members.len();
    until(screen, cluster, "agents report their members", async || {
        let request = ListAgentsRequest {
            cluster: CLUSTER.to_owned(),
            consistency: session.consistency,
            ..ListAgentsRequest::default()
        };
        let list = session.client.list_agents(request).await.ok()?;
        let up = i32::from(MemberState::Up);
        let heard = list.agents.iter().filter(|agent| agent.member_state == up).count();
        (heard == agents).then_some(())
    })
    .await?;
    let text = format!(
        "c{} leads term {}; {agents} agents report {agents} members up",
        status.leader_id, status.term
    );
    screen.tell(Beat::Up, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_liar_is_never_the_victim() {
        for seed in 0..1_000 {
            let (victim, liar) = cast(seed, 5);
            assert!(victim < 5 && liar < 5 && victim != liar, "seed {seed}");
        }
        assert_eq!(cast(42, 5), cast(42, 5));
    }
}
