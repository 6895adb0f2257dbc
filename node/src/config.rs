//! The configuration of one agent: a TOML file, overridden by `QUORATE__…` variables.
//!
//! Unknown keys are refused by name, relative paths are relative to the file, and every address is
//! parsed here, once.

mod probe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate_attest::id::{ClusterId, KeyName, MemberId};
use serde::Deserialize;
use thiserror::Error;

use crate::adapters::{self, AdapterConfigError, Adapters, ProcessAdapter, ProcessConfig, Site};
use crate::gate::{GateConfig, Permits, ReadmitAdapter};
use crate::probe::ProbeAddressInvalid;

pub use self::probe::ProbeConfig;
use self::probe::{PeerTable, ProbeTable};

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("configuration {path}: there is no such file")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is unreadable, not TOML, or has an unknown key or a value of another type.
    #[error("configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What `config` says: key, value and origin.
        source: Box<config::ConfigError>,
    },
    /// A name is none.
    #[error("configuration key {key} = {value:?}: {why}")]
    Name {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        why: String,
    },
    /// A probe cannot be read.
    #[error("configuration key {key}: {source}")]
    Probe {
        /// The key.
        key: String,
        /// Why not.
        source: ProbeAddressInvalid,
    },
    /// An adapter's table is refused.
    #[error(transparent)]
    Adapter(#[from] AdapterConfigError),
    /// No coordinator to talk to.
    #[error("configuration key endpoints is empty; it lists every coordinator")]
    NoEndpoints,
    /// A number lies outside its range.
    #[error("configuration key {key} = {value} must lie between {min} and {max}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The least value allowed.
        min: u64,
        /// The greatest value allowed.
        max: u64,
    },
    /// Two times contradict each other.
    #[error(
        "probe.freshness_ms = {freshness_ms} must be at least probe.failures × probe.interval_ms = \
         {run_ms}, or no run of failures is ever fresh"
    )]
    Freshness {
        /// The freshness window.
        freshness_ms: u64,
        /// The length of a run of failures.
        run_ms: u64,
    },
}

/// One coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Its Raft node id.
    pub id: u64,
    /// `host:port`.
    pub address: String,
}

/// The files of this agent's TLS certificate, its key and the network's authority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM chain whose leaf names `spiffe://<network>/quorate/agent/<id>`.
    pub certificate: PathBuf,
    /// PKCS#8 PEM of its key.
    pub key: PathBuf,
    /// PEM of the authority.
    pub ca: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ActionTable {
    execute_ms: u64,
    verify_ms: u64,
}

impl Default for ActionTable {
    fn default() -> Self {
        Self { execute_ms: 60_000, verify_ms: 120_000 }
    }
}

/// Whether this agent opens proposals by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Automation {
    /// It opens a `restart` from a suspicion that other agents share.
    #[default]
    Restart,
    /// It only votes and executes.
    Off,
}

/// The file as it is written; [`Config`] is what is left after checking it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    cluster: String,
    member: String,
    data_dir: PathBuf,
    charter: PathBuf,
    vote_key: PathBuf,
    endpoints: Vec<EndpointConfig>,
    tls: TlsFiles,
    playbooks: Option<PathBuf>,
    #[serde(default)]
    automation: Automation,
    #[serde(default)]
    probe: ProbeTable,
    #[serde(default)]
    action: ActionTable,
    member_process: Option<ProcessConfig>,
    #[serde(default)]
    adapter: BTreeMap<String, config::Value>,
    #[serde(default)]
    gate: GateConfig,
    #[serde(default)]
    peer: Vec<PeerTable>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Key name of this agent.
    pub name: KeyName,
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// The member it runs beside.
    pub member: MemberId,
    /// The directory with the journal. Enrolment creates it, a start never does.
    pub data_dir: PathBuf,
    /// The pinned charter, a signed note.
    pub charter: PathBuf,
    /// PKCS#8 PEM of the key that votes, claims and reports; its guard lies beside it.
    pub vote_key: PathBuf,
    /// Every coordinator.
    pub endpoints: Vec<EndpointConfig>,
    /// This agent's TLS files.
    pub tls: TlsFiles,
    /// The directory with the playbooks; only those whose digest the charter pins are followed.
    pub playbooks: Option<PathBuf>,
    /// Whether it opens proposals.
    pub automation: Automation,
    /// Probing.
    pub probe: ProbeConfig,
    /// How long an effect may take.
    pub execute: Duration,
    /// How long verifying may take, the stability window included.
    pub verify: Duration,
    /// The process `restart` acts on.
    pub member_process: Option<ProcessConfig>,
    /// The tables `[adapter.NAME]`, each of which makes an adapter.
    pub adapter: BTreeMap<String, config::Value>,
    /// The file it was read from: relative paths start beside it.
    pub file: PathBuf,
    /// What the gate looks at: directory and host.
    pub gate: GateConfig,
}

