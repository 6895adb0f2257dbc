//! What is read before anything is opened, and why a coordinator does not start.

use std::{io, path::PathBuf, sync::Arc};

use quorate_attest::{
    charter::Charter,
    key::{CosignSigner, KeyError},
    leaf::{Leaf, LeafError},
    signed::Signed,
};
use quorate_proto::{
    identity::Identity,
    key_file::{self, KeyFileError},
    tls::{TlsError, TlsMaterial},
};
use quorate_store::{Fault, OpenError};

use crate::{config::Config, raft::rollback::RolledBack, signer};

/// Why a coordinator does not start, or ended before it was ready.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The charter file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    CharterFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The charter file holds no charter leaf.
    #[error("{path} is no charter leaf: {source}", path = path.display())]
    CharterLeaf {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<LeafError>,
    },
    /// The charter file holds another leaf.
    #[error("{path} holds a leaf that is no charter", path = path.display())]
    NoCharter {
        /// The file.
        path: PathBuf,
    },
    /// The cosigning key's file is missing, readable by others, or no key.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The cosigning key is refused.
    #[error("the cosigning key is refused: {0}")]
    Key(#[from] KeyError),
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS certificate is somebody else's.
    #[error("the TLS certificate names {have}, this coordinator is {want}")]
    Identity {
        /// What it names.
        have: String,
        /// Who we are by the configuration and the charter.
        want: String,
    },
    /// The charter does not list this coordinator with this key.
    #[error("the charter lists no coordinator {name} with the key of {path}", path = path.display())]
    NotInCharter {
        /// Our key name.
        name: String,
        /// The key's file.
        path: PathBuf,
    },
    /// Plain text is for demo networks.
    #[error("reader_listen serves plain text, which only a network with a path part `demo` may do")]
    PlainTextOutsideDemo,
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The disk is too slow for the configured timeouts: no leader would ever be elected.
    #[error(
        "half of the fsyncs of {path} take over {fsync_ms} ms: raft.election_min_ms = {have_ms} must \
         be at least {want_ms}",
        path = path.display()
    )]
    SlowDisk {
        /// The data directory.
        path: PathBuf,
        /// The measured median.
        fsync_ms: u128,
        /// The configured timeout.
        have_ms: u64,
        /// Three times the measured time.
        want_ms: u128,
    },
    /// A file or socket operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Raft cannot be set up.
    #[error("Raft cannot start: {0}")]
    Raft(String),
    /// The signer cannot start.
    #[error(transparent)]
    Signer(#[from] signer::StartError),
    /// This coordinator's disk was rolled back.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
    /// gRPC reflection cannot be built from the descriptors.
    #[error("the reflection service cannot be built: {0}")]
    Reflection(String),
    /// The store failed while starting.
    #[error("this replica has stopped: {0}")]
    Fault(Arc<Fault>),
}

impl StartError {
    /// Another process runs this coordinator: it holds the store.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Store(OpenError::Locked { .. }))
    }
}

/// What is read before anything is opened.
pub(super) struct Files {
    pub(super) charter: Signed<Charter>,
    pub(super) tls: TlsMaterial,
    pub(super) identity: Identity,
}

impl Files {
    pub(super) fn load(config: &Config) -> Result<Self, StartError> {
        let path = config.charter.clone();
        let bytes = std::fs::read(&path)
            .map_err(|source| StartError::CharterFile { path: path.clone(), source })?;
        let leaf = Leaf::parse(&bytes).map_err(|source| StartError::CharterLeaf {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let Leaf::Charter(charter) = leaf else { return Err(StartError::NoCharter { path }) };
        let network = charter.statement.origin.network.clone();
        let tls = TlsMaterial::load(&config.tls.certificate, &config.tls.key, &config.tls.ca)?;
        let identity = Identity::coordinator(network, config.id).map_err(TlsError::Identity)?;
        if *tls.identity() != identity {
            let (have, want) = (tls.identity().to_string(), identity.to_string());
            return Err(StartError::Identity { have, want });
        }
        let name = identity.key_name();
        let signer = CosignSigner::new(name.clone(), key_file::load(&config.cosign_key)?);
        if !charter.statement.coordinator.contains(signer.vkey()) {
            let (name, path) = (name.to_string(), config.cosign_key.clone());
            return Err(StartError::NotInCharter { name, path });
        }
        let is_demo = identity.network().as_str().split('/').any(|part| part == "demo");
        if config.reader_listen.is_some() && !is_demo {
            return Err(StartError::PlainTextOutsideDemo);
        }
        Ok(Self { charter, tls, identity })
    }
}
