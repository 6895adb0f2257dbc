//! Whom to ask, and as whom: flags, then the environment, then the named context of the client's
//! file.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::id::ClusterId;
use quorate_attest::signed::Signed;
use quorate_proto::client::{Client, ClientOptions, Endpoint, Transport};
use quorate_proto::identity::Identity;
use quorate_proto::pb::v1::{Consistency, GetCharterRequest, View};
use quorate_proto::tls::{TlsError, TlsMaterial};
use serde::Deserialize;

use crate::args::Connection;
use crate::command::Env;
use crate::failure::{Failure, LocalReason, chain};
use crate::files;

/// The longest single attempt of a call.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// The client's configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    /// The context used unless `--context` names another.
    default: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, ContextEntry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextEntry {
    endpoints: Vec<String>,
    identity: Option<PathBuf>,
    charter: Option<PathBuf>,
    cluster: Option<ClusterName>,
}

/// A cluster's name in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct ClusterName(ClusterId);

impl TryFrom<String> for ClusterName {
    type Error = quorate_attest::id::IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        ClusterId::new(text).map(Self)
    }
}

/// Where and as whom a command works. Nothing is connected yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    /// The coordinators.
    pub endpoints: Vec<Endpoint>,
    /// The directory with the caller's identity.
    pub identity: Option<PathBuf>,
    /// A charter pinned on this machine.
    pub charter: Option<PathBuf>,
    /// The cluster meant when a command names none.
    pub cluster: Option<ClusterId>,
    /// The contexts of the client's file, to name in what is printed next.
    pub contexts: Vec<String>,
}

impl Context {
    /// Puts flags, environment and file together.
    ///
    /// # Errors
    /// The file cannot be read, knows no such context, or an endpoint is malformed.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Failure> {
        let mut context = match file_of(connection) {
            Some((path, is_asked)) => from_file(&path, is_asked, connection.context.as_deref())?,
            None => Self::default(),
        };
        if !connection.endpoints.is_empty() {
            context.endpoints = endpoints(&connection.endpoints)?;
        }
        if let Some(identity) = &connection.identity {
            context.identity = Some(identity.clone());
        }
        Ok(context)
    }

    /// The caller's TLS identity, if there is one.
    fn material(&self) -> Result<Option<TlsMaterial>, Failure> {
        let Some(folder) = &self.identity else { return Ok(None) };
        let name = |file: &str| folder.join(file);
        TlsMaterial::load(&name("tls.pem"), &name("tls.key"), &name("ca.pem")).map(Some).map_err(
            |error| {
                // One key file is refused like any other, whatever it is for.
                if let TlsError::KeyFile(error) = error {
                    return error.into();
                }
                Failure::local(LocalReason::ConfigInvalid, chain(&error))
            },
        )
    }
}

/// The client's file and whether somebody asked for it by name.
fn file_of(connection: &Connection) -> Option<(PathBuf, bool)> {
    if let Some(path) = &connection.client_config {
        return Some((path.clone(), true));
    }
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some((home.join("quorate").join("config.toml"), false))
}

