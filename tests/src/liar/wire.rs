//! Raft's messages as a liar writes them: field by field, without the library's own types.
//!
//! The bytes are those of `coordinator/store/design.md`. Written here a second time on purpose: a
//! change of the wire format shows here, and the liar can say what the library's types cannot.

use quorate_core::Command;
use quorate_store::codec::{CodecError, Kind, Reader, VERSION, Writer};

const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;
const MATCHED: u8 = 0;

/// Term and index of an entry.
pub type Place = (u64, u64);

/// An entry of a Raft log, its place left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A command for the machine.
    Command(Box<Command>),
    /// Raft's voters by node id, with their key names.
    Membership(Vec<(u64, String)>),
}

/// One AppendEntries.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// The leader's term.
    pub term: u64,
    /// Its node id.
    pub leader: u64,
    /// The entry before the first one.
    pub previous: Option<Place>,
    /// Entries, each with the term it was made in.
    pub entries: &'a [(u64, Payload)],
    /// The last committed one.
    pub commit: Option<Place>,
}

/// The bytes of an AppendEntries of an elected leader.
#[must_use]
pub fn append(message: &Append<'_>) -> Vec<u8> {
    let mut to = begin(Kind::AppendEntries);
    vote(&mut to, message.term, message.leader, IsElected::Yes);
    to.option(message.previous.as_ref(), place);
    to.count(message.entries.len());
    let first = message.previous.map_or(0, |(_, index)| index + 1);
    for ((term, payload), index) in message.entries.iter().zip(first..) {
        place(&mut to, &(*term, index));
        match payload {
            Payload::Command(command) => {
                to.u8(NORMAL);
                to.bytes(&command.encode());
            }
            Payload::Membership(voters) => {
                to.u8(MEMBERSHIP);
                membership(&mut to, voters);
            }
        }
    }
    to.option(message.commit.as_ref(), place);
    to.into_bytes()
}

/// The bytes of a request for a vote in `term`, by a candidate whose log ends at `last`.
#[must_use]
pub fn vote_request(term: u64, candidate: u64, last: Option<Place>) -> Vec<u8> {
    let mut to = begin(Kind::VoteRequest);
    vote(&mut to, term, candidate, IsElected::No);
    to.option(last.as_ref(), place);
    to.u8(0);
    to.into_bytes()
}

/// Whether the answer to a request for a vote grants it.
///
/// # Errors
/// The bytes are no such answer.
pub fn is_granted(bytes: &[u8]) -> Result<bool, CodecError> {
    let mut from = open(bytes, Kind::VoteResponse)?;
    skip_vote(&mut from)?;
    from.flag("granted")
}

/// What a follower answered to an AppendEntries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Its log equals the leader's up to this entry.
    Matches(Option<Place>),
    /// Its log differs, or it knows a higher term.
    Refused,
}

/// Reads the answer to an AppendEntries.
///
/// # Errors
/// The bytes are no such answer.
pub fn appended(bytes: &[u8]) -> Result<Appended, CodecError> {
    let mut from = open(bytes, Kind::StreamAppendAnswer)?;
    if from.u8("answer")? != MATCHED {
        return Ok(Appended::Refused);
    }
    let matching =
        from.option("matching", |from| Ok((from.number("term")?, from.number("index")?)))?;
    Ok(Appended::Matches(matching))
}

enum IsElected {
    Yes,
    No,
}

fn begin(kind: Kind) -> Writer {
    let mut to = Writer::new();
    to.u8(VERSION);
    to.u8(kind as u8);
    to
}

fn open(bytes: &[u8], expected: Kind) -> Result<Reader<'_>, CodecError> {
    let mut from = Reader::new(bytes);
    from.u8("version")?;
    let (found, expected) = (from.u8("kind")?, expected as u8);
    if found == expected { Ok(from) } else { Err(CodecError::Kind { found, expected }) }
}

fn vote(to: &mut Writer, term: u64, node: u64, elected: IsElected) {
    to.u64(term);
    to.u64(node);
    to.u8(match elected {
        IsElected::Yes => 1,
        IsElected::No => 0,
    });
}

fn skip_vote(from: &mut Reader<'_>) -> Result<(), CodecError> {
    from.number("term")?;
    from.number("node")?;
    from.flag("elected").map(drop)
}

fn place(to: &mut Writer, (term, index): &Place) {
    to.u64(*term);
    to.u64(*index);
}

fn membership(to: &mut Writer, voters: &[(u64, String)]) {
    to.count(1);
    to.count(voters.len());
    for (id, _) in voters {
        to.u64(*id);
    }
    to.count(voters.len());
    for (id, name) in voters {
        to.u64(*id);
        to.bytes(name.as_bytes());
    }
}
