//! Writes: to the leader, once, and every answer of openraft mapped in one table.
//!
//! Here if this replica leads, else by one forwarded call. An unknown outcome is called unknown,
//! never failed: repeating it under the same request id has one effect at most.

use std::time::Duration;

use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use prost::bytes::Bytes;
use quorate_attest::id::{Digest, KeyName};
use quorate_core::{Body, Command, Outcome, Rejection, Request};
use quorate_proto::pb::raft::v1::{ProposeRequest, ProposeResponse};
use quorate_store::{Answer, LogId, Proposed, Reply, TypeConfig};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use super::Handle;
use crate::{
    admission::Verifiers,
    raft::{envelope::CODEC, peers::Lane},
    service::{error, forwarded},
};

/// A write has to be answered within this time, all hops together; below the server's own limit.
const WRITE_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Ended proposals in a state up to which a command is tried on a copy of it first.
const COPIED_MAX: usize = 4_096;
/// How long a forwarded write may wait until this replica has applied it too.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What is asked of the machine, by whom.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What.
    pub body: Body,
    /// The authenticated caller; `None` for the coordinator itself.
    pub caller: Option<KeyName>,
    /// The caller's id for this request, for deduplication inside the state machine.
    pub request_id: Option<[u8; 16]>,
}

impl Asked {
    /// Asked by this coordinator itself.
    pub fn internally(body: Body) -> Self {
        Self { body, caller: None, request_id: None }
    }

    fn request(&self) -> Option<Request> {
        let (id, caller) = (self.request_id?, self.caller.clone()?);
        Some(Request { id, caller, digest: body_digest(&self.body) })
    }
}

/// The digest of what is asked: an id that comes back with another one is refused.
fn body_digest(body: &Body) -> Digest {
    Digest::of(&encode_body(body))
}

fn encode_body(body: &Body) -> Vec<u8> {
    // Writing into memory cannot fail; an empty digest would only refuse a repeated id.
    borsh::to_vec(body).unwrap_or_default()
}

/// A write that was committed and applied.
#[derive(Debug, Clone)]
pub struct Written {
    /// The machine's answer.
    pub outcome: Result<Outcome, Rejection>,
    /// The leaves it added, as indexes.
    pub leaves: std::ops::Range<u64>,
    /// Its entry.
    pub term: u64,
    /// Its log index.
    pub index: u64,
}

/// Why a write was not answered by the machine.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another coordinator leads and could not be asked. Nothing was appended.
    #[error("coordinator {leader} leads, and this one could not reach it: {why}")]
    NotLeader {
        /// The leader.
        leader: u64,
        /// What happened.
        why: String,
    },
    /// Nobody leads, or the leader cannot reach a majority. Nothing was appended.
    #[error("no coordinator leads with a majority")]
    NoQuorum,
    /// Appended, but whether it will be committed is not known.
    #[error("whether the request took effect is not known: {why}")]
    OutcomeUnknown {
        /// What happened.
        why: String,
    },
    /// More writes wait than this coordinator admits. Nothing was appended.
    #[error("{limit} writes are waiting already")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// The command is larger than an entry may be. Nothing was appended.
    #[error(transparent)]
    TooLarge(#[from] quorate_store::CommandTooLarge),
    /// This replica has stopped.
    #[error("this replica has stopped: {fault}")]
    Faulted {
        /// Why.
        fault: String,
    },
    /// The leader refused the forwarded call with a status of its own.
    #[error("the leader refused: {0}")]
    Leader(Box<Status>),
}

impl Handle {
    /// Has the machine answer `asked`, through the Raft log.
    pub async fn propose(&self, asked: Asked) -> Result<Written, ProposeError> {
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let _place = self
            .inner
            .queue
            .try_acquire()
            .map_err(|_| ProposeError::Overloaded { limit: self.inner.queue_max })?;
        match self.write_here(&asked, deadline).await {
            Err(WriteError::ForwardTo(leader)) => self.forward(leader, asked, deadline).await,
            Err(WriteError::Refused(error)) => Err(error),
            Ok(written) => Ok(written),
        }
    }

