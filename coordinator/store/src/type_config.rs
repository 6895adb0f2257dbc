//! openraft's types, named once.
//!
//! Outside this crate and the coordinator's `raft/` and `handle/` no file names an openraft
//! type. `leader_id_std` is a decision: with openraft's default two leaders could share a term.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use openraft::alias;
use quorate_attest::number::LeafIndex;
use quorate_core::{Command, Outcome, Rejection};

use crate::codec::COMMAND_BYTES_MAX;

#[cfg(feature = "simulation")]
use openraft_rt::deterministic_rng::DeterministicRng;
#[cfg(feature = "simulation")]
use openraft_rt_tokio::TokioRuntime;

#[cfg(not(feature = "simulation"))]
openraft::declare_raft_types!(
    /// The types Quorate runs openraft with.
    pub TypeConfig:
        D = Proposed,
        R = Reply,
        Node = PeerNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

#[cfg(feature = "simulation")]
openraft::declare_raft_types!(
    /// The types Quorate runs openraft with, its randomness seeded.
    pub TypeConfig:
        D = Proposed,
        R = Reply,
        Node = PeerNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = DeterministicRng<TokioRuntime>,
);

/// A coordinator's id. Allocated once, never reused.
pub type NodeId = u64;
/// Term and index of an entry.
pub type LogId = alias::LogIdOf<TypeConfig>;
/// A candidate or leader: term and node.
pub type LeaderId = alias::LeaderIdOf<TypeConfig>;
/// Raft's vote, never a validator's.
pub type Vote = alias::VoteOf<TypeConfig>;
/// A log entry: blank, a membership, or one command.
pub type Entry = alias::EntryOf<TypeConfig>;
/// What an entry carries.
pub type EntryPayload = alias::EntryPayloadOf<TypeConfig>;
/// The voters (two sets while joint) and learners.
pub type Membership = openraft::Membership<NodeId, PeerNode>;
/// A membership and the entry it came from.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
/// A snapshot with its data.
pub type Snapshot = alias::SnapshotOf<TypeConfig, crate::snapshot::SnapshotData>;

/// A coordinator as Raft's membership knows it: its key name and nothing else.
///
/// Not an address, on purpose: an address that is wrong must never become a peer that is wrong.
/// Addresses are configuration, identity is proven by the TLS certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNode {
    /// `<network>/coordinator/<id>`; empty only in openraft's own tests.
    pub name: String,
}

/// A command on its way through Raft, together with its one encoding.
///
/// The bytes are made once, at the door, and are what disk and peers get. Cheap to clone: log,
/// replication and state machine share it.
#[derive(Clone)]
pub struct Proposed {
    inner: Arc<Inner>,
}

struct Inner {
    command: Command,
    bytes: Vec<u8>,
}

/// A command that no entry can carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command takes {bytes} bytes, the limit is {COMMAND_BYTES_MAX}")]
pub struct CommandTooLarge {
    /// The encoded size.
    pub bytes: usize,
}

impl Proposed {
    /// Encodes `command` for the log.
    ///
    /// # Errors
    /// [`CommandTooLarge`] above [`COMMAND_BYTES_MAX`]: a larger one could stop replication.
    pub fn new(command: Command) -> Result<Self, CommandTooLarge> {
        let bytes = command.encode();
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(CommandTooLarge { bytes: bytes.len() });
        }
        Ok(Self { inner: Arc::new(Inner { command, bytes }) })
    }

    /// The pair of a command and the bytes it was decoded from; the caller has compared them.
    pub(crate) fn decoded(command: Command, bytes: &[u8]) -> Self {
        Self { inner: Arc::new(Inner { command, bytes: bytes.to_vec() }) }
    }

    /// What is asked of the state machine.
    pub fn command(&self) -> &Command {
        &self.inner.command
    }

    /// The canonical encoding of the command.
    pub fn bytes(&self) -> &[u8] {
        &self.inner.bytes
    }
}

impl PartialEq for Proposed {
    fn eq(&self, other: &Self) -> bool {
        self.inner.bytes == other.inner.bytes
    }
}

impl Eq for Proposed {}

impl fmt::Debug for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposed({})", self.inner.command)
    }
}

impl fmt::Display for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.command.fmt(f)
    }
}

/// What applying one entry answers to whoever proposed it.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A blank entry, or a membership change: nothing for the decision machine.
    Nothing,
    /// The machine's answer. A rejection is an answer too; it is part of the state everywhere.
    Answer(Box<Answer>),
}

/// The machine's answer to one command.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What happened, or which rule refused it.
    pub outcome: Result<Outcome, Rejection>,
    /// The leaves this command added to the decision log; empty if none.
    pub leaves: Range<u64>,
}

impl Answer {
    /// The index of the first leaf this command added.
    pub fn first_leaf(&self) -> Option<LeafIndex> {
        if self.leaves.is_empty() { None } else { LeafIndex::new(self.leaves.start).ok() }
    }
}
