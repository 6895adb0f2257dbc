//! Calls to one etcd member: a deadline on each, and what silence is told from.
//!
//! Each call opens its own connection. One that is kept answers its first call after the other end
//! died with an error that looks like silence, also when that end is alive again: the wrong side to
//! err on for whoever asks whether a member is dead.

use std::error::Error as _;
use std::time::Duration;

use quorate_proto::foreign::etcd::cluster_client::ClusterClient;
use quorate_proto::foreign::etcd::kv_client::KvClient;
use quorate_proto::foreign::etcd::maintenance_client::MaintenanceClient;
use quorate_proto::foreign::etcd::{
    DeleteRangeRequest, HashKvRequest, HashKvResponse, Member, MemberAddRequest, MemberListRequest,
    MemberPromoteRequest, MemberRemoveRequest, MoveLeaderRequest, PutRequest, RangeRequest,
    StatusRequest, StatusResponse,
};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::super::grpc::{bottom, endpoint};

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum CallFailed {
    /// Nobody answered: refused, reset, or silent until the deadline. It may have been done.
    #[error("no answer: {why}")]
    Silent { why: String },
    /// The member answered, with an error: it lives.
    #[error("{code:?}: {message}")]
    Answered { code: tonic::Code, message: String },
}

impl CallFailed {
    /// Whether asking again may help: nobody answered, or etcd says that it cannot now.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Answered { code, .. } => *code == tonic::Code::Unavailable,
        }
    }

    fn of(status: &Status) -> Self {
        match status.source() {
            Some(source) => Self::Silent { why: bottom(source) },
            None => Self::Answered { code: status.code(), message: status.message().to_owned() },
        }
    }
}

/// One member's client address.
#[derive(Debug, Clone)]
pub(super) struct Client(Endpoint);

impl Client {
    /// A client of `http://host:port`; nothing is connected.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        endpoint(url).map(Self)
    }

    async fn call<T, F, Fut>(&self, deadline: Duration, call: F) -> Result<T, CallFailed>
    where
        F: FnOnce(Channel) -> Fut + Send,
        Fut: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let asked = async {
            let channel = self.0.connect().await;
            let channel = channel.map_err(|error| CallFailed::Silent { why: bottom(&error) })?;
            call(channel).await.map(Response::into_inner).map_err(|status| CallFailed::of(&status))
        };
        tokio::time::timeout(deadline, asked).await.unwrap_or_else(|_| {
            let why = format!("nothing within {} ms", deadline.as_millis());
            Err(CallFailed::Silent { why })
        })
    }

    /// What the member says of itself, with or without a leader.
    pub(super) async fn status(&self, deadline: Duration) -> Result<StatusResponse, CallFailed> {
        let ask =
            |channel| async move { MaintenanceClient::new(channel).status(StatusRequest {}).await };
        self.call(deadline, ask).await
    }

    /// The members as this one knows them, with or without a leader.
    pub(super) async fn members(&self, deadline: Duration) -> Result<Vec<Member>, CallFailed> {
        let ask = |channel| async move {
            ClusterClient::new(channel).member_list(MemberListRequest {}).await
        };
        Ok(self.call(deadline, ask).await?.members)
    }

    /// The hash of all keys at `revision`, of this member's own data.
    pub(super) async fn hash(
        &self,
        revision: i64,
        deadline: Duration,
    ) -> Result<HashKvResponse, CallFailed> {
        let ask = move |channel| async move {
            MaintenanceClient::new(channel).hash_kv(HashKvRequest { revision }).await
        };
        self.call(deadline, ask).await
    }

    /// How many keys there were at `revision`, by this member's own data.
    pub(super) async fn keys(&self, revision: i64, deadline: Duration) -> Result<i64, CallFailed> {
        let ask = move |channel| async move {
            // From the first key to the end: all of them.
            let all = RangeRequest {
                key: vec![0],
                range_end: vec![0],
                revision,
                serializable: true,
                count_only: true,
                ..RangeRequest::default()
            };
            KvClient::new(channel).range(all).await
        };
        Ok(self.call(deadline, ask).await?.count)
    }

    /// Writes `key`, reads it back through the leader, and takes it away again.
    pub(super) async fn write_and_read(
        &self,
        key: &str,
        value: &str,
        deadline: Duration,
    ) -> Result<bool, CallFailed> {
        let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let ask = move |channel| async move {
            let mut client = KvClient::new(channel);
            let written = PutRequest { key: key.clone(), value: value.clone() };
            client.put(written).await?;
            let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
            let read = client.range(read).await?;
            let same = read.get_ref().kvs.first().is_some_and(|found| found.value == value);
            client.delete_range(DeleteRangeRequest { key, range_end: Vec::new() }).await?;
            Ok(Response::new(same))
        };
        self.call(deadline, ask).await
    }

    /// Adds a learner, which has no vote: the quorum stays what it is until it is promoted.
    pub(super) async fn add_learner(
        &self,
        peer_url: &str,
        deadline: Duration,
    ) -> Result<Option<Member>, CallFailed> {
        let added = MemberAddRequest { peer_urls: vec![peer_url.to_owned()], is_learner: true };
        let ask = move |channel| async move { ClusterClient::new(channel).member_add(added).await };
        Ok(self.call(deadline, ask).await?.member)
    }

    /// Gives a learner its vote; etcd refuses while it lags behind the leader.
    pub(super) async fn promote(&self, id: u64, deadline: Duration) -> Result<(), CallFailed> {
        let ask = move |channel| async move {
            ClusterClient::new(channel).member_promote(MemberPromoteRequest { id }).await
        };
        self.call(deadline, ask).await.map(drop)
    }

    /// Removes a member.
    pub(super) async fn remove(&self, id: u64, deadline: Duration) -> Result<(), CallFailed> {
        let ask = move |channel| async move {
            ClusterClient::new(channel).member_remove(MemberRemoveRequest { id }).await
        };
        self.call(deadline, ask).await.map(drop)
    }

    /// Hands leadership over; only the leader does it.
    pub(super) async fn move_leader(&self, to: u64, deadline: Duration) -> Result<(), CallFailed> {
        let ask = move |channel| async move {
            MaintenanceClient::new(channel).move_leader(MoveLeaderRequest { target_id: to }).await
        };
        self.call(deadline, ask).await.map(drop)
    }
}
