//! What a snapshot covers, and the parts it travels in.

use quorate_attest::id::Digest;
use quorate_attest::merkle::Hash;

use crate::codec::{CodecError, Kind, Reader, Record, Writer};
use crate::table::leaf::LEAF_BYTES_MAX;
use crate::table::snapshot::ROW_BYTES;
use crate::type_config::SnapshotMeta;

/// The largest state a snapshot can carry, in bytes.
pub const STATE_BYTES_MAX: u64 = 512 << 20;

/// The most leaves in one chunk: each takes at least its length on the wire.
const CHUNK_LEAVES_MAX: usize = ROW_BYTES / 4;

/// What a snapshot covers, with everything needed to check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The last entry it contains, and the membership at that point.
    pub meta: SnapshotMeta,
    /// The length of the machine's state.
    pub state_bytes: u64,
    /// SHA-256 of the machine's state.
    pub state_digest: [u8; 32],
    /// The number of leaves the machine has produced.
    pub leaves: u64,
    /// The Merkle root over exactly these leaves.
    pub root: Hash,
}

/// SHA-256 of a state.
pub(crate) fn digest(state: &[u8]) -> [u8; 32] {
    *Digest::of(state).as_bytes()
}

impl Record for SnapshotHeader {
    const KIND: Kind = Kind::SnapshotHeader;

    fn write(&self, to: &mut Writer) {
        self.meta.write(to);
        to.u64(self.state_bytes);
        to.fixed(&self.state_digest);
        to.u64(self.leaves);
        to.fixed(self.root.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let meta = SnapshotMeta::read(from)?;
        let state_bytes = from.number("state bytes")?;
        if state_bytes > STATE_BYTES_MAX {
            return Err(CodecError::Bounds {
                field: "state bytes",
                found: state_bytes,
                min: 0,
                max: STATE_BYTES_MAX,
            });
        }
        let state_digest = from.array("state digest")?;
        let leaves = from.number("leaves")?;
        let root = Hash::from_bytes(from.array("root")?);
        Ok(Self { meta, state_bytes, state_digest, leaves, root })
    }
}

/// A part of a snapshot's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChunk {
    /// The next row of the state.
    State(Vec<u8>),
    /// Consecutive leaves.
    Leaves {
        /// The index of the first.
        first: u64,
        /// Their bytes; never empty.
        leaves: Vec<Vec<u8>>,
    },
}

const STATE: u8 = 0;
const LEAVES: u8 = 1;

impl Record for SnapshotChunk {
    const KIND: Kind = Kind::SnapshotChunk;

    fn write(&self, to: &mut Writer) {
        match self {
            SnapshotChunk::State(row) => {
                to.u8(STATE);
                to.bytes(row);
            }
            SnapshotChunk::Leaves { first, leaves } => {
                to.u8(LEAVES);
                to.u64(*first);
                to.count(leaves.len());
                for leaf in leaves {
                    to.bytes(leaf);
                }
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        match from.u8("chunk")? {
            STATE => Ok(SnapshotChunk::State(from.bytes("state row", ROW_BYTES)?.to_vec())),
            LEAVES => {
                let first = from.number("first leaf")?;
                let count = from.count("leaves", CHUNK_LEAVES_MAX)?;
                if count == 0 {
                    return Err(CodecError::Inconsistent {
                        field: "leaves",
                        reason: "a chunk of leaves is not empty",
                    });
                }
                let mut leaves = Vec::new();
                for _ in 0..count {
                    leaves.push(from.bytes("leaf", LEAF_BYTES_MAX)?.to_vec());
                }
                Ok(SnapshotChunk::Leaves { first, leaves })
            }
            found => Err(CodecError::Tag { field: "chunk", found }),
        }
    }
}
