//! The gatekeeper: the agent's side of the gate. It keeps `gate.state` as new as what is believed,
//! and serves the socket at which gates ask.
//!
//! A gate that says nothing, garbage or too much costs one of a few places for five seconds, and
//! nobody else's. No question makes this agent stop; a journal that fails does.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use quorate_attest::log_time::{CosignTime, LogTime};
use quorate_attest::number::{FencingToken, TreeSize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::judge::Who;
use super::permit::{Pending, Permits};
use super::state::GateState;
use super::wire::{Answer, CONVERSATION, QUESTION_BYTES_MAX, Question, short_path, socket_path};
use crate::clock::Clock;
use crate::journal::{JournalClosed, JournalError, JournalFault, JournalHandle, Pinned};
use crate::trust::View;

/// How many gates may talk at once. One member has one, and people try things.
const GATES_MAX: usize = 16;
/// How long to wait after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The agent must stop.
#[derive(Debug, Error)]
pub enum GatekeeperHalt {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The journal is closed.
    #[error(transparent)]
    Closed(#[from] JournalClosed),
}

/// What a gatekeeper shares with the rest of its agent.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Whose gate it serves.
    pub who: Who,
    /// The journal, in which a permission is consumed.
    pub journal: JournalHandle,
    /// The permission to start alone.
    pub permits: Permits,
    /// Now.
    pub clock: Clock,
}

/// Serves the gates of one member.
#[derive(Debug)]
pub struct Gatekeeper {
    desk: Desk,
    data_dir: PathBuf,
    listener: UnixListener,
    view: watch::Receiver<View>,
    dead_since: Option<LogTime>,
    written: Option<Written>,
}

/// What `gate.state` says already.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    size: TreeSize,
    as_of: CosignTime,
    alarm: Option<[Vec<u8>; 2]>,
}

type Flush = oneshot::Sender<Result<(), String>>;

impl Gatekeeper {
    /// Makes the socket in `data_dir` anew. The caller holds the journal, so that no other agent's
    /// socket is taken away.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn bind(desk: Desk, data_dir: PathBuf, view: watch::Receiver<View>) -> io::Result<Self> {
        let path = socket_path(&data_dir);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(failure) => return Err(failure),
        }
        let directory = std::fs::File::open(&data_dir)?;
        let listener = UnixListener::bind(short_path(&directory))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let before =
            GateState::read(&GateState::path(&data_dir), &desk.who.cluster, &desk.who.member);
        let dead_since = before.ok().and_then(|state| state.dead_since);
        Ok(Self { desk, data_dir, listener, view, dead_since, written: None })
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// [`GatekeeperHalt`] if the journal fails.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), GatekeeperHalt> {
        let (flush, mut flushes) = mpsc::channel::<Flush>(GATES_MAX);
        let mut talks: JoinSet<Result<(), GatekeeperHalt>> = JoinSet::new();
        let _kept = self.keep_state().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.view.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let _kept = self.keep_state().await;
                }
                Some(reply) = flushes.recv() => {
                    let _gone = reply.send(self.keep_state().await);
                }
                accepted = self.listener.accept() => match accepted {
                    // One more than there is place for is hung up on: its gate goes by the state.
                    Ok(_) if talks.len() >= GATES_MAX => {}
                    Ok((stream, _)) => {
                        let talk = converse(stream, self.desk.clone(), flush.clone());
                        talks.spawn(talk);
                    }
                    Err(failure) => {
                        tracing::warn!(%failure, "a gate could not be heard");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(talked) = talks.join_next() => {
                    // A conversation that panicked answered nobody, which is a refusal.
                    talked.unwrap_or(Ok(()))?;
                }
            }
        }
        // Gates that ask from now on find nobody, and go by the state.
        let _gone = std::fs::remove_file(socket_path(&self.data_dir));
        Ok(())
    }

    /// Writes what is believed now, unless it stands there already.
    async fn keep_state(&mut self) -> Result<(), String> {
        let view = self.view.borrow_and_update().clone();
        let (Some(history), Some(head), Some(note)) = (view.history(), view.head(), view.note())
        else {
            // Nothing is believed, so there is nothing a gate could go by.
            return Ok(());
        };
        let now = Written {
            size: history.size(),
            as_of: head.as_of(),
            alarm: view.alarm().map(|alarm| alarm.heads().clone()),
        };
        if self.written.as_ref() == Some(&now) {
            return Ok(());
        }
        let who = &self.desk.who;
        let is_dead = history.tombstoned(&who.cluster).contains(&who.member);
        self.dead_since = is_dead.then(|| self.dead_since.unwrap_or(history.time()));
        let state = GateState {
            cluster: who.cluster.clone(),
            member: who.member.clone(),
            pinned: Pinned {
                head: note.to_vec(),
                history: borsh::to_vec(history).map_err(|failure| failure.to_string())?,
            },
            alarm: now.alarm.clone(),
            dead_since: self.dead_since,
        };
        let path = GateState::path(&self.data_dir);
        let wrote = tokio::task::spawn_blocking(move || state.write(&path)).await;
        match wrote.unwrap_or_else(|failure| Err(io::Error::other(failure))) {
            Ok(()) => {
                self.written = Some(now);
                Ok(())
            }
            Err(failure) => {
                tracing::error!(%failure, "gate.state cannot be written: the gate goes by an older one");
                Err(failure.to_string())
            }
        }
    }
}

