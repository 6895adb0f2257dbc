//! Running a server in this process: its log lines, its signals, its end.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use quorate_coordinator::Coordinator;
use tracing_subscriber::EnvFilter;

use crate::Done;
use crate::exit::Exit;
use crate::failure::{Failure, LocalReason, chain};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For eyes.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Whether a server belongs to a demo. A demo's directory is refused by everything else: its
/// signatures must never meet a real deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `coordinator run`, `agent run`.
    Real,
    /// A child process of `demo`.
    Demo,
}

/// Log lines go to standard error; `QUORATE_LOG` filters them.
pub(crate) fn log_to_stderr(format: Option<LogFormat>) {
    let is_pretty = match format {
        Some(format) => format == LogFormat::Pretty,
        None => std::io::stderr().is_terminal(),
    };
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process is refused; the first one goes on.
    drop(if is_pretty { lines.try_init() } else { lines.json().try_init() });
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(LocalReason::FileFailed, format!("no runtime: {error}")))
}

/// A demo's charter in a real server, or the reverse.
fn check_purpose(charter: &Path, purpose: Purpose) -> Result<(), Failure> {
    let text = crate::files::read_text(charter)?;
    let origin = text.lines().find_map(|line| line.strip_prefix("origin ")).unwrap_or_default();
    let is_demo = origin.split('/').any(|part| part == "demo");
    match (is_demo, purpose) {
        (true, Purpose::Real) => Err(Failure::local(
            LocalReason::ConfigInvalid,
            format!("{}: is a demo's charter; its signatures are worth nothing", charter.display()),
        )
        .help("quorate init")),
        (false, Purpose::Demo) => Err(Failure::local(
            LocalReason::ConfigInvalid,
            format!("{}: is a real charter, not a demo's", charter.display()),
        )),
        (true, Purpose::Demo) | (false, Purpose::Real) => Ok(()),
    }
}

/// What a server's library says of a configuration, besides its words.
pub(super) trait ConfigRefused: std::error::Error {
    /// There is no such file.
    fn is_missing(&self) -> bool;
    /// Whether the words say which file it is.
    fn names_file(&self) -> bool;
}

impl ConfigRefused for quorate_coordinator::config::ConfigError {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    fn names_file(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Read { .. })
    }
}

impl ConfigRefused for quorate_node::ConfigError {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    fn names_file(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Read { .. })
    }
}

/// A configuration that cannot be used. One that is not there is made by `init`.
pub(super) fn refused(config: &Path, error: &impl ConfigRefused) -> Failure {
    let words = chain(error);
    let message = if error.names_file() { words } else { format!("{}: {words}", config.display()) };
    let failure = Failure::local(LocalReason::ConfigInvalid, message);
    if error.is_missing() {
        return failure.help("`quorate init` makes one; `--config FILE` names another");
    }
    failure
}

/// A server of this process, as its failures name it.
struct Server {
    who: String,
    data: PathBuf,
}

impl Server {
    fn failed(&self, why: &str) -> Failure {
        let message = format!("{}, data directory {}: {why}", self.who, self.data.display());
        Failure::local(LocalReason::ServerFailed, message)
    }

    fn in_use(&self) -> Failure {
        self.failed("it is in use by another process")
            .help("it runs already; stop that process first, or name another --config")
    }

    /// It does not start: why, and what to do about it.
    fn not_started(&self, error: &dyn std::error::Error) -> Failure {
        if !self.data.exists() {
            return self.failed("there is no such directory").help(
                "data_dir in the configuration names it; `quorate init` makes it. Never start with \
                 an empty one instead: what was signed would be forgotten",
            );
        }
        self.failed(&chain(error))
    }
}

/// Waits for SIGTERM or Ctrl-C.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        stopped = tokio::signal::ctrl_c() => stopped,
    }
}

/// Runs a coordinator until a signal, or a fault of its own disk.
pub(crate) fn coordinator(config: &Path, format: Option<LogFormat>, purpose: Purpose) -> Done {
    let loaded =
        quorate_coordinator::Config::load(config).map_err(|error| refused(config, &error))?;
    check_purpose(&loaded.charter, purpose)?;
    log_to_stderr(format);
    let server =
        Server { who: format!("coordinator {}", loaded.id), data: loaded.data_dir.clone() };
    runtime()?.block_on(async {
        let running = Coordinator::start(loaded).await.map_err(|error| {
            if error.is_in_use() { server.in_use() } else { server.not_started(&error) }
        })?;
        tokio::select! {
            signal = stop_signal() => {
                signal.map_err(|error| Failure::file(config, error))?;
                tokio::select! {
                    () = running.shutdown() => Ok(Exit::Ok),
                    // A second signal ends the process at once.
                    _ = stop_signal() => Ok(Exit::Terminated),
                }
            }
            fault = running.faulted() => {
                let message = format!("this replica stopped: {fault}");
                Err(Failure::local(LocalReason::ServerFailed, message)
                    .help("repair the disk, then start it again"))
            }
        }
    })
}

/// Runs an agent until a signal.
pub(crate) fn agent(config: &Path, format: Option<LogFormat>, purpose: Purpose) -> Done {
    let loaded =
        quorate_node::config::Config::load(config).map_err(|error| refused(config, &error))?;
    check_purpose(&loaded.charter, purpose)?;
    log_to_stderr(format);
    let server = Server { who: format!("agent {}", loaded.name), data: loaded.data_dir.clone() };
    runtime()?.block_on(async {
        let running = quorate_node::Agent::start(loaded).await.map_err(|error| {
            if error.is_in_use() { server.in_use() } else { server.not_started(&error) }
        })?;
        let stopper = running.stopper();
        let ended = running.ended();
        tokio::pin!(ended);
        let stopped = tokio::select! {
            // A part that halts by itself ends the agent: half an agent must not act.
            ended = &mut ended => ended,
            signal = stop_signal() => {
                signal.map_err(|error| Failure::file(config, error))?;
                stopper.cancel();
                tokio::select! {
                    ended = &mut ended => ended,
                    // A second signal ends the process at once: the journal is made for that.
                    _ = stop_signal() => return Ok(Exit::Terminated),
                }
            }
        };
        stopped
            .map(|()| Exit::Ok)
            .map_err(|error| Failure::local(LocalReason::ServerFailed, chain(&error)))
    })
}
