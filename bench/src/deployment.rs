//! A deployment of real processes: `quorate init`, `quorate coordinator run`, `quorate log …`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use quorate_proto::client::{Client, ClientOptions, Endpoint, Transport};
use quorate_proto::tls::{TlsMaterial, coordinator_server_name};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::fill::Replica;
use crate::world::{CLUSTER, MEMBERS, NETWORK, OPERATORS};

/// Coordinators of a deployment under load: crash-safe with one of them lost.
pub const COORDINATORS: u16 = 3;
/// How long a coordinator may take to be ready, or a leaf to be certified.
pub const WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at something that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a coordinator may take to end after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Memory counts as quiet when it has not grown for so long.
const QUIET_FOR: Duration = Duration::from_secs(3);

/// Added to every coordinator's file: what is measured is the coordinator, not its admission of one
/// caller, and a log of any length.
const SETTINGS: &str = "\n[limits]\ncaller_burst = 1048576\ncaller_per_second = 1048576\n\
    \n[store]\nquota_bytes = 1099511627776\n";

/// Memory of one process, from `/proc/<pid>/status`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Resident now.
    pub rss_bytes: u64,
    /// Of it, not backed by a file: heap and stacks.
    pub anonymous_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|rest| rest.split_whitespace().next());
            let kib: u64 = kib.with_context(|| format!("no {name}"))?.parse()?;
            Ok(kib * 1024)
        };
        Ok(Self {
            rss_bytes: field("VmRSS")?,
            anonymous_bytes: field("RssAnon")?,
            peak_bytes: field("VmHWM")?,
        })
    }
}

struct Running {
    child: Child,
    since: Instant,
}

/// The directory, and the processes that run on it. Dropping it kills them.
pub struct Deployment {
    root: PathBuf,
    binary: PathBuf,
    port: u16,
    running: BTreeMap<u64, Running>,
}

