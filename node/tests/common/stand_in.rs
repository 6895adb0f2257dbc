//! A stand-in for the coordinators, which answers from memory. Only the network is not real.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Claim, Observe, Report};
use quorate_attest::id::{ClusterId, Nonce, ProposalId};
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::vote::Vote;
use quorate_node::detect::PeerFact;
use quorate_node::quorum::{
    Asked, ClaimRefused, Claimed, Declined, OpenProposal, Quorum, Unanswered,
};
use tokio::sync::Mutex;

/// What the stand-in has been told, and how it answers.
#[derive(Default)]
pub struct Told {
    /// Claims that stand: decision number to (instance, sequence, nonce).
    pub claims: BTreeMap<u64, (String, u64, Nonce)>,
    /// The highest sequence claimed with.
    pub highest: u64,
    /// Earlier numbers of the same action: a claim on one of them is a claim on it.
    pub before: Vec<u64>,
    /// Whether first claims are refused, as after the expiry.
    pub declines: Option<&'static str>,
    /// The enrolled instance.
    pub instance: Option<String>,
    pub reports: Vec<Signed<Report>>,
    pub votes: Vec<Signed<Vote>>,
    pub observations: Vec<Signed<Observe>>,
    pub opened: Vec<Proposal>,
    pub open: Vec<OpenProposal>,
    pub facts: Vec<PeerFact>,
    pub certificate: Vec<u8>,
    /// How many calls are left before nobody answers any more.
    pub answers_left: Option<usize>,
}

/// STAND-IN for the coordinators: answers as the machine's claim rules do, from memory.
#[derive(Clone, Default)]
pub struct StandIn(pub Arc<Mutex<Told>>);

impl std::fmt::Debug for StandIn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("StandIn")
    }
}

impl StandIn {
    async fn answer(&self) -> Result<tokio::sync::MutexGuard<'_, Told>, Asked> {
        let mut told = self.0.lock().await;
        match &mut told.answers_left {
            Some(0) => Err(Unanswered { why: "the stand-in is silent".into() }.into()),
            Some(left) => {
                *left -= 1;
                Ok(told)
            }
            None => Ok(told),
        }
    }
}

#[async_trait]
impl Quorum for StandIn {
    async fn certificate(&self, _: &ClusterId, _: DecisionNumber) -> Result<Vec<u8>, Asked> {
        Ok(self.answer().await?.certificate.clone())
    }

    async fn claim(&self, claim: &Signed<Claim>) -> Result<Claimed, ClaimRefused> {
        let mut told = self.answer().await?;
        let statement = &claim.statement;
        let (instance, sequence) = (statement.instance.to_string(), statement.sequence.get());
        let claimant = (instance.clone(), sequence, statement.nonce);
        let rolled_back = |message: String| Err(ClaimRefused::RolledBack { message });
        if told.instance.as_ref().is_some_and(|enrolled| *enrolled != instance) {
            return rolled_back("another instance is enrolled".into());
        }
        let before = told.before.iter().any(|number| told.claims.contains_key(number));
        if let Some(reason) = told.declines
            && !before
            && !told.claims.contains_key(&statement.number.get())
        {
            let declined = Declined { reason: reason.into(), message: "too late".into() };
            return Err(Asked::from(declined).into());
        }
        if let Some(held @ (_, first, _)) = told.claims.get(&statement.number.get()) {
            return if *held == claimant && !before {
                Ok(Claimed::Fresh)
            } else if sequence < *first {
                rolled_back(format!("sequence {sequence} is below {first}"))
            } else {
                Ok(Claimed::Held)
            };
        }
        if sequence < told.highest {
            return rolled_back(format!("sequence {sequence} is below {}", told.highest));
        }
        told.instance = Some(instance);
        told.highest = sequence;
        told.claims.insert(statement.number.get(), claimant);
        Ok(if before { Claimed::Held } else { Claimed::Fresh })
    }

    async fn report(&self, note: &[u8]) -> Result<(), Asked> {
        let report = Signed::parse(note).expect("a signed report");
        self.answer().await?.reports.push(report);
        Ok(())
    }

    async fn observe(&self, observe: &Signed<Observe>) -> usize {
        match self.answer().await {
            Ok(mut told) => {
                told.observations.push(observe.clone());
                1
            }
            Err(_) => 0,
        }
    }

    async fn vote(&self, vote: &Signed<Vote>) -> Result<(), Asked> {
        self.answer().await?.votes.push(vote.clone());
        Ok(())
    }

    async fn open(&self, proposal: &Proposal) -> Result<ProposalId, Asked> {
        self.answer().await?.opened.push(proposal.clone());
        Ok(proposal.id())
    }

    async fn proposals(&self, _: &ClusterId) -> Result<Vec<OpenProposal>, Asked> {
        Ok(self.answer().await?.open.clone())
    }

    async fn facts(&self, _: &ClusterId) -> Result<Vec<PeerFact>, Asked> {
        Ok(self.answer().await?.facts.clone())
    }
}
