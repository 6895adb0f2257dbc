//! The writer: the one owner of a file's write transactions, with group commit.
//!
//! Everybody else queues jobs and reads from memory. The writer takes whatever is queued, runs it
//! in queue order inside one transaction, commits, and completes the jobs in the same order. Group
//! commit comes by itself: what arrives during an fsync goes into the next one.
//!
//! Invariants (acknowledged-never-lost):
//! * a job is completed only after the commit that holds it, and after every job before it;
//! * votes and entries go through one queue and one stream of transactions, never reordered;
//! * after the first failure nothing is acknowledged: each later job gets the fault.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, Durability, WriteTransaction};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::disk::StoreFile;
use crate::fault::{Fault, FaultCell};
use crate::stall::{STALL_MAX, StallWatch};

/// The largest number of jobs in one transaction.
const GROUP_MAX: usize = 1024;

/// The answer to a job: done, or the fault that stops this replica.
pub(crate) type Ack = oneshot::Sender<Result<(), Arc<Fault>>>;

/// One kind of job for one file.
pub(crate) trait Operation: Sized + Send + 'static {
    /// The file.
    const FILE: StoreFile;
    /// Whether durable commits also save the allocator's state, so that a large file opens fast.
    const QUICK_REPAIR: bool;
    /// What the writer remembers between transactions.
    type State: Send + 'static;

    /// Whether the transaction that holds this job must be fsynced before the job completes.
    fn is_durable(&self) -> bool;

    /// Runs a group in order inside one transaction.
    fn run(
        group: &mut [Self],
        transaction: &WriteTransaction,
        state: &mut Self::State,
    ) -> Result<(), Fault>;

    /// Tells whoever waits.
    fn complete(self, result: Result<(), Arc<Fault>>);
}

/// How a writer runs.
#[derive(Debug, Clone, Copy)]
pub enum WriterMode {
    /// On its own operating-system thread: for every real disk.
    Thread,
    /// As a task that sleeps `fsync` before each durable commit: for the simulation, where real
    /// threads would break determinism.
    Task {
        /// The simulated duration of one fsync.
        fsync: Duration,
    },
}

/// Called after each durable commit with the file and the time it took: for metrics.
pub type CommitObserver = Arc<dyn Fn(StoreFile, Duration) + Send + Sync>;

enum Job<O> {
    Work(O),
    Stop,
}

/// Queues jobs for a writer. Cheap to clone.
pub(crate) struct WriterHandle<O> {
    jobs: UnboundedSender<Job<O>>,
    fault: FaultCell,
}

impl<O> Clone for WriterHandle<O> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), fault: self.fault.clone() }
    }
}

impl<O: Operation> WriterHandle<O> {
    /// Queues a job. It completes with an error at once if this replica has stopped.
    pub(crate) fn submit(&self, operation: O) {
        if let Err(fault) = self.fault.check() {
            return operation.complete(Err(fault));
        }
        if let Err(mpsc::error::SendError(Job::Work(operation))) =
            self.jobs.send(Job::Work(operation))
        {
            let fault = self.fault.raise(Fault::WriterEnded { file: O::FILE });
            operation.complete(Err(fault));
        }
    }

    /// Queues the job that `make` builds around an acknowledgement, and waits for it.
    pub(crate) async fn run(&self, make: impl FnOnce(Ack) -> O) -> Result<(), Arc<Fault>> {
        let (ack, done) = oneshot::channel();
        self.submit(make(ack));
        done.await.unwrap_or_else(|_| Err(self.fault.raise(Fault::WriterEnded { file: O::FILE })))
    }
}

/// Stops and joins a writer.
pub(crate) struct WriterGuard {
    stop: Box<dyn FnOnce() + Send + Sync>,
    running: Running,
}

enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl WriterGuard {
    /// Finishes what is queued, then waits until the file is closed and its lock released.
    pub(crate) async fn close(self) {
        (self.stop)();
        // A writer that panicked has raised its fault already.
        match self.running {
            Running::Thread(thread) => {
                drop(tokio::task::spawn_blocking(move || drop(thread.join())).await);
            }
            Running::Task(task) => drop(task.await),
        }
    }
}

/// Starts the writer of one file. It owns the only lasting handle to the database.
pub(crate) fn start<O: Operation>(
    database: Arc<Database>,
    state: O::State,
    fault: FaultCell,
    mode: WriterMode,
    observer: Option<CommitObserver>,
) -> std::io::Result<(WriterHandle<O>, WriterGuard)> {
    let (jobs, queue) = mpsc::unbounded_channel();
    let handle = WriterHandle { jobs: jobs.clone(), fault: fault.clone() };
    let writer =
        Writer::<O> { database, queue, state, fault: fault.clone(), observer, ended: false };
    let running = match mode {
        WriterMode::Thread => {
            let watch = StallWatch::new(O::FILE);
            watch.spawn(fault, STALL_MAX, Duration::from_secs(1));
            let name = format!("write {}", O::FILE);
            let thread = std::thread::Builder::new().name(name);
            Running::Thread(thread.spawn(move || writer.run(&watch))?)
        }
        WriterMode::Task { fsync } => Running::Task(tokio::spawn(writer.run_simulated(fsync))),
    };
    // A queue that is already closed has nothing to stop.
    let stop = Box::new(move || drop(jobs.send(Job::Stop)));
    Ok((handle, WriterGuard { stop, running }))
}

