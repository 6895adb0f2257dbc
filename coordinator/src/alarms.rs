//! Alarms in the leader's log: each once, by whoever led when its entry was applied.
//!
//! The log line is for people who read logs. What holds is the replicated state: `status`,
//! `incident list` and the metric `quorate_escalations` show the same at every coordinator, also
//! where the leader died between the entry and its line.

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;

/// Writes alarms to the log while this replica leads, until `stop`.
pub(crate) async fn tell(handle: Handle, stop: CancellationToken) {
    let mut alarms = handle.alarms();
    loop {
        let raised = tokio::select! {
            () = stop.cancelled() => return,
            raised = alarms.recv() => raised,
        };
        match raised {
            Ok(raised) if handle.leads() => {
                tracing::warn!(entry = raised.at.index, alarm = %raised.alarm, "alarm");
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "alarms were not logged"),
            Err(RecvError::Closed) => return,
        }
    }
}
