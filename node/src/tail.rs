//! The tails: one per coordinator, each reading the log from where the belief ends, and the task
//! that owns the trust they feed.
//!
//! What a tail hears is only material. The owner judges it, writes what it believes into the
//! journal, and only then shows it to the rest of the agent.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::history::History;
use quorate_attest::id::ClusterId;
use quorate_attest::merkle::{Hash, MAX_PROOF};
use quorate_proto::client::{CallError, Client};
use quorate_proto::pb::v1 as pb;
use quorate_proto::pb::v1::watch_log_response::Event;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::journal::{Journal, JournalClosed, JournalFault, JournalHandle, Pinned, Tombstone};
use crate::trust::{Advance, Doubted, Growth, Trust, TrustRefused, View};

/// How long a tail waits before it begins again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the owner asks whether a doubt is overdue.
const LOOK: Duration = Duration::from_secs(1);

/// Something a coordinator said.
enum Heard {
    Begin,
    Leaf {
        index: u64,
        bytes: Vec<u8>,
    },
    Head {
        note: Vec<u8>,
    },
    /// A consistency proof of the head in doubt.
    Account {
        hashes: Vec<Hash>,
    },
}

struct Said {
    source: u64,
    heard: Heard,
    reply: oneshot::Sender<Judged>,
}

/// How something that was said was judged.
struct Judged {
    /// The next index to read.
    size: Result<u64, TrustRefused>,
    /// A head that somebody has to account for.
    doubted: Option<Doubted>,
}

/// The trust cannot be kept: the agent stops.
#[derive(Debug, Error)]
pub enum TrustHalt {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The journal is closed.
    #[error(transparent)]
    Closed(#[from] JournalClosed),
}

/// Where tails hand in what they hear.
#[derive(Clone)]
pub struct TrustInbox(mpsc::Sender<Said>);

impl TrustInbox {
    /// Says it and waits for the judgement: the next index to read. `None` if the agent stops.
    async fn say(&self, source: u64, heard: Heard) -> Option<Judged> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Said { source, heard, reply }).await.ok()?;
        answer.await.ok()
    }
}

/// The task that owns the trust.
pub struct TrustKeeper {
    trust: Trust,
    cluster: ClusterId,
    journal: JournalHandle,
    clock: Clock,
    said: mpsc::Receiver<Said>,
    view: watch::Sender<View>,
    /// The doubt that is in the journal.
    doubt: Option<[Vec<u8>; 2]>,
}

impl TrustKeeper {
    /// A keeper of `trust`, the inbox of the tails, and what everybody else sees.
    #[must_use]
    pub fn new(
        trust: Trust,
        cluster: ClusterId,
        journal: JournalHandle,
        clock: Clock,
    ) -> (Self, TrustInbox, watch::Receiver<View>) {
        let (inbox, said) = mpsc::channel(16);
        let (view, shown) = watch::channel(trust.view());
        let doubt = trust.in_doubt().cloned();
        (Self { trust, cluster, journal, clock, said, view, doubt }, TrustInbox(inbox), shown)
    }

    /// Judges what is said until nobody can say anything any more.
    ///
    /// # Errors
    /// [`TrustHalt`] if the journal fails.
    pub async fn run(mut self) -> Result<(), TrustHalt> {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let said = tokio::select! {
                said = self.said.recv() => said,
                _ = tick.tick() => {
                    let overdue = self.trust.overdue(self.clock.now());
                    // Whoever made the doubt has been told; the alarm is logged and kept.
                    let _told = self.show(overdue.map(|()| Advance::default())).await?;
                    continue;
                }
            };
            let Some(Said { source, heard, reply }) = said else { return Ok(()) };
            let now = self.clock.now();
            let judged = match heard {
                Heard::Begin => {
                    self.trust.begin(source);
                    Ok(Advance::default())
                }
                Heard::Leaf { index, bytes } => self.trust.leaf(source, index, &bytes, now),
                Heard::Head { note } => self.trust.head(source, &note, now),
                Heard::Account { hashes } => {
                    self.trust.account(&hashes);
                    Ok(Advance::default())
                }
            };
            let size = self.show(judged).await?.map(|()| self.trust.size().get());
            let _gone = reply.send(Judged { size, doubted: self.trust.doubted() });
        }
    }

    /// Shows the rest of the agent what was judged. The outer error stops the agent.
    async fn show(
        &mut self,
        judged: Result<Advance, TrustRefused>,
    ) -> Result<Result<(), TrustRefused>, TrustHalt> {
        let shown = match judged {
            Ok(advance) => {
                self.take(advance).await?;
                Ok(())
            }
            Err(refused) => {
                if let TrustRefused::Alarm(alarm) = &refused {
                    tracing::error!(
                        %alarm,
                        "this agent starts nothing any more, until operators know who signed both \
                         heads and enrol a new journal of it with `quorate agent enrol`"
                    );
                    let heads = alarm.heads().clone();
                    self.journal.with(move |journal| journal.raise(&heads)).await??;
                }
                Err(refused)
            }
        };
        self.keep_doubt().await?;
        // A doubt comes with a refusal and goes with a proof: neither makes the log grow.
        let view = self.trust.view();
        let _same = self.view.send_if_modified(|before| {
            let changed = before.alarm() != view.alarm();
            if changed {
                *before = view;
            }
            changed
        });
        Ok(shown)
    }

    /// Writes down that a doubt came, or that it went. Last of all writes: a crash before it leaves a
    /// doubt that is accounted for once more, never one that is forgotten.
    async fn keep_doubt(&mut self) -> Result<(), TrustHalt> {
        let doubt = self.trust.in_doubt();
        if doubt != self.doubt.as_ref() {
            self.doubt = doubt.cloned();
            let doubt = doubt.cloned();
            self.journal.with(move |journal| journal.doubt(doubt.as_ref())).await??;
        }
        Ok(())
    }

    /// Durable before visible.
    async fn take(&mut self, advance: Advance) -> Result<(), TrustHalt> {
        if advance.grew == Growth::None {
            return Ok(());
        }
        let view = self.trust.view();
        if let (Growth::Larger, Some(pinned), Some(history)) =
            (advance.grew, self.trust.pinned(), view.history())
        {
            let tombstones = tombstones(&self.cluster, history);
            let evidence = against_members(history.charter(), advance);
            self.journal
                .with(move |journal| write(journal, &pinned, &tombstones, &evidence))
                .await??;
        }
        let _before = self.view.send_replace(view);
        Ok(())
    }
}

