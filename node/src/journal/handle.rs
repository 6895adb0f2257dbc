//! The journal's own thread: one owner, one writer, whose callers wait for the disk.

use std::thread;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::Journal;

type Job = Box<dyn FnOnce(&mut Journal) + Send>;

/// The journal's thread has ended, because the agent stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the journal is closed")]
pub struct JournalClosed;

/// Asks the journal's thread. Cheap to clone; the thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct JournalHandle {
    jobs: mpsc::UnboundedSender<Job>,
}

impl JournalHandle {
    /// Gives `journal` a thread of its own.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn spawn(mut journal: Journal) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
        let owner = thread::Builder::new().name("journal".into()).spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut journal);
            }
        })?;
        Ok((Self { jobs }, owner))
    }

    /// Runs `ask` on the journal and returns its answer: what it wrote is durable by then.
    ///
    /// # Errors
    /// [`JournalClosed`] if the thread has ended.
    pub async fn with<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Journal) -> T + Send + 'static,
    ) -> Result<T, JournalClosed> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |journal| {
            // A caller that went away does not undo what is durable.
            let _gone = reply.send(ask(journal));
        });
        self.jobs.send(job).map_err(|_| JournalClosed)?;
        answer.await.map_err(|_| JournalClosed)
    }
}