struct Writer<O: Operation> {
    database: Arc<Database>,
    queue: UnboundedReceiver<Job<O>>,
    state: O::State,
    fault: FaultCell,
    observer: Option<CommitObserver>,
    ended: bool,
}

impl<O: Operation> Writer<O> {
    fn run(mut self, watch: &StallWatch) {
        let _watch = watch.until_end();
        while let Some(first) = self.queue.blocking_recv() {
            let group = self.group(first);
            watch.begin();
            let ended = self.commit(group);
            watch.finish();
            if ended {
                return;
            }
        }
    }

    async fn run_simulated(mut self, fsync: Duration) {
        while let Some(first) = self.queue.recv().await {
            let group = self.group(first);
            if group.iter().any(O::is_durable) {
                tokio::time::sleep(fsync).await;
            }
            if self.commit(group) {
                return;
            }
        }
    }

    /// What is queued right now, up to [`GROUP_MAX`] jobs or the order to stop.
    fn group(&mut self, first: Job<O>) -> Vec<O> {
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Work(operation) => group.push(operation),
                Job::Stop => {
                    self.ended = true;
                    break;
                }
            }
            if group.len() == GROUP_MAX {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        group
    }

    /// Commits a group and completes it in queue order. True when this writer is done.
    fn commit(&mut self, mut group: Vec<O>) -> bool {
        if group.is_empty() {
            return self.ended;
        }
        // A fault elsewhere stops this file too: nothing is written that nobody may rely on.
        let result = self
            .fault
            .check()
            .and_then(|()| self.transact(&mut group).map_err(|fault| self.fault.raise(fault)));
        // A stalled commit was given up while it ran; its late success must not be announced.
        let result = result.and_then(|()| self.fault.check());
        for operation in group {
            operation.complete(result.clone());
        }
        if result.is_err() {
            self.refuse_the_rest();
        }
        self.ended || result.is_err()
    }

    fn transact(&mut self, group: &mut [O]) -> Result<(), Fault> {
        let durable = group.iter().any(O::is_durable);
        let write = |source: redb::Error| Fault::write(O::FILE, source);
        let mut transaction = self.database.begin_write().map_err(|e| write(e.into()))?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).map_err(|e| write(e.into()))?;
        transaction.set_quick_repair(durable && O::QUICK_REPAIR);
        O::run(group, &transaction, &mut self.state)?;
        let begun = Instant::now();
        transaction.commit().map_err(|e| write(e.into()))?;
        if let Some(observer) = self.observer.as_ref().filter(|_| durable) {
            observer(O::FILE, begun.elapsed());
        }
        Ok(())
    }

    /// Completes with the fault whatever is still queued.
    fn refuse_the_rest(&mut self) {
        self.queue.close();
        while let Ok(job) = self.queue.try_recv() {
            if let (Job::Work(operation), Some(fault)) = (job, self.fault.get()) {
                operation.complete(Err(fault));
            }
        }
    }
}

impl<O: Operation> Drop for Writer<O> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fault.raise(Fault::WriterEnded { file: O::FILE });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job that records when it was written and when it was completed.
    struct Numbered {
        number: u64,
        is_durable: bool,
        done: UnboundedSender<(u64, bool)>,
    }

    impl Operation for Numbered {
        const FILE: StoreFile = StoreFile::Raft;
        const QUICK_REPAIR: bool = false;
        type State = Vec<u64>;

        fn is_durable(&self) -> bool {
            self.is_durable
        }

        fn run(
            group: &mut [Self],
            _: &WriteTransaction,
            written: &mut Vec<u64>,
        ) -> Result<(), Fault> {
            for job in group {
                if job.number == 700 {
                    return Err(Fault::LeafChanged { index: 700 });
                }
                assert_eq!(job.number, written.len() as u64, "out of order");
                written.push(job.number);
            }
            Ok(())
        }

        fn complete(self, result: Result<(), Arc<Fault>>) {
            self.done.send((self.number, result.is_ok())).unwrap();
        }
    }

    #[tokio::test]
    async fn jobs_complete_in_order_and_none_succeeds_after_a_failure() {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Arc::new(Database::builder().create_with_backend(backend).unwrap());
        let fault = FaultCell::new();
        let (handle, guard) =
            start::<Numbered>(database, Vec::new(), fault.clone(), WriterMode::Thread, None)
                .unwrap();
        let (done, mut answers) = mpsc::unbounded_channel();
        for number in 0..1_500 {
            let is_durable = number % 3 == 0;
            handle.submit(Numbered { number, is_durable, done: done.clone() });
        }
        guard.close().await;
        drop((handle, done));
        let mut succeeded = Vec::new();
        let mut failed = Vec::new();
        while let Some((number, is_ok)) = answers.recv().await {
            if is_ok {
                succeeded.push(number);
            } else {
                failed.push(number);
            }
        }
        // A whole group fails with its failing job; everything after it too, exactly once.
        assert_eq!(succeeded, (0..succeeded.len() as u64).collect::<Vec<_>>());
        assert!(succeeded.len() <= 700);
        failed.sort_unstable();
        assert_eq!(failed, (succeeded.len() as u64..1_500).collect::<Vec<_>>());
        assert!(fault.get().is_some());
    }
}
