//! Storage of a coordinator: openraft's log and state machine on redb, the leaves of the decision
//! log, and the sign-once store.
//!
//! Suggested reading order:
//!
//! * [`type_config`]: openraft's types, named once; [`codec`]: their one encoding.
//! * [`disk`]: the three files; [`store`]: created by `init`, opened by `run`, never the other way.
//! * `writer`, `stall`, `raft_file`, `log_store`: one queue, one stream of transactions, one fsync
//!   for everything that arrived meanwhile.
//! * [`owner`], [`state_machine`], [`snapshot`], [`leaves`]: the machine has one owner; its
//!   snapshot is small because the leaves stay where they are.
//! * [`sign_once`]: what this coordinator signed, so that it never signs against it.
//! * [`fault`], [`quota`]: why this replica stops, and how it avoids stopping for a full disk.
//!
//! This crate does not know the network. It does not judge a decision: `core` does.

pub mod codec;
pub mod disk;
pub mod fault;
pub mod fsync;
pub mod leaves;
pub mod owner;
pub mod quota;
pub mod sign_once;
pub mod snapshot;
#[cfg(feature = "solo")]
pub mod solo;
pub mod state_machine;
pub mod store;
pub mod type_config;

mod leaves_file;
mod log_store;
mod raft_file;
mod stall;
mod table;
mod writer;

pub use disk::{Disk, StoreFile};
pub use fault::{Fault, FaultCell, FaultWatch};
pub use leaves::{Leaves, LeavesError, LeavesView};
pub use log_store::{LogReader, LogSize, LogStore};
pub use owner::{MachineHandle, Raised};
pub use quota::{Quota, StoreUsage};
pub use sign_once::{HeadRequest, SignOnce, SignRefused};
pub use snapshot::{
    Incoming, Outgoing, SnapshotChunk, SnapshotData, SnapshotHeader, SnapshotReceiver,
    SnapshotRefused,
};
pub use stall::STALL_MAX;
pub use state_machine::StateMachine;
pub use store::{CreateError, OpenError, OpenOptions, Store, StoreGuard};
pub use table::leaf::LEAF_BYTES_MAX;
pub use table::meta::FORMAT;
pub use table::snapshot::ROW_BYTES as SNAPSHOT_CHUNK_BYTES_MAX;
pub use type_config::{
    Answer, CommandTooLarge, Entry, EntryPayload, LeaderId, LogId, Membership, NodeId, PeerNode,
    Proposed, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};
pub use writer::{CommitObserver, WriterMode};
