//! Probes: how a member is asked whether it works. Each has a deadline; a hang is *unreachable*.
//!
//! The address says how: `tcp://host:port` (a connection is accepted), `http://host:port/path` (the
//! answer is 2xx), `http://host:port/path#status=ok&database.ok=true` (and its JSON says so: a health
//! page that is a constant says nothing), `grpc://host:port/service` (`grpc.health.v1` says serving),
//! `jsonrpc://host:port/path#method` (the call has a result), `process:///path/to/pid-file` (the
//! process of the file runs), `command:///path/to/program` (it says so by its exit code).

mod command;
mod grpc;
mod http;
mod json_rpc;
mod tcp;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

pub(crate) use self::http::{HttpAddress, HttpAnswer, HttpFailure, request};
pub(crate) use self::json_rpc::call as json_rpc;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// It works.
    Up,
    /// The machine answers, the member does not work: refused, an error, no process.
    Down,
    /// No answer in time, or it broke off. It may work for others (*partition is not death*).
    Unreachable,
}

impl Reading {
    /// The word of the signed fact `member <id> <word>`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How one member is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection is accepted.
    Tcp(String),
    /// The answer is 2xx, and says what it has to say.
    Http(HttpAddress),
    /// `grpc.health.v1` says that a service serves: `host:port` and the service, empty for the server.
    Grpc(String, String),
    /// A JSON-RPC call without parameters has a result.
    JsonRpc(HttpAddress, String),
    /// The process of a pid file runs.
    Process(PathBuf),
    /// A program ends with 0.
    Command(PathBuf),
}

fn is_authority(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// The probe of the configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "probe {address:?} is none of tcp://host:port, http://host:port/path, grpc://host:port/service, \
     jsonrpc://host:port/path#method, process:///path, command:///path"
)]
pub struct ProbeAddressInvalid {
    /// The address as it was given.
    pub address: String,
}

impl FromStr for Probe {
    type Err = ProbeAddressInvalid;

    fn from_str(address: &str) -> Result<Self, ProbeAddressInvalid> {
        let invalid = || ProbeAddressInvalid { address: address.to_owned() };
        let (scheme, rest) = address.split_once("://").ok_or_else(invalid)?;
        match scheme {
            "tcp" if is_authority(rest) => Ok(Self::Tcp(rest.to_owned())),
            "http" => HttpAddress::parse(rest).map(Self::Http).ok_or_else(invalid),
            "grpc" => {
                let (authority, service) = rest.split_once('/').unwrap_or((rest, ""));
                if !is_authority(authority) {
                    return Err(invalid());
                }
                Ok(Self::Grpc(authority.to_owned(), service.to_owned()))
            }
            "jsonrpc" => {
                let (address, method) = rest.split_once('#').ok_or_else(invalid)?;
                let address = HttpAddress::parse(address).filter(|_| !method.is_empty());
                Ok(Self::JsonRpc(address.ok_or_else(invalid)?, method.to_owned()))
            }
            "process" if rest.starts_with('/') => Ok(Self::Process(PathBuf::from(rest))),
            "command" if rest.starts_with('/') => Ok(Self::Command(PathBuf::from(rest))),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "tcp://{address}"),
            Self::Http(address) => write!(out, "http://{address}"),
            Self::Grpc(authority, service) => write!(out, "grpc://{authority}/{service}"),
            Self::JsonRpc(address, method) => write!(out, "jsonrpc://{address}#{method}"),
            Self::Process(path) => write!(out, "process://{}", path.display()),
            Self::Command(path) => write!(out, "command://{}", path.display()),
        }
    }
}

impl Probe {
    /// Asks once. Never takes longer than `deadline`.
    pub async fn read(&self, deadline: Duration) -> Reading {
        let asked = async {
            match self {
                Self::Tcp(address) => tcp::read(address).await,
                Self::Http(address) => http::read(address).await,
                Self::Grpc(authority, service) => grpc::read(authority, service).await,
                Self::JsonRpc(address, method) => json_rpc::read(address, method).await,
                Self::Process(path) => crate::adapters::process_of(path),
                Self::Command(path) => command::read(path).await,
            }
        };
        tokio::time::timeout(deadline, asked).await.unwrap_or(Reading::Unreachable)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        (listener, address)
    }