impl Deployment {
    /// Runs `quorate init` for a new directory `root`.
    ///
    /// # Errors
    /// It fails, or no ports are free.
    pub async fn init(binary: &Path, root: &Path) -> Result<Self> {
        let port = free_ports(2 * COORDINATORS).await?;
        let output = Command::new(binary)
            .args(["init".as_ref(), root.as_os_str()])
            .args(["--network", NETWORK, "--cluster", CLUSTER])
            .args(["--members", &MEMBERS.join(","), "--operators", &OPERATORS.join(",")])
            .args(["--coordinators", &COORDINATORS.to_string(), "--port", &port.to_string()])
            .stdin(Stdio::null())
            .output()
            .with_context(|| binary.display().to_string())?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "quorate init ended with {}: {error}", output.status);
        let made = Self {
            root: root.to_owned(),
            binary: binary.to_owned(),
            port,
            running: BTreeMap::new(),
        };
        for id in made.ids() {
            let path = made.folder(id).join("coordinator.toml");
            let mut file = File::options().append(true).open(path)?;
            file.write_all(SETTINGS.as_bytes())?;
        }
        Ok(made)
    }

    /// Every coordinator's id.
    pub fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        1..=u64::from(COORDINATORS)
    }

    /// The files of every coordinator.
    ///
    /// # Errors
    /// Never, unless names have changed their grammar.
    pub fn replicas(&self) -> Result<Vec<Replica>> {
        let replica = |id: u64| -> Result<Replica> {
            Ok(Replica {
                id,
                name: format!("{NETWORK}/coordinator/{id}").parse()?,
                data: self.folder(id).join("data"),
                cosign_key: self.folder(id).join("cosign.pem"),
            })
        };
        self.ids().map(replica).collect()
    }

    fn folder(&self, id: u64) -> PathBuf {
        self.root.join(format!("coordinator-{id}"))
    }

    fn endpoint(&self, id: u64) -> Result<Endpoint> {
        let port = self.port + 2 * (u16::try_from(id)? - 1);
        Ok(Endpoint { id, address: format!("127.0.0.1:{port}") })
    }

    /// Where everything is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the first operator: TLS files and key.
    #[must_use]
    pub fn operator(&self) -> PathBuf {
        self.root.join("operators").join(OPERATORS[0])
    }

    fn material(&self) -> Result<TlsMaterial> {
        let file = |name: &str| self.operator().join(name);
        Ok(TlsMaterial::load(&file("tls.pem"), &file("tls.key"), &file("ca.pem"))?)
    }

    /// A client as the first operator, of these coordinators.
    ///
    /// # Errors
    /// The operator's TLS files cannot be used.
    pub fn client(&self, ids: impl IntoIterator<Item = u64>) -> Result<Client> {
        let endpoints =
            ids.into_iter().map(|id| self.endpoint(id)).collect::<Result<Vec<Endpoint>>>()?;
        let options =
            ClientOptions { deadline: Duration::from_secs(120), ..ClientOptions::default() };
        Ok(Client::new(endpoints, &Transport::tls(&self.material()?)?, options)?)
    }

    /// Starts a coordinator. Its log lines go to `coordinator-<id>.log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, id: u64) -> Result<()> {
        let log = self.root.join(format!("coordinator-{id}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.binary);
        command
            .args(["coordinator", "run", "--config"])
            .arg(self.folder(id).join("coordinator.toml"))
            .env("QUORATE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let since = Instant::now();
        let child = command.spawn()?;
        self.running.insert(id, Running { child, since });
        Ok(())
    }

    /// Waits until coordinator `id` answers 200 on `/readyz`; how long after its start.
    ///
    /// # Errors
    /// It ended, or is not ready in time.
    pub async fn ready(&mut self, id: u64, within: Duration) -> Result<Duration> {
        let connector = self.http()?;
        let address = self.endpoint(id)?.address;
        let running = self.running.get_mut(&id).with_context(|| format!("{id} does not run"))?;
        loop {
            if is_ready(&connector, &address, id).await.unwrap_or(false) {
                return Ok(running.since.elapsed());
            }
            if let Some(status) = running.child.try_wait()? {
                bail!(
                    "coordinator {id} ended with {status}; see its log in {}",
                    self.root.display()
                );
            }
            ensure!(
                running.since.elapsed() < within,
                "coordinator {id} is not ready in {within:?}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How long ago coordinator `id` was started.
    ///
    /// # Errors
    /// It does not run.
    pub fn since_start(&self, id: u64) -> Result<Duration> {
        let running = self.running.get(&id).with_context(|| format!("{id} does not run"))?;
        Ok(running.since.elapsed())
    }

    /// The same TLS as a client's, for HTTP/1.1.
    fn http(&self) -> Result<TlsConnector> {
        let mut config = (*self.material()?.client_config()?).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(std::sync::Arc::new(config)))
    }

    /// The memory of coordinator `id` once it has stopped growing.
    ///
    /// # Errors
    /// It does not run.
    pub async fn memory(&self, id: u64) -> Result<Memory> {
        let running = self.running.get(&id).with_context(|| format!("{id} does not run"))?;
        let begun = Instant::now();
        let mut highest = Memory::of(running.child.id())?;
        let mut grown = Instant::now();
        while grown.elapsed() < QUIET_FOR && begun.elapsed() < QUIET_FOR * 10 {
            tokio::time::sleep(QUIET_FOR / 10).await;
            let now = Memory::of(running.child.id())?;
            if now.rss_bytes > highest.rss_bytes {
                (highest, grown) = (now, Instant::now());
            }
        }
        Memory::of(running.child.id())
    }

    /// Stops a coordinator in order.
    ///
    /// # Errors
    /// It does not end in time, or not well.
    pub async fn stop(&mut self, id: u64) -> Result<()> {
        let Some(mut running) = self.running.remove(&id) else { return Ok(()) };
        signal(&running.child, Signal::TERM)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = running.child.try_wait()? {
                ensure!(status.success(), "coordinator {id} ended with {status}");
                return Ok(());
            }
            if begun.elapsed() > STOP_WITHIN {
                running.child.kill()?;
                running.child.wait()?;
                bail!("coordinator {id} did not end in {STOP_WITHIN:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops every coordinator that runs, in order.
    ///
    /// # Errors
    /// One does not end in time, or not well.
    pub async fn stop_all(&mut self) -> Result<()> {
        for id in self.ids() {
            self.stop(id).await?;
        }
        Ok(())
    }

    /// kill -9.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        let mut running = self.running.remove(&id).with_context(|| format!("{id} does not run"))?;
        running.child.kill()?;
        running.child.wait()?;
        Ok(())
    }

    /// Exports the whole log from coordinator `id` to `file`; how long it took.
    ///
    /// # Errors
    /// It fails.
    pub async fn export(&self, id: u64, file: &Path) -> Result<Duration> {
        let endpoint = format!("{id}={}", self.endpoint(id)?.address);
        self.quorate(&["--endpoints", &endpoint, "--stale", "log", "export"], file).await
    }

    /// Runs `quorate` as the first operator to its end, its output in `to`; how long it took.
    ///
    /// # Errors
    /// It fails.
    pub async fn quorate(&self, arguments: &[&str], to: &Path) -> Result<Duration> {
        let begun = Instant::now();
        let status = tokio::process::Command::new(&self.binary)
            .args(arguments)
            .env("QUORATE_CONFIG", self.root.join("config.toml"))
            .env("QUORATE_CONTEXT", OPERATORS[0])
            .stdin(Stdio::null())
            .stdout(File::create(to)?)
            .status()
            .await?;
        ensure!(status.success(), "quorate {} ended with {status}", arguments.join(" "));
        Ok(begun.elapsed())
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            // It may have ended by itself.
            drop(running.child.kill());
            drop(running.child.wait());
        }
    }
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
    Ok(kill_process(pid, signal)?)
}

/// One GET of `/readyz`.
async fn is_ready(connector: &TlsConnector, address: &str, id: u64) -> std::io::Result<bool> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(coordinator_server_name(id), stream).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: coordinator\r\nConnection: close\r\n\r\n")
        .await?;
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    Ok(begin.ends_with(b" 200"))
}

/// The first of `count` ports in a row that nobody listens on, below the ephemeral range.
async fn free_ports(count: u16) -> Result<u16> {
    let mut first = 20_000 + u16::try_from(std::process::id() % 8_000)?;
    for _ in 0..100 {
        let mut taken = false;
        for port in first..first + count {
            taken |= TcpListener::bind(("127.0.0.1", port)).await.is_err();
        }
        if !taken {
            return Ok(first);
        }
        first += count;
    }
    bail!("no {count} free ports in a row");
}
