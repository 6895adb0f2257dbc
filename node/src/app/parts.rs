//! The parts of an agent, made from its files and its configuration.

use std::path::Path;

use quorate_attest::charter::Charter;
use quorate_attest::id::Nonce;
use quorate_attest::key::NoteSigner;
use quorate_attest::signed::Signed;
use quorate_proto::client::{BadAddress, Client, ClientOptions, Endpoint, Transport};
use quorate_proto::key_file;
use quorate_proto::tls::TlsMaterial;

use super::AgentError;
use crate::config::{Config, EndpointConfig};
use crate::playbook::{Playbook, Shelf};

pub(crate) fn pinned_charter(path: &Path) -> Result<Signed<Charter>, AgentError> {
    let bytes =
        std::fs::read(path).map_err(|source| AgentError::Read { path: path.to_owned(), source })?;
    Signed::parse(&bytes)
        .map_err(|source| AgentError::Charter { path: path.to_owned(), source: Box::new(source) })
}

/// The key, checked against the TLS certificate and, where it lists this agent, the pinned charter.
pub(super) fn identify(
    config: &Config,
    charter: &Charter,
    tls: &TlsMaterial,
) -> Result<NoteSigner, AgentError> {
    let found = tls.identity().key_name();
    if found != config.name {
        return Err(AgentError::OtherIdentity { found, name: config.name.clone() });
    }
    let signer = NoteSigner::new(config.name.clone(), key_file::load(&config.vote_key)?);
    let line = charter.agent(&config.name);
    let fits = line.is_none_or(|line| {
        line.key == *signer.vkey() && line.cluster == config.cluster && line.member == config.member
    });
    if fits {
        return Ok(signer);
    }
    Err(AgentError::OtherKey {
        path: config.charter.clone(),
        name: config.name.clone(),
        cluster: config.cluster.clone(),
        member: config.member.clone(),
    })
}

/// What tells this process from every other that ever had this journal, or a copy of it.
pub(super) fn fresh_nonce() -> Result<Nonce, AgentError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(AgentError::Random)?;
    Ok(Nonce::from_bytes(bytes))
}

pub(super) fn endpoints(config: &Config) -> impl Iterator<Item = Endpoint> {
    let endpoint = |one: &EndpointConfig| Endpoint { id: one.id, address: one.address.clone() };
    config.endpoints.iter().map(endpoint)
}

pub(super) fn client(config: &Config, transport: &Transport) -> Result<Client, BadAddress> {
    Client::new(endpoints(config), transport, ClientOptions::default())
}

/// One client per coordinator: each is heard on its own, so that no one of them can hide the log.
pub(super) fn single_clients(
    config: &Config,
    transport: &Transport,
) -> Result<Vec<(u64, Client)>, BadAddress> {
    endpoints(config)
        .map(|one| {
            let id = one.id;
            Ok((id, Client::new([one], transport, ClientOptions::default())?))
        })
        .collect()
}

/// Every `*.toml` of the playbooks' directory. Which of them count is the charter's to say.
pub(super) fn shelf(directory: Option<&Path>) -> Result<Shelf, AgentError> {
    let Some(directory) = directory else { return Ok(Shelf::default()) };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AgentError::Read { path, source }
    };
    let mut playbooks = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let playbook = Playbook::parse(&text)
            .map_err(|why| AgentError::Playbook { path, why: Box::new(why) })?;
        playbooks.push(playbook);
    }
    Ok(Shelf::new(playbooks))
}
