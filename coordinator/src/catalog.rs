//! Where decisions stand in the log: a sparse index over the leaves, bounded whatever their number.
//!
//! The machine forgets a decision once its slot is free; people still ask for it by number. Numbers
//! rise by one per cluster, so every 64th position is remembered and the rest is found by reading
//! on. The counters that metrics need (outcomes, evidence) come from the same pass.

use std::collections::{BTreeMap, BTreeSet};

use metrics::counter;
use quorate_attest::charter::Charter;
use quorate_attest::leaf::{Leaf, LeafKind};
use quorate_store::{LeavesError, LeavesView};
use tokio::{sync::watch, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;

/// One position in so many decisions of a cluster is remembered.
const STRIDE: u64 = 64;
/// Unacknowledged decisions remembered for each cluster.
const UNACKNOWLEDGED_MAX: usize = 1_000;
/// Leaves read in one go.
const LEAVES_PER_STEP: u64 = 2_048;
/// Bytes of them.
const BYTES_PER_STEP: usize = 8 << 20;

/// The index.
#[derive(Debug, Clone, Default)]
struct Index {
    size: u64,
    /// By cluster: decision number → leaf index, each `STRIDE`th and the newest.
    known: BTreeMap<String, BTreeMap<u64, u64>>,
    charters: Vec<u64>,
    /// By cluster: numbers of decisions that no operator has acknowledged, the newest ones.
    unacknowledged: BTreeMap<String, BTreeSet<u64>>,
    /// By cluster or `*`: when this process learnt of the newest pause, in ms.
    paused_ms: BTreeMap<String, u64>,
}

/// Finds decisions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    index: watch::Receiver<Index>,
}

impl Catalog {
    /// Follows the leaves of `handle` until `stop`.
    pub fn start(handle: Handle, stop: CancellationToken) -> Self {
        let (tell, index) = watch::channel(Index::default());
        tokio::spawn(async move {
            let mut sizes = handle.leaves().watch();
            loop {
                while follow(&handle, &tell).await {}
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = sizes.changed() => if changed.is_err() { return },
                }
            }
        });
        Self { index }
    }

    /// A leaf index at or before the decision `number` of `cluster`, as near as is known. If none
    /// is known at or below it, it can only stand in a leaf that was not read yet.
    pub fn near(&self, cluster: &str, number: u64) -> u64 {
        let index = self.index.borrow();
        let known = index.known.get(cluster).and_then(|known| known.range(..=number).next_back());
        known.map_or(index.size, |(_, leaf)| *leaf)
    }

    /// Numbers of decisions that no operator has acknowledged, by cluster, of the newest 1,000
    /// each.
    pub fn unacknowledged(&self) -> BTreeMap<String, BTreeSet<u64>> {
        self.index.borrow().unacknowledged.clone()
    }

    /// When this process learnt of the newest pause of a cluster (or `*`), in milliseconds.
    pub fn paused_ms(&self, cluster: &str) -> Option<u64> {
        self.index.borrow().paused_ms.get(cluster).copied()
    }

    /// Leaf indexes of all charters, oldest first.
    pub fn charters(&self) -> Vec<u64> {
        self.index.borrow().charters.clone()
    }
}

/// The last charter among the leaves from `from` on; `None` if there is none.
pub(crate) fn newest_charter(
    view: &LeavesView,
    mut from: u64,
) -> Result<Option<Charter>, LeavesError> {
    let mut newest = None;
    while from < view.size().get() {
        for (index, bytes) in view.range(from..from + LEAVES_PER_STEP, BYTES_PER_STEP)? {
            from = index + 1;
            let is_charter = std::str::from_utf8(&bytes)
                .is_ok_and(|text| kind_of(text) == Some(LeafKind::Charter));
            if is_charter && let Ok(Leaf::Charter(charter)) = Leaf::parse(&bytes) {
                newest = Some(charter.statement);
            }
        }
    }
    Ok(newest)
}

/// Reads the next leaves into the index; answers whether there may be more.
async fn follow(handle: &Handle, tell: &watch::Sender<Index>) -> bool {
    let Ok(view) = handle.leaves().view() else { return false };
    let size = tell.borrow().size;
    if view.size().get() <= size {
        return false;
    }
    let read = spawn_blocking(move || scan(&view, size));
    match read.await {
        Ok(Some(found)) => {
            let now_ms = handle.clock().now_ms();
            tell.send_modify(|index| index.take(found, now_ms));
            true
        }
        Ok(None) | Err(_) => false,
    }
}

