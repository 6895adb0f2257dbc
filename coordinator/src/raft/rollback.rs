//! Asked before the first message and the first signature after a start: was my disk rolled back?
//!
//! Peers hold this coordinator's own cosigned heads and know which entries it acknowledged. If any
//! of them knows more than its own disk, the disk was restored from a copy: everything this
//! coordinator signed or acknowledged since is forgotten, and it must not take part again under
//! this key and id. One answer is required, or n - k + 1 where liars are tolerated, of the newest
//! charter that this disk knows; everybody is asked, and those that answer at once are all heard. No
//! answer: wait. A whole quorum that starts at once answers itself, because this question is served
//! before Raft runs.
//!
//! A disk that was rolled back behind an amendment counts by the charter before it: an answer holds
//! no charter, and a claim about one could not be believed without the signatures between. Whoever
//! grows a quorum to tolerate liars puts the new charter into the file too, which no rollback of the
//! data directory touches.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use quorate_attest::{
    charter::Charter, cosignature::Cosignature, head::CosignedHead, key::VerifierKey,
};
use quorate_proto::pb::raft::v1::{OwnHeadRequest, OwnHeadResponse};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use openraft::storage::{RaftLogReader, RaftLogStorage};
use quorate_store::{LogStore, SignOnce};

use super::{membership, peers::Peers};

/// A peer has to answer within this time, or is asked again later.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// After enough answers the others get this long: more witnesses cost little.
const GRACE: Duration = Duration::from_millis(300);
/// While it waits it says so this often.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Between two rounds.
const ROUND_EVERY: Duration = Duration::from_millis(500);

/// What this coordinator's own disk says.
#[derive(Debug, Clone, Copy)]
pub struct OwnRecord {
    /// The size in the sign-once record; 0 if nothing was signed yet.
    pub signed_size: u64,
    /// The last index of the local Raft log; 0 if it is empty.
    pub last_index: u64,
    /// The term of the saved Raft vote.
    pub voted_term: u64,
}

/// A peer knows more about this coordinator than its own disk does.
#[derive(Debug, thiserror::Error)]
#[error(
    "coordinator {peer} holds {what} {theirs} of this coordinator, its own disk has {own}: the disk \
     was rolled back. This key and id are finished; remove this coordinator and add a new one"
)]
pub struct RolledBack {
    /// Who knows.
    pub peer: u64,
    /// What it knows: a head, an acknowledged index, a vote.
    pub what: &'static str,
    /// Its number.
    pub theirs: u64,
    /// Ours.
    pub own: u64,
}

/// Reads the own record, before Raft is built over `log`.
pub async fn own_record(log: &mut LogStore, sign_once: &SignOnce) -> std::io::Result<OwnRecord> {
    let state = log.get_log_state().await?;
    let vote = log.get_log_reader().await.read_vote().await?;
    let signed = sign_once.head().await.map_err(std::io::Error::other)?;
    Ok(OwnRecord {
        signed_size: signed.map_or(0, |head| head.size.get()),
        last_index: state.last_log_id.map_or(0, |log_id| log_id.index),
        voted_term: vote.map_or(0, |vote| vote.leader_id.term),
    })
}

/// How many peers have to answer: one, or n - k + 1 where f >= 1.
pub fn answers_needed(charter: &Charter) -> usize {
    let n = charter.coordinator.len();
    match charter.faults {
        0 => 1,
        _ => n.saturating_sub(usize::try_from(charter.threshold).unwrap_or(n)) + 1,
    }
}

/// Asks until enough coordinators of `charter` have answered; fails if one of them proves a
/// rollback.
pub async fn ask(
    peers: &Peers,
    charter: &Charter,
    own: &VerifierKey,
    record: OwnRecord,
) -> Result<(), RolledBack> {
    let need = answers_needed(charter);
    let listed: BTreeSet<u64> = membership::roster(charter).into_keys().collect();
    for id in listed.iter().filter(|id| **id != peers.desk().own()) {
        if peers.exchange(*id).is_err() {
            tracing::warn!(peer = id, "no address of this coordinator is configured (peers.ID)");
        }
    }
    let mut answered = BTreeSet::new();
    let mut told: Option<Instant> = None;
    loop {
        let mut asked: FuturesUnordered<_> = peers
            .ids()
            .filter(|id| !answered.contains(id))
            .map(|id| async move { (id, ask_one(peers, id).await) })
            .collect();
        let mut grace = None;
        loop {
            let next = match grace {
                None => asked.next().await,
                Some(until) => timeout_at(until, asked.next()).await.ok().flatten(),
            };
            let Some((peer, answer)) = next else { break };
            let Some(answer) = answer else { continue };
            judge(peer, &answer, charter, own, record)?;
            // Who left the charter may still prove a rollback, but vouches for nothing.
            if listed.contains(&peer) {
                answered.insert(peer);
            }
            if answered.len() >= need && grace.is_none() {
                grace = Some(Instant::now() + GRACE);
            }
        }
        if answered.len() >= need {
            return Ok(());
        }
        if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            let have = answered.len();
            tracing::info!(have, need, "waiting for peers to confirm that this disk is current");
            told = Some(Instant::now());
        }
        sleep(ROUND_EVERY).await;
    }
}

async fn ask_one(peers: &Peers, id: u64) -> Option<OwnHeadResponse> {
    let mut client = peers.exchange(id).ok()?;
    let request = OwnHeadRequest { envelope: Some(peers.desk().envelope(id)) };
    match timeout(ANSWER_WITHIN, client.own_head(request)).await {
        Ok(Ok(answer)) => Some(answer.into_inner()),
        Ok(Err(status)) => {
            tracing::debug!(peer = id, %status, "no answer about this coordinator's own head");
            None
        }
        Err(_) => None,
    }
}

fn judge(
    peer: u64,
    answer: &OwnHeadResponse,
    charter: &Charter,
    own: &VerifierKey,
    record: OwnRecord,
) -> Result<(), RolledBack> {
    let theirs = own_size(&answer.head, charter, own);
    let differs = |what, theirs, own| Err(RolledBack { peer, what, theirs, own });
    if theirs > record.signed_size {
        return differs("a cosigned head of size", theirs, record.signed_size);
    }
    if answer.acknowledged_index > record.last_index {
        return differs(
            "an acknowledgement of entry",
            answer.acknowledged_index,
            record.last_index,
        );
    }
    if answer.voted_term > record.voted_term {
        return differs("a vote in term", answer.voted_term, record.voted_term);
    }
    Ok(())
}

/// The size of a head with our own good line; 0 if it is none. Nobody can make one up.
fn own_size(note: &[u8], charter: &Charter, own: &VerifierKey) -> u64 {
    let Ok(head) = CosignedHead::parse(note) else { return 0 };
    if head.checkpoint.origin != charter.origin {
        return 0;
    }
    let signed = head.lines.iter().any(|line| {
        Cosignature::from_line(line)
            .is_ok_and(|cosignature| cosignature.verify(own, &head.checkpoint).is_ok())
    });
    if signed { head.checkpoint.size.get() } else { 0 }
}
