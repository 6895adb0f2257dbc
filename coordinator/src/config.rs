//! The configuration of one coordinator: a TOML file, overridden by `QUORATE__…` variables.
//!
//! Unknown keys are refused by name, relative paths are relative to the file, and relations between
//! numbers are checked here, once: nothing below this module meets an inconsistent configuration.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

/// The smallest store quota: one full Raft window, one snapshot and the ballast fit in it.
const STORE_QUOTA_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Why a configuration is refused. Each variant names the key and the value that has to change.
#[derive(Debug, thiserror::Error)]
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
        /// The file that was read.
        path: PathBuf,
        /// What `config` says: key, value and origin.
        source: Box<config::ConfigError>,
    },
    /// An address is not `host:port`.
    #[error("configuration key {key} = {value:?} is not host:port")]
    Address {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A coordinator id is not a decimal number from 1 to 2^63 - 1.
    #[error("configuration key {key}: coordinator ids are decimal numbers from 1")]
    CoordinatorId {
        /// The key.
        key: String,
    },
    /// This coordinator's id is in one of the address tables only, or in none.
    #[error("configuration key {table} has no entry for coordinator {id}")]
    MissingPeer {
        /// `peers` or `clients`.
        table: &'static str,
        /// The id without an address.
        id: u64,
    },
    /// Two timeouts contradict each other.
    #[error(
        "raft.{smaller} = {smaller_ms} ms must be at most raft.{larger} = {larger_ms} ms / {factor}"
    )]
    Timeouts {
        /// The key that must be smaller.
        smaller: &'static str,
        /// Its value in milliseconds.
        smaller_ms: u64,
        /// The key that must be larger.
        larger: &'static str,
        /// Its value in milliseconds.
        larger_ms: u64,
        /// The least ratio between the two.
        factor: u64,
    },
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
    /// Plain text would be served on an address that others can reach.
    #[error("reader_listen = {0} must be a loopback address: it is served in plain text")]
    ReaderNotLoopback(SocketAddr),
}

/// The files of this coordinator's TLS certificate, its key and the network's certificate
/// authority.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM chain whose leaf names `spiffe://<network>/quorate/coordinator/<id>`.
    pub certificate: PathBuf,
    /// PKCS#8 PEM of its key.
    pub key: PathBuf,
    /// PEM of the authority that signs every certificate of this network.
    pub ca: PathBuf,
}

/// Raft's timeouts, in milliseconds. A failover takes the greatest election timeout, which is the
/// leader's lease, and a sample between least and greatest. Nobody is elected on a disk whose fsync
/// takes longer than the least. What an idle quorum costs falls with the heartbeat: openraft wakes up
/// five times for each. The defaults fail over in two to three seconds, and keep an idle coordinator
/// under one percent of a core.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// Between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// The least election timeout; also the deadline of a vote, hence of one fsync.
    pub election_min_ms: u64,
    /// The greatest election timeout; also the leader's lease.
    pub election_max_ms: u64,
    /// A snapshot is taken each time this many entries were applied.
    pub snapshot_entries: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 500,
            election_min_ms: 1_000,
            election_max_ms: 1_500,
            snapshot_entries: 10_000,
        }
    }
}

/// Limits of the data directory.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Bytes the data directory may use before new proposals are refused with `STORE_QUOTA`.
    pub quota_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { quota_bytes: 2 * 1024 * 1024 * 1024 }
    }
}

/// What each caller may ask of this process, before anything enters the Raft log.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Calls a caller may make at once after a pause.
    pub caller_burst: u32,
    /// Calls per second a caller may make for ever.
    pub caller_per_second: u32,
    /// Watches one caller may hold open.
    pub caller_watches: u32,
    /// Writes that may wait for Raft at once, over all callers.
    pub queued_writes: u32,
    /// Connections that may be open at once.
    pub connections: usize,
    /// Of them, from one address.
    pub connections_per_address: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            caller_burst: 400,
            caller_per_second: 200,
            caller_watches: 100,
            queued_writes: 256,
            connections: 1_024,
            connections_per_address: 64,
        }
    }
}

/// The file as it is written; [`Config`] is what is left after checking it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: u64,
    listen: SocketAddr,
    peer_listen: SocketAddr,
    data_dir: PathBuf,
    charter: PathBuf,
    cosign_key: PathBuf,
    tls: TlsFiles,
    peers: BTreeMap<String, String>,
    clients: BTreeMap<String, String>,
    #[serde(default)]
    raft: RaftConfig,
    #[serde(default)]
    store: StoreConfig,
    #[serde(default)]
    limits: LimitsConfig,
    reader_listen: Option<SocketAddr>,
    #[serde(default = "on")]
    reflection: bool,
}

fn on() -> bool {
    true
}

/// A checked configuration. All paths are absolute or relative to the working directory, not the
/// file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Raft node id, which is also the last part of this coordinator's key name and identity.
    pub id: u64,
    /// Where clients, agents and browsers connect (TLS).
    pub listen: SocketAddr,
    /// Where the other coordinators connect (TLS, role `coordinator` only).
    pub peer_listen: SocketAddr,
    /// The directory with the three redb files. `quorate init` creates it, `run` never does.
    pub data_dir: PathBuf,
    /// Leaf 0: the first charter with the operators' signatures.
    pub charter: PathBuf,
    /// PKCS#8 PEM of the cosigning key (type 0x04).
    pub cosign_key: PathBuf,
    /// This coordinator's TLS files.
    pub tls: TlsFiles,
    /// Peer address (`host:port`) of every coordinator, this one included.
    pub peers: BTreeMap<u64, String>,
    /// Public address of every coordinator, this one included: what a follower names as the
    /// leader's.
    pub clients: BTreeMap<u64, String>,
    /// Raft's timeouts.
    pub raft: RaftConfig,
    /// Limits of the data directory.
    pub store: StoreConfig,
    /// Limits per caller.
    pub limits: LimitsConfig,
    /// A loopback listener in plain text whose callers have the role `reader`; only in a demo
    /// network.
    pub reader_listen: Option<SocketAddr>,
    /// Whether gRPC reflection answers.
    pub reflection: bool,
}

