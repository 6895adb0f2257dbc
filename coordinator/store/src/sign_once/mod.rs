//! The sign-once store: what this coordinator signed, durable before it is released.
//!
//! Serves *sign-once* and *log-append-only*: never two roots at one size, never a head that is not
//! an extension of the last one, never both a refusal of a decision and a cosignature under that
//! decision alone. Whoever holds this file's key signs through here or not at all: the store owns
//! the signer.
//!
//! Check and write are one transaction of one owner. A crash between the commit and the release
//! gives the same signature again; a crash before the commit gives none. The file is in no
//! snapshot, no backup and no recovery: those would roll it back, and a coordinator that forgot
//! what it signed is a liar.

mod file;
mod record;
mod rules;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;

use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::cosignature::Cosignature;
use quorate_attest::key::VerifierKey;
use quorate_attest::log_time::CosignTime;
use quorate_attest::number::LeafIndex;
use quorate_attest::refusal::Refusal;
use quorate_attest::signed::Signed;
use tokio::sync::{mpsc, oneshot};

pub(crate) use file::create_tables;
pub use file::{SignOnceError, SignOnceFile};
pub use record::{ForkEvidence, RefusedLeaf, SignedHead};
pub use rules::SignRefused;

use crate::disk::StoreFile;
use crate::fault::{Fault, FaultCell};
use crate::leaves::LeavesView;
use crate::writer::WriterMode;

/// A head to cosign.
#[derive(Debug, Clone)]
pub struct HeadRequest {
    /// Origin, size and root; of this replica's own tree.
    pub checkpoint: Checkpoint,
    /// The wall clock, in seconds.
    pub time: CosignTime,
    /// Leaves of refused decisions which this head also voids or abandons.
    pub resolved: BTreeSet<LeafIndex>,
}

/// Sends requests to the owner of the file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignOnce {
    requests: mpsc::Sender<Request>,
    key: VerifierKey,
    fault: FaultCell,
}

/// Requests that wait; the signing task sends one at a time.
const QUEUE_MAX: usize = 64;

enum Request {
    Cosign { request: HeadRequest, tree: Box<LeavesView>, answer: Answer<Cosignature> },
    Refuse { refusal: Refusal, time: CosignTime, answer: Answer<Signed<Refusal>> },
    Head { answer: Answer<Option<SignedHead>> },
    Refusals { answer: Answer<Vec<RefusedLeaf>> },
    Evidence { answer: Answer<Vec<ForkEvidence>> },
    Stop,
}

type Answer<T> = oneshot::Sender<Result<T, SignRefused>>;

impl SignOnce {
    /// Cosigns a head if nothing that was signed before stands against it. `tree` is this
    /// replica's own tree, of at least the requested size.
    ///
    /// # Errors
    /// [`SignRefused`] names what stands against it; see its variants for what to do.
    pub async fn cosign(
        &self,
        request: HeadRequest,
        tree: LeavesView,
    ) -> Result<Cosignature, SignRefused> {
        let tree = Box::new(tree);
        self.ask(|answer| Request::Cosign { request, tree, answer }).await
    }

    /// Signs the refusal of one decision, or returns the refusal of that leaf which was signed
    /// first.
    ///
    /// # Errors
    /// [`SignRefused::AlreadyCosigned`] if a head with the decision was cosigned;
    /// [`SignRefused::Diverged`] after final evidence: nothing is ever signed again.
    pub async fn refuse(
        &self,
        refusal: Refusal,
        time: CosignTime,
    ) -> Result<Signed<Refusal>, SignRefused> {
        self.ask(|answer| Request::Refuse { refusal, time, answer }).await
    }

    /// The head signed last: what peers' answers are compared with after a start.
    ///
    /// # Errors
    /// The fault, if this replica has stopped.
    pub async fn head(&self) -> Result<Option<SignedHead>, SignRefused> {
        self.ask(|answer| Request::Head { answer }).await
    }

    /// Every refusal signed so far, by leaf.
    ///
    /// # Errors
    /// The fault, if this replica has stopped.
    pub async fn refusals(&self) -> Result<Vec<RefusedLeaf>, SignRefused> {
        self.ask(|answer| Request::Refusals { answer }).await
    }

