//! The fence: which orders this agent takes at all (step 9 of the verification).
//!
//! Pure questions to the journal. A token not above the highest one is refused, whoever signed it;
//! a proposal is carried out once, and a continuation only where the journal shows its beginning
//! (*token-monotone*, *no-double-execution*).

use quorate_attest::id::{ClusterId, ProposalId};
use quorate_attest::merkle::Hash;
use quorate_attest::number::FencingToken;
use thiserror::Error;

use crate::journal::{Entry, Journal};

/// What an order must be known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// The guarded cluster: the scope of the token.
    pub cluster: ClusterId,
    /// The token of the decision.
    pub token: FencingToken,
    /// Its proposal.
    pub proposal: ProposalId,
    /// The hash of its leaf.
    pub leaf: Hash,
    /// The decision it continues.
    pub continues: Option<FencingToken>,
}

/// What the journal makes of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Never seen: it may be accepted.
    New,
    /// It continues an action that this journal shows.
    Continuation(Box<Entry>),
    /// The very same order: the journal answers.
    Known(Box<Entry>),
}

/// An order is not taken. The journal is untouched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FenceRefused {
    /// A higher or another token was accepted before.
    #[error("token {token} of {cluster} is not above {highest}, the highest accepted")]
    Stale {
        /// The cluster.
        cluster: ClusterId,
        /// The token of the order.
        token: FencingToken,
        /// The highest accepted.
        highest: FencingToken,
    },
    /// Two leaves under one token: the log was forked.
    #[error("token {token} of {cluster} was accepted with leaf {accepted}, not {offered}: a fork")]
    Forked {
        /// The cluster.
        cluster: ClusterId,
        /// The token.
        token: FencingToken,
        /// The leaf that was accepted.
        accepted: Hash,
        /// The leaf that is offered.
        offered: Hash,
    },
    /// One vote set cannot be used twice.
    #[error("proposal {proposal} was used under token {token}")]
    ProposalUsed {
        /// The proposal.
        proposal: ProposalId,
        /// Under which token.
        token: FencingToken,
    },
    /// It continues what this journal does not show.
    #[error("token {token} continues {continues}, of which this journal has nothing")]
    NothingToContinue {
        /// The token of the order.
        token: FencingToken,
        /// The decision it names.
        continues: FencingToken,
    },
    /// It continues another proposal's action.
    #[error("token {token} continues {continues}, which was proposal {was}, not {offered}")]
    OtherAction {
        /// The token of the order.
        token: FencingToken,
        /// The decision it names.
        continues: FencingToken,
        /// That decision's proposal.
        was: ProposalId,
        /// The proposal offered.
        offered: ProposalId,
    },
}

/// Asks the journal. Changes nothing: `Journal::accept` does.
///
/// # Errors
/// [`FenceRefused`]; the first rule that does not hold.
pub fn admit(journal: &Journal, order: &Fenced) -> Result<Admission, FenceRefused> {
    if let Some(entry) = journal.entry(&order.cluster, order.token) {
        if entry.leaf == order.leaf {
            return Ok(Admission::Known(Box::new(entry.clone())));
        }
        return Err(FenceRefused::Forked {
            cluster: order.cluster.clone(),
            token: order.token,
            accepted: entry.leaf,
            offered: order.leaf,
        });
    }
    if let Some(highest) = journal.highest(&order.cluster).filter(|highest| order.token <= *highest)
    {
        let cluster = order.cluster.clone();
        return Err(FenceRefused::Stale { cluster, token: order.token, highest });
    }
    match order.continues {
        None => match journal.used(&order.proposal) {
            None => Ok(Admission::New),
            Some(used) => {
                Err(FenceRefused::ProposalUsed { proposal: order.proposal, token: used.token })
            }
        },
        Some(continues) => continued(journal, order, continues),
    }
}

fn continued(
    journal: &Journal,
    order: &Fenced,
    continues: FencingToken,
) -> Result<Admission, FenceRefused> {
    let token = order.token;
    let Some(entry) = journal.entry(&order.cluster, continues) else {
        return Err(FenceRefused::NothingToContinue { token, continues });
    };
    if entry.proposal != order.proposal {
        let (was, offered) = (entry.proposal, order.proposal);
        return Err(FenceRefused::OtherAction { token, continues, was, offered });
    }
    Ok(Admission::Continuation(Box::new(entry.clone())))
}
