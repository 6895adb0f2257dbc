//! STAND-IN web server: one request per connection, answered by a closure, or not at all.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What it says.
pub(crate) enum Says {
    Answer(u16, String),
    With(u16, &'static str, String),
    /// Nothing, and it keeps the connection.
    Hangs,
    /// Nothing, and it breaks the connection.
    Breaks,
}

pub(crate) fn json(body: &serde_json::Value) -> Says {
    Says::Answer(200, body.to_string())
}

/// Serves until the test ends; returns `host:port`.
pub(crate) async fn serve<F, Fut>(handler: F) -> String
where
    F: Fn(Asked) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Says> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let handler = Arc::new(handler);
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = Arc::clone(&handler);
            drop(tokio::spawn(async move { answer(stream, &*handler).await }));
        }
    }));
    address
}

async fn answer<F, Fut>(mut stream: TcpStream, handler: &F) -> Option<()>
where
    F: Fn(Asked) -> Fut,
    Fut: Future<Output = Says>,
{
    let asked = read(&mut stream).await?;
    let (status, header, body) = match handler(asked).await {
        Says::Answer(status, body) => (status, "", body),
        Says::With(status, header, body) => (status, header, body),
        Says::Hangs => std::future::pending().await,
        Says::Breaks => return None,
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} X\r\n{header}content-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked { method, path, headers, body })
}