    /// Appends on this replica, which has to lead.
    async fn write_here(&self, asked: &Asked, deadline: Instant) -> Result<Written, WriteError> {
        if let Some(fault) = self.faulted() {
            return Err(ProposeError::Faulted { fault }.into());
        }
        // A follower would stamp and encode for nothing.
        match self.leader() {
            Some(leader) if leader == self.own() => {}
            Some(leader) => return Err(WriteError::ForwardTo(leader)),
            None => return Err(ProposeError::NoQuorum.into()),
        }
        if let Some(answered) = self.answer_without_entry(asked).await {
            return Ok(answered);
        }
        let version = self
            .machine(|machine| machine.state().versions().in_force())
            .await
            .map_err(|error| ProposeError::Faulted { fault: error.to_string() })?;
        let command = Command {
            version,
            time: self.inner.clock.now(),
            request: asked.request(),
            body: asked.body.clone(),
        };
        let proposed = Proposed::new(command).map_err(ProposeError::TooLarge)?;
        let written = timeout_at(deadline, self.inner.raft.client_write(proposed)).await;
        let response = written
            .map_err(|_| ProposeError::OutcomeUnknown { why: "no answer in time".to_owned() })?
            .map_err(refused)?;
        let log_id = *response.log_id();
        answer(response.response().clone(), log_id)
    }

    /// The answer to a client's command that would change nothing: a refusal, or what was said
    /// before. It needs no entry, so that bad input leaves no trace; but it must be current, so a
    /// quorum confirms first that this replica leads. A state so large that copying it would cost
    /// more than an entry is not asked.
    async fn answer_without_entry(&self, asked: &Asked) -> Option<Written> {
        asked.caller.as_ref()?;
        // Twice: most commands are worth an entry, and only the others wait for the quorum.
        let _provisional = self.consider(asked).await?;
        self.current().await.ok()?;
        let outcome = self.consider(asked).await?;
        let view = self.raft_view();
        Some(Written { outcome, leaves: 0..0, term: view.term, index: view.applied_index })
    }

    /// The answer to a command that is not worth an entry.
    async fn consider(&self, asked: &Asked) -> Option<Result<Outcome, Rejection>> {
        let (body, request, now) = (asked.body.clone(), asked.request(), self.clock().now());
        let considered = self.machine(move |machine| {
            if let Some(answered) = request.and_then(|request| machine.answered(&request)) {
                return Some(answered);
            }
            if machine.state().ledger()?.history().remembered() > COPIED_MAX {
                return None;
            }
            let considered = machine.consider(now, &body);
            // A wrong clock of ours must refuse nothing alone: log time has to agree.
            let is_worth = considered.is_worth_an_entry()
                || machine.consider(machine.state().time(), &body).is_worth_an_entry();
            (!is_worth).then_some(considered.outcome)
        });
        considered.await.ok().flatten()
    }

    async fn forward(
        &self,
        leader: u64,
        asked: Asked,
        deadline: Instant,
    ) -> Result<Written, ProposeError> {
        let not_leader = |why: String| ProposeError::NotLeader { leader, why };
        let mut client = self
            .inner
            .peers
            .raft(leader, Lane::Call)
            .map_err(|error| not_leader(error.to_string()))?;
        let request = ProposeRequest {
            envelope: Some(self.inner.peers.desk().envelope(leader)),
            codec: CODEC,
            body: Bytes::from(encode_body(&asked.body)),
            caller: asked.caller.map(|name| name.to_string()).unwrap_or_default(),
            request_id: Bytes::from(asked.request_id.map(Vec::from).unwrap_or_default()),
        };
        let response = timeout_at(deadline, client.propose(request))
            .await
            .map_err(|_| ProposeError::OutcomeUnknown { why: "no answer in time".to_owned() })?
            .map_err(forward_failed)?
            .into_inner();
        let (outcome, start, end): (Result<Outcome, Rejection>, u64, u64) =
            borsh::from_slice(&response.reply).map_err(|error| ProposeError::OutcomeUnknown {
                why: format!("the leader's reply does not decode: {error}"),
            })?;
        let written =
            Written { outcome, leaves: start..end, term: response.term, index: response.index };
        self.applied_here(written.index).await;
        Ok(written)
    }

