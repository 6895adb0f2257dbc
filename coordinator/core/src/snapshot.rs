//! The state to and from bytes, and its hash.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::Digest;

use crate::command::MachineVersion;
use crate::state::{InvariantBroken, State};

/// Leads every snapshot.
const FORMAT: u8 = 1;

/// Bytes that are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Nothing at all.
    #[error("the snapshot is empty")]
    Empty,
    /// Another format.
    #[error("the snapshot has format {have}, this replica reads {want}")]
    Format {
        /// The byte found.
        have: u8,
        /// The byte this crate writes.
        want: u8,
    },
    /// The bytes do not parse, or would be written differently.
    #[error("the snapshot is not canonical: {why}")]
    NotCanonical {
        /// What the decoder said.
        why: String,
    },
    /// A newer machine made it: this replica does not have the rules in force. It must stop.
    #[error("the snapshot needs machine {have}, this replica supports up to {supported}")]
    TooNew {
        /// The version in force.
        have: MachineVersion,
        /// The highest this crate can apply.
        supported: MachineVersion,
    },
    /// The bytes parse, and say what cannot be.
    #[error(transparent)]
    Invariant(#[from] InvariantBroken),
}

pub(crate) fn write(state: &State) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    encode(state, &mut bytes);
    bytes
}

pub(crate) fn read(bytes: &[u8]) -> Result<State, SnapshotError> {
    let (&format, rest) = bytes.split_first().ok_or(SnapshotError::Empty)?;
    if format != FORMAT {
        return Err(SnapshotError::Format { have: format, want: FORMAT });
    }
    let state = State::try_from_slice(rest)
        .map_err(|error| SnapshotError::NotCanonical { why: error.to_string() })?;
    if write(&state) != bytes {
        return Err(SnapshotError::NotCanonical { why: "it would be written differently".into() });
    }
    let (have, supported) = (state.versions.in_force(), MachineVersion::SUPPORTED);
    if have > supported {
        return Err(SnapshotError::TooNew { have, supported });
    }
    state.validate()?;
    Ok(state)
}

/// SHA-256 of a value's bytes.
pub(crate) fn digest(value: &impl BorshSerialize) -> Digest {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    Digest::of(&bytes)
}

fn encode(value: &impl BorshSerialize, bytes: &mut Vec<u8>) {
    #[expect(clippy::expect_used, reason = "a vector takes every byte, and our maps are bounded")]
    borsh::to_writer(bytes, value).expect("writing into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_under_rules_that_are_not_here_is_refused() {
        let mut bytes = write(&State::default());
        assert_eq!(read(&bytes), Ok(State::default()));
        // Format, last entry applied, log time; then the version in force.
        let at = 1 + 16 + 8;
        assert_eq!(bytes[at..at + 4], MachineVersion::FIRST.0.to_le_bytes());
        let have = MachineVersion(MachineVersion::SUPPORTED.0 + 1);
        bytes[at..at + 4].copy_from_slice(&have.0.to_le_bytes());
        let supported = MachineVersion::SUPPORTED;
        assert_eq!(read(&bytes), Err(SnapshotError::TooNew { have, supported }));
    }
}
