//! The certificate authority of one deployment: what `init`, the demo and the tests make.
//!
//! A real deployment may use any other authority, if its certificates carry the same names.

use std::time::{Duration, SystemTime};

use quorate_attest::id::NetworkName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::tls::{TlsError, TlsMaterial, coordinator_dns_name};

/// Clocks may differ by this much when a new certificate is first shown.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// How long an authority is valid.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How long a certificate is valid unless said otherwise: `QuorateTlsCertificateExpiry` warns.
pub const VALIDITY_DEFAULT: Duration = Duration::from_secs(365 * 86_400);

const COMMON_NAME: &str = "Quorate authority of ";

/// Why a certificate could not be made.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// rcgen refused.
    #[error("the certificate cannot be made")]
    Rcgen(#[from] rcgen::Error),
    /// The stored authority is not one of ours.
    #[error("this is no certificate of a Quorate authority")]
    NotAnAuthority,
}

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
}

/// A certificate with its key.
pub struct Issued {
    certificate_pem: String,
    key_pem: Zeroizing<String>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new authority. Its subject is its own name: OpenSSL and curl refuse a chain in which
    /// authority and leaf are called the same.
    ///
    /// # Errors
    /// The key or certificate cannot be made.
    pub fn new(network: &NetworkName) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = authority_params(&format!("{COMMON_NAME}{network}"));
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
        })
    }

    /// An authority that was stored before.
    ///
    /// # Errors
    /// The texts are no certificate of ours and its key.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| AuthorityError::NotAnAuthority)?;
        let name = {
            let (_, parsed) =
                X509Certificate::from_der(&der).map_err(|_| AuthorityError::NotAnAuthority)?;
            if parsed.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
                return Err(AuthorityError::NotAnAuthority);
            }
            let subject = parsed.subject().iter_common_name().next();
            let name = subject.and_then(|name| name.as_str().ok());
            name.ok_or(AuthorityError::NotAnAuthority)?.to_owned()
        };
        if !name.starts_with(COMMON_NAME) {
            return Err(AuthorityError::NotAnAuthority);
        }
        Ok(Self {
            issuer: Issuer::new(authority_params(&name), key),
            certificate: der,
            certificate_pem: certificate.to_owned(),
        })
    }

    /// The authority's certificate, PEM: what everybody gets as `ca.pem`.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's key, PEM.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// The authority's certificate, DER.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A new key and a certificate of `identity` for it, valid from now for `validity`.
    ///
    /// # Errors
    /// The key or certificate cannot be made.
    pub fn issue(&self, identity: &Identity, validity: Duration) -> Result<Issued, AuthorityError> {
        let mut names = vec![SanType::URI(identity.uri().try_into()?)];
        let mut usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(node_id) = identity.node_id() {
            names.push(SanType::DnsName(coordinator_dns_name(node_id).try_into()?));
            usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let until = SystemTime::now() + validity;
        self.issue_names(&identity.to_string(), names, usages, until)
    }

    /// A certificate with any names and any end: how the tests make the ones that must be refused.
    ///
    /// # Errors
    /// The key or certificate cannot be made.
    pub fn issue_names(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        until: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = named_params(common_name, until);
        params.subject_alt_names = names;
        params.extended_key_usages = usages;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
            certificate: certificate.into(),
        })
    }

    /// Issues a certificate and puts it to use at once: demo and tests.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn material(&self, identity: &Identity) -> Result<TlsMaterial, TlsError> {
        let issued = self
            .issue(identity, VALIDITY_DEFAULT)
            .map_err(|_| TlsError::Rustls(rustls::Error::General("rcgen refused".to_owned())))?;
        issued.material(self.certificate())
    }
}

impl Issued {
    /// The certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key, PKCS#8 PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Puts it to use, trusting `authority`.
    ///
    /// # Errors
    /// The certificate names no identity.
    pub fn material(&self, authority: &CertificateDer<'static>) -> Result<TlsMaterial, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|_| TlsError::NoKey { path: "memory".into() })?;
        TlsMaterial::new(vec![self.certificate.clone()], key, std::slice::from_ref(authority))
    }
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = named_params(common_name, SystemTime::now() + AUTHORITY_VALIDITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named_params(common_name: &str, until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (SystemTime::now() - BACKDATED).into();
    params.not_after = until.into();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    params.distinguished_name = subject;
    params
}