fn from_file(path: &Path, is_asked: bool, name: Option<&str>) -> Result<Context, Failure> {
    let wrong = |why: String| {
        Failure::local(LocalReason::ConfigInvalid, format!("{}: {why}", path.display()))
    };
    if !is_asked && !path.exists() {
        return match name {
            None => Ok(Context::default()),
            Some(name) => Err(wrong(format!("there is no such file, so no context {name:?}"))),
        };
    }
    let text = files::read_text(path)?;
    let file: ClientFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let Some(name) = name.or(file.default.as_deref()) else { return Ok(Context::default()) };
    let entry = file.context.get(name).ok_or_else(|| {
        let known: Vec<&str> = file.context.keys().map(String::as_str).collect();
        wrong(format!("no context {name:?}; there are {}", known.join(", ")))
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let beside = |path: &PathBuf| folder.join(path);
    Ok(Context {
        endpoints: endpoints(&entry.endpoints)?,
        identity: entry.identity.as_ref().map(beside),
        charter: entry.charter.as_ref().map(beside),
        cluster: entry.cluster.clone().map(|cluster| cluster.0),
        contexts: file.context.keys().cloned().collect(),
    })
}

/// Parses `ID=HOST:PORT`. The id may be left out only where no TLS name is compared.
fn endpoints(words: &[String]) -> Result<Vec<Endpoint>, Failure> {
    words
        .iter()
        .map(|word| {
            let (id, address) = word.split_once('=').unwrap_or(("0", word.as_str()));
            let id = id.parse().map_err(|_| {
                Failure::usage(format!("endpoint {word:?}: write it as ID=HOST:PORT"))
            })?;
            Ok(Endpoint { id, address: address.to_owned() })
        })
        .collect()
}

/// A connection to come, and what every read of this command says.
pub(crate) struct Session {
    /// The client; follows the leader.
    pub client: Client,
    /// Who the caller is; `None` on the plain-text listener of a demo.
    pub identity: Option<Identity>,
    /// Where and as whom.
    pub context: Context,
    /// How current reads must be.
    pub consistency: i32,
}

impl Env {
    /// Prepares calls to the coordinators.
    ///
    /// # Errors
    /// Nothing says whom to ask, or the identity cannot be used.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let connection = &self.global.connection;
        let context = Context::of(connection)?;
        if context.endpoints.is_empty() {
            return Err(Failure::local(
                LocalReason::ConfigInvalid,
                "nothing says which coordinators to ask",
            )
            .help(
                "--endpoints 1=HOST:7700,… --identity DIR, or --context NAME of the client's file",
            ));
        }
        let material = context.material()?;
        let transport = match &material {
            Some(material) => {
                if let Some(bare) = context.endpoints.iter().find(|endpoint| endpoint.id == 0) {
                    return Err(Failure::usage(format!(
                        "endpoint {}: its id is compared with its certificate; write ID={}",
                        bare.address, bare.address
                    )));
                }
                Transport::tls(material)
                    .map_err(|error| Failure::local(LocalReason::ConfigInvalid, chain(&error)))?
            }
            None if context.endpoints.iter().all(|endpoint| is_loopback(&endpoint.address)) => {
                Transport::PlainText
            }
            None => {
                return Err(Failure::local(
                    LocalReason::ConfigInvalid,
                    "no identity: only a demo on this machine is read without a certificate",
                )
                .help("--identity DIR with tls.pem, tls.key and ca.pem"));
            }
        };
        let deadline = connection.timeout;
        let options = ClientOptions {
            deadline,
            attempt_timeout: deadline.min(ATTEMPT_MAX),
            ..ClientOptions::default()
        };
        let client = Client::new(context.endpoints.clone(), &transport, options)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let consistency =
            if connection.stale { Consistency::Stale } else { Consistency::Linearizable };
        Ok(Session {
            client,
            identity: material.map(|material| material.identity().clone()),
            context,
            consistency: consistency.into(),
        })
    }
}

fn is_loopback(address: &str) -> bool {
    address.to_socket_addrs().is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()))
}

impl Session {
    /// The charter in force, as a coordinator tells it. What is made from it is checked by
    /// everybody who reads the result against their own pinned charter.
    ///
    /// # Errors
    /// Nobody answers, or the answer is no charter.
    pub(crate) async fn charter(&self) -> Result<Charter, Failure> {
        let response = self
            .client
            .get_charter(GetCharterRequest {
                epoch: 0,
                consistency: self.consistency,
                view: View::Full.into(),
            })
            .await?;
        let note = response.charter.unwrap_or_default().note;
        Signed::parse(&note).map(|signed| signed.statement).map_err(|error| {
            Failure::unverified(format!("the charter of the coordinator: {error}"))
        })
    }

    /// The cluster meant: the one named, the context's, or the charter's only one.
    ///
    /// # Errors
    /// Several clusters and none named.
    pub(crate) fn cluster(
        &self,
        named: Option<&ClusterId>,
        charter: &Charter,
    ) -> Result<ClusterId, Failure> {
        if let Some(cluster) = named.or(self.context.cluster.as_ref()) {
            return Ok(cluster.clone());
        }
        match charter.cluster.as_slice() {
            [only] => Ok(only.name.clone()),
            several => {
                let names: Vec<&str> = several.iter().map(|line| line.name.as_str()).collect();
                Err(Failure::usage(format!(
                    "name the cluster with --cluster: {}",
                    names.join(", ")
                )))
            }
        }
    }
}
