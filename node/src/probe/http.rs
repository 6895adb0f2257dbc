//! The `http` probe, and the one bounded HTTP/1.1 request it is made of.
//!
//! One connection per request, `Connection: close`, at most 64 KiB of answer: a member under
//! repair gets no chance to fill this agent's memory.

use std::fmt;
use std::io;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Reading, tcp};

/// Most bytes of an answer, header and body.
const ANSWER_BYTES_MAX: u64 = 65_536;

/// `host:port/path`, as it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    authority: String,
    path: String,
}

impl HttpAddress {
    /// Reads what stands behind `http://`; `None` if there is no port or a foreign byte.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = authority.rsplit_once(':')?;
        let plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
        let port = port.parse::<u16>().ok()?;
        (plain && !host.is_empty() && port > 0)
            .then(|| Self { authority: authority.to_owned(), path: path.to_owned() })
    }

    /// The same server with `segment` added to the path, percent-encoded.
    pub(crate) fn child(&self, segment: &str) -> Self {
        let mut path = self.path.trim_end_matches('/').to_owned();
        path.push('/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
        Self { authority: self.authority.clone(), path }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.authority, self.path)
    }
}

/// An answer: status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum HttpFailure {
    /// The connection failed or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no HTTP answer, or is cut off.
    #[error("the answer is no whole HTTP answer")]
    Malformed,
}

/// Asks once. The caller sets the deadline.
pub(crate) async fn request(
    method: &str,
    address: &HttpAddress,
    body: &[u8],
) -> Result<HttpAnswer, HttpFailure> {
    let mut stream = TcpStream::connect(&address.authority).await?;
    let head = format!(
        "{method} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        address.path,
        address.authority,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    read_answer(stream).await
}

/// Reads up to the declared length, or to the end of the connection if none is declared.
async fn read_answer(stream: TcpStream) -> Result<HttpAnswer, HttpFailure> {
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await?;
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            if read == 0 {
                return Err(HttpFailure::Malformed);
            }
            continue;
        };
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| HttpFailure::Malformed)?;
        let status = status_of(head).ok_or(HttpFailure::Malformed)?;
        let have = bytes.len() - end - 4;
        match length_of(head) {
            Some(length) if have >= length => {
                return Ok(HttpAnswer { status, body: bytes[end + 4..end + 4 + length].to_vec() });
            }
            Some(_) if read == 0 => return Err(HttpFailure::Malformed),
            None if read == 0 => return Ok(HttpAnswer { status, body: bytes[end + 4..].to_vec() }),
            Some(_) | None => {}
        }
    }
}

fn status_of(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.parse().ok()
}

fn length_of(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

pub(super) async fn read(address: &HttpAddress) -> Reading {
    match request("GET", address, b"").await {
        Ok(answer) if (200..300).contains(&answer.status) => Reading::Up,
        Ok(_) | Err(HttpFailure::Malformed) => Reading::Down,
        Err(HttpFailure::Io(failure)) => tcp::failed(failure.kind()),
    }
}