impl Config {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key and the value.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| {
            let path = path.to_owned();
            if path.exists() {
                ConfigError::Read { path, source: Box::new(source) }
            } else {
                ConfigError::Missing { path }
            }
        };
        let overrides = config::Environment::with_prefix("QUORATE")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true);
        let file: File = config::Config::builder()
            .add_source(config::File::new(&path.to_string_lossy(), config::FileFormat::Toml))
            .add_source(overrides)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(read)?;
        Self::check(file, path)
    }

    /// The adapters of this agent: one for each table, and the gate's and the process's own for what
    /// is left. Those that start a member alone keep a clone of `permits`.
    ///
    /// # Errors
    /// [`AdapterConfigError`], for the first table that is refused; a configuration that was loaded
    /// has none.
    pub fn adapters(&self, permits: &Permits) -> Result<Adapters, AdapterConfigError> {
        let Self { cluster, member, probe, file, .. } = self;
        let process = self.member_process.as_ref();
        let site = Site { cluster, member, file, probe, process, permits };
        let readmit = ReadmitAdapter::new(member.as_str(), self.gate.clone());
        let adapters = adapters::build(&site, &self.adapter)?.with(Arc::new(readmit));
        Ok(match self.process_adapter() {
            Some(process) => adapters.with(Arc::new(process)),
            None => adapters,
        })
    }

    /// What restarts the member's process, if this agent runs it.
    #[must_use]
    pub fn process_adapter(&self) -> Option<ProcessAdapter> {
        let (cluster, member) = (self.cluster.as_str(), self.member.as_str());
        let process = self.member_process.clone()?;
        Some(ProcessAdapter::new(cluster, member, process, self.probe.own.clone()))
    }

    /// The journal's file.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        journal_path(&self.data_dir)
    }

    fn check(file: File, path: &Path) -> Result<Self, ConfigError> {
        let base = path.parent().unwrap_or(Path::new("."));
        if file.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        let probe = file.probe.check(&file.peer)?;
        let process = |process: ProcessConfig| ProcessConfig {
            pid_file: base.join(process.pid_file),
            directory: process.directory.map(|directory| base.join(directory)),
            log_file: process.log_file.map(|log| base.join(log)),
            ..process
        };
        let config = Self {
            name: named("name", &file.name)?,
            cluster: named("cluster", &file.cluster)?,
            member: named("member", &file.member)?,
            data_dir: base.join(file.data_dir),
            charter: base.join(file.charter),
            vote_key: base.join(file.vote_key),
            endpoints: file.endpoints,
            tls: TlsFiles {
                certificate: base.join(file.tls.certificate),
                key: base.join(file.tls.key),
                ca: base.join(file.tls.ca),
            },
            playbooks: file.playbooks.map(|playbooks| base.join(playbooks)),
            automation: file.automation,
            probe,
            execute: span("action.execute_ms", file.action.execute_ms, 100, 3_600_000)?,
            verify: span("action.verify_ms", file.action.verify_ms, 100, 3_600_000)?,
            member_process: file.member_process.map(process),
            adapter: file.adapter,
            gate: GateConfig {
                directory: file.gate.directory.map(|directory| base.join(directory)),
                ..file.gate
            },
            file: path.to_owned(),
        };
        // Refused here, at load, and not when the first decision needs it.
        config.adapters(&Permits::default())?;
        Ok(config)
    }
}

/// Where the journal lies in a data directory.
#[must_use]
pub fn journal_path(data_dir: &Path) -> PathBuf {
    data_dir.join("journal.redb")
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
    key: &'static str,
    value: &str,
) -> Result<T, ConfigError> {
    value.parse().map_err(|why: T::Err| ConfigError::Name {
        key,
        value: value.to_owned(),
        why: why.to_string(),
    })
}

fn span(key: &'static str, value: u64, min: u64, max: u64) -> Result<Duration, ConfigError> {
    if (min..=max).contains(&value) {
        Ok(Duration::from_millis(value))
    } else {
        Err(ConfigError::OutOfRange { key, value, min, max })
    }
}
