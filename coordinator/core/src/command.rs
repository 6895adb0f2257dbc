//! What one Raft entry asks of the machine, and its bytes.
//!
//! Signatures are verified before a command enters the Raft log, and again by every coordinator
//! before it certifies what came of it. `apply` does not verify: it counts.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::agent_statement::{Claim, Observe, Report};
use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, Digest, KeyName};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::DecisionNumber;
use quorate_attest::operator_statement::{Act, Override, Pause};
use quorate_attest::proposal::Proposal;
use quorate_attest::refusal::Refusal;
use quorate_attest::signed::Signed;
use quorate_attest::vote::{Veto, Vote};

/// The place of an entry in the Raft log.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, BorshSerialize, BorshDeserialize,
)]
pub struct LogId {
    /// Raft's term.
    pub term: u64,
    /// Raft's log index.
    pub index: u64,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// The version of the machine's rules. It rises by an entry, once every coordinator supports it;
/// the rules of older versions stay in this crate.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct MachineVersion(pub u32);

impl MachineVersion {
    /// The first version; every log starts with it.
    pub const FIRST: Self = Self(1);
    /// The highest version this crate can apply.
    pub const SUPPORTED: Self = Self(1);
}

impl fmt::Display for MachineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// Who asked, under which id: the same request asked again gets the first answer.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Request {
    /// Chosen by the caller, at random.
    pub id: [u8; 16],
    /// The authenticated caller.
    pub caller: KeyName,
    /// Digest of what was asked, so that an id used for something else is noticed.
    pub digest: Digest,
}

/// One entry of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Command {
    /// The rules to apply it by.
    pub version: MachineVersion,
    /// The leader's clock when it proposed the entry. `apply` never lets time fall.
    pub time: LogTime,
    /// Present where a client asked.
    pub request: Option<Request>,
    /// What is asked.
    pub body: Body,
}

/// What an entry asks.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Body {
    /// Start the log with its first charter.
    Found(Signed<Charter>),
    /// Open a proposal. The coordinator vouches for its `proposer` (mutual TLS).
    Open(Proposal),
    /// Count a validator's vote.
    Vote(Signed<Vote>),
    /// End an open proposal: by an operator a veto, by the proposer a withdrawal.
    Veto(Signed<Veto>),
    /// Take note of an agent's facts.
    Observe(Signed<Observe>),
    /// Reserve the right to start a decision.
    Claim(Signed<Claim>),
    /// Take an executor's report.
    Report(Signed<Report>),
    /// Record an operators' override.
    Override(Signed<Override>),
    /// Record an operator's act.
    Act(Signed<Act>),
    /// Record an operators' pause, or its end.
    Pause(Signed<Pause>),
    /// Put the next charter into force.
    Amend(Signed<Charter>),
    /// Coordinators' refusals to certify a decision.
    Refuse(Vec<Signed<Refusal>>),
    /// Re-issue a silent decision to the same executors under the next token.
    Continue {
        /// The guarded cluster.
        cluster: ClusterId,
        /// The decision that holds its slot.
        number: DecisionNumber,
    },
    /// A coordinator says which machine version it can apply.
    Support {
        /// The coordinator's id.
        coordinator: u64,
        /// The highest version it can apply.
        version: MachineVersion,
    },
    /// Nothing but the passage of time.
    Tick,
}

/// Bytes that are no command this replica can apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The leading format byte is unknown.
    #[error("the command has format {have}, this replica reads {want}")]
    Format {
        /// The byte found; `None` for no byte at all.
        have: u8,
        /// The byte this crate writes.
        want: u8,
    },
    /// There is no byte at all.
    #[error("the command is empty")]
    Empty,
    /// The bytes do not parse, or would be written differently.
    #[error("the command is not canonical: {why}")]
    NotCanonical {
        /// What the decoder said.
        why: String,
    },
    /// A newer machine made it. The replica must stop: it cannot know what the entry means.
    #[error("the command needs machine {have}, this replica supports up to {supported}")]
    TooNew {
        /// The command's version.
        have: MachineVersion,
        /// The highest this crate can apply.
        supported: MachineVersion,
    },
}

/// Leads every encoded command.
const FORMAT: u8 = 1;

impl Command {
    /// A command of the first version without a request, as the leader makes for itself.
    #[must_use]
    pub fn internal(time: LogTime, body: Body) -> Self {
        Self { version: MachineVersion::FIRST, time, request: None, body }
    }

    /// The bytes of the Raft entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        #[expect(clippy::expect_used, reason = "writing into memory cannot fail")]
        borsh::to_writer(&mut bytes, self).expect("a vector takes every byte");
        bytes
    }

    /// Reads the bytes of a Raft entry.
    ///
    /// # Errors
    /// Refuses unknown formats, bytes that are not canonical, and versions above
    /// [`MachineVersion::SUPPORTED`]; the last is a fault of this replica, which must stop.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let (&format, rest) = bytes.split_first().ok_or(CommandError::Empty)?;
        if format != FORMAT {
            return Err(CommandError::Format { have: format, want: FORMAT });
        }
        // The version leads the body, so a newer layout behind it is told from garbage.
        if let Some(&version) = rest.first_chunk::<4>() {
            let have = MachineVersion(u32::from_le_bytes(version));
            if have > MachineVersion::SUPPORTED {
                return Err(CommandError::TooNew { have, supported: MachineVersion::SUPPORTED });
            }
        }
        let command: Self = borsh::from_slice(rest)
            .map_err(|error| CommandError::NotCanonical { why: error.to_string() })?;
        if command.encode() != bytes {
            return Err(CommandError::NotCanonical {
                why: "it would be written differently".into(),
            });
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tick() -> Command {
        Command::internal(LogTime::new(1_790_000_000_000).unwrap(), Body::Tick)
    }

    /// Frozen: an entry of every released version must decode for ever.
    #[test]
    fn the_bytes_of_an_entry_are_frozen() {
        let mut bytes = vec![1, 1, 0, 0, 0];
        bytes.extend_from_slice(&1_790_000_000_000_u64.to_le_bytes());
        bytes.extend_from_slice(&[0, 14]);
        assert_eq!(tick().encode(), bytes);
        assert_eq!(Command::decode(&bytes), Ok(tick()));
    }

    #[test]
    fn a_newer_entry_stops_the_replica_before_anything_else_is_read() {
        let mut bytes = tick().encode();
        bytes[1] = 2;
        bytes.truncate(6);
        let refused = Command::decode(&bytes);
        assert!(matches!(refused, Err(CommandError::TooNew { .. })), "{refused:?}");
        assert_eq!(Command::decode(&[]), Err(CommandError::Empty));
        assert_eq!(Command::decode(&[9]), Err(CommandError::Format { have: 9, want: 1 }));
        let mut long = tick().encode();
        long.push(0);
        assert!(matches!(Command::decode(&long), Err(CommandError::NotCanonical { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Some(format) = bytes.first_mut() {
                *format = 1;
            }
            if let Ok(command) = Command::decode(&bytes) {
                prop_assert_eq!(command.encode(), bytes);
            }
        }
    }
}