/// One gate, from its question to its end, within the time of a conversation.
async fn converse(
    stream: UnixStream,
    desk: Desk,
    flush: mpsc::Sender<Flush>,
) -> Result<(), GatekeeperHalt> {
    match tokio::time::timeout(CONVERSATION, talk(stream, &desk, &flush)).await {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(Hung::Up(why))) => {
            tracing::debug!(%why, "a gate hung up");
            Ok(())
        }
        Ok(Err(Hung::Halt(halt))) => Err(halt),
    }
}

/// Why a conversation ended early.
enum Hung {
    /// The gate went, or said nothing that can be understood.
    Up(io::Error),
    /// The agent must stop.
    Halt(GatekeeperHalt),
}

impl From<io::Error> for Hung {
    fn from(why: io::Error) -> Self {
        Self::Up(why)
    }
}

async fn talk(stream: UnixStream, desk: &Desk, flush: &mpsc::Sender<Flush>) -> Result<(), Hung> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    // What a gate may say: one question, and then to take what was offered.
    for _ in 0..2 {
        let mut line = Vec::new();
        (&mut read).take(QUESTION_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(Question::Start { cluster, member }) => start(desk, flush, &cluster, &member).await,
            Ok(Question::Take { token }) => take(desk, &token).await.map_err(Hung::Halt)?,
            Err(failure) => Answer::Failed { why: failure.to_string() },
        };
        let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
    Ok(())
}

/// How the member may start, once all that is believed is in the state.
async fn start(desk: &Desk, flush: &mpsc::Sender<Flush>, cluster: &str, member: &str) -> Answer {
    let who = &desk.who;
    if cluster != who.cluster.as_str() || member != who.member.as_str() {
        let why = format!("this agent is beside {}/{}", who.cluster, who.member);
        return Answer::Failed { why };
    }
    let (reply, flushed) = oneshot::channel();
    if flush.send(reply).await.is_err() {
        return Answer::Failed { why: "the agent stops".into() };
    }
    match flushed.await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return Answer::Failed { why },
        Err(_) => return Answer::Failed { why: "the agent stops".into() },
    }
    match desk.permits.pending() {
        Pending::Nothing => Answer::Ordinary,
        Pending::Reserved(carried) => Answer::Reserved { token: carried.token.to_string() },
        Pending::Offered(carried) => match String::from_utf8(carried.certificate.clone()) {
            Ok(certificate) => Answer::Alone { token: carried.token.to_string(), certificate },
            Err(_) => Answer::Failed { why: "the certificate is no text".into() },
        },
    }
}

/// Gives the permission away: gone from memory first, then durable, then told.
async fn take(desk: &Desk, token: &str) -> Result<Answer, GatekeeperHalt> {
    let gone = |why: String| Ok(Answer::Gone { why });
    let Ok(token) = token.parse::<FencingToken>() else {
        return gone("the token cannot be read".into());
    };
    let Some(carried) = desk.permits.take(token) else {
        return gone("it is not offered, or its time is over, or another gate took it".into());
    };
    // A crash here has given it to nobody, and nobody is given it again.
    let (cluster, now) = (carried.cluster.clone(), desk.clock.now());
    match desk.journal.with(move |journal| journal.consume(&cluster, token, now)).await? {
        Ok(()) => {
            tracing::warn!(%token, "a gate took the permission to start alone");
            Ok(Answer::Taken)
        }
        Err(JournalError::Refused(refused)) => gone(refused.to_string()),
        Err(JournalError::Fault(fault)) => Err(fault.into()),
    }
}
