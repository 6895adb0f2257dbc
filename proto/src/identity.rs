//! Who is at the other end: the one URI name of a verified TLS certificate.
//!
//! `spiffe://<network>/quorate/<role>/<id>`; the common name is ignored. A certificate only
//! *admits* its holder to methods, authority is in the signed texts.

use std::fmt;
use std::str::FromStr;

use quorate_attest::id::{IdError, KeyName, NetworkName};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const SCHEME: &str = "spiffe://";
const PRODUCT: &str = "quorate";

/// What a TLS identity is admitted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A replica of the decision state: Raft and the exchange of cosignatures.
    Coordinator,
    /// The process beside a guarded member.
    Agent,
    /// A person.
    Operator,
    /// Reads only.
    Reader,
    /// The alert webhook only.
    Alertmanager,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Coordinator, Self::Agent, Self::Operator, Self::Reader, Self::Alertmanager];

    /// The word in names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Reader => "reader",
            Self::Alertmanager => "alertmanager",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| IdentityError::UnknownRole { role: text.to_owned() })
    }
}

/// A certificate or URI that names no identity of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not an X.509 certificate.
    #[error("the certificate is not X.509")]
    NotX509,
    /// No URI among its names; the common name does not count.
    #[error("the certificate has no URI name")]
    NoUriName,
    /// More than one, so it is not clear who it is.
    #[error("the certificate has {count} URI names, exactly one is allowed")]
    SeveralUriNames {
        /// How many.
        count: usize,
    },
    /// Not of the form `spiffe://<network>/quorate/<role>/<id>`.
    #[error("`{uri}` is not spiffe://NETWORK/quorate/ROLE/ID")]
    Shape {
        /// The name.
        uri: String,
    },
    /// A role that this version does not know.
    #[error("`{role}` is no role")]
    UnknownRole {
        /// The word.
        role: String,
    },
    /// A coordinator's id is its Raft node id.
    #[error("`{id}` is no Raft node id: a decimal number from 1")]
    NotANodeId {
        /// The id.
        id: String,
    },
    /// The network or id has characters that no key name may have.
    #[error("the name is not allowed: {0}")]
    Name(#[from] IdError),
    /// Another deployment's.
    #[error("the certificate belongs to network `{have}`, not `{want}`")]
    ForeignNetwork {
        /// Its network.
        have: NetworkName,
        /// Ours.
        want: NetworkName,
    },
}

/// A TLS identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    network: NetworkName,
    role: Role,
    id: String,
}

impl Identity {
    /// An identity of `network`.
    ///
    /// # Errors
    /// The id is no label, or a coordinator's id is no Raft node id.
    pub fn new(
        network: NetworkName,
        role: Role,
        id: impl Into<String>,
    ) -> Result<Self, IdentityError> {
        let id = id.into();
        // A label is what every id of a name is; a key name bounds the whole.
        quorate_attest::id::MemberId::new(id.as_str())?;
        KeyName::new(format!("{network}/{role}/{id}"))?;
        if role == Role::Coordinator && node_id(&id).is_none() {
            return Err(IdentityError::NotANodeId { id });
        }
        Ok(Self { network, role, id })
    }

    /// A coordinator's identity.
    ///
    /// # Errors
    /// `node_id` is 0.
    pub fn coordinator(network: NetworkName, node_id: u64) -> Result<Self, IdentityError> {
        Self::new(network, Role::Coordinator, node_id.to_string())
    }

    /// The deployment.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// What it is admitted as.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Its id within role and network.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Raft node id; `None` if it is no coordinator.
    #[must_use]
    pub fn node_id(&self) -> Option<u64> {
        match self.role {
            Role::Coordinator => node_id(&self.id),
            Role::Agent | Role::Operator | Role::Reader | Role::Alertmanager => None,
        }
    }

    /// The name of its signing key in the charter.
    #[must_use]
    pub fn key_name(&self) -> KeyName {
        KeyName::new(format!("{}/{}/{}", self.network, self.role, self.id))
            .expect("checked when the identity was made")
    }

    /// The URI name of its certificate.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{PRODUCT}/{}/{}", self.network, self.role, self.id)
    }

    /// From the one URI name of a DER certificate. The certificate must have been verified before.
    ///
    /// # Errors
    /// No URI name or several, or one that is not ours.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| IdentityError::NotX509)?;
        if !rest.is_empty() {
            return Err(IdentityError::NotX509);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| IdentityError::NotX509)?
            .ok_or(IdentityError::NoUriName)?;
        let uris: Vec<&str> = names
            .value
            .general_names
            .iter()
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .collect();
        match uris.as_slice() {
            [] => Err(IdentityError::NoUriName),
            [uri] => uri.parse(),
            several => Err(IdentityError::SeveralUriNames { count: several.len() }),
        }
    }

    /// Refuses an identity of another deployment.
    ///
    /// # Errors
    /// [`IdentityError::ForeignNetwork`].
    pub fn in_network(self, network: &NetworkName) -> Result<Self, IdentityError> {
        if self.network == *network {
            Ok(self)
        } else {
            Err(IdentityError::ForeignNetwork { have: self.network, want: network.clone() })
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.role, self.id)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let shape = || IdentityError::Shape { uri: uri.chars().take(256).collect() };
        let path = uri.strip_prefix(SCHEME).ok_or_else(shape)?;
        // From the right: a network may have several parts, role and id never.
        let mut parts = path.rsplitn(4, '/');
        let (Some(id), Some(role), Some(PRODUCT), Some(network)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        Self::new(NetworkName::new(network)?, role.parse()?, id)
    }
}

/// A Raft node id: decimal, from 1, without leading zeros.
fn node_id(id: &str) -> Option<u64> {
    id.parse().ok().filter(|&node: &u64| node >= 1 && node.to_string() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_its_uri_and_its_key_name() {
        let uri = "spiffe://quorate.example/testnet/quorate/coordinator/3";
        let identity: Identity = uri.parse().unwrap();
        assert_eq!(identity.uri(), uri);
        assert_eq!(identity.node_id(), Some(3));
        assert_eq!(identity.key_name().as_str(), "quorate.example/testnet/coordinator/3");
        let agent: Identity = "spiffe://q/quorate/agent/n4".parse().unwrap();
        assert_eq!((agent.role(), agent.id(), agent.node_id()), (Role::Agent, "n4", None));
    }

    #[test]
    fn every_other_shape_is_refused() {
        for uri in [
            "",
            "https://q/quorate/agent/n4",
            "spiffe://q/agent/n4",
            "spiffe://quorate/agent/n4",
            "spiffe:///quorate/agent/n4",
            "spiffe://q/quorate/agent/",
            "spiffe://q/quorate/agent/N4",
            "spiffe://q/quorate/agent/n4/",
            "spiffe://q/quorate/root/n4",
            "spiffe://q/quorate/coordinator/0",
            "spiffe://q/quorate/coordinator/03",
            "spiffe://q/quorate/coordinator/n4",
            "spiffe://q q/quorate/agent/n4",
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
    }
}
