//! One history written to the stores of every coordinator, at the speed of machine and disk.
//!
//! Each store is driven as Raft drives it ([`Solo`]): a group of entries is appended and fsynced,
//! applied by the real machine, its leaves written; every so many entries a snapshot is built and
//! the log purged; and the head is cosigned through the sign-once store, as the coordinator would
//! have done. What a running coordinator finds afterwards is what it would have left itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use quorate_attest::charter::Charter;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::id::KeyName;
use quorate_attest::key::CosignSigner;
use quorate_attest::log_time::LogTime;
use quorate_attest::signed::Signed;
use quorate_proto::key_file;
use quorate_store::solo::Solo;
use quorate_store::{
    Disk, HeadRequest, Leaves, OpenOptions, PeerNode, Proposed, Reply, SignOnce, Store, StoreFile,
    StoreGuard, WriterMode,
};
use tokio::sync::mpsc;

use crate::growth::proof::{self, ProofTimes};
use crate::history::{History, LEAVES_PER_DECISION, Pace};
use crate::report::{Spread, Times};
use crate::world::World;

/// Decisions in one group of entries, so that they share an fsync as concurrent callers' do.
const GROUP_DECISIONS: u64 = 40;
/// Groups that are made ahead of the slowest store.
const AHEAD: usize = 4;
/// A snapshot each time this many entries were applied, as a coordinator's default is.
const SNAPSHOT_ENTRIES: u64 = 10_000;
/// Entries kept before a snapshot, as a coordinator keeps them.
const KEEP_ENTRIES: u64 = SNAPSHOT_ENTRIES / 5;

/// One coordinator's files.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Its Raft node id.
    pub id: u64,
    /// Its key name.
    pub name: KeyName,
    /// The directory with the three redb files, as `quorate init` created it.
    pub data: PathBuf,
    /// Its cosigning key.
    pub cosign_key: PathBuf,
}

/// What filling took and left.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Filled {
    /// Leaves of the decision log.
    pub leaves: u64,
    /// Entries of the Raft log, purged ones included.
    pub entries: u64,
    /// Seconds, all stores side by side.
    pub took_s: f64,
    /// Building a snapshot and making it durable, over all stores.
    pub snapshots: Spread,
    /// Bytes of the machine's state in the last snapshot; 0 if there was none.
    pub state_bytes: u64,
    /// Proofs straight from the leaves of the first store, still open.
    pub proofs: ProofTimes,
}

/// Entries that share an fsync.
struct Group {
    commands: Vec<Proposed>,
    /// Leaves they add.
    leaves: u64,
    /// Log time of the last one.
    time: LogTime,
}

/// Writes `decisions` decisions to every replica's pristine store. Call it inside a tokio runtime.
///
/// # Errors
/// A store failed, or the machine refused a command: the figures would mean nothing.
pub async fn fill(
    world: Arc<World>,
    replicas: &[Replica],
    pace: Pace,
    decisions: u64,
) -> Result<Filled> {
    let begun = Instant::now();
    let (mut senders, mut followers) = (Vec::new(), Vec::new());
    let roster: BTreeMap<u64, PeerNode> = replicas
        .iter()
        .map(|replica| (replica.id, PeerNode { name: replica.name.to_string() }))
        .collect();
    for replica in replicas {
        let (sender, groups) = mpsc::channel::<Arc<Group>>(AHEAD);
        senders.push(sender);
        let follower = Follower::open(replica, &world.charter, roster.clone()).await?;
        followers.push(tokio::spawn(follower.follow(groups)));
    }
    let made = tokio::task::spawn_blocking(move || make(&world, pace, decisions, &senders)).await?;
    let mut followed = Vec::new();
    for follower in followers {
        followed.push(follower.await??);
    }
    made?;
    let took = begun.elapsed();
    finish(followed, took).await
}

async fn finish(followed: Vec<Followed>, took: Duration) -> Result<Filled> {
    let mut times = Times::new();
    for one in &followed {
        one.snapshots.iter().for_each(|took| times.record(*took));
    }
    let (mut filled, mut heads) = (None, BTreeSet::new());
    for one in followed {
        heads.insert((one.leaves.size(), one.leaves.view()?.head()?.root));
        if filled.is_none() {
            let leaves = one.leaves.clone();
            filled = Some(Filled {
                leaves: leaves.size().get(),
                entries: one.entries,
                took_s: took.as_secs_f64(),
                snapshots: times.spread(),
                state_bytes: one.state_bytes,
                proofs: tokio::task::spawn_blocking(move || proof::direct(&leaves)).await??,
            });
        }
        one.guard.close().await;
    }
    ensure!(heads.len() == 1, "the stores differ: {heads:?}");
    filled.context("there is no replica")
}

