//! Creating a coordinator's stores: what `quorate init` does and `run` never does.

use std::path::{Path, PathBuf};

use quorate_attest::{
    charter::Charter,
    key::VerifierKey,
    signed::{Signed, SignedError},
};
use quorate_proto::key_file::{self, KeyFileError};
use quorate_store::{Disk, Store};

use crate::config::{Config, ConfigError};

/// Why stores are not created. Nothing that exists was touched.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The charter or the data directory.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The charter's file is no charter.
    #[error("{path} is no charter: {source}", path = path.display())]
    Charter {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: SignedError,
    },
    /// The cosigning key.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The charter knows no such coordinator, or knows it by another key.
    #[error("the charter lists no coordinator {id} with the key of {path}", path = path.display())]
    NotInCharter {
        /// The id of the configuration.
        id: u64,
        /// The key's file.
        path: PathBuf,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] quorate_store::CreateError),
}

/// Creates the empty stores that the configuration at `path` names, bound to the charter's origin
/// and to the cosigning key. Durable when it returns.
///
/// # Errors
/// See [`CreateError`].
pub fn create(path: &Path) -> Result<(), CreateError> {
    let config = Config::load(path)?;
    let bytes = std::fs::read(&config.charter)
        .map_err(|source| CreateError::Io { path: config.charter.clone(), source })?;
    let charter: Signed<Charter> = Signed::parse(&bytes)
        .map_err(|source| CreateError::Charter { path: config.charter.clone(), source })?;
    let signer = own_key(&config, &charter.statement)?;
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|source| CreateError::Io { path: config.data_dir.clone(), source })?;
    let disk = Disk::Directory(config.data_dir);
    Ok(Store::create(&disk, &charter.statement.origin, config.id, &signer)?)
}

/// The charter's line of this coordinator, if it is of the key on this disk.
fn own_key(config: &Config, charter: &Charter) -> Result<VerifierKey, CreateError> {
    let secret = key_file::load(&config.cosign_key)?;
    let mut keys = charter.coordinator.iter();
    keys.find(|key| {
        charter.node_id(key.name()) == Some(config.id) && *key.public() == secret.public()
    })
    .cloned()
    .ok_or_else(|| CreateError::NotInCharter { id: config.id, path: config.cosign_key.clone() })
}
