//! `quorate demo member`, hidden: one member of the guarded cluster of the demo.
//!
//! A small real server: its own process, port, data directory and peers. It keeps a height that
//! rises with its own heartbeat and with its peers', so a restart that lost the data directory
//! shows as a height that fell. Each start appends one line to `starts`: the demo counts executions
//! there, in the member's own words, not in what an agent reports.
//!
//! * `GET /health` answers 200 and its state
//! * `GET /bans` answers the list of banned targets, `PUT` and `DELETE /bans/TARGET` change it: the
//!   calls an adapter makes. A banned peer is not heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::Done;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::time::now_ms;

/// How often it beats, and asks its peers.
const BEAT: Duration = Duration::from_millis(500);
/// A peer that did not answer for this long is shown as silent.
const SILENT: Duration = Duration::from_secs(2);
/// The longest request line it reads.
const LINE_BYTES_MAX: u64 = 1_024;

/// Who it is and whom it talks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemberArgs {
    /// Its name
    #[arg(long)]
    name: String,
    /// Where it answers
    #[arg(long)]
    listen: SocketAddr,
    /// Its data directory
    #[arg(long)]
    data: PathBuf,
    /// Process id of the demo
    #[arg(long)]
    leash: u32,
    /// A peer, as NAME=HOST:PORT
    #[arg(long = "peer", value_name = "NAME=ADDR")]
    peers: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    member: String,
    pid: u32,
    starts: usize,
    height: u64,
    peers: BTreeMap<String, &'static str>,
    banned: BTreeSet<String>,
}

/// What happens to a member: one owner of its state takes these in order.
enum Event {
    Beat,
    Heard { peer: String, height: u64 },
    Health(oneshot::Sender<Health>),
    Ban(String),
    Unban(String),
}

struct Member {
    name: String,
    data: PathBuf,
    starts: usize,
    height: u64,
    heard: BTreeMap<String, Option<Instant>>,
    banned: BTreeSet<String>,
}

impl Member {
    /// Opens the data directory, counts the start, reads back what it knew.
    fn open(args: &MemberArgs, peers: &BTreeMap<String, String>) -> std::io::Result<Self> {
        use std::io::Write;
        std::fs::create_dir_all(&args.data)?;
        let path = args.data.join("starts");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        writeln!(file, "{} {}", std::process::id(), now_ms())?;
        file.sync_all()?;
        let starts = std::fs::read_to_string(&path)?.lines().count();
        let height = std::fs::read_to_string(args.data.join("height")).unwrap_or_default();
        let banned = std::fs::read_to_string(args.data.join("bans")).unwrap_or_default();
        Ok(Self {
            name: args.name.clone(),
            data: args.data.clone(),
            starts,
            height: height.trim().parse().unwrap_or(0),
            heard: peers.keys().map(|peer| (peer.clone(), None)).collect(),
            banned: banned.lines().map(str::to_owned).collect(),
        })
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Beat => {
                self.height = self.height.saturating_add(1);
                keep(&self.data, "height", &self.height.to_string());
            }
            Event::Heard { peer, height } => {
                if !self.is_banned(&peer) {
                    self.height = self.height.max(height);
                    self.heard.insert(peer, Some(Instant::now()));
                }
            }
            Event::Health(reply) => drop(reply.send(self.health())),
            Event::Ban(peer) => {
                self.banned.insert(peer);
                self.keep_bans();
            }
            Event::Unban(peer) => {
                self.banned.remove(&peer);
                self.keep_bans();
            }
        }
    }

    fn is_banned(&self, peer: &str) -> bool {
        self.banned.iter().any(|target| target.rsplit(':').next() == Some(peer))
    }

    fn keep_bans(&self) {
        let lines: Vec<&str> = self.banned.iter().map(String::as_str).collect();
        keep(&self.data, "bans", &lines.join("\n"));
    }

    fn health(&self) -> Health {
        let word = |peer: &String, at: &Option<Instant>| match at {
            _ if self.is_banned(peer) => "banned",
            Some(at) if at.elapsed() < SILENT => "up",
            Some(_) | None => "silent",
        };
        Health {
            member: self.name.clone(),
            pid: std::process::id(),
            starts: self.starts,
            height: self.height,
            peers: self.heard.iter().map(|(peer, at)| (peer.clone(), word(peer, at))).collect(),
            banned: self.banned.clone(),
        }
    }
}

