//! Who speaks to whom, in which log: checked on every message before its body is read.

use prost::bytes::Bytes;
use quorate_attest::id::Origin;
use quorate_proto::pb::raft::v1::{Envelope, Message};
use quorate_store::codec::{self, CodecError, Record};

/// Version of the codec whose bytes travel in a message's body.
pub const CODEC: u32 = codec::VERSION as u32;

/// Why a message of a peer is refused before openraft sees it.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeRefused {
    /// The message has no envelope.
    #[error("the message has no envelope")]
    Missing,
    /// It belongs to another log: another network, or a lineage before or after a recovery.
    #[error("the message is for the log {have}, this is {want}")]
    Origin {
        /// What the message says.
        have: String,
        /// Our origin.
        want: String,
    },
    /// It is for another coordinator: an address is wrong.
    #[error("the message is for coordinator {have}, this is {want}")]
    To {
        /// What the message says.
        have: u64,
        /// This coordinator.
        want: u64,
    },
    /// The certificate belongs to another coordinator than the message.
    #[error("the message is from coordinator {have}, its certificate from {want}")]
    From {
        /// What the message says.
        have: u64,
        /// What the certificate says.
        want: u64,
    },
    /// The body was written by another version of the codec.
    #[error("the body uses codec {have}, this coordinator reads {CODEC}")]
    Codec {
        /// What the message says.
        have: u32,
    },
    /// The body does not decode, or holds what Raft cannot have sent.
    #[error("the body is refused: {0}")]
    Body(#[from] CodecError),
}

impl EnvelopeRefused {
    /// A short word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing => "envelope",
            Self::Origin { .. } => "origin",
            Self::To { .. } => "to",
            Self::From { .. } => "from",
            Self::Codec { .. } => "codec",
            Self::Body(_) => "body",
        }
    }
}

/// This end of every conversation: the log and the coordinator.
#[derive(Debug, Clone)]
pub struct Desk {
    origin: Origin,
    origin_text: String,
    own: u64,
}

impl Desk {
    /// The desk of coordinator `own` in the log `origin`.
    pub fn new(origin: Origin, own: u64) -> Self {
        Self { origin_text: origin.to_string(), origin, own }
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// This coordinator.
    pub fn own(&self) -> u64 {
        self.own
    }

    /// An envelope to `to`.
    pub fn envelope(&self, to: u64) -> Envelope {
        Envelope { origin: self.origin_text.clone(), from: self.own, to }
    }

    /// A message to `to`.
    pub fn seal<R: Record>(&self, to: u64, record: &R) -> Message {
        Message {
            origin: self.origin_text.clone(),
            from: self.own,
            to,
            codec: CODEC,
            body: Bytes::from(codec::encode(record)),
        }
    }

    /// A message without a body: a question that needs none.
    pub fn question(&self, to: u64) -> Message {
        Message {
            origin: self.origin_text.clone(),
            from: self.own,
            to,
            codec: CODEC,
            body: Bytes::new(),
        }
    }

    /// The body of a message from `peer`, whom its certificate named.
    pub fn open<R: Record>(&self, peer: u64, message: &Message) -> Result<R, EnvelopeRefused> {
        self.check_message(peer, message)?;
        Ok(codec::decode(&message.body)?)
    }

    /// Checks everything of a message but its body.
    pub fn check_message(&self, peer: u64, message: &Message) -> Result<(), EnvelopeRefused> {
        self.check(peer, &message.origin, message.from, message.to)?;
        self.check_codec(message.codec)
    }

    /// Checks an envelope from `peer`, whom its certificate named.
    pub fn check_envelope(
        &self,
        peer: u64,
        envelope: Option<&Envelope>,
    ) -> Result<(), EnvelopeRefused> {
        let envelope = envelope.ok_or(EnvelopeRefused::Missing)?;
        self.check(peer, &envelope.origin, envelope.from, envelope.to)
    }

    /// Refuses bytes of another codec version.
    pub fn check_codec(&self, have: u32) -> Result<(), EnvelopeRefused> {
        if have == CODEC { Ok(()) } else { Err(EnvelopeRefused::Codec { have }) }
    }

    fn check(&self, peer: u64, origin: &str, from: u64, to: u64) -> Result<(), EnvelopeRefused> {
        if origin != self.origin_text {
            let want = self.origin_text.clone();
            return Err(EnvelopeRefused::Origin { have: origin.to_owned(), want });
        }
        if to != self.own {
            return Err(EnvelopeRefused::To { have: to, want: self.own });
        }
        if from != peer {
            return Err(EnvelopeRefused::From { have: from, want: peer });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate_store::{LogId, codec::ReadLogId};

    use super::*;

    fn desk(own: u64, salt: u8) -> Desk {
        let hex = format!("{salt:02x}").repeat(16);
        Desk::new(format!("quorate.test/net/1-{hex}").parse().unwrap(), own)
    }

    fn message() -> Message {
        let read = ReadLogId::from_log_id(LogId::new_term_index(3, 7));
        desk(1, 0xaa).seal(2, &read)
    }

    #[test]
    fn a_message_for_me_from_its_certificate_opens() {
        let read: ReadLogId = desk(2, 0xaa).open(1, &message()).unwrap();
        assert_eq!(read.index(), 7);
    }

    #[test]
    fn anything_else_is_refused_before_its_body() {
        let open = |desk: &Desk, peer, message: &Message| {
            desk.open::<ReadLogId>(peer, message).unwrap_err()
        };
        let recovered = open(&desk(2, 0xbb), 1, &message());
        assert!(matches!(recovered, EnvelopeRefused::Origin { .. }), "an old lineage");
        assert!(matches!(open(&desk(3, 0xaa), 1, &message()), EnvelopeRefused::To { have: 2, .. }));
        let claimed = open(&desk(2, 0xaa), 7, &message());
        assert!(matches!(claimed, EnvelopeRefused::From { have: 1, want: 7 }));
        let newer = Message { codec: CODEC + 1, ..message() };
        assert!(matches!(open(&desk(2, 0xaa), 1, &newer), EnvelopeRefused::Codec { .. }));
        let torn = Message { body: message().body.slice(..5), ..message() };
        assert!(matches!(open(&desk(2, 0xaa), 1, &torn), EnvelopeRefused::Body(_)));
        let huge = Message { body: Bytes::from(vec![0xff; 64]), ..message() };
        assert!(matches!(open(&desk(2, 0xaa), 1, &huge), EnvelopeRefused::Body(_)));
    }
}