impl Config {
    /// Reads `path`, then `QUORATE__…` variables over it (two underscores between the parts of a
    /// key, because Kubernetes injects `QUORATE_PORT` and the like), and checks every relation.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| {
            let path = path.to_owned();
            if path.exists() {
                ConfigError::Read { path, source: Box::new(source) }
            } else {
                ConfigError::Missing { path }
            }
        };
        let file: File = config::Config::builder()
            .add_source(config::File::from(path).format(config::FileFormat::Toml))
            .add_source(
                config::Environment::with_prefix("QUORATE").separator("__").try_parsing(true),
            )
            .build()
            .map_err(read)?
            .try_deserialize()
            .map_err(read)?;
        Self::check(file, path.parent().unwrap_or(Path::new("")))
    }

    fn check(file: File, base: &Path) -> Result<Self, ConfigError> {
        check_timeouts(&file.raft)?;
        let quota = file.store.quota_bytes;
        in_range("store.quota_bytes", quota, STORE_QUOTA_BYTES_MIN, 1 << 50)?;
        in_range("limits.caller_burst", file.limits.caller_burst.into(), 1, 1 << 20)?;
        in_range("limits.caller_per_second", file.limits.caller_per_second.into(), 1, 1 << 20)?;
        in_range("limits.caller_watches", file.limits.caller_watches.into(), 1, 1 << 16)?;
        in_range("limits.queued_writes", file.limits.queued_writes.into(), 1, 4_096)?;
        let connections = u64::try_from(file.limits.connections).unwrap_or(u64::MAX);
        in_range("limits.connections", connections, 1, 1 << 16)?;
        let per_address = u64::try_from(file.limits.connections_per_address).unwrap_or(u64::MAX);
        in_range("limits.connections_per_address", per_address, 1, connections)?;
        in_range("id", file.id, 1, i64::MAX.unsigned_abs())?;
        if let Some(reader) = file.reader_listen.filter(|address| !address.ip().is_loopback()) {
            return Err(ConfigError::ReaderNotLoopback(reader));
        }
        let peers = addresses("peers", file.peers)?;
        let clients = addresses("clients", file.clients)?;
        for (table, addresses) in [("peers", &peers), ("clients", &clients)] {
            if !addresses.contains_key(&file.id) {
                return Err(ConfigError::MissingPeer { table, id: file.id });
            }
        }
        if let Some(id) = peers.keys().find(|id| !clients.contains_key(id)) {
            return Err(ConfigError::MissingPeer { table: "clients", id: *id });
        }
        if let Some(id) = clients.keys().find(|id| !peers.contains_key(id)) {
            return Err(ConfigError::MissingPeer { table: "peers", id: *id });
        }
        Ok(Self {
            id: file.id,
            listen: file.listen,
            peer_listen: file.peer_listen,
            data_dir: base.join(file.data_dir),
            charter: base.join(file.charter),
            cosign_key: base.join(file.cosign_key),
            tls: TlsFiles {
                certificate: base.join(file.tls.certificate),
                key: base.join(file.tls.key),
                ca: base.join(file.tls.ca),
            },
            peers,
            clients,
            raft: file.raft,
            store: file.store,
            limits: file.limits,
            reader_listen: file.reader_listen,
            reflection: file.reflection,
        })
    }
}

impl RaftConfig {
    /// Time between two heartbeats.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// The leader's lease and the greatest election timeout.
    pub fn election_max(&self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }
}

fn check_timeouts(raft: &RaftConfig) -> Result<(), ConfigError> {
    in_range("raft.heartbeat_ms", raft.heartbeat_ms, 10, 10_000)?;
    in_range("raft.election_min_ms", raft.election_min_ms, 50, 60_000)?;
    in_range("raft.election_max_ms", raft.election_max_ms, 60, 120_000)?;
    in_range("raft.snapshot_entries", raft.snapshot_entries, 100, 1_000_000)?;
    if raft.heartbeat_ms * 2 > raft.election_min_ms {
        return Err(ConfigError::Timeouts {
            smaller: "heartbeat_ms",
            smaller_ms: raft.heartbeat_ms,
            larger: "election_min_ms",
            larger_ms: raft.election_min_ms,
            factor: 2,
        });
    }
    if raft.election_min_ms >= raft.election_max_ms {
        return Err(ConfigError::Timeouts {
            smaller: "election_min_ms",
            smaller_ms: raft.election_min_ms,
            larger: "election_max_ms",
            larger_ms: raft.election_max_ms,
            factor: 1,
        });
    }
    Ok(())
}

fn in_range(key: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::OutOfRange { key, value, min, max })
    }
}

fn addresses(
    table: &str,
    raw: BTreeMap<String, String>,
) -> Result<BTreeMap<u64, String>, ConfigError> {
    raw.into_iter()
        .map(|(id, address)| {
            let key = format!("{table}.{id}");
            let id = id
                .parse::<u64>()
                .ok()
                .filter(|number| *number >= 1 && number.to_string() == id)
                .ok_or_else(|| ConfigError::CoordinatorId { key: key.clone() })?;
            let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
            if host.is_empty() || port.parse::<u16>().is_err() {
                return Err(ConfigError::Address { key, value: address });
            }
            Ok((id, address))
        })
        .collect()
}