/// What one pass found.
#[derive(Default)]
struct Found {
    end: u64,
    decisions: Vec<(String, u64, u64)>,
    charters: Vec<u64>,
    acknowledged: Vec<(String, u64)>,
    paused: Vec<String>,
}

fn scan(view: &LeavesView, from: u64) -> Option<Found> {
    let to = view.size().get().min(from + LEAVES_PER_STEP);
    let leaves = view.range(from..to, BYTES_PER_STEP).ok()?;
    let mut found = Found { end: from, ..Found::default() };
    for (index, bytes) in leaves {
        found.end = index + 1;
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        match kind_of(text) {
            Some(LeafKind::Decision) => {
                let cluster = field(text, "cluster");
                let number = field(text, "number").and_then(|number| number.parse().ok());
                if let (Some(cluster), Some(number)) = (cluster, number) {
                    found.decisions.push((cluster.to_owned(), number, index));
                }
            }
            Some(LeafKind::Charter) => found.charters.push(index),
            Some(LeafKind::Outcome) => {
                let verdict = field(text, "effect").unwrap_or("unknown").to_owned();
                counter!("quorate_outcomes_total", "verdict" => verdict).increment(1);
            }
            Some(LeafKind::Evidence) => counter!("quorate_equivocations_total").increment(1),
            Some(LeafKind::Act) => found.acknowledged.extend(acknowledged(text)),
            Some(LeafKind::Pause) => {
                found.paused.extend(field(text, "cluster").map(str::to_owned));
            }
            Some(LeafKind::Void | LeafKind::Override | LeafKind::Incarnation) | None => {}
        }
    }
    Some(found)
}

/// The decision that an act acknowledges.
fn acknowledged(text: &str) -> Option<(String, u64)> {
    let is_ack = field(text, "act") == Some("ack");
    let (_, number) = field(text, "subject").filter(|_| is_ack)?.split_once('.')?;
    Some((field(text, "cluster")?.to_owned(), number.parse().ok()?))
}

/// The kind of a leaf, by its first line.
fn kind_of(text: &str) -> Option<LeafKind> {
    let first = text.lines().next()?;
    LeafKind::ALL.into_iter().find(|kind| kind.first_line() == first)
}

/// The value of the first line with this key: enough for leaves that were judged before.
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

impl Index {
    fn take(&mut self, found: Found, now_ms: u64) {
        self.size = found.end;
        self.charters.extend(found.charters);
        self.paused_ms.extend(found.paused.into_iter().map(|cluster| (cluster, now_ms)));
        for (cluster, number, leaf) in found.decisions {
            let open = self.unacknowledged.entry(cluster.clone()).or_default();
            open.insert(number);
            if open.len() > UNACKNOWLEDGED_MAX {
                open.pop_first();
            }
            let known = self.known.entry(cluster).or_default();
            // The one before was kept as the newest only.
            if let Some((newest, _)) = known.last_key_value()
                && newest % STRIDE != 1
            {
                known.pop_last();
            }
            known.insert(number, leaf);
        }
        for (cluster, number) in found.acknowledged {
            if let Some(open) = self.unacknowledged.get_mut(&cluster) {
                open.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_stays_sparse_and_finds_a_place_before() {
        let decisions: Vec<_> = (1..=1_000).map(|n| ("east".to_owned(), n, n * 3)).collect();
        let mut index = Index::default();
        let charters = vec![0];
        index.take(Found { end: 3_001, decisions, charters, ..Found::default() }, 1);
        let known = &index.known["east"];
        assert!(known.len() <= 1_000 / 64 + 2, "{} positions", known.len());
        assert_eq!(known.last_key_value(), Some((&1_000, &3_000)));
        let acknowledged = vec![("east".to_owned(), 999)];
        index.take(Found { end: 3_002, acknowledged, ..Found::default() }, 2);
        let open = &index.unacknowledged["east"];
        assert!(open.contains(&1_000) && !open.contains(&999));
        let catalog = Catalog { index: watch::channel(index).1 };
        assert_eq!(catalog.near("east", 1_000), 3_000);
        assert_eq!(catalog.near("east", 70), 65 * 3);
        assert_eq!(catalog.near("east", 1), 3);
        assert_eq!(catalog.near("west", 1), 3_002);
    }
}
