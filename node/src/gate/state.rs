//! `gate.state`: what the agent believed last, so that the gate can judge while no agent answers.
//!
//! The gate believes the agent's file as little as the agent believed the coordinators: the head
//! must be cosigned by k of the charter in force, be of the pinned charter's log, and have the root
//! of the history beside it. What only the history says (who is dead) is as safe as the agent's
//! journal, which lies in the same directory.

use std::path::{Path, PathBuf};

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, Digest, KeyName, MemberId};
use quorate_attest::log_time::{CosignTime, LogTime};
use thiserror::Error;

use super::durable;
use crate::journal::Pinned;
use crate::trust::{Anchor, Trust, TrustRefused, View};

/// First line of the file; the digest of the rest is the second.
const HEADER: &str = "quorate-gate-state/v1\n";
/// The largest file that is written or read.
const BYTES_MAX: u64 = 64 << 20;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GateState {
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// The member whose gate reads it.
    pub member: MemberId,
    /// The newest verified head and the history below it.
    pub pinned: Pinned,
    /// Two heads that contradict each other, if there are such.
    pub alarm: Option<[Vec<u8>; 2]>,
    /// The log time of the leaf with which this agent saw its member tombstoned.
    pub dead_since: Option<LogTime>,
}

/// Why nothing is known of the log.
#[derive(Debug, Error)]
pub enum NotKnown {
    /// The agent never wrote one.
    #[error("there is no {path}: the agent has not verified any state yet")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It was written for another member.
    #[error("{path} is of {found}, not of {wanted}")]
    Other {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// It does not hold against the pinned charter.
    #[error("the state in {path} does not hold: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<TrustRefused>,
    },
    /// A coordinator signed later than now: this clock, or that one, is wrong.
    #[error("{name} cosigned the head at {}, which this machine's clock has not reached", time.utc())]
    Future {
        /// The coordinator.
        name: KeyName,
        /// Its time.
        time: CosignTime,
    },
}

/// A state that holds, with what the log does not say.
#[derive(Debug, Clone)]
pub struct Known {
    /// What the verified log says.
    pub view: View,
    /// Since when this agent knows that its member is tombstoned.
    pub dead_since: Option<LogTime>,
}

impl GateState {
    /// Where it lies in an agent's data directory.
    #[must_use]
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("gate.state")
    }

    /// Writes it, durably and whole.
    ///
    /// # Errors
    /// The disk fails, or it is larger than what is read back.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let body = borsh::to_vec(self)?;
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend(format!("{}\n", Digest::of(&body)).as_bytes());
        bytes.extend(body);
        if bytes.len() as u64 > BYTES_MAX {
            return Err(std::io::Error::other(format!("it has {} bytes", bytes.len())));
        }
        durable::replace(path, &bytes)
    }

    /// Reads the state of `member` as it was written.
    ///
    /// # Errors
    /// [`NotKnown`].
    pub fn read(path: &Path, cluster: &ClusterId, member: &MemberId) -> Result<Self, NotKnown> {
        let file = || path.to_owned();
        let bytes = durable::read(path, BYTES_MAX)
            .map_err(|source| NotKnown::Unreadable { path: file(), source })?
            .ok_or_else(|| NotKnown::Missing { path: file() })?;
        let damaged = || NotKnown::Damaged { path: file() };
        let rest = bytes.strip_prefix(HEADER.as_bytes()).ok_or_else(damaged)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let (digest, body) = (&rest[..end], &rest[end + 1..]);
        if digest != Digest::of(body).to_string().as_bytes() {
            return Err(damaged());
        }
        let state: Self = borsh::from_slice(body).map_err(|_| damaged())?;
        if state.cluster != *cluster || state.member != *member {
            return Err(NotKnown::Other {
                path: file(),
                found: format!("{}/{}", state.cluster, state.member),
                wanted: format!("{cluster}/{member}"),
            });
        }
        Ok(state)
    }

    /// Verifies it against the pinned charter, but for its age.
    ///
    /// # Errors
    /// [`NotKnown`].
    pub fn verify(self, path: &Path, anchor: Anchor, now: LogTime) -> Result<Known, NotKnown> {
        let refused =
            |source| NotKnown::Refused { path: path.to_owned(), source: Box::new(source) };
        let mut trust = Trust::resume(anchor, &self.pinned).map_err(refused)?;
        if let Some(heads) = self.alarm {
            trust = trust.alarmed(heads);
        }
        let view = trust.view();
        if let (Some(history), Some(head)) = (view.history(), view.head()) {
            let latest = now.saturating_add(history.charter().skew).to_cosign_time();
            if let Some((name, time)) = head.cosigned().iter().find(|(_, time)| **time > latest) {
                return Err(NotKnown::Future { name: name.clone(), time: *time });
            }
        }
        Ok(Known { view, dead_since: self.dead_since })
    }
}
