//! Writes a deployment: keys, certificates, charter, configuration, empty stores.
//!
//! Everything is written beside the final name and renamed at the end, so that a directory either
//! is a whole deployment or is not there: half of one would look like one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quorate_attest::charter::{Charter, CharterWarning};
use quorate_attest::id::{CharterId, ClusterId, JournalInstance, KeyName, Origin};
use quorate_attest::key::{KeyType, NoteSigner};
use quorate_attest::number::Incarnation;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_node::config::journal_path;
use quorate_node::journal::{Journal, Owner};
use quorate_proto::authority::{Authority, VALIDITY_DEFAULT};
use quorate_proto::identity::{Identity, Role};
use quorate_proto::key_file;

use super::charter::{Keys, first};
use super::{Deployment, config};
use crate::failure::{Failure, LocalReason, chain};
use crate::files;

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The name of the log.
    pub origin: Origin,
    /// The digest of the charter: what people read to each other.
    pub charter: CharterId,
    /// Where the loss of one person or member makes a class unreachable.
    pub warnings: BTreeSet<CharterWarning>,
}

/// Writes `deployment` to `directory`, which must not exist.
///
/// # Errors
/// The directory exists, a file cannot be written, or the numbers make no valid charter.
pub(crate) fn write(deployment: &Deployment, directory: &Path) -> Result<Written, Failure> {
    if directory.exists() {
        let message = format!("{}: exists already and is not touched", directory.display());
        return Err(
            Failure::local(LocalReason::FileExists, message).help("choose another directory")
        );
    }
    let mut name = directory.file_name().map(ToOwned::to_owned).ok_or_else(|| {
        Failure::usage(format!("{}: is no name of a directory", directory.display()))
    })?;
    name.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = directory.with_file_name(name);
    let written = Writer { deployment, root: &unfinished }.run().and_then(|written| {
        fs::rename(&unfinished, directory).map_err(|error| Failure::file(directory, error))?;
        Ok(written)
    });
    if written.is_err() && unfinished.exists() {
        // The reason for the failure matters more than what is left behind.
        drop(fs::remove_dir_all(&unfinished));
    }
    written
}

struct Writer<'a> {
    deployment: &'a Deployment,
    root: &'a Path,
}