    /// Two roots at one size, as they were met. Not empty means: find out who lied.
    ///
    /// # Errors
    /// The fault, if this replica has stopped.
    pub async fn evidence(&self) -> Result<Vec<ForkEvidence>, SignRefused> {
        self.ask(|answer| Request::Evidence { answer }).await
    }

    /// The key this store signs with.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, SignRefused> {
        self.fault.check()?;
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| SignRefused::Closed)?;
        answered.await.map_err(|_| self.gone())?
    }

    fn gone(&self) -> SignRefused {
        match self.fault.get() {
            Some(fault) => SignRefused::Fault(fault),
            None => SignRefused::Closed,
        }
    }
}

/// Stops and joins the owner.
pub(crate) struct SignOnceGuard {
    requests: mpsc::Sender<Request>,
    running: Running,
}

enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl SignOnceGuard {
    /// Finishes what is queued, then waits until the file is closed and its lock released.
    pub(crate) async fn close(self) {
        // An owner that is gone already needs no order.
        drop(self.requests.send(Request::Stop).await);
        match self.running {
            Running::Thread(thread) => {
                drop(tokio::task::spawn_blocking(move || drop(thread.join())).await);
            }
            Running::Task(task) => drop(task.await),
        }
    }
}

/// Starts the owner of an opened file.
pub(crate) fn start(
    file: SignOnceFile,
    fault: FaultCell,
    mode: WriterMode,
) -> std::io::Result<(SignOnce, SignOnceGuard)> {
    let (requests, mut queue) = mpsc::channel(QUEUE_MAX);
    let handle =
        SignOnce { requests: requests.clone(), key: file.key().clone(), fault: fault.clone() };
    let mut owner = Owner { file, fault };
    let running = match mode {
        WriterMode::Thread => {
            let thread = std::thread::Builder::new().name(format!("write {}", StoreFile::SignOnce));
            Running::Thread(thread.spawn(move || {
                while let Some(request) = queue.blocking_recv() {
                    if owner.serve(request).is_break() {
                        return;
                    }
                }
            })?)
        }
        WriterMode::Task { fsync } => Running::Task(tokio::spawn(async move {
            while let Some(request) = queue.recv().await {
                tokio::time::sleep(fsync).await;
                if owner.serve(request).is_break() {
                    return;
                }
            }
        })),
    };
    Ok((handle, SignOnceGuard { requests, running }))
}

struct Owner {
    file: SignOnceFile,
    fault: FaultCell,
}

impl Owner {
    fn serve(&mut self, request: Request) -> std::ops::ControlFlow<()> {
        match request {
            Request::Cosign { request, tree, answer } => {
                let signed = self.guarded(|file| file.cosign(&request, &*tree));
                // A caller that went away has lost nothing: the signature is stored.
                drop(answer.send(signed));
            }
            Request::Refuse { refusal, time, answer } => {
                let refused = self.guarded(|file| file.refuse(refusal, time));
                drop(answer.send(refused));
            }
            Request::Head { answer } => drop(answer.send(self.guarded(|file| Ok(file.head()?)))),
            Request::Refusals { answer } => {
                drop(answer.send(self.guarded(|file| Ok(file.refusals()?))));
            }
            Request::Evidence { answer } => {
                drop(answer.send(self.guarded(|file| Ok(file.evidence()?))));
            }
            Request::Stop => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }

    /// No signature leaves after a fault, and a failing file becomes one.
    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&mut SignOnceFile) -> Result<T, SignOnceError>,
    ) -> Result<T, SignRefused> {
        self.fault.check()?;
        match act(&mut self.file) {
            Ok(value) => {
                self.fault.check()?;
                Ok(value)
            }
            Err(SignOnceError::Refused(refused)) => Err(refused),
            Err(SignOnceError::Fault(fault)) => Err(SignRefused::Fault(self.fault.raise(fault))),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fault.raise(Fault::WriterEnded { file: StoreFile::SignOnce });
        }
    }
}

impl From<Arc<Fault>> for SignRefused {
    fn from(fault: Arc<Fault>) -> Self {
        SignRefused::Fault(fault)
    }
}
