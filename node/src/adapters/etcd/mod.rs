//! The `etcd` adapter: `declare-dead` by `force-new-cluster`, `readmit`, `add-member`, `remove-member`
//! and `transfer-leader`, for etcd 3.4 to 3.6.
//!
//! Witness: revision, number of keys, their hash at that revision, members, leader, term; never the
//! cluster id, which two survivors share. What etcd answers is never the verdict: members and keys
//! are read before and after.
//!
//! * [`act`]: what is asked. [`client`], [`measure`]: calls, and what is measured by them.
//! * [`declare`]: the survivor starts alone, once, after a forensic copy. [`readmit`]: an id comes back.
//! * [`member`]: members come and go, and the leadership with them.

mod act;
mod client;
mod declare;
mod measure;
mod member;
mod readmit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use serde::Deserialize;
use tokio::task::JoinSet;

use self::act::Act;
use self::client::{CallFailed, Client};
use self::measure::Measured;
use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Observation, Order, PrepareRefused, Prepared,
    Supervisor, Verdict,
};
use crate::gate::Permits;
use crate::plan::Plan;
use crate::witness::{Measure, Witness};

/// One etcd member and how its peers are asked: the table `[adapter.etcd]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// `http://host:port` where this agent's member serves clients.
    pub url: String,
    /// Its `--data-dir`.
    pub data_dir: PathBuf,
    /// Where forensic copies are kept: outside of the data directory, with room for all of it.
    pub forensic_dir: PathBuf,
    /// The other members' client addresses by name; each name is that member's `--name` too.
    #[serde(default)]
    pub peers: BTreeMap<String, String>,
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: EtcdConfig = table.clone().read()?;
    let config = EtcdConfig {
        data_dir: site.path(&config.data_dir),
        forensic_dir: site.path(&config.forensic_dir),
        ..config
    };
    let member = format!("{}/{}", site.cluster, site.member);
    let supervisor = site.process.map(|process| Supervisor::new(process.clone(), &member));
    let adapter = EtcdAdapter::new(site.member.as_str(), config, supervisor, site.permits.clone())
        .map_err(|wrong| table.refuse(wrong.key, wrong.value, wrong.why))?;
    Ok(Arc::new(adapter))
}

/// A value of [`EtcdConfig`] that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value:?}: {why}")]
pub struct EtcdConfigInvalid {
    key: &'static str,
    value: String,
    why: String,
}

/// Acts on the etcd member beside this agent, and through it on its cluster.
#[derive(Debug, Clone)]
pub struct EtcdAdapter {
    member: String,
    own: Client,
    peers: BTreeMap<String, Client>,
    data_dir: PathBuf,
    forensic_dir: PathBuf,
    supervisor: Option<Supervisor>,
    permits: Permits,
}

impl EtcdAdapter {
    /// An adapter beside `member`; without a `supervisor` it declares nobody dead.
    ///
    /// # Errors
    /// [`EtcdConfigInvalid`] if an address is none, or copies would lie among what is copied.
    pub fn new(
        member: &str,
        config: EtcdConfig,
        supervisor: Option<Supervisor>,
        permits: Permits,
    ) -> Result<Self, EtcdConfigInvalid> {
        let client = |key, url: &String| {
            let wrong = |why| EtcdConfigInvalid { key, value: url.clone(), why };
            Client::new(url).map_err(wrong)
        };
        if config.forensic_dir.starts_with(&config.data_dir) {
            let value = config.forensic_dir.display().to_string();
            let why = "it lies inside of data_dir".to_owned();
            return Err(EtcdConfigInvalid { key: "forensic_dir", value, why });
        }
        let peers =
            config.peers.iter().map(|(name, url)| Ok((name.clone(), client("peers", url)?)));
        Ok(Self {
            member: member.to_owned(),
            own: client("url", &config.url)?,
            peers: peers.collect::<Result<_, _>>()?,
            data_dir: config.data_dir,
            forensic_dir: config.forensic_dir,
            supervisor,
            permits,
        })
    }

    /// The member of a name, if it is known how to ask it.
    fn client(&self, name: &str) -> Option<&Client> {
        if name == self.member { Some(&self.own) } else { self.peers.get(name) }
    }

