//! What the answers of all nodes amount to.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, heights};
use super::{Precondition, Wanted, condition};
use crate::witness::Witness;

/// Live voters after the change are a majority of the voters after it.
pub(super) fn floor(
    members: &BTreeMap<u64, bool>,
    removed: Option<u64>,
    now: &Cluster<'_>,
) -> Precondition {
    let voters: Vec<u64> = members
        .iter()
        .filter(|(id, votes)| **votes && Some(**id) != removed)
        .map(|(id, _)| *id)
        .collect();
    let live = now.live().filter(|(_, says)| voters.contains(&says.id)).count();
    let fact = format!("{live} of {} voters live afterwards", voters.len());
    condition("quorum-floor", live * 2 > voters.len(), fact)
}

/// Whether every node that answers shows what was wanted.
pub(super) fn done(wanted: &Wanted, now: &Cluster<'_>) -> bool {
    let mut live = now.live().peekable();
    if live.peek().is_none() {
        return false;
    }
    match wanted {
        Wanted::Remove { id, .. } => {
            let mut others = live.filter(|(_, says)| says.id != *id).peekable();
            others.peek().is_some() && others.all(|(_, says)| !says.members.contains_key(id))
        }
        Wanted::Add { id, .. } => {
            let vaults = now.vaults();
            live.all(|(_, says)| {
                says.members.get(id) == Some(&true) && says.tips.len() == vaults.len()
            }) && vaults.iter().all(|vault| !now.differs(*vault, None))
        }
        // Success on one node marks the vault healthy for all: every node's own root has to agree.
        Wanted::Recover { vault } => now.agreed(*vault).is_some_and(|agreed| {
            live.all(|(_, says)| {
                says.tips.get(vault) == Some(&agreed) && !says.diverged.contains(vault)
            })
        }),
    }
}

/// A vault that is gone, lower, or newly different: harm, whatever health says.
pub(super) fn lost(before: &Witness, without: Option<&str>, now: &Cluster<'_>) -> Option<String> {
    for (vault, height) in heights(before, without) {
        let tips = now.live().filter(|(node, _)| Some(node.member.as_str()) != without);
        let highest = tips.filter_map(|(_, says)| Some(says.tips.get(&vault)?.height)).max();
        match highest {
            None => return Some(format!("vault {vault} is gone")),
            Some(highest) if highest < height => {
                return Some(format!("vault {vault} was at {height} and is at {highest}"));
            }
            Some(_) => {}
        }
        let roots: BTreeSet<_> = before
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("tip:{vault}:")))
            .filter_map(|(_, measure)| measure.value())
            .collect();
        if roots.len() == 1 && now.differs(vault, without) {
            return Some(format!("the replicas of vault {vault} agreed and do not now"));
        }
    }
    None
}