type Against = Vec<(quorate_attest::id::Digest, String)>;

fn write(
    journal: &mut Journal,
    pinned: &Pinned,
    tombstones: &[Tombstone],
    evidence: &Against,
) -> Result<(), JournalFault> {
    for (leaf, member) in evidence {
        journal.evidence_against(leaf, member)?;
    }
    journal.bury(tombstones)?;
    journal.pin(pinned)
}

/// Whose member an evidence leaf speaks against. A person's key has no member.
fn against_members(charter: &Charter, advance: Advance) -> Against {
    let evidence = advance.evidence.into_iter();
    evidence
        .filter_map(|(leaf, name)| Some((leaf, charter.agent(&name)?.member.to_string())))
        .collect()
}

fn tombstones(cluster: &ClusterId, history: &History) -> Vec<Tombstone> {
    let Some(known) = history.cluster(cluster) else { return Vec::new() };
    let names = known.standing.dead_members.keys().map(ToString::to_string);
    let identities = known.standing.dead_identities.keys().map(ToString::to_string);
    let subjects: BTreeSet<String> = names.chain(identities).collect();
    subjects.into_iter().map(|subject| Tombstone { cluster: cluster.clone(), subject }).collect()
}

/// Reads the log of one coordinator for ever. `client` knows that coordinator alone.
pub async fn tail(source: u64, client: Client, inbox: TrustInbox, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            ended = read(source, &client, &inbox) => match ended {
                Ended::Closed => return,
                Ended::Refused(refused) => {
                    tracing::warn!(coordinator = source, %refused, "what it sent is not believed");
                }
                Ended::Broke(error) => {
                    tracing::debug!(coordinator = source, %error, "its log cannot be read now");
                }
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

enum Ended {
    Closed,
    Refused(TrustRefused),
    Broke(CallError),
}

async fn read(source: u64, client: &Client, inbox: &TrustInbox) -> Ended {
    let begun = match inbox.say(source, Heard::Begin).await {
        Some(Judged { size: Ok(size), .. }) => size,
        Some(Judged { size: Err(refused), .. }) => return Ended::Refused(refused),
        None => return Ended::Closed,
    };
    // The newest head first: a long log is judged leaf by leaf towards it, not kept in memory.
    let newest = pb::GetCheckpointRequest { size: 0, consistency: pb::Consistency::Stale.into() };
    match client.get_checkpoint(newest).await {
        Ok(answer) => {
            if let Some(head) = answer.head
                && let Some(ended) =
                    hear(source, client, inbox, Heard::Head { note: head.note }).await
            {
                return ended;
            }
        }
        // A log without a certified head yet is watched like any other.
        Err(error) if error.problem().is_some() => {}
        Err(error) => return Ended::Broke(error),
    }
    let request = pb::WatchLogRequest { from_index: begun, view: pb::View::Full.into() };
    let mut watch = client.watch(request);
    loop {
        let heard = match watch.next().await {
            Ok(pb::WatchLogResponse { event: Some(Event::Leaf(leaf)) }) => {
                Heard::Leaf { index: leaf.index, bytes: leaf.content }
            }
            Ok(pb::WatchLogResponse { event: Some(Event::Head(head)) }) => {
                Heard::Head { note: head.note }
            }
            Ok(pb::WatchLogResponse { event: Some(Event::Heartbeat(_)) | None }) => continue,
            Err(error) => return Ended::Broke(error),
        };
        if let Some(ended) = hear(source, client, inbox, heard).await {
            return ended;
        }
    }
}

/// Hands it in, and lets the coordinator account for a head that is in doubt.
async fn hear(source: u64, client: &Client, inbox: &TrustInbox, heard: Heard) -> Option<Ended> {
    let Some(judged) = inbox.say(source, heard).await else { return Some(Ended::Closed) };
    if let Some(doubted) = judged.doubted
        && let Some(hashes) = account(client, doubted).await
        && inbox.say(source, Heard::Account { hashes }).await.is_none()
    {
        return Some(Ended::Closed);
    }
    judged.size.err().map(Ended::Refused)
}

/// The proof that a head in doubt follows from what is believed, if this coordinator has one.
async fn account(client: &Client, doubted: Doubted) -> Option<Vec<Hash>> {
    let request = pb::GetConsistencyProofRequest {
        from_size: doubted.from.get(),
        to_size: doubted.to.get(),
        consistency: pb::Consistency::Stale.into(),
    };
    let answer = client.get_consistency_proof(request).await.ok()?;
    let hash = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).ok().map(Hash::from_bytes);
    answer.hashes.into_iter().take(MAX_PROOF + 1).map(hash).collect()
}
