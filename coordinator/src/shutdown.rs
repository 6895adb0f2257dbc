//! Stop in order: not ready, hand leadership over, drain, close, join the writers.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use crate::handle::Handle;

/// Handing over may take so long; then the quorum elects by itself.
const HAND_OVER: Duration = Duration::from_secs(3);

/// Resolves at the first SIGTERM or SIGINT.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn signalled() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

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