    #[test]
    fn addresses_read_back_and_wrong_ones_are_refused() {
        for good in [
            "tcp://127.0.0.1:80",
            "http://[::1]:80/health?x=1",
            "http://a:80/health#status=ok&database.ok=true",
            "grpc://a:50051/ledger.v1.ReadService",
            "grpc://a:50051/",
            "jsonrpc://a:10332/#getblockcount",
            "process:///run/n1.pid",
            "command:///bin/true",
        ] {
            assert_eq!(good.parse::<Probe>().map(|probe| probe.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "tcp://:80",
            "tcp://host",
            "tcp://host:0",
            "http://a:80/#",
            "grpc://a/x",
            "jsonrpc://a:1/",
            "jsonrpc://a:1/#",
            "http://a:80/#=ok",
            "process://relative",
            "udp://a:1",
        ] {
            assert!(bad.parse::<Probe>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_down_and_an_open_one_is_up() {
        let (listener, address) = listener().await;
        let probe: Probe = format!("tcp://{address}").parse().expect("probe");
        assert_eq!(probe.read(SOON).await, Reading::Up);
        drop(listener);
        assert_eq!(probe.read(SOON).await, Reading::Down);
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_unreachable() {
        let (listener, address) = listener().await;
        let probe: Probe = format!("http://{address}/health").parse().expect("probe");
        assert_eq!(probe.read(SOON).await, Reading::Unreachable);
        drop(listener);
        assert_eq!(probe.read(SOON).await, Reading::Down);
    }

    /// Answers one request with `answer` and closes.
    async fn answering(answer: String) -> (String, tokio::task::JoinHandle<()>) {
        let (listener, address) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.expect("read");
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.expect("write");
        });
        (address, server)
    }

    #[tokio::test]
    async fn only_a_2xx_answer_is_up() {
        for (status, wanted) in [
            ("200 OK", Reading::Up),
            ("503 Service Unavailable", Reading::Down),
            ("x", Reading::Down),
        ] {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let (address, server) = answering(answer).await;
            let probe: Probe = format!("http://{address}/health").parse().expect("probe");
            assert_eq!(probe.read(SOON).await, wanted, "{status}");
            server.await.expect("server");
        }
    }

    /// T12: `/healthz` is a constant; what counts is what the status page says of the database.
    #[tokio::test]
    async fn a_green_page_is_down_while_its_status_says_that_the_database_is() {
        let degraded = r#"{"status":"degraded","database":{"ok":false}}"#;
        let well = r#"{"status":"ok","database":{"ok":true}}"#;
        let says = "#status=ok&database.ok=true";
        for (body, says, wanted) in [
            (degraded, "", Reading::Up),
            (degraded, says, Reading::Down),
            ("OK", says, Reading::Down),
            (well, says, Reading::Up),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let (address, server) = answering(answer).await;
            let probe: Probe = format!("http://{address}/health{says}").parse().expect("probe");
            assert_eq!(probe.read(SOON).await, wanted, "{body} {says:?}");
            server.await.expect("server");
        }
    }

    #[tokio::test]
    async fn an_answer_in_chunks_is_read_whole_and_one_without_an_end_is_refused() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       d\r\n{\"status\":\"ok\r\n2\r\n\"}\r\n0\r\n\r\n";
        for (answer, wanted) in [
            (chunked.to_owned(), Reading::Up),
            (format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2 << 20)), Reading::Down),
        ] {
            let (listener, address) = listener().await;
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await.expect("read");
                // Whoever has read enough of it hangs up.
                let _cut = stream.write_all(answer.as_bytes()).await;
            });
            let probe = format!("http://{address}/health#status=ok");
            let probe: Probe = probe.parse().expect("probe");
            assert_eq!(probe.read(Duration::from_secs(5)).await, wanted);
            server.await.expect("server");
        }
    }

    #[tokio::test]
    async fn a_program_says_it_by_its_exit_code_and_one_that_hangs_is_killed() {
        let directory = tempfile::tempdir().expect("directory");
        let program = directory.path().join("check");
        let probe: Probe = format!("command://{}", program.display()).parse().expect("probe");
        assert_eq!(probe.read(SOON).await, Reading::Unreachable, "there is no such program");
        let child = directory.path().join("child");
        let hang = format!("sleep 300 & echo $! > {}; wait", child.display());
        for (body, wanted) in [
            ("exit 0", Reading::Up),
            ("exit 1", Reading::Down),
            ("exit 2", Reading::Unreachable),
            ("kill -9 $$", Reading::Unreachable),
            (&hang, Reading::Unreachable),
        ] {
            // Written by another process: a file that one of ours has open for writing, in a child
            // between fork and exec for one, cannot be started.
            let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
            let mut shell = std::process::Command::new("/bin/sh");
            let written = shell.args(["-c", write, "sh"]).arg(&program).arg(body).status();
            assert!(written.expect("sh").success());
            assert_eq!(probe.read(Duration::from_secs(3)).await, wanted, "{body}");
        }
        let pid: i32 = std::fs::read_to_string(child).expect("pid").trim().parse().expect("pid");
        let pid_file = directory.path().join("pid");
        std::fs::write(&pid_file, format!("{pid}\n")).expect("write");
        let alive: Probe = format!("process://{}", pid_file.display()).parse().expect("probe");
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        while alive.read(SOON).await == Reading::Up {
            assert!(tokio::time::Instant::now() < end, "its child outlived it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_process_is_up_only_while_it_runs() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("pid");
        let probe: Probe = format!("process://{}", file.display()).parse().expect("probe");
        assert_eq!(probe.read(SOON).await, Reading::Down);
        std::fs::write(&file, format!("{}\n", std::process::id())).expect("write");
        assert_eq!(probe.read(SOON).await, Reading::Up);
        std::fs::write(&file, format!("{} 1\n", std::process::id())).expect("write");
        assert_eq!(probe.read(SOON).await, Reading::Down, "another start time: another process");
    }
}
