//! Real etcd: the command line of a member, what it holds, and a client that writes all the time.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_proto::foreign::etcd::cluster_client::ClusterClient;
use quorate_proto::foreign::etcd::kv_client::KvClient;
use quorate_proto::foreign::etcd::maintenance_client::MaintenanceClient;
use quorate_proto::foreign::etcd::{
    HashKvRequest, Member, MemberListRequest, PutRequest, RangeRequest, StatusRequest,
    StatusResponse,
};
use tonic::transport::{Channel, Endpoint};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(1);

/// Whether etcd is installed; says what is left out if it is not.
#[must_use]
pub fn is_installed(test: &str) -> bool {
    let version = Command::new("etcd").arg("--version").stderr(Stdio::null()).output();
    match version {
        Ok(version) => {
            let text = String::from_utf8_lossy(&version.stdout).into_owned();
            eprintln!("{test}: {}", text.lines().next().unwrap_or_default());
            true
        }
        Err(error) => {
            eprintln!(
                "{test}: LEFT OUT, etcd does not run here ({error}); apt install etcd-server"
            );
            false
        }
    }
}

/// Where one member runs, or would.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its `--name`.
    pub name: String,
    /// Its address.
    pub host: String,
    /// Where it serves clients.
    pub client: u16,
    /// Where it serves its peers.
    pub peer: u16,
    /// Its data directory.
    pub data: PathBuf,
}

impl Seat {
    /// `http://host:port` for clients.
    #[must_use]
    pub fn client_url(&self) -> String {
        format!("http://{}:{}", self.host, self.client)
    }

    /// `http://host:port` for peers.
    #[must_use]
    pub fn peer_url(&self) -> String {
        format!("http://{}:{}", self.host, self.peer)
    }

    /// The command of this member in a cluster of `seats`, which is `new` or `existing`.
    #[must_use]
    pub fn command(&self, seats: &[&Self], state: &str) -> Vec<String> {
        let initial: Vec<String> =
            seats.iter().map(|seat| format!("{}={}", seat.name, seat.peer_url())).collect();
        let data = self.data.display().to_string();
        let words = [
            ("--name", self.name.clone()),
            ("--data-dir", data),
            ("--listen-client-urls", self.client_url()),
            ("--advertise-client-urls", self.client_url()),
            ("--listen-peer-urls", self.peer_url()),
            ("--initial-advertise-peer-urls", self.peer_url()),
            ("--initial-cluster", initial.join(",")),
            ("--initial-cluster-state", state.to_owned()),
            ("--heartbeat-interval", "50".to_owned()),
            ("--election-timeout", "500".to_owned()),
        ];
        let arguments = words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        std::iter::once("etcd".to_owned()).chain(arguments).collect()
    }
}

async fn channel(url: &str) -> Option<Channel> {
    Endpoint::from_shared(url.to_owned())
        .ok()?
        .connect_timeout(CALL)
        .timeout(CALL)
        .connect()
        .await
        .ok()
}

/// What a member says of itself, with or without a leader; none if it does not answer.
pub async fn status(url: &str) -> Option<StatusResponse> {
    let mut client = MaintenanceClient::new(channel(url).await?);
    client.status(StatusRequest {}).await.ok().map(tonic::Response::into_inner)
}

/// Whether a member answers and knows a leader.
pub async fn has_leader(url: &str) -> bool {
    status(url).await.is_some_and(|status| status.leader != 0)
}

/// Whether a member leads.
pub async fn leads(url: &str) -> bool {
    let status = status(url).await.unwrap_or_default();
    status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader)
}

/// The members as one of them knows them.
pub async fn members(url: &str) -> Option<Vec<Member>> {
    let mut client = ClusterClient::new(channel(url).await?);
    Some(client.member_list(MemberListRequest {}).await.ok()?.into_inner().members)
}

/// What one member holds at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The revision.
    pub revision: i64,
    /// How many keys there are.
    pub keys: i64,
    /// The hash of them.
    pub hash: u32,
}

/// What a member holds at `revision`, or at its newest one, by its own data.
pub async fn held(url: &str, revision: Option<i64>) -> Option<Held> {
    let newest = status(url).await?.header?.revision;
    let revision = revision.unwrap_or(newest);
    let channel = channel(url).await?;
    let all = RangeRequest {
        key: vec![0],
        range_end: vec![0],
        revision,
        serializable: true,
        count_only: true,
        ..RangeRequest::default()
    };
    let keys = KvClient::new(channel.clone()).range(all).await.ok()?.into_inner().count;
    let hash = MaintenanceClient::new(channel).hash_kv(HashKvRequest { revision }).await.ok()?;
    Some(Held { revision, keys, hash: hash.into_inner().hash })
}

/// Writes one key; whether it was acknowledged.
pub async fn put(url: &str, key: &str, value: &str) -> bool {
    let Some(channel) = channel(url).await else { return false };
    let put = PutRequest { key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() };
    KvClient::new(channel).put(put).await.is_ok()
}

/// A client that writes one key after the other, to whichever member takes it.
#[derive(Debug)]
pub struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Starts writing to these members.
    #[must_use]
    pub fn start(urls: Vec<String>) -> Self {
        let (acknowledged, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, ended) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (mut at, mut client) = (0, None);
            while !ended.load(Ordering::Relaxed) {
                if client.is_none() {
                    at = (at + 1) % urls.len();
                    client = channel(&urls[at]).await.map(KvClient::new);
                }
                let Some(writer) = &mut client else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let key = format!("load/{}", count.load(Ordering::Relaxed)).into_bytes();
                if writer.put(PutRequest { key, value: b"x".to_vec() }).await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                } else {
                    client = None;
                }
            }
        });
        Self { acknowledged, stop, task }
    }

    /// How many writes were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` writes were acknowledged from now on, and says how long that took.
    ///
    /// # Panics
    /// They were not within `limit`.
    pub async fn goes_on(&self, more: u64, limit: Duration) -> Duration {
        let (begin, from) = (Instant::now(), self.acknowledged());
        crate::wait::until_true("the load goes on", limit, || self.acknowledged() >= from + more)
            .await;
        begin.elapsed()
    }

    /// Ends it.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.task.await);
    }
}
