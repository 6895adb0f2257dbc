//! Linearizable reads, on every replica.
//!
//! The leader confirms with a quorum that it leads and names the entry to wait for; this replica
//! waits until it has applied that. Nothing relies on a lease: a restarted follower has forgotten
//! what it promised.

use std::time::Duration;

use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
    raft::linearizable_read::Linearizer,
};
use quorate_store::{TypeConfig, codec::ReadLogId};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::Handle;
use crate::{raft::peers::Lane, service::error};

/// A linearizable read has to be confirmed within this time.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a read cannot be shown to be current.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No leader with a majority confirmed it in time.
    #[error("no leader with a majority confirmed that this is current")]
    NoQuorum,
    /// This replica has stopped.
    #[error("this replica has stopped: {fault}")]
    Faulted {
        /// Why.
        fault: String,
    },
}

impl Handle {
    /// Waits until everything acknowledged before this call is applied here (linearizable).
    pub async fn current(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let index = match self.leader() {
            None => return Err(ReadError::NoQuorum),
            Some(leader) if leader == self.own() => {
                timeout_at(deadline, self.read_index()).await.map_err(|_| ReadError::NoQuorum)??
            }
            Some(leader) => timeout_at(deadline, self.read_index_of(leader))
                .await
                .map_err(|_| ReadError::NoQuorum)?
                .map_err(|error| {
                    tracing::debug!(leader, %error, "no read index from the leader");
                    ReadError::NoQuorum
                })?,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let linearizer = Linearizer::<TypeConfig>::new(self.own(), index, None);
        match linearizer.try_await_ready(&self.inner.raft, Some(left)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::NoQuorum),
            Err(fatal) => Err(ReadError::Faulted { fault: fatal.to_string() }),
        }
    }

    /// The leader's read index, for a follower that asks.
    pub(crate) async fn leader_read_index(&self) -> Result<ReadLogId, Status> {
        self.read_index().await.map_err(|error| error::read_status(&error))
    }

    async fn read_index(&self) -> Result<ReadLogId, ReadError> {
        match self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(*linearizer.read_log_id()),
            Err(RaftError::APIError(
                LinearizableReadError::ForwardToLeader(_)
                | LinearizableReadError::QuorumNotEnough(_),
            )) => Err(ReadError::NoQuorum),
            Err(RaftError::Fatal(fatal)) => Err(ReadError::Faulted { fault: fatal.to_string() }),
        }
    }

    async fn read_index_of(&self, leader: u64) -> Result<ReadLogId, Status> {
        let mut client = self
            .inner
            .peers
            .raft(leader, Lane::Call)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let desk = self.inner.peers.desk();
        let answer = client.read_index(desk.question(leader)).await?.into_inner();
        desk.open(leader, &answer).map_err(|refused| Status::unavailable(refused.to_string()))
    }
}