    /// Waits a moment until this replica has applied `index`, so that who wrote through it also
    /// reads it here. Not required for safety: a read that must be current asks for it.
    async fn applied_here(&self, index: u64) {
        let wait = self.inner.raft.wait(Some(CATCH_UP));
        if wait.applied_index_at_least(Some(index), "forwarded write").await.is_err() {
            tracing::debug!(index, "this replica trails what it forwarded");
        }
    }

    /// A command another coordinator forwarded to us, the leader: verified as at our own door,
    /// since that coordinator may lie. It is not forwarded again.
    pub(crate) async fn forwarded(
        &self,
        peer: u64,
        request: ProposeRequest,
        verifiers: &Verifiers,
    ) -> Result<ProposeResponse, Status> {
        let malformed = |what: &str| {
            Status::invalid_argument(format!("{what} of coordinator {peer} is malformed"))
        };
        let body: Body = borsh::from_slice(&request.body).map_err(|_| malformed("a command"))?;
        let caller = match request.caller.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| malformed("the caller"))?),
        };
        let request_id = match request.request_id.len() {
            0 => None,
            _ => Some(<[u8; 16]>::try_from(&*request.request_id).map_err(|_| malformed("the id"))?),
        };
        let body = forwarded::verify(self, verifiers, peer, caller.as_ref(), body).await?;
        let asked = Asked { body, caller, request_id };
        let _place = self.inner.queue.try_acquire().map_err(|_| {
            error::propose_status(ProposeError::Overloaded { limit: self.inner.queue_max }, self)
        })?;
        let written = self.write_here(&asked, Instant::now() + WRITE_TIMEOUT).await;
        let written = written.map_err(|error| match error {
            WriteError::ForwardTo(leader) => {
                let why = "it was forwarded to a coordinator that does not lead".to_owned();
                error::propose_status(ProposeError::NotLeader { leader, why }, self)
            }
            WriteError::Refused(error) => error::propose_status(error, self),
        })?;
        let reply = borsh::to_vec(&(written.outcome, written.leaves.start, written.leaves.end));
        let reply = reply.map_err(|error| Status::internal(error.to_string()))?;
        Ok(ProposeResponse {
            codec: CODEC,
            reply: Bytes::from(reply),
            term: written.term,
            index: written.index,
        })
    }
}

/// Why an append here failed: forward it, or tell the caller.
enum WriteError {
    ForwardTo(u64),
    Refused(ProposeError),
}

impl From<ProposeError> for WriteError {
    fn from(error: ProposeError) -> Self {
        Self::Refused(error)
    }
}

/// What a failed call to the leader means.
fn forward_failed(status: Status) -> ProposeError {
    let is_ours = !status.details().is_empty();
    match status.code() {
        // The call may have arrived before the connection broke.
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
            if !is_ours =>
        {
            ProposeError::OutcomeUnknown { why: status.message().to_owned() }
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => ProposeError::Leader(Box::new(status)),
    }
}

/// openraft's answers to a write, each with its meaning.
fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> WriteError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader {
            leader_id: Some(leader),
            ..
        })) => WriteError::ForwardTo(leader),
        // No leader known, or a leader whose lease ran out.
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader {
            leader_id: None,
            ..
        })) => ProposeError::NoQuorum.into(),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            let why = "the leader changed while it was being replicated".to_owned();
            ProposeError::OutcomeUnknown { why }.into()
        }
        // Neither is an answer to a command of ours.
        RaftError::APIError(
            unexpected @ (ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ) => ProposeError::OutcomeUnknown { why: unexpected.to_string() }.into(),
        RaftError::Fatal(fatal) => ProposeError::Faulted { fault: fatal.to_string() }.into(),
    }
}

fn answer(reply: Reply, log_id: LogId) -> Result<Written, WriteError> {
    match reply {
        Reply::Answer(answer) => {
            let Answer { outcome, leaves } = *answer;
            Ok(Written { outcome, leaves, term: log_id.leader_id.term, index: log_id.index })
        }
        Reply::Nothing => {
            let why = "a command was answered like a blank entry".to_owned();
            Err(ProposeError::OutcomeUnknown { why }.into())
        }
    }
}
