//! Mutual TLS for both sides: TLS 1.3 only, ring only, one authority for each deployment.
//!
//! webpki compares DNS names only, so a coordinator's certificate carries
//! `<id>.coordinator.quorate.internal`, used for nothing but that comparison: dialing 3 and reaching
//! 2 fails in the handshake. Who a caller is comes from its URI name ([`crate::identity`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;

use crate::identity::{Identity, IdentityError};
use crate::key_file::{self, KeyFileError};

const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// TLS material that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A certificate file cannot be read or is no PEM.
    #[error("{}: no readable PEM certificates", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// It holds no certificate.
    #[error("{}: holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key file is not private, or not there.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key file holds no key that TLS can use.
    #[error("{}: holds no private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit, or the authority is unusable.
    #[error("the TLS certificate, key and authority do not work together")]
    Rustls(#[from] rustls::Error),
    /// No client could be verified.
    #[error("the TLS authority cannot verify clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// Our own certificate names no identity.
    #[error("our own TLS certificate is not usable: {0}")]
    Identity(#[from] IdentityError),
}

/// Whether a server admits connections without a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No connection without one: between coordinators.
    Required,
    /// Such a connection is anonymous, and only health paths admit it.
    Optional,
}

/// Our certificate, our key, the authority.
#[derive(Debug)]
pub struct TlsMaterial {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    identity: Identity,
}

impl Clone for TlsMaterial {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            roots: Arc::clone(&self.roots),
            identity: self.identity.clone(),
        }
    }
}

impl TlsMaterial {
    /// Reads the three files; the key's must be private to this user.
    ///
    /// # Errors
    /// A file is missing, unreadable or open to others, or the certificate names no identity.
    pub fn load(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, TlsError> {
        let secret = key_file::read_secret(key)?;
        let key = PrivateKeyDer::from_pem_slice(secret.as_bytes())
            .map_err(|_| TlsError::NoKey { path: key.to_owned() })?;
        Self::new(certificates(certificate)?, key, &certificates(authority)?)
    }

    /// From values in memory: demo and tests.
    ///
    /// # Errors
    /// The certificate names no identity, or the authority is no certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authority: &[CertificateDer<'static>],
    ) -> Result<Self, TlsError> {
        let own = chain.first().ok_or(IdentityError::NoUriName)?;
        let identity = Identity::of_certificate(own)?;
        let mut roots = RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate.clone())?;
        }
        Ok(Self { chain, key, roots: Arc::new(roots), identity })
    }

    /// Who we are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For a listener: ALPN `h2` and `http/1.1`.
    ///
    /// # Errors
    /// Certificate, key and authority do not work together.
    pub fn server_config(&self, auth: ClientAuth) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&provider),
        );
        let verifier = match auth {
            ClientAuth::Required => verifier,
            ClientAuth::Optional => verifier.allow_unauthenticated(),
        }
        .build()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
        // A resumed session would skip the check of a certificate that has expired since.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For dialing a coordinator with our certificate: ALPN `h2`.
    ///
    /// # Errors
    /// Certificate, key and authority do not work together.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(Arc::new(config))
    }
}

/// The name under which every client checks the certificate of coordinator `node_id`.
#[must_use]
pub fn coordinator_dns_name(node_id: u64) -> String {
    format!("{node_id}.coordinator.quorate.internal")
}

/// [`coordinator_dns_name`] as rustls wants it.
#[must_use]
pub fn coordinator_server_name(node_id: u64) -> ServerName<'static> {
    ServerName::try_from(coordinator_dns_name(node_id)).expect("digits and letters")
}

/// The one TLS provider, named explicitly: nothing depends on a process-wide default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Every certificate of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsError::Certificates { path: path.to_owned(), source })?;
    if all.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(all) }
}
