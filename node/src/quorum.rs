//! What this agent asks of the coordinators, as a port: `link.rs` speaks gRPC, tests answer
//! themselves. No answer is believed further than what it says about the coordinators' own state.

use std::fmt;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Claim, Observe};
use quorate_attest::id::{ClusterId, ProposalId};
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::vote::Vote;
use thiserror::Error;

use crate::detect::PeerFact;

/// Nobody answered, or the answer is "ask again". Nothing is known to have happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no coordinator answered: {why}")]
pub struct Unanswered {
    /// What each said, for people.
    pub why: String,
}

/// A coordinator refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}: {message}")]
pub struct Declined {
    /// The stable reason, for example `PROPOSAL_CLOSED`.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Asked {
    /// Ask again later.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// Asking again changes nothing.
    #[error(transparent)]
    Declined(#[from] Declined),
}

/// A claim that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// This process holds it, and may start.
    Fresh,
    /// Another process holds it, perhaps an earlier one of this journal: probe, never execute.
    Held,
}

/// Why a claim does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimRefused {
    /// This journal is older than what it claimed with, or another one holds the claim. Nothing
    /// starts until an operator re-enrols this agent.
    #[error("JOURNAL_ROLLED_BACK: {message}")]
    RolledBack {
        /// One sentence, with the facts.
        message: String,
    },
    /// Otherwise.
    #[error(transparent)]
    Asked(#[from] Asked),
}

/// An open or approved proposal, by its exact text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProposal {
    /// The proposal, parsed from its canonical text.
    pub proposal: Proposal,
    /// Whether votes still count.
    pub stage: Stage,
}

/// Where an open proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It collects votes.
    Voting,
    /// It has enough and waits for slot, budget, rules or the veto window.
    Approved,
}

/// The coordinators, as an agent uses them.
#[async_trait]
pub trait Quorum: Send + Sync + fmt::Debug {
    /// The certificate of a decision: a tlog-proof file, unverified.
    async fn certificate(
        &self,
        cluster: &ClusterId,
        number: DecisionNumber,
    ) -> Result<Vec<u8>, Asked>;

    /// Claims a decision before its start.
    async fn claim(&self, claim: &Signed<Claim>) -> Result<Claimed, ClaimRefused>;

    /// Hands in a signed report.
    async fn report(&self, note: &[u8]) -> Result<(), Asked>;

    /// Hands a signed observation to *every* coordinator; how many took it.
    async fn observe(&self, observe: &Signed<Observe>) -> usize;

    /// Submits a signed vote.
    async fn vote(&self, vote: &Signed<Vote>) -> Result<(), Asked>;

    /// Opens a proposal; the id of the one that is open now.
    async fn open(&self, proposal: &Proposal) -> Result<ProposalId, Asked>;

    /// The open and approved proposals of a cluster.
    async fn proposals(&self, cluster: &ClusterId) -> Result<Vec<OpenProposal>, Asked>;

    /// The newest facts of the cluster's agents about its members.
    async fn facts(&self, cluster: &ClusterId) -> Result<Vec<PeerFact>, Asked>;
}