    /// Asks these members at once whether they answer at all; an error is an answer.
    async fn answering<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        deadline: Duration,
    ) -> BTreeMap<String, Answering> {
        let mut found = BTreeMap::new();
        let mut asked = JoinSet::new();
        for name in names {
            let Some(client) = self.client(name).cloned() else {
                found.insert(name.clone(), Answering::Unknown);
                continue;
            };
            let name = name.clone();
            asked.spawn(async move { (name, client.status(deadline).await) });
        }
        while let Some(answered) = asked.join_next().await {
            let Ok((name, status)) = answered else { continue };
            let answering = match status {
                Ok(status) if status.leader != 0 => Answering::WithLeader,
                Ok(_) | Err(CallFailed::Answered { .. }) => Answering::Alone,
                Err(CallFailed::Silent { .. }) => Answering::No,
            };
            found.insert(name, answering);
        }
        found
    }

    async fn measured(&self, at: Option<i64>, deadline: Duration) -> Result<Measured, String> {
        let measured = Measured::of(&self.own, at, deadline).await;
        measured.map_err(|failed| format!("{}: {failed}", self.member))
    }
}

/// Whether a member answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// It does, and knows a leader.
    WithLeader,
    /// It does, and knows none.
    Alone,
    /// It does not.
    No,
    /// Nobody knows where to ask it.
    Unknown,
}

#[async_trait]
impl Adapter for EtcdAdapter {
    fn describe(&self) -> Description {
        Description {
            system: "etcd".into(),
            kinds: Act::KINDS.to_vec(),
            // Nobody but the agent beside a member sees its directory: a re-admission is people's.
            judges: Act::KINDS.into_iter().filter(|kind| *kind != Kind::Readmit).collect(),
            gaps: vec![
                "a survivor that was restarted without a quorum answers nobody: no witness".into(),
                "hashes of keys compare only between equal compactions".into(),
                "clients without TLS only; with authentication on, no write can be verified".into(),
            ],
        }
    }

    async fn probe(&self, _action: &Action, deadline: Duration) -> Observation {
        let signals = match self.measured(None, deadline).await {
            Ok(measured) => {
                let witness = measured.witness();
                witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone())).collect()
            }
            Err(_) => BTreeMap::from([("member".to_owned(), Measure::Unreachable)]),
        };
        Observation { signals }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        // Whatever is asked first and whatever next, all of it stays within the deadline.
        let each = deadline / 3;
        let (witness, preconditions) = match Act::of(action)? {
            Act::Declare(declared) => self.before_declaration(&declared, each).await?,
            Act::Add { name, peer_url } => self.before_adding(&name, &peer_url, each).await?,
            Act::Remove { name } => self.before_removing(&name, each).await?,
            Act::Lead { name } => self.before_leading(&name, each).await?,
            Act::Readmit { name, directory } => {
                self.before_readmission(action, &name, &directory)?
            }
        };
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        let act = match Act::of(&prepared.action) {
            Ok(act) => act,
            Err(refused) => {
                return Execution::new(Answer::RefusedPrecondition, refused.to_string());
            }
        };
        match act {
            Act::Declare(declared) => self.declare(&declared, prepared, order).await,
            Act::Add { name, peer_url } => self.add(&name, &peer_url, order).await,
            Act::Remove { name } => self.remove(&name, order).await,
            Act::Lead { name } => self.lead(&name, order).await,
            Act::Readmit { .. } => self.readmit(),
        }
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let act = match Act::of(&prepared.action) {
            Ok(act) => act,
            Err(refused) => return inconclusive(refused.to_string()),
        };
        match act {
            Act::Declare(_) => self.verify_declaration(prepared, deadline).await,
            Act::Add { name, peer_url } => {
                self.verify_added(prepared, &name, &peer_url, deadline).await
            }
            Act::Remove { name } => self.verify_removed(prepared, &name, deadline).await,
            Act::Lead { name } => self.verify_leader(prepared, &name, deadline).await,
            Act::Readmit { .. } => self.verify_readmitted(prepared),
        }
    }

    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution {
        match Act::of(&prepared.action) {
            Ok(Act::Declare(_)) => self.put_back(order).await,
            Ok(Act::Add { .. } | Act::Remove { .. } | Act::Lead { .. } | Act::Readmit { .. }) => {
                Execution::new(Answer::RefusedPrecondition, "the way back is another decision")
            }
            Err(refused) => Execution::new(Answer::RefusedPrecondition, refused.to_string()),
        }
    }
}

fn inconclusive(difference: String) -> Verdict {
    Verdict { effect: Effect::Inconclusive, after: Witness::default(), difference }
}
