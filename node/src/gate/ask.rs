//! The gate's side of the conversation. A thread of its own holds it, so that an agent that hangs,
//! stopped in the middle of a word, costs the gate five seconds and no more.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use quorate_attest::number::FencingToken;

use super::judge::Who;
use super::wire::{ANSWER_BYTES_MAX, Answer, CONVERSATION, Question, short_path};

/// A conversation with the agent.
#[derive(Debug)]
pub(super) struct Agent {
    stream: BufReader<UnixStream>,
}

impl Agent {
    /// Asks how the member may start. The agent may be down, stopped, or talk nonsense.
    pub(super) fn ask(data_dir: &Path, who: &Who) -> io::Result<(Self, Answer)> {
        let directory = fs::File::open(data_dir)?;
        let question =
            Question::Start { cluster: who.cluster.to_string(), member: who.member.to_string() };
        within_time(move || {
            let stream = UnixStream::connect(short_path(&directory))?;
            stream.set_read_timeout(Some(CONVERSATION))?;
            stream.set_write_timeout(Some(CONVERSATION))?;
            let mut agent = Self { stream: BufReader::new(stream) };
            let answer = agent.say(&question)?;
            Ok((agent, answer))
        })
    }

    /// Takes the permission: durable in the agent's journal when it says so.
    pub(super) fn take(mut self, token: FencingToken) -> io::Result<Answer> {
        let question = Question::Take { token: token.to_string() };
        within_time(move || self.say(&question))
    }

    fn say(&mut self, question: &Question) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut answer = Vec::new();
        (&mut self.stream).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut answer)?;
        if answer.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended within its answer"));
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// Runs `talk` for as long as a conversation may take; what is left of it ends with this process.
fn within_time<T: Send + 'static>(
    talk: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = mpsc::channel();
    let _detached = thread::Builder::new().name("gate".into()).spawn(move || {
        // Nobody waits for it any more once its time is over.
        let _late = tell.send(talk());
    })?;
    let silent = || io::Error::new(io::ErrorKind::TimedOut, "the agent does not answer");
    told.recv_timeout(CONVERSATION).unwrap_or_else(|_| Err(silent()))
}
