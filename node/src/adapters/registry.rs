//! The adapters there are. A new one is one file and one line of [`REGISTRY`].
//!
//! The tables `[adapter.NAME]` of an agent's configuration say which of them this agent has. Each
//! reads its own table; what it refuses names the key, the value and where it stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_attest::id::{ClusterId, MemberId};
use quorate_attest::remediation::Kind;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{
    Adapter, Adapters, ProcessConfig, ban_list, etcd, exec, inferadb_ledger, neo, nip86, nostream,
    qfs, systemd,
};
use crate::config::ProbeConfig;
use crate::gate::Permits;

/// How an adapter is made from its table.
type Build = fn(&Site<'_>, Table) -> Result<Arc<dyn Adapter>, AdapterConfigError>;

/// Every adapter by the name of its table, in the order of the names.
const REGISTRY: &[(&str, Build)] = &[
    ("ban-list", ban_list::build),
    ("etcd", etcd::build),
    ("exec", exec::build),
    ("inferadb-ledger", inferadb_ledger::build),
    ("neo", neo::build),
    ("nip86", nip86::build),
    ("nostream", nostream::build),
    ("qfs", qfs::build),
    ("systemd", systemd::build),
];

/// Where an adapter acts: what it may know besides its own table.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The guarded cluster.
    pub cluster: &'a ClusterId,
    /// The member this agent runs beside.
    pub member: &'a MemberId,
    /// The configuration file: relative paths start beside it.
    pub file: &'a Path,
    /// How members are probed.
    pub probe: &'a ProbeConfig,
    /// The member's process, where this agent runs it.
    pub process: Option<&'a ProcessConfig>,
    /// The permission to start the member alone, for an adapter that carries out declarations.
    pub permits: &'a Permits,
}

impl Site<'_> {
    /// `path`, relative to the configuration file.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new(".")).join(path)
    }
}

/// One table `[adapter.NAME]` as it was read.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
    file: PathBuf,
    value: config::Value,
}

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    /// [`AdapterConfigError::Read`] for an unknown key or a value of another type.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, AdapterConfigError> {
        let Self { name: adapter, file, value } = self;
        let refused = |source| {
            let source = Box::new(source);
            AdapterConfigError::Read { adapter, file, source }
        };
        value.try_deserialize().map_err(refused)
    }

    /// What is wrong with the value of one key, for [`AdapterConfigError::Refused`].
    pub fn refuse(
        &self,
        key: &'static str,
        value: impl Into<String>,
        why: impl Into<String>,
    ) -> AdapterConfigError {
        let (value, why) = (value.into(), why.into());
        let (adapter, file) = (self.name.clone(), self.file.clone());
        AdapterConfigError::Refused { adapter, key, value, file, why }
    }
}

/// Why the adapters of a configuration are refused. Nothing was started.
#[derive(Debug, Error)]
pub enum AdapterConfigError {
    /// There is no such adapter.
    #[error("[adapter.{name}] of {file}: there is no such adapter; there are {known}")]
    Unknown {
        /// The name of the table.
        name: String,
        /// The configuration file.
        file: PathBuf,
        /// All names.
        known: String,
    },
    /// A table has an unknown key, misses one, or has a value of another type.
    #[error("[adapter.{adapter}] of {file}: {source}")]
    Read {
        /// The name of the table.
        adapter: String,
        /// The configuration file.
        file: PathBuf,
        /// What `config` says: key and value.
        source: Box<config::ConfigError>,
    },
    /// A value is none.
    #[error("[adapter.{adapter}] of {file}: {key} = {value:?}: {why}")]
    Refused {
        /// The name of the table.
        adapter: String,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The configuration file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// Two adapters carry out one kind: which of them would act is not for chance to say.
    #[error("[adapter.{first}] and [adapter.{second}] both carry out {kind}; keep one of them")]
    Twice {
        /// The kind.
        kind: Kind,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

/// Makes the adapters of all tables.
///
/// # Errors
/// [`AdapterConfigError`], for the first table that is refused.
pub fn build(
    site: &Site<'_>,
    tables: &BTreeMap<String, config::Value>,
) -> Result<Adapters, AdapterConfigError> {
    let mut adapters = Adapters::none();
    let mut carried_out: BTreeMap<Kind, &String> = BTreeMap::new();
    for (name, value) in tables {
        let file = site.file.to_owned();
        let table = Table { name: name.clone(), file: file.clone(), value: value.clone() };
        let known = REGISTRY.iter().find(|(known, _)| known == name);
        let (_, build) = known.ok_or_else(|| AdapterConfigError::Unknown {
            name: name.clone(),
            file,
            known: REGISTRY.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        })?;
        let adapter = build(site, table)?;
        for kind in adapter.describe().kinds {
            if let Some(first) = carried_out.insert(kind, name) {
                let (first, second) = (first.clone(), name.clone());
                return Err(AdapterConfigError::Twice { kind, first, second });
            }
        }
        adapters = adapters.with(adapter);
    }
    Ok(adapters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_in_the_order_of_its_names() {
        let names: Vec<&str> = REGISTRY.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
