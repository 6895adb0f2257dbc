//! What several Neo nodes say of one chain: heights, hashes, primaries, peers.
//!
//! Heights and peers of several nodes, and nothing else, because no health page of a Neo node says
//! whether it works: `/readyz` is green with no peers at all.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::probe::{HttpAddress, json_rpc};

/// One node of the network: an entry of `nodes`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeConfig {
    /// Its member id.
    pub(super) member: String,
    /// `http://host:port` of its JSON-RPC.
    pub(super) rpc: String,
    /// `host:port` under which the others know it.
    #[serde(default)]
    pub(super) p2p: Option<String>,
    /// Whether it is a validator.
    #[serde(default = "yes")]
    pub(super) validator: bool,
}

fn yes() -> bool {
    true
}

/// A node that can be asked.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) member: String,
    pub(super) rpc: HttpAddress,
    pub(super) p2p: Option<String>,
    pub(super) validator: bool,
}

/// What one node says.
#[derive(Debug, Clone)]
pub(super) struct Says {
    /// The height of its newest block.
    pub(super) height: u64,
    /// That block's hash.
    pub(super) hash: String,
    /// Milliseconds since 1970 at which that block was made.
    pub(super) made_ms: u64,
    /// Index of the validator that proposed it.
    pub(super) primary: u64,
    /// `host:port` of everybody it is connected to.
    pub(super) connected: BTreeSet<String>,
    /// How many validators the chain has.
    pub(super) validators: u64,
    /// Milliseconds between two blocks.
    pub(super) block_ms: u64,
}

/// What all nodes say, in the order of the configuration; `None` for one that does not answer.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    pub(super) nodes: Vec<(&'a Node, Option<Says>)>,
}

impl Node {
    async fn ask(&self, method: &str, params: Value) -> Option<Value> {
        json_rpc(&self.rpc, method, &params).await.ok()
    }

    async fn says(&self) -> Option<Says> {
        let height = self.ask("getblockcount", json!([])).await?.as_u64()?.checked_sub(1)?;
        let header = self.ask("getblockheader", json!([height, true])).await?;
        let peers = self.ask("getpeers", json!([])).await?;
        let version = self.ask("getversion", json!([])).await?;
        let protocol = &version["protocol"];
        let connected = peers["connected"].as_array()?.iter().map(|peer| {
            let port = peer["port"].as_u64().map_or_else(String::new, |port| port.to_string());
            format!("{}:{port}", peer["address"].as_str().unwrap_or(""))
        });
        Some(Says {
            height,
            hash: header["hash"].as_str()?.to_owned(),
            made_ms: header["time"].as_u64()?,
            primary: header["primary"].as_u64()?,
            connected: connected.collect(),
            validators: protocol["validatorscount"].as_u64()?,
            block_ms: protocol["msperblock"].as_u64()?,
        })
    }

    /// The hash of the block at `height`, if the node has it.
    pub(super) async fn hash_at(&self, height: u64) -> Option<String> {
        self.ask("getblockhash", json!([height])).await?.as_str().map(str::to_owned)
    }
}

/// Asks every node at once; one that hangs costs only its own answer.
pub(super) async fn ask(nodes: &[Node], deadline: Duration) -> Chain<'_> {
    let asked = nodes.iter().map(|node| async move {
        (node, tokio::time::timeout(deadline, node.says()).await.ok().flatten())
    });
    Chain { nodes: join_all(asked).await }
}

impl Chain<'_> {
    /// The validators that answer.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Node, &Says)> {
        let validators = self.nodes.iter().filter(|(node, _)| node.validator);
        validators.filter_map(|(node, says)| Some((*node, says.as_ref()?)))
    }

    /// The validators that do not.
    pub(super) fn silent(&self) -> Vec<&str> {
        let silent = self.nodes.iter().filter(|(node, says)| node.validator && says.is_none());
        silent.map(|(node, _)| node.member.as_str()).collect()
    }

    /// N: how many validators are configured.
    pub(super) fn validators(&self) -> usize {
        self.nodes.iter().filter(|(node, _)| node.validator).count()
    }

    /// M = N − ⌊(N−1)/3⌋: as many as consensus needs.
    pub(super) fn needed(&self) -> usize {
        let n = self.validators();
        n - n.saturating_sub(1) / 3
    }

    /// The greatest height of all nodes.
    pub(super) fn height(&self) -> Option<u64> {
        self.nodes.iter().filter_map(|(_, says)| Some(says.as_ref()?.height)).max()
    }

    /// What the node of `member` says.
    pub(super) fn of(&self, member: &str) -> Option<&Says> {
        self.nodes.iter().find(|(node, _)| node.member == member)?.1.as_ref()
    }

    /// The live validators that are connected with at least M − 1 others, in one direction or the other.
    pub(super) fn connected(&self) -> usize {
        let knows = |one: &Says, other: &Node| {
            other.p2p.as_ref().is_some_and(|p2p| one.connected.contains(p2p))
        };
        let neighbours = |node: &Node, says: &Says| {
            let others = self.live().filter(|(other, _)| other.member != node.member);
            others.filter(|(other, said)| knows(says, other) || knows(said, node)).count()
        };
        let needed = self.needed().saturating_sub(1);
        self.live().filter(|(node, says)| neighbours(node, says) >= needed).count()
    }

    /// How many live validators stand at `height` with a block that is older than `stall`.
    pub(super) fn stalled(&self, height: u64, stall: Duration) -> usize {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let old = |says: &Says| now.saturating_sub(Duration::from_millis(says.made_ms)) >= stall;
        self.live().filter(|(_, says)| says.height == height && old(says)).count()
    }
}
