//! What all nodes of a ledger say: members, leader, and of each vault the height and the state root.
//!
//! Never `block_hash`, which differs between healthy replicas, never `GetVault.status`, which is a
//! constant, and never one node alone: each states its own belief.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use quorate_proto::foreign::ledger::ClusterMemberRole;

use super::client::Client;
use crate::witness::{Measure, Witness};

/// Which of the two APIs a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One Raft group; vaults by `AdminService`.
    A,
    /// A group for each region, organisation and vault; vaults by `VaultService`.
    B,
}

/// A vault of an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vault {
    pub(super) organization: u64,
    pub(super) slug: u64,
}

impl fmt::Display for Vault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.organization, self.slug)
    }
}

/// Height and state root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tip {
    pub(super) height: u64,
    pub(super) root: String,
}

/// What one node says.
#[derive(Debug, Clone)]
pub(super) struct Says {
    pub(super) id: u64,
    pub(super) version: Version,
    /// Its members: id, and whether it votes.
    pub(super) members: BTreeMap<u64, bool>,
    /// 0 if it knows none.
    pub(super) leader: u64,
    pub(super) tips: BTreeMap<Vault, Tip>,
    /// The vaults that it says have diverged.
    pub(super) diverged: BTreeSet<Vault>,
}

/// One configured node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) member: String,
    pub(super) client: Client,
}

/// All configured nodes, with what they say or why they say nothing.
#[derive(Debug, Clone)]
pub(super) struct Cluster<'a> {
    pub(super) nodes: Vec<(&'a Node, Result<Says, String>)>,
}

impl Node {
    async fn says(&self, caller: u64, deadline: Duration) -> Result<Says, String> {
        let node = self.client.node(deadline).await?;
        let version = if node.state.is_empty() { Version::A } else { Version::B };
        let cluster = self.client.cluster(deadline).await?;
        let voter = i32::from(ClusterMemberRole::Voter);
        let members = cluster.members.iter().map(|one| (one.node_id, one.role == voter)).collect();
        let (mut tips, mut diverged) = (BTreeMap::new(), BTreeSet::new());
        for vault in self.vaults(version, caller, deadline).await? {
            let tip = self.client.tip(vault, deadline).await?;
            let root = tip.state_root.unwrap_or_default().value;
            let root = root.iter().map(|byte| format!("{byte:02x}")).collect();
            tips.insert(vault, Tip { height: tip.height, root });
            let health = self.client.health(vault, deadline).await?;
            if health.details.get("health_status").is_some_and(|status| status == "diverged") {
                diverged.insert(vault);
            }
        }
        let (id, leader) = (node.node_id, cluster.leader_id);
        Ok(Says { id, version, members, leader, tips, diverged })
    }

    /// Pages to the end: a count of one page is no count.
    async fn vaults(
        &self,
        version: Version,
        caller: u64,
        deadline: Duration,
    ) -> Result<Vec<Vault>, String> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let page = self.client.vaults(version, caller, token, deadline).await?;
            for vault in page.vaults {
                let organization = vault.organization.unwrap_or_default().slug;
                found.push(Vault { organization, slug: vault.vault.unwrap_or_default().slug });
            }
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Asks every node at once. `deadline` is for each node as a whole.
pub(super) async fn ask(nodes: &[Node], caller: u64, deadline: Duration) -> Cluster<'_> {
    let asked = nodes.iter().map(|node| async move {
        let late = |_| Err(format!("no answer within {} ms", deadline.as_millis()));
        let says = tokio::time::timeout(deadline, node.says(caller, deadline)).await;
        (node, says.unwrap_or_else(late))
    });
    Cluster { nodes: join_all(asked).await }
}

impl<'a> Cluster<'a> {
    /// The nodes that answer.
    pub(super) fn live(&self) -> impl Iterator<Item = (&'a Node, &Says)> {
        self.nodes.iter().filter_map(|(node, says)| Some((*node, says.as_ref().ok()?)))
    }

    /// What the node of `member` says.
    pub(super) fn of(&self, member: &str) -> Option<(&'a Node, &Says)> {
        self.live().find(|(node, _)| node.member == member)
    }

    /// The leader that every live node names, if it answers and they name one.
    pub(super) fn leader(&self) -> Option<(&'a Node, &Says)> {
        let named: BTreeSet<u64> = self.live().map(|(_, says)| says.leader).collect();
        let leader = *named.first().filter(|leader| **leader != 0 && named.len() == 1)?;
        self.live().find(|(_, says)| says.id == leader)
    }

    /// The tip that more than half of all configured nodes agree on.
    pub(super) fn agreed(&self, vault: Vault) -> Option<Tip> {
        let mut counts: BTreeMap<&Tip, usize> = BTreeMap::new();
        for tip in self.live().filter_map(|(_, says)| says.tips.get(&vault)) {
            *counts.entry(tip).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (most.1 * 2 > self.nodes.len()).then(|| most.0.clone())
    }

    /// Every vault that any live node has.
    pub(super) fn vaults(&self) -> BTreeSet<Vault> {
        self.live().flat_map(|(_, says)| says.tips.keys().copied()).collect()
    }

    /// Whether two live nodes, `without` aside, have different roots at one height of `vault`.
    pub(super) fn differs(&self, vault: Vault, without: Option<&str>) -> bool {
        let mut roots: BTreeMap<u64, &str> = BTreeMap::new();
        let live = self.live().filter(|(node, _)| Some(node.member.as_str()) != without);
        let mut tips = live.filter_map(|(_, says)| says.tips.get(&vault));
        tips.any(|tip| *roots.entry(tip.height).or_insert(&tip.root) != tip.root)
    }

    /// Everything of it, for a witness.
    pub(super) fn witness(&self) -> Witness {
        let mut witness = Witness::default();
        for (node, says) in &self.nodes {
            let name = |what: &str| format!("{what}:{}", node.member);
            let Ok(says) = says else {
                witness = witness.with(&name("members"), Measure::Unreachable);
                continue;
            };
            let members = says.members.iter();
            let members =
                members.map(|(id, votes)| if *votes { id.to_string() } else { format!("{id}?") });
            let members = members.collect::<Vec<_>>().join(" ");
            witness = witness
                .with(&name("members"), Measure::Value(members))
                .with(&name("leader"), Measure::Value(says.leader.to_string()))
                .with(&name("version"), Measure::Value(format!("{:?}", says.version)))
                .with(&name("vaults"), Measure::Value(says.tips.len().to_string()));
            for (vault, tip) in &says.tips {
                let tip = Measure::Value(format!("{} {}", tip.height, tip.root));
                witness = witness.with(&format!("tip:{vault}:{}", node.member), tip);
            }
        }
        witness
    }
}

/// The greatest height of each vault in a witness, without what the node `without` said.
pub(super) fn heights(witness: &Witness, without: Option<&str>) -> BTreeMap<Vault, u64> {
    let mut heights: BTreeMap<Vault, u64> = BTreeMap::new();
    for (name, measure) in witness.iter() {
        let mut parts = name.split(':');
        let (Some("tip"), Some(vault), Some(member)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let height = measure.value().and_then(|tip| tip.split(' ').next()?.parse().ok());
        let (Some(vault), Some(height)) = (parse(vault), height) else { continue };
        if Some(member) != without {
            let highest = heights.entry(vault).or_insert(height);
            *highest = height.max(*highest);
        }
    }
    heights
}

fn parse(text: &str) -> Option<Vault> {
    let (organization, slug) = text.split_once('/')?;
    Some(Vault { organization: organization.parse().ok()?, slug: slug.parse().ok()? })
}
