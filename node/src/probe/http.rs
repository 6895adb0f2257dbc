//! The `http` probe, and the one bounded HTTP/1.1 request that everything here is asked by.
//!
//! One connection per request, at most 1 MiB of answer: a member under repair gets no chance to fill
//! this agent's memory. A probe may say what the answer has to say: a status page that is a constant
//! is green while the database behind it is down.

use std::error::Error;
use std::fmt;
use std::io;

use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Reading, tcp};

/// Most bytes of an answer's body.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// `host:port/path`, as it is asked, and what its JSON answer has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    authority: String,
    path: String,
    says: Vec<Says>,
}

/// One condition `name=value`; a dot in the name goes into an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Says {
    name: String,
    value: String,
}

impl HttpAddress {
    /// Reads what stands behind `http://`; `None` if there is no port, a foreign byte, or a condition
    /// that is none.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let (address, conditions) = match rest.split_once('#') {
            Some((address, conditions)) => (address, Some(conditions)),
            None => (rest, None),
        };
        let (authority, path) = match address.find('/') {
            Some(at) => address.split_at(at),
            None => (address, "/"),
        };
        let (host, port) = authority.rsplit_once(':')?;
        let plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
        let port = port.parse::<u16>().ok()?;
        let says = conditions.into_iter().flat_map(|all| all.split('&'));
        let says = says.map(Says::parse).collect::<Option<_>>()?;
        (plain && !host.is_empty() && port > 0).then(|| Self {
            authority: authority.to_owned(),
            path: path.to_owned(),
            says,
        })
    }

    /// The same server with another path.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { authority: self.authority.clone(), path: path.to_owned(), says: Vec::new() }
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
        self.at(&path)
    }
}

impl Says {
    fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let (name, value) = (name.to_owned(), value.to_owned());
        (!name.is_empty()).then_some(Self { name, value })
    }

    fn holds(&self, answer: &Value) -> bool {
        let found = self.name.split('.').try_fold(answer, |value, name| value.get(name));
        match found {
            Some(Value::String(text)) => *text == self.value,
            Some(other) => self.value == format!("{other}"),
            None => false,
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.authority, self.path)?;
        for (at, Says { name, value }) in self.says.iter().enumerate() {
            write!(out, "{}{name}={value}", if at == 0 { '#' } else { '&' })?;
        }
        Ok(())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    /// Whether it is a 2xx.
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum HttpFailure {
    /// The connection failed or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What was to be asked is no HTTP request.
    #[error("it cannot be asked: {0}")]
    Request(#[from] http::Error),
    /// What came is no HTTP answer, is cut off, or is too long.
    #[error("the answer is no whole HTTP answer: {0}")]
    Malformed(Box<dyn Error + Send + Sync>),
}

impl From<hyper::Error> for HttpFailure {
    /// A connection that broke is told from an answer that is none: *unreachable is not down*.
    fn from(error: hyper::Error) -> Self {
        match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(broken) if broken.kind() != io::ErrorKind::InvalidData => {
                Self::Io(io::Error::new(broken.kind(), error))
            }
            Some(_) | None => Self::Malformed(Box::new(error)),
        }
    }
}

/// Asks once. The caller sets the deadline.
pub(crate) async fn request(
    method: &str,
    address: &HttpAddress,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<HttpAnswer, HttpFailure> {
    let mut request = Request::builder()
        .method(method)
        .uri(&address.path)
        .header("host", &address.authority)
        .header("connection", "close");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
    let stream = TcpStream::connect(&address.authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Whoever gives up on the answer ends the connection too.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(HttpFailure::Malformed)?.to_bytes().to_vec();
    Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body })
}

pub(super) async fn read(address: &HttpAddress) -> Reading {
    match request("GET", address, &[], b"").await {
        Ok(answer) if answer.is_ok() && says_so(address, &answer.body) => Reading::Up,
        Ok(_) | Err(HttpFailure::Malformed(_) | HttpFailure::Request(_)) => Reading::Down,
        Err(HttpFailure::Io(failure)) => tcp::failed(failure.kind()),
    }
}

fn says_so(address: &HttpAddress, body: &[u8]) -> bool {
    if address.says.is_empty() {
        return true;
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    address.says.iter().all(|says| says.holds(&answer))
}
