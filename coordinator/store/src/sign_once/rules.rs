//! The table of cases, as one function without a disk.
//!
//! | request against the record | ruling |
//! |---|---|
//! | no record, or a larger size over a tree that has the recorded root | sign |
//! | larger size, own tree has another root at the recorded size | diverge: stop for good |
//! | same size, same root, same time | release the stored signature |
//! | same size, same root, later time | sign |
//! | same size, other root | fork: refuse, keep the evidence |
//! | smaller size, or earlier time | refuse |
//! | a head with a decision this coordinator refused, not voided or abandoned in it | refuse |
//! | anything, a refusal too, after a request that diverged | refuse |

use std::sync::Arc;

use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::Hash;
use quorate_attest::number::{LeafIndex, TreeSize};

use super::HeadRequest;
use super::record::{RefusedLeaf, SignedHead};
use crate::fault::Fault;

/// Why nothing was signed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignRefused {
    /// A smaller head than the one signed last: a late message. Nothing to do.
    #[error("size {requested} was asked for, size {signed} is signed")]
    Behind {
        /// The size asked for.
        requested: TreeSize,
        /// The size signed last.
        signed: TreeSize,
    },
    /// The clock fell back behind the signature of the last head: wait until it passes.
    #[error("the clock says {now}, the last head was signed at {signed}")]
    ClockFellBack {
        /// The time asked for.
        now: CosignTime,
        /// The time signed last.
        signed: CosignTime,
    },
    /// The requested head is not one of this replica's own tree, or not applied yet: wait.
    #[error("this replica's own tree does not have the requested root at size {size}")]
    NotOwnTree {
        /// The size asked for.
        size: TreeSize,
    },
    /// Another root was signed at this size. The evidence is kept; raise an alarm.
    #[error("size {size} was signed with the root {signed}, the request has {requested}")]
    Fork {
        /// The size.
        size: TreeSize,
        /// The root signed before.
        signed: Hash,
        /// The root asked for.
        requested: Hash,
    },
    /// This replica's tree contradicts a head it signed. It never signs again; raise `divergence`.
    #[error("the own tree has the root {own} at size {size}, but {signed} was signed")]
    Diverged {
        /// The size of the signed head.
        size: TreeSize,
        /// The root signed then.
        signed: Hash,
        /// The root of the own tree.
        own: Hash,
    },
    /// The head holds a decision this coordinator refused, neither voided nor abandoned in it.
    #[error("the decision at leaf {leaf} was refused by this coordinator")]
    RefusedDecision {
        /// Where the decision stands.
        leaf: LeafIndex,
    },
    /// A refusal was asked for a decision that was cosigned before.
    #[error("leaf {leaf} is part of the signed head of size {signed}")]
    AlreadyCosigned {
        /// Where the decision stands.
        leaf: LeafIndex,
        /// The size signed last.
        signed: TreeSize,
    },
    /// The request is about another log.
    #[error("this file signs for another origin")]
    ForeignOrigin,
    /// This replica has stopped.
    #[error(transparent)]
    Fault(Arc<Fault>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// What follows from a request.
#[derive(Debug)]
pub(super) enum Ruling<'r> {
    /// Return the stored signature; nothing new is signed.
    Release(&'r SignedHead),
    /// Sign, store, release. The leaves in `settled` are refused decisions this head resolves.
    Sign { settled: Vec<LeafIndex> },
    /// Keep the evidence and refuse.
    Fork { signed: &'r SignedHead, own: Hash },
    /// Keep the evidence, refuse, and never sign again.
    Diverge { signed: &'r SignedHead, own: Hash },
    /// Refuse.
    Refuse(SignRefused),
}

/// Rules over one request. `own_root` gives the root of this replica's own tree at a size it has.
pub(super) fn rule<'r>(
    record: Option<&'r SignedHead>,
    refused: &[RefusedLeaf],
    request: &HeadRequest,
    own_root: impl Fn(TreeSize) -> Option<Hash>,
) -> Ruling<'r> {
    let size = request.checkpoint.size;
    let root = request.checkpoint.root;
    if let Some(record) = record {
        if size < record.size {
            return Ruling::Refuse(SignRefused::Behind { requested: size, signed: record.size });
        }
        let Some(own) = own_root(record.size) else {
            return Ruling::Refuse(SignRefused::NotOwnTree { size: record.size });
        };
        if size == record.size && root != record.root {
            return Ruling::Fork { signed: record, own: root };
        }
        if own != record.root {
            return Ruling::Diverge { signed: record, own };
        }
    }
    if own_root(size) != Some(root) {
        return Ruling::Refuse(SignRefused::NotOwnTree { size });
    }
    if let Some(record) = record {
        let signed = record.cosignature.time;
        if request.time < signed {
            return Ruling::Refuse(SignRefused::ClockFellBack { now: request.time, signed });
        }
        if size == record.size && request.time == signed {
            return Ruling::Release(record);
        }
    }
    let mut settled = Vec::new();
    for leaf in refused.iter().filter(|leaf| leaf.settled.is_none()).map(RefusedLeaf::leaf) {
        if !leaf.is_below(size) {
            continue;
        }
        if !request.resolved.contains(&leaf) {
            return Ruling::Refuse(SignRefused::RefusedDecision { leaf });
        }
        settled.push(leaf);
    }
    Ruling::Sign { settled }
}
