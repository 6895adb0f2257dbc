//! openraft's own records: log ids, votes, memberships, entries, what a snapshot covers.

use std::collections::{BTreeMap, BTreeSet};

use openraft::vote::{RaftLeaderId, RaftVote};
use quorate_core::{Command, CommandError};

use super::{COMMAND_BYTES_MAX, CodecError, Kind, NUMBER_MAX, Reader, Record, Writer};
use crate::type_config::{
    Entry, EntryPayload, LeaderId, LogId, Membership, PeerNode, Proposed, SnapshotMeta,
    StoredMembership, Vote,
};

/// The largest number of nodes in one membership: two sets of seven voters and learners fit.
pub const MEMBERSHIP_NODES_MAX: usize = 64;
/// The largest node name in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 255;
/// A joint membership has two sets of voters; openraft never makes more.
const JOINT_SETS_MAX: usize = 2;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(super) fn write_log_id(to: &mut Writer, id: &LogId) {
    to.u64(id.leader_id.term);
    to.u64(id.index);
}

pub(super) fn read_log_id(from: &mut Reader<'_>) -> Result<LogId, CodecError> {
    let term = from.number("term")?;
    let index = from.number("index")?;
    Ok(LogId::new_term_index(term, index))
}

pub(super) fn read_log_id_option(
    from: &mut Reader<'_>,
    field: &'static str,
) -> Result<Option<LogId>, CodecError> {
    from.option(field, read_log_id)
}

impl Record for LogId {
    const KIND: Kind = Kind::LogId;

    fn write(&self, to: &mut Writer) {
        write_log_id(to, self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        read_log_id(from)
    }
}

impl Record for Vote {
    const KIND: Kind = Kind::Vote;

    fn write(&self, to: &mut Writer) {
        to.u64(self.leader_id().term());
        to.u64(*self.leader_id().node_id());
        to.u8(u8::from(self.is_committed()));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let term = from.number("vote term")?;
        let node = from.number("vote node")?;
        let committed = from.flag("vote committed")?;
        Ok(Vote::from_leader_id(LeaderId::new(term, node), committed))
    }
}

fn write_membership(to: &mut Writer, membership: &Membership) {
    let sets = membership.get_joint_config();
    to.count(sets.len());
    for set in sets {
        to.count(set.len());
        for id in set {
            to.u64(*id);
        }
    }
    to.count(membership.nodes().count());
    for (id, node) in membership.nodes() {
        to.u64(*id);
        to.bytes(node.name.as_bytes());
    }
}

/// Ids must ascend, so that one membership has one encoding.
fn read_ascending(
    from: &mut Reader<'_>,
    field: &'static str,
    last: Option<u64>,
) -> Result<u64, CodecError> {
    let id = from.number(field)?;
    match last {
        Some(last) if id <= last => {
            let min = last.saturating_add(1);
            Err(CodecError::Bounds { field, found: id, min, max: NUMBER_MAX })
        }
        _ => Ok(id),
    }
}

fn read_membership(from: &mut Reader<'_>) -> Result<Membership, CodecError> {
    let mut sets = Vec::new();
    for _ in 0..from.count("joint sets", JOINT_SETS_MAX)? {
        let mut voters = BTreeSet::new();
        for _ in 0..from.count("voters", MEMBERSHIP_NODES_MAX)? {
            voters.insert(read_ascending(from, "voter id", voters.last().copied())?);
        }
        sets.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..from.count("nodes", MEMBERSHIP_NODES_MAX)? {
        let last = nodes.last_key_value().map(|(id, _): (&u64, &PeerNode)| *id);
        let id = read_ascending(from, "node id", last)?;
        let name = from.bytes("node name", NODE_NAME_BYTES_MAX)?;
        let name = std::str::from_utf8(name).map_err(|_| CodecError::Inconsistent {
            field: "node name",
            reason: "names are UTF-8",
        })?;
        nodes.insert(id, PeerNode { name: name.to_owned() });
    }
    Membership::new(sets, nodes).map_err(|_| CodecError::Inconsistent {
        field: "membership",
        reason: "no set of voters is empty and every voter is a node",
    })
}

fn write_stored_membership(to: &mut Writer, stored: &StoredMembership) {
    to.option(stored.log_id().as_ref(), write_log_id);
    write_membership(to, stored.membership());
}

fn read_stored_membership(from: &mut Reader<'_>) -> Result<StoredMembership, CodecError> {
    let log_id = read_log_id_option(from, "membership log id")?;
    let membership = read_membership(from)?;
    Ok(StoredMembership::new(log_id, membership))
}

/// An estimate of an entry's encoded size, exact for commands: what the byte budget counts.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    const HEADER: usize = 2 + 16 + 1 + 4;
    match &entry.payload {
        EntryPayload::Blank => HEADER,
        EntryPayload::Normal(proposed) => HEADER + proposed.bytes().len(),
        EntryPayload::Membership(_) => HEADER + MEMBERSHIP_NODES_MAX * (NODE_NAME_BYTES_MAX + 28),
    }
}

pub(super) fn write_entry(to: &mut Writer, entry: &Entry) {
    write_log_id(to, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => to.u8(BLANK),
        EntryPayload::Normal(proposed) => {
            to.u8(NORMAL);
            to.bytes(proposed.bytes());
        }
        EntryPayload::Membership(membership) => {
            to.u8(MEMBERSHIP);
            write_membership(to, membership);
        }
    }
}

pub(super) fn read_entry(from: &mut Reader<'_>) -> Result<Entry, CodecError> {
    let log_id = read_log_id(from)?;
    let payload = match from.u8("payload")? {
        BLANK => EntryPayload::Blank,
        NORMAL => {
            let bytes = from.bytes("command", COMMAND_BYTES_MAX)?;
            let command = Command::decode(bytes).map_err(command_refused)?;
            EntryPayload::Normal(Proposed::decoded(command, bytes))
        }
        MEMBERSHIP => {
            let membership = read_membership(from)?;
            if membership.get_joint_config().is_empty() {
                return Err(CodecError::Inconsistent {
                    field: "membership",
                    reason: "an entry's membership has voters",
                });
            }
            EntryPayload::Membership(membership)
        }
        found => return Err(CodecError::Tag { field: "payload", found }),
    };
    Ok(Entry { log_id, payload })
}

fn command_refused(refused: CommandError) -> CodecError {
    match refused {
        CommandError::TooNew { have, supported } => {
            CodecError::TooNew { needed: have.0, supported: supported.0 }
        }
        CommandError::Format { .. } | CommandError::Empty | CommandError::NotCanonical { .. } => {
            CodecError::Part { part: "command", reason: refused.to_string() }
        }
    }
}

impl Record for Entry {
    const KIND: Kind = Kind::Entry;

    fn write(&self, to: &mut Writer) {
        write_entry(to, self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        read_entry(from)
    }
}

impl Record for SnapshotMeta {
    const KIND: Kind = Kind::SnapshotMeta;

    fn write(&self, to: &mut Writer) {
        to.option(self.last_log_id.as_ref(), write_log_id);
        write_stored_membership(to, &self.last_membership);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let last_log_id = read_log_id_option(from, "snapshot log id")?;
        let last_membership = read_stored_membership(from)?;
        if last_membership.log_id().as_ref() > last_log_id.as_ref() {
            return Err(CodecError::Inconsistent {
                field: "membership log id",
                reason: "a snapshot's membership is not newer than the snapshot",
            });
        }
        Ok(SnapshotMeta { last_log_id, last_membership })
    }
}
