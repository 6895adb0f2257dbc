//! The local clock: what the leader stamps, what the door and the cosigner compare with.
//!
//! It is read here and nowhere else, and handed around as a value, so that a simulation or a test
//! can give one coordinator a clock of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use quorate_attest::log_time::{CosignTime, LogTime, Span};

/// How far a log time may lie ahead of a coordinator's own clock: at Raft's door and before a
/// cosignature.
pub const SKEW_MS_MAX: u64 = 2_000;

/// The smallest log time there is: a clock that stands before it is not set.
const LOG_TIME_MS_MIN: u64 = 1_000_000_000_000;

/// A wall clock, shifted by an amount that is 0 everywhere but in simulations and tests.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    shift_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that differs from the machine's by what `shift_ms` holds at each reading.
    pub fn shifted(shift_ms: Arc<AtomicI64>) -> Self {
        Self { shift_ms }
    }

    /// Milliseconds since 1970; never before the smallest log time.
    pub fn now_ms(&self) -> u64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX >> 1);
        wall_ms.saturating_add_signed(self.shift_ms.load(Ordering::Relaxed)).max(LOG_TIME_MS_MIN)
    }

    /// The same as log time.
    pub fn now(&self) -> LogTime {
        // now_ms() is within the bounds of a log time: at least its floor, far below 2^63.
        LogTime::new(self.now_ms()).unwrap_or(LogTime::MIN)
    }

    /// The same in whole seconds, as cosignatures carry it.
    pub fn cosign_time(&self) -> CosignTime {
        self.now().to_cosign_time()
    }

    /// Whether `time` lies further ahead than two honest clocks can differ.
    pub fn is_ahead(&self, time: LogTime) -> bool {
        time.since(self.now()) > Span::from_millis(SKEW_MS_MAX)
    }
}
