//! What the liar feeds one follower: entries of any branch, and heartbeats so that nobody else leads.

use std::time::Duration;

use prost::bytes::Bytes;
use quorate_proto::pb::raft::v1::Message;
use quorate_proto::pb::raft::v1::raft_client::RaftClient;
use quorate_store::codec::VERSION;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::wire::{self, Append, Appended, Payload};
use crate::wait;

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(60);
/// A follower has to answer within this time, its fsync included.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a follower may take to apply or refuse what it is fed.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// Who feeds whom.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    pub(super) origin: String,
    pub(super) term: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// How far a follower has come.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Entries it holds, and knows to be committed.
    pub taken: u64,
    /// How many messages it has answered.
    pub answers: u64,
    /// How its last stream ended, if it ended with a refusal.
    pub refused: Option<(tonic::Code, String)>,
    /// It follows somebody else now.
    pub deposed: bool,
}

/// The liar's leadership over one follower, until it is dropped.
#[derive(Debug)]
pub struct Feed {
    to: u64,
    entries: watch::Sender<Vec<(u64, Payload)>>,
    progress: watch::Receiver<Progress>,
    task: tokio::task::JoinHandle<()>,
}

impl Feed {
    pub(super) fn start(channel: Channel, ends: Ends) -> Self {
        let (entries, orders) = watch::channel(Vec::new());
        let (told, progress) = watch::channel(Progress::default());
        let to = ends.to;
        let feeder = Feeder { channel, ends, orders, told };
        Self { to, entries, progress, task: tokio::spawn(feeder.run()) }
    }

    /// Puts these entries before the follower; it must hold a beginning of them already.
    pub(super) fn give(&self, entries: &[(u64, Payload)]) {
        self.entries.send_replace(entries.to_vec());
    }

    /// Waits until everything given has been taken.
    ///
    /// # Panics
    /// It is refused, or not taken in time.
    pub async fn taken(&self) {
        let count = self.entries.borrow().len() as u64;
        let what =
            || format!("coordinator {} takes {count} entries: {:?}", self.to, self.progress());
        let taken = wait::until_or(TAKEN_WITHIN, || async {
            let progress = self.progress();
            assert!(!progress.deposed, "the liar does not lead {} any more", self.to);
            (progress.taken >= count).then_some(())
        })
        .await;
        assert!(taken.is_some(), "waited in vain: {}", what());
    }

    /// Waits until the follower has answered so many heartbeats more.
    ///
    /// # Panics
    /// It does not in time.
    pub async fn beats(&self, count: u64) {
        let before = self.progress().answers;
        let what = format!("coordinator {} answers {count} heartbeats", self.to);
        wait::until(&what, TAKEN_WITHIN, || async {
            (self.progress().answers >= before + count).then_some(())
        })
        .await;
    }

    /// Waits until the follower refuses what was given, and says with which words.
    ///
    /// # Panics
    /// It does not in time.
    pub async fn refused(&self) -> (tonic::Code, String) {
        let what = format!("coordinator {} refuses", self.to);
        wait::until(&what, TAKEN_WITHIN, || async { self.progress().refused }).await
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Feeder {
    channel: Channel,
    ends: Ends,
    orders: watch::Receiver<Vec<(u64, Payload)>>,
    told: watch::Sender<Progress>,
}

impl Feeder {
    async fn run(mut self) {
        loop {
            if let Err(status) = self.stream().await {
                self.told.send_modify(|progress| {
                    progress.refused = Some((status.code(), status.message().to_owned()));
                });
            }
            sleep(HEARTBEAT).await;
        }
    }

    /// One stream of AppendEntries, until the follower ends it.
    async fn stream(&mut self) -> Result<(), Status> {
        let (sender, messages) = mpsc::channel(1);
        let mut client = RaftClient::new(self.channel.clone());
        // The first message goes with the call: a server may wait for it before it answers.
        let first = self.next_message();
        drop(sender.send(first).await);
        let answers = timeout(ANSWER_WITHIN, client.stream_append(ReceiverStream::new(messages)));
        let mut answers = answers.await.map_err(|_| silent())??.into_inner();
        loop {
            let answer =
                timeout(ANSWER_WITHIN, answers.message()).await.map_err(|_| silent())??;
            let Some(answer) = answer else { return Ok(()) };
            self.note(&answer.body);
            tokio::select! {
                () = sleep(HEARTBEAT) => {}
                changed = self.orders.changed() => if changed.is_err() { return Ok(()) },
            }
            if sender.send(self.next_message()).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Everything the follower has not taken, or nothing: then it is a heartbeat.
    fn next_message(&mut self) -> Message {
        let entries = self.orders.borrow_and_update().clone();
        let taken = usize::try_from(self.told.borrow().taken).unwrap_or(0).min(entries.len());
        let (before, rest) = entries.split_at(taken);
        let place = |entries: &[(u64, Payload)]| {
            entries.last().map(|(term, _)| (*term, entries.len() as u64 - 1))
        };
        let append = Append {
            term: self.ends.term,
            leader: self.ends.from,
            previous: place(before),
            entries: rest,
            commit: place(&entries),
        };
        Message {
            origin: self.ends.origin.clone(),
            from: self.ends.from,
            to: self.ends.to,
            codec: u32::from(VERSION),
            body: Bytes::from(wire::append(&append)),
        }
    }

    fn note(&self, body: &[u8]) {
        match wire::appended(body) {
            Ok(Appended::Matches(matching)) => self.told.send_modify(|progress| {
                progress.answers += 1;
                progress.taken = matching.map_or(0, |(_, index)| index + 1);
                progress.refused = None;
            }),
            Ok(Appended::Refused) => self.told.send_modify(|progress| progress.deposed = true),
            Err(error) => panic!("coordinator {} answers nonsense: {error}", self.ends.to),
        }
    }
}

fn silent() -> Status {
    Status::deadline_exceeded("the follower is silent")
}