impl Writer<'_> {
    fn run(&self) -> Result<Written, Failure> {
        self.directory(self.root)?;
        let origin = self.origin()?;
        let (keys, operators) = self.keys()?;
        let charter = first(self.deployment, origin, &keys)
            .map_err(|error| Failure::usage(error.to_string()))?;
        // Parsing validates: a charter that could not work is refused here, before anything starts.
        let charter = Charter::parse(&charter.text())
            .map_err(|error| Failure::usage(format!("no valid charter: {error}")))?;
        for pinned in &self.deployment.playbooks {
            pinned
                .playbook
                .check(&charter, &self.deployment.cluster)
                .map_err(|why| Failure::usage(format!("{}: {why}", pinned.file)))?;
        }
        let leaf = sign(charter.clone(), &operators).to_bytes();
        let authority = Authority::new(&self.deployment.network).map_err(refused)?;
        self.file("charter.leaf", &leaf)?;
        self.file("ca.pem", authority.certificate_pem().as_bytes())?;
        key_file::create_secret(&self.root.join("ca.key"), authority.key_pem().as_bytes())?;
        self.file("config.toml", config::contexts(self.deployment).as_bytes())?;
        for operator in &self.deployment.operators {
            self.identity(&authority, Role::Operator, operator, &format!("operators/{operator}"))?;
        }
        for at in 0..self.deployment.coordinators.len() {
            let (id, folder) = ((at + 1).to_string(), format!("coordinator-{}", at + 1));
            self.identity(&authority, Role::Coordinator, &id, &folder)?;
            self.file(&format!("{folder}/charter.leaf"), &leaf)?;
            let text = config::coordinator(self.deployment, at);
            self.file(&format!("{folder}/coordinator.toml"), text.as_bytes())?;
            self.stores(&self.root.join(&folder).join("coordinator.toml"))?;
        }
        for member in &self.deployment.members {
            let folder = format!("agent-{}", member.name);
            self.identity(&authority, Role::Agent, member.name.as_str(), &folder)?;
            self.file(&format!("{folder}/charter.leaf"), &leaf)?;
            self.playbooks(&folder)?;
            let data = self.root.join(&folder).join("data");
            self.directory(&data)?;
            let name = self.name(Role::Agent, member.name.as_str())?;
            enrol(&data, name, self.deployment.cluster.clone())?;
            let text = config::agent(self.deployment, member);
            self.file(&format!("{folder}/agent.toml"), text.as_bytes())?;
        }
        Ok(Written {
            origin: charter.origin.clone(),
            charter: charter.id(),
            warnings: charter.warnings(),
        })
    }

    /// Every agent's own copies: it uses those whose digest its charter has.
    fn playbooks(&self, folder: &str) -> Result<(), Failure> {
        if self.deployment.playbooks.is_empty() {
            return Ok(());
        }
        self.directory(&self.root.join(folder).join("playbooks"))?;
        for playbook in &self.deployment.playbooks {
            let name = format!("{folder}/playbooks/{}", playbook.file);
            self.file(&name, playbook.text.as_bytes())?;
        }
        Ok(())
    }

    fn origin(&self) -> Result<Origin, Failure> {
        let mut salt = [0; 16];
        files::random(&mut salt)?;
        let network = self.deployment.network.clone();
        Ok(Origin { network, incarnation: Incarnation::MIN, salt })
    }

    /// Makes every signing key, and returns the operators' signers for the charter.
    fn keys(&self) -> Result<(Keys, Vec<NoteSigner>), Failure> {
        let mut operators = Vec::new();
        let mut keys = Keys { coordinators: Vec::new(), operators: Vec::new(), agents: Vec::new() };
        for operator in &self.deployment.operators {
            let folder = self.root.join("operators").join(operator);
            self.directory(&folder)?;
            let name = self.name(Role::Operator, operator)?;
            let path = folder.join("key.pem");
            keys.operators.push(files::generate_key(&path, name.clone(), KeyType::Note)?);
            operators.push(NoteSigner::new(name, key_file::load(&path)?));
        }
        for at in 0..self.deployment.coordinators.len() {
            let folder = self.root.join(format!("coordinator-{}", at + 1));
            self.directory(&folder)?;
            let name = self.name(Role::Coordinator, &(at + 1).to_string())?;
            let path = folder.join("cosign.pem");
            keys.coordinators.push(files::generate_key(&path, name, KeyType::Cosignature)?);
        }
        for member in &self.deployment.members {
            let folder = self.root.join(format!("agent-{}", member.name));
            self.directory(&folder)?;
            let name = self.name(Role::Agent, member.name.as_str())?;
            keys.agents.push(files::generate_key(&folder.join("vote.pem"), name, KeyType::Note)?);
        }
        Ok((keys, operators))
    }

    fn name(&self, role: Role, id: &str) -> Result<KeyName, Failure> {
        Identity::new(self.deployment.network.clone(), role, id)
            .map(|identity| identity.key_name())
            .map_err(|error| Failure::usage(format!("{role} {id}: {error}")))
    }

    /// Writes the TLS certificate of one identity, its key, and the authority beside them.
    fn identity(
        &self,
        authority: &Authority,
        role: Role,
        id: &str,
        folder: &str,
    ) -> Result<(), Failure> {
        let identity = Identity::new(self.deployment.network.clone(), role, id)
            .map_err(|error| Failure::usage(format!("{role} {id}: {error}")))?;
        let issued = authority.issue(&identity, VALIDITY_DEFAULT).map_err(refused)?;
        self.file(&format!("{folder}/tls.pem"), issued.certificate_pem().as_bytes())?;
        self.file(&format!("{folder}/ca.pem"), authority.certificate_pem().as_bytes())?;
        let key = self.root.join(folder).join("tls.key");
        Ok(key_file::create_secret(&key, issued.key_pem().as_bytes())?)
    }

    /// Creates the stores of one coordinator: `run` never does.
    fn stores(&self, config: &Path) -> Result<(), Failure> {
        quorate_coordinator::create(config).map_err(|error| Failure::file(config, chain(&error)))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        files::create(&self.root.join(name), bytes)
    }

    fn directory(&self, path: &Path) -> Result<(), Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::file(path, error))
    }
}

/// All operators sign: the charter class asks for more than half, and all are here.
fn sign(charter: Charter, operators: &[NoteSigner]) -> Signed<Charter> {
    let lines = operators.iter().map(|operator| operator.sign(&charter)).collect();
    Signed::new(charter, lines)
}

/// Makes the journal of an agent, with an instance drawn now: a start never makes one.
pub(crate) fn enrol(
    data: &Path,
    name: KeyName,
    cluster: ClusterId,
) -> Result<JournalInstance, Failure> {
    let mut bytes = [0; 16];
    files::random(&mut bytes)?;
    let instance = JournalInstance::from_bytes(bytes);
    let path = journal_path(data);
    Journal::create(&path, &Owner { name, cluster }, instance)
        .map(|journal| journal.instance())
        .map_err(|error| Failure::file(&path, chain(&error)))
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::local(LocalReason::FileFailed, error.to_string())
}
