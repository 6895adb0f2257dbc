//! Bytes of the data directory, measured now and then: new proposals are refused before it is full.

use std::time::Duration;

use quorate_proto::{error_code::ErrorCode, problem::Problem};
use quorate_store::{Quota, StoreUsage};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// Between two measurements; the headroom above the quota holds far more than this brings.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// The newest measurement. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreWatch {
    usage: watch::Receiver<StoreUsage>,
}

impl StoreWatch {
    /// Measures `quota` until `stop`. The first measurement is made here.
    ///
    /// # Errors
    /// The disk cannot be measured.
    pub fn start(quota: Quota, stop: CancellationToken) -> std::io::Result<Self> {
        let (tell, usage) = watch::channel(quota.measure()?);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(MEASURE_EVERY) => {}
                }
                let quota = quota.clone();
                match tokio::task::spawn_blocking(move || quota.measure()).await {
                    Ok(Ok(usage)) => {
                        tell.send_replace(usage);
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "the store cannot be measured"),
                    Err(error) => tracing::warn!(%error, "the store cannot be measured"),
                }
            }
        });
        Ok(Self { usage })
    }

    /// Bytes used and allowed.
    pub fn usage(&self) -> StoreUsage {
        *self.usage.borrow()
    }

    /// Refuses new work while the quota is used up; votes, reports and abandons still pass.
    ///
    /// # Errors
    /// `STORE_QUOTA`.
    pub fn admit_new(&self) -> Result<(), Box<Problem>> {
        let usage = self.usage();
        if !usage.is_exceeded() {
            return Ok(());
        }
        let StoreUsage { used, quota } = usage;
        let what = format!("the store uses {used} of {quota} bytes, so nothing new is opened");
        Err(Box::new(
            Problem::new(ErrorCode::StoreQuota, what)
                .with("used", used)
                .with("quota", quota)
                .command("quorate status"),
        ))
    }
}
