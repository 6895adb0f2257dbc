//! Stop in order: not ready, hand leadership over, drain, close, join the writers.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::handle::Handle;

/// Handing over may take so long; then the quorum elects by itself.
const HAND_OVER: Duration = Duration::from_secs(3);

/// Hands leadership to the most current follower, and waits until somebody else leads. A follower
/// has nothing to hand over.
pub(crate) async fn hand_over(handle: &Handle) {
    if !handle.leads() {
        return;
    }
    let Some(to) = handle.most_current_follower() else { return };
    tracing::info!(to, "handing leadership over");
    if handle.transfer_leader(to).await.is_err() {
        return;
    }
    let another = timeout(HAND_OVER, async {
        while handle.leads() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    if another.await.is_err() {
        tracing::warn!(to, "nobody took leadership over in time");
    }
}
