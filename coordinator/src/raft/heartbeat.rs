//! Heartbeats on one open stream for each peer.
//!
//! openraft asks for a fresh stream for each heartbeat. Opening one costs several times the message:
//! headers both ways, routing, trailers, ten times a second for each peer, and that is what an idle
//! quorum spends its time on. So the stream of the last heartbeat stays open for the next one.

use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use quorate_proto::pb::raft::v1::Message;
use quorate_store::{TypeConfig, codec::StreamAppendAnswer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::network::{PeerLane, RpcResult};

/// A stream on which no answer is owed.
pub(super) struct Line {
    requests: mpsc::Sender<Message>,
    answers: Streaming<Message>,
}

impl PeerLane {
    /// One heartbeat and its answer.
    ///
    /// While the answer is owed nobody holds the line: whoever gives up waiting closes it, so a late
    /// answer is never taken for that of the next heartbeat.
    pub(super) async fn beat(
        &mut self,
        request: &AppendEntriesRequest<TypeConfig>,
    ) -> RpcResult<StreamAppendResult<TypeConfig>> {
        let message = self.seal(request);
        let mut line = match self.line.take() {
            Some(line) => {
                line.requests.send(message).await.map_err(|_| self.failed(ended()))?;
                line
            }
            None => self.dial(message).await?,
        };
        let answer = line.answers.message().await.map_err(|status| self.failed(status))?;
        let answer = answer.ok_or_else(|| self.failed(ended()))?;
        let StreamAppendAnswer(answer) = self.open(answer)?;
        // A conflict or a higher vote ends the stream at the other end too.
        if answer.is_ok() {
            self.line = Some(line);
        }
        Ok(answer)
    }

    async fn dial(&self, first: Message) -> RpcResult<Line> {
        let (requests, outgoing) = mpsc::channel(1);
        requests.send(first).await.map_err(|_| self.failed(ended()))?;
        let answers = self.client()?.stream_append(ReceiverStream::new(outgoing)).await;
        let answers = answers.map_err(|status| self.failed(status))?.into_inner();
        Ok(Line { requests, answers })
    }
}

/// The peer closed the line, as it does when it stops.
fn ended() -> Status {
    Status::unavailable("the stream of heartbeats has ended")
}