/// Replaces a small file at once. A member may lose its last beat, never the whole file.
fn keep(data: &Path, name: &str, text: &str) {
    let new = data.join(format!("{name}.new"));
    let moved = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, data.join(name)));
    if let Err(error) = moved {
        tracing::warn!(file = name, %error, "state not kept");
    }
}

/// Runs the member until it is killed.
pub(crate) fn run(args: &MemberArgs) -> Done {
    let peers = args
        .peers
        .iter()
        .map(|peer| peer.split_once('=').map(|(name, at)| (name.to_owned(), at.to_owned())))
        .collect::<Option<BTreeMap<_, _>>>()
        .ok_or_else(|| Failure::usage("--peer wants NAME=HOST:PORT"))?;
    super::leash::hold(args.leash);
    crate::command::block_on(serve(args, peers))
}

async fn serve(args: &MemberArgs, peers: BTreeMap<String, String>) -> Done {
    // The port first: a second instance must not count as a start.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| Failure::file(Path::new(&args.listen.to_string()), error))?;
    let mut member =
        Member::open(args, &peers).map_err(|error| Failure::file(&args.data, error))?;
    let (events, mut inbox) = mpsc::channel(64);
    drop(tokio::spawn(accept(listener, events.clone())));
    for (peer, address) in peers {
        drop(tokio::spawn(listen_to(peer, address, events.clone())));
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = beat.tick() => member.take(Event::Beat),
            event = inbox.recv() => match event {
                Some(event) => member.take(event),
                None => return Ok(Exit::Ok),
            },
        }
    }
}

async fn accept(listener: TcpListener, events: mpsc::Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(answer(stream, events.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Reads one HTTP/1.1 request and answers it.
async fn answer(mut stream: TcpStream, events: mpsc::Sender<Event>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader.take(8 * LINE_BYTES_MAX));
    let mut request = String::new();
    reader.read_line(&mut request).await?;
    let mut header = String::new();
    while reader.read_line(&mut header).await? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = route(method, path, &events).await;
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    writer.write_all(response.as_bytes()).await?;
    writer.shutdown().await
}

async fn route(method: &str, path: &str, events: &mpsc::Sender<Event>) -> (&'static str, String) {
    const GONE: (&str, String) = ("503 Service Unavailable", String::new());
    match (method, path, path.strip_prefix("/bans/")) {
        ("GET", "/health" | "/bans", _) => {
            let (reply, health) = oneshot::channel();
            if events.send(Event::Health(reply)).await.is_err() {
                return GONE;
            }
            let Ok(health) = health.await else { return GONE };
            let body = if path == "/bans" {
                serde_json::to_string(&serde_json::json!({ "banned": health.banned }))
            } else {
                serde_json::to_string(&health)
            };
            ("200 OK", body.unwrap_or_default() + "\n")
        }
        ("PUT", _, Some(target)) if !target.is_empty() => {
            match events.send(Event::Ban(target.replace("%3A", ":"))).await {
                Ok(()) => ("200 OK", "{}\n".to_owned()),
                Err(_) => GONE,
            }
        }
        ("DELETE", _, Some(target)) if !target.is_empty() => {
            match events.send(Event::Unban(target.replace("%3A", ":"))).await {
                Ok(()) => ("200 OK", "{}\n".to_owned()),
                Err(_) => GONE,
            }
        }
        _ => ("404 Not Found", String::new()),
    }
}

/// Asks one peer for its health, for ever.
async fn listen_to(peer: String, address: String, events: mpsc::Sender<Event>) {
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        if let Ok(Some(height)) = timeout(SILENT, height_of(&address)).await
            && events.send(Event::Heard { peer: peer.clone(), height }).await.is_err()
        {
            return;
        }
    }
}

/// The height in a member's own answer, or `None` where there is no answer that can be read.
async fn height_of(address: &str) -> Option<u64> {
    health_of(address).await?.get("height")?.as_u64()
}

/// Asks a member for its health; the demo itself looks through this too.
pub(crate) async fn health_of(address: &str) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = String::new();
    stream.take(64 * 1024).read_to_string(&mut response).await.ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200 ").then(|| serde_json::from_str(body).ok()).flatten()
}
