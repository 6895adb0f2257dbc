//! A commit that hangs: neither acknowledged nor refused, so somebody has to notice.
//!
//! A disk that stops answering leaves the writer inside one fsync for ever. Raft would wait just as
//! long, silently: no callback, no error, a leader that accepts and never commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::disk::StoreFile;
use crate::fault::{Fault, FaultCell};

/// A commit that takes longer than this is a fault: whoever waits would wait for ever.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// Notices a commit that neither succeeds nor fails.
#[derive(Debug, Clone)]
pub(crate) struct StallWatch {
    file: StoreFile,
    started: Instant,
    /// Milliseconds after `started` at which the running commit began; [`IDLE`] or [`ENDED`].
    busy_since_ms: Arc<AtomicU64>,
}

const IDLE: u64 = u64::MAX;
const ENDED: u64 = u64::MAX - 1;

impl StallWatch {
    pub(crate) fn new(file: StoreFile) -> Self {
        let busy_since_ms = Arc::new(AtomicU64::new(IDLE));
        Self { file, started: Instant::now(), busy_since_ms }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(ENDED - 1)
    }

    pub(crate) fn begin(&self) {
        self.busy_since_ms.store(self.elapsed_ms(), Ordering::Release);
    }

    pub(crate) fn finish(&self) {
        self.busy_since_ms.store(IDLE, Ordering::Release);
    }

    pub(crate) fn until_end(&self) -> impl Drop + use<> {
        struct End(Arc<AtomicU64>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.store(ENDED, Ordering::Release);
            }
        }
        End(Arc::clone(&self.busy_since_ms))
    }

    /// How long the running commit has been running.
    fn waited(&self) -> Option<Duration> {
        match self.busy_since_ms.load(Ordering::Acquire) {
            IDLE | ENDED => None,
            since => Some(Duration::from_millis(self.elapsed_ms().saturating_sub(since))),
        }
    }

    /// Looks every `period` whether a commit has been running for more than `max`.
    pub(crate) fn spawn(&self, fault: FaultCell, max: Duration, period: Duration) {
        let watch = self.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(period);
            while watch.busy_since_ms.load(Ordering::Acquire) != ENDED {
                tick.tick().await;
                if let Some(waited) = watch.waited().filter(|waited| *waited > max) {
                    fault.raise(Fault::Stalled { file: watch.file, waited });
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_that_hangs_is_a_fault_and_an_idle_writer_is_not() {
        let (max, period) = (Duration::from_millis(40), Duration::from_millis(5));
        let idle = FaultCell::new();
        let watch = StallWatch::new(StoreFile::Raft);
        watch.begin();
        watch.finish();
        watch.spawn(idle.clone(), max, period);

        let hanging = FaultCell::new();
        let watch = StallWatch::new(StoreFile::Leaves);
        watch.begin();
        watch.spawn(hanging.clone(), max, period);
        let fault = hanging.watch().wait().await;
        let Fault::Stalled { file, waited } = &*fault else { panic!("{fault}") };
        assert_eq!(*file, StoreFile::Leaves);
        assert!(*waited > max);
        assert!(idle.get().is_none());
    }
}
