//! Messages between coordinators. Each is checked for contradictions before openraft sees it.

use openraft::raft::linearizable_read;
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;

use super::raft::{read_entry, read_log_id, read_log_id_option, write_entry, write_log_id};
use super::{APPEND_ENTRIES_MAX, CodecError, Kind, Reader, Record, Writer};
use crate::type_config::{Entry, LogId, TypeConfig, Vote};

const OK: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;
const VOTE_CHANGED: u8 = 1;
const NOT_FLUSHED: u8 = 2;

impl Record for AppendEntriesRequest<TypeConfig> {
    const KIND: Kind = Kind::AppendEntries;

    fn write(&self, to: &mut Writer) {
        self.vote.write(to);
        to.option(self.prev_log_id.as_ref(), write_log_id);
        to.count(self.entries.len());
        for entry in &self.entries {
            write_entry(to, entry);
        }
        to.option(self.leader_commit.as_ref(), write_log_id);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let vote = Vote::read(from)?;
        let prev_log_id = read_log_id_option(from, "previous log id")?;
        let count = from.count("entries", APPEND_ENTRIES_MAX)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(read_entry(from)?);
        }
        let leader_commit = read_log_id_option(from, "commit")?;
        let request = Self { vote, prev_log_id, entries, leader_commit };
        check_append(&request)?;
        Ok(request)
    }
}

/// What openraft takes for granted about an AppendEntries, and panics without.
fn check_append(request: &AppendEntriesRequest<TypeConfig>) -> Result<(), CodecError> {
    let inconsistent = |field, reason| Err(CodecError::Inconsistent { field, reason });
    if !request.vote.is_committed() {
        return inconsistent("vote", "only an elected leader appends");
    }
    let term = request.vote.leader_id().term();
    let mut last: Option<LogId> = request.prev_log_id;
    for Entry { log_id, .. } in &request.entries {
        // The very first entry of a log has index 0 and nothing before it.
        let next = last.map_or(0, |id| id.index + 1);
        if log_id.index != next {
            return inconsistent("entries", "indexes follow each other without a gap");
        }
        if last.is_some_and(|id| id.leader_id.term > log_id.leader_id.term) {
            return inconsistent("entries", "terms never fall");
        }
        last = Some(*log_id);
    }
    if last.is_some_and(|id| id.leader_id.term > term) {
        return inconsistent("entries", "no entry is newer than the leader's term");
    }
    if request.leader_commit.is_some_and(|id| id.leader_id.term > term) {
        return inconsistent("commit", "no committed entry is newer than the leader's term");
    }
    Ok(())
}

/// The answer to one AppendEntries of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamAppendAnswer(pub StreamAppendResult<TypeConfig>);

impl Record for StreamAppendAnswer {
    const KIND: Kind = Kind::StreamAppendAnswer;

    fn write(&self, to: &mut Writer) {
        match &self.0 {
            Ok(matching) => {
                to.u8(OK);
                to.option(matching.as_ref(), write_log_id);
            }
            Err(StreamAppendError::Conflict(at)) => {
                to.u8(CONFLICT);
                write_log_id(to, at);
            }
            Err(StreamAppendError::HigherVote(vote)) => {
                to.u8(HIGHER_VOTE);
                vote.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self(match from.u8("append answer")? {
            OK => Ok(read_log_id_option(from, "matching log id")?),
            CONFLICT => Err(StreamAppendError::Conflict(read_log_id(from)?)),
            HIGHER_VOTE => Err(StreamAppendError::HigherVote(Vote::read(from)?)),
            found => return Err(CodecError::Tag { field: "append answer", found }),
        }))
    }
}

impl Record for VoteRequest<TypeConfig> {
    const KIND: Kind = Kind::VoteRequest;

    fn write(&self, to: &mut Writer) {
        self.vote.write(to);
        to.option(self.last_log_id.as_ref(), write_log_id);
        to.u8(u8::from(self.leadership_transfer));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let vote = Vote::read(from)?;
        if vote.is_committed() {
            return Err(CodecError::Inconsistent {
                field: "vote",
                reason: "a candidate is not elected yet",
            });
        }
        let last_log_id = read_log_id_option(from, "last log id")?;
        let leadership_transfer = from.flag("leadership transfer")?;
        Ok(Self { vote, last_log_id, leadership_transfer })
    }
}

impl Record for VoteResponse<TypeConfig> {
    const KIND: Kind = Kind::VoteResponse;

    fn write(&self, to: &mut Writer) {
        self.vote.write(to);
        to.u8(u8::from(self.vote_granted));
        to.option(self.last_log_id.as_ref(), write_log_id);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let vote = Vote::read(from)?;
        let vote_granted = from.flag("vote granted")?;
        let last_log_id = read_log_id_option(from, "last log id")?;
        Ok(Self { vote, vote_granted, last_log_id })
    }
}

impl Record for TransferLeaderRequest<TypeConfig> {
    const KIND: Kind = Kind::TransferLeader;

    fn write(&self, to: &mut Writer) {
        self.from_leader().write(to);
        to.u64(*self.to_node_id());
        to.option(self.last_log_id(), write_log_id);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let leader = Vote::read(from)?;
        let target = from.number("target node")?;
        let last_log_id = read_log_id_option(from, "last log id")?;
        Ok(Self::new(leader, target, last_log_id))
    }
}

/// The answer to the order to take over leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferLeaderAnswer(pub TransferLeaderResponse<TypeConfig>);

impl Record for TransferLeaderAnswer {
    const KIND: Kind = Kind::TransferLeaderResponse;

    fn write(&self, to: &mut Writer) {
        match &self.0 {
            Ok(()) => to.u8(OK),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                to.u8(VOTE_CHANGED);
                expected.write(to);
                actual.write(to);
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                to.u8(NOT_FLUSHED);
                to.option(expected.as_ref(), write_log_id);
                to.option(actual.as_ref(), write_log_id);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self(match from.u8("transfer answer")? {
            OK => Ok(()),
            VOTE_CHANGED => {
                let expected = Vote::read(from)?;
                let actual = Vote::read(from)?;
                Err(TransferLeaderError::VoteChanged { expected, actual })
            }
            NOT_FLUSHED => {
                let expected = read_log_id_option(from, "expected log id")?;
                let actual = read_log_id_option(from, "actual log id")?;
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
            found => return Err(CodecError::Tag { field: "transfer answer", found }),
        }))
    }
}

impl Record for SnapshotResponse<TypeConfig> {
    const KIND: Kind = Kind::SnapshotResponse;

    fn write(&self, to: &mut Writer) {
        self.vote.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        Vote::read(from).map(Self::new)
    }
}

/// The log id a linearizable read has to wait for, as the leader's quorum confirmed it.
pub type ReadLogId = linearizable_read::ReadLogId<TypeConfig>;

impl Record for ReadLogId {
    const KIND: Kind = Kind::ReadLogId;

    fn write(&self, to: &mut Writer) {
        write_log_id(to, self.log_id());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        read_log_id(from).map(ReadLogId::from_log_id)
    }
}