/// Makes the history group by group; waits for the slowest store.
fn make(
    world: &World,
    pace: Pace,
    decisions: u64,
    stores: &[mpsc::Sender<Arc<Group>>],
) -> Result<()> {
    let mut history = History::new(world, pace);
    let mut commands = history.begin()?;
    let mut leaves = 1;
    for decision in 1..=decisions {
        commands.extend(history.decision()?);
        leaves += LEAVES_PER_DECISION;
        if decision % GROUP_DECISIONS != 0 && decision != decisions {
            continue;
        }
        let time = commands.last().map_or(pace.start, |command| command.time);
        let proposed = commands.drain(..).map(Proposed::new).collect::<Result<_, _>>()?;
        let group = Arc::new(Group { commands: proposed, leaves, time });
        leaves = 0;
        for store in stores {
            // A store that failed says why when it is joined.
            if store.blocking_send(Arc::clone(&group)).is_err() {
                bail!("a store stopped before decision {decision}");
            }
        }
    }
    Ok(())
}

/// One store that follows the history.
struct Follower {
    solo: Solo,
    charter: Signed<Charter>,
    leaves: Leaves,
    sign_once: SignOnce,
    guard: StoreGuard,
    snapshots: Vec<Duration>,
    state_bytes: u64,
    /// The last entry that a snapshot covers.
    covered: u64,
}

/// A store that holds the whole history, still open.
struct Followed {
    entries: u64,
    leaves: Leaves,
    guard: StoreGuard,
    snapshots: Vec<Duration>,
    state_bytes: u64,
}

impl Follower {
    async fn open(
        replica: &Replica,
        charter: &Signed<Charter>,
        roster: BTreeMap<u64, PeerNode>,
    ) -> Result<Self> {
        let options = OpenOptions {
            origin: charter.statement.origin.clone(),
            node_id: replica.id,
            signer: CosignSigner::new(replica.name.clone(), key_file::load(&replica.cosign_key)?),
            quota_bytes: None,
            mode: WriterMode::Thread,
            observer: None,
        };
        let store = Store::open(&Disk::Directory(replica.data.clone()), options)?;
        Ok(Self {
            solo: Solo::begin(store.log, store.state_machine, roster).await?,
            charter: charter.clone(),
            leaves: store.leaves,
            sign_once: store.sign_once,
            guard: store.guard,
            snapshots: Vec::new(),
            state_bytes: 0,
            covered: 0,
        })
    }

    async fn follow(mut self, mut groups: mpsc::Receiver<Arc<Group>>) -> Result<Followed> {
        while let Some(group) = groups.recv().await {
            let before = self.leaves.size().get();
            let replies = self.solo.commit(group.commands.clone()).await?;
            for (reply, proposed) in replies.iter().zip(&group.commands) {
                if let Reply::Answer(answer) = reply
                    && let Err(rejection) = &answer.outcome
                {
                    bail!("{} was refused: {rejection}", proposed.command());
                }
            }
            let added = self.leaves.size().get() - before;
            ensure!(added == group.leaves, "{added} leaves instead of {}", group.leaves);
            self.cosign(group.time).await?;
            if self.solo.last_index() - self.covered >= SNAPSHOT_ENTRIES {
                self.snapshot().await?;
            }
        }
        let entries = self.solo.last_index() + 1;
        drop(self.solo);
        Ok(Followed {
            entries,
            leaves: self.leaves,
            guard: self.guard,
            snapshots: self.snapshots,
            state_bytes: self.state_bytes,
        })
    }

    async fn cosign(&self, time: LogTime) -> Result<()> {
        let view = self.leaves.view()?;
        let checkpoint = Checkpoint::new(self.charter.statement.origin.clone(), view.head()?);
        let request =
            HeadRequest { checkpoint, time: time.to_cosign_time(), resolved: BTreeSet::new() };
        self.sign_once.cosign(request, view).await?;
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<()> {
        let begun = Instant::now();
        let header = self.solo.snapshot(KEEP_ENTRIES).await?;
        self.snapshots.push(begun.elapsed());
        self.state_bytes = header.state_bytes;
        self.covered = self.solo.last_index();
        Ok(())
    }
}

/// Bytes of the files of one store.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Bytes {
    /// Raft log and snapshot.
    pub raft: u64,
    /// Leaves and Merkle nodes.
    pub leaves: u64,
    /// What this coordinator signed.
    pub sign_once: u64,
}

impl Bytes {
    /// Measures the files of a closed store.
    ///
    /// # Errors
    /// A file is missing.
    pub fn of(replica: &Replica) -> Result<Self> {
        let length = |file: StoreFile| -> Result<u64> {
            let path = replica.data.join(file.file_name());
            Ok(std::fs::metadata(&path).with_context(|| path.display().to_string())?.len())
        };
        Ok(Self {
            raft: length(StoreFile::Raft)?,
            leaves: length(StoreFile::Leaves)?,
            sign_once: length(StoreFile::SignOnce)?,
        })
    }
}
