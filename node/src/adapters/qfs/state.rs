//! The engine's state as the operator's program tells it, and what it may not lose.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::witness::{Measure, Witness};

const STATE: &str = "state";

/// A status of the engine. It takes any text; any other than these three is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Active,
    Inactive,
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) status: Status,
    pub(super) eligible: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    pub(super) age_ms: u64,
    pub(super) nodes: usize,
    pub(super) schema_version: Option<String>,
    pub(super) telemetry_hash: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replay {
    pub(super) replayed: u64,
    pub(super) total: u64,
    pub(super) hash: String,
    #[serde(default)]
    pub(super) differs_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) engine: String,
    pub(super) epoch: u64,
    pub(super) min_active: usize,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) shards: BTreeMap<String, Vec<String>>,
    pub(super) objects: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) registry: Snapshot,
    #[serde(default)]
    pub(super) telemetry: Snapshot,
    #[serde(default)]
    pub(super) replay: Option<Replay>,
}

impl State {
    pub(super) fn active(&self) -> usize {
        self.nodes.values().filter(|node| node.status == Status::Active).count()
    }

    pub(super) fn eligible(&self) -> BTreeSet<&str> {
        self.nodes.iter().filter(|(_, node)| node.eligible).map(|(id, _)| id.as_str()).collect()
    }

    /// The shards that a node which is not active still holds; `only` narrows it to one node.
    pub(super) fn misplaced(&self, only: Option<&str>) -> Vec<&str> {
        let out = |id: &String| {
            only.is_none_or(|only| only == id)
                && self.nodes.get(id).is_none_or(|node| node.status != Status::Active)
        };
        let held = self.shards.iter().filter(|(_, nodes)| nodes.iter().any(out));
        held.map(|(shard, _)| shard.as_str()).collect()
    }

    pub(super) fn witness(&self) -> Witness {
        let text = serde_json::to_string(self).unwrap_or_default();
        let replay =
            self.replay.as_ref().map_or(Measure::Absent, |r| Measure::Value(r.hash.clone()));
        Witness::default()
            .with(STATE, Measure::Value(text))
            .with("epoch", Measure::Value(self.epoch.to_string()))
            .with("active", Measure::Value(self.active().to_string()))
            .with("replay", replay)
    }

    pub(super) fn of(witness: &Witness) -> Option<Self> {
        serde_json::from_str(witness.get(STATE).value()?).ok()
    }
}

/// What was lost, if anything: content, nodes that may store, copies.
pub(super) fn harm(before: &State, now: &State) -> Option<String> {
    if now.eligible().is_empty() && !before.eligible().is_empty() {
        return Some("no node is eligible any more".into());
    }
    if now.epoch < before.epoch {
        return Some(format!("the epoch went back from {} to {}", before.epoch, now.epoch));
    }
    for (object, digest) in &before.objects {
        if now.objects.get(object) != Some(digest) {
            return Some(format!("object {object} is gone or differs"));
        }
    }
    // One node named three times is one copy.
    let copies = |nodes: &Vec<String>| nodes.iter().collect::<BTreeSet<_>>().len();
    for (shard, nodes) in &before.shards {
        let left = now.shards.get(shard).map_or(0, copies);
        if left < copies(nodes).min(now.active()) {
            return Some(format!("shard {shard} has {left} copies, had {}", copies(nodes)));
        }
    }
    None
}
