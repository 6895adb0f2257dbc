//! This machine's clock, as an input: nothing but `app.rs` reads the real one.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use quorate_attest::log_time::LogTime;

/// Where *now* comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> LogTime + Send + Sync>);

impl Clock {
    /// The wall clock; before September 2001 it is September 2001.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            LogTime::new(ms).unwrap_or(LogTime::MIN)
        })
    }

    /// A clock of the caller's.
    #[must_use]
    pub fn new(now: impl Fn() -> LogTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> LogTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Clock({})", self.now())
    }
}
