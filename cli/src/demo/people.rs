//! What people do in the demo: propose, vote, withdraw; and what a stolen validator key does.

use std::time::Duration;

use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_attest::vote::{Verdict, Veto, Vote};
use quorate_node::vote::Guard;
use quorate_proto::client::CallError;
use quorate_proto::pb::v1::{
    OpenProposalRequest, SubmitVoteRequest, SubmitVoteResponse, VetoProposalRequest,
};

use super::cluster::{CLUSTER, Cluster};
use crate::command::{Draft, open_draft};
use crate::connect::Session;
use crate::failure::{Failure, LocalReason};
use crate::signing::{Signer, sentence};

/// An operator, with the key and the TLS identity that `init` made.
pub(super) struct Person {
    session: Session,
    signer: Signer,
}

fn wrong(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::local(LocalReason::DemoFailed, format!("{what}: {error}"))
}

impl Person {
    /// One of the operators.
    pub(super) fn operator(cluster: &Cluster, name: &str) -> Result<Self, Failure> {
        let session = cluster.session(name)?;
        let signer = Signer::of(None, &session.context)?;
        Ok(Self { session, signer })
    }

    /// Proposes to ban a member for ten minutes, and returns the statement.
    pub(super) async fn propose_ban(
        &self,
        target: &str,
        reason: &str,
        evidence: Vec<quorate_attest::id::Digest>,
    ) -> Result<Proposal, Failure> {
        let charter = self.session.charter().await?;
        let draft = Draft {
            kind: Kind::BanPeer,
            target: target.parse().map_err(|error| wrong("target", error))?,
            cluster: CLUSTER.parse().map_err(|error| wrong("cluster", error))?,
            reason: sentence("reason", reason)?,
            incident: None,
            params: vec!["ttl-ms 600000".parse().map_err(|error| wrong("param", error))?],
            executors: Vec::new(),
            evidence,
            expires: Duration::from_secs(900),
        };
        let proposal = open_draft(draft, &charter, self.signer.name().clone())?;
        let request = OpenProposalRequest {
            text: proposal.text().into_bytes(),
            ..OpenProposalRequest::default()
        };
        self.session.client.open_proposal(request).await?;
        Ok(proposal)
    }

    /// Approves, through the guard beside the key.
    pub(super) async fn approve(&self, proposal: &Proposal) -> Result<SubmitVoteResponse, Failure> {
        let vote = Vote::on(proposal, Verdict::Approve);
        let note = Guard::beside(self.signer.path()).sign_vote(self.signer.inner(), vote)?;
        let request = SubmitVoteRequest { note: note.to_bytes(), ..SubmitVoteRequest::default() };
        Ok(self.session.client.submit_vote(request).await?)
    }

    /// Withdraws what this person proposed.
    pub(super) async fn withdraw(&self, proposal: &Proposal, reason: &str) -> Result<(), Failure> {
        let veto: Signed<Veto> = self.signer.sign(Veto {
            origin: proposal.origin.clone(),
            epoch: proposal.epoch,
            proposal: proposal.id(),
            reason: sentence("reason", reason)?,
        });
        let request =
            VetoProposalRequest { note: veto.to_bytes(), ..VetoProposalRequest::default() };
        self.session.client.veto_proposal(request).await?;
        Ok(())
    }
}

/// A validator's key in the wrong hands. It has no guard: that is what the log is for.
pub(super) struct Liar {
    session: Session,
    signer: Signer,
}

impl Liar {
    /// Steals an agent's key and TLS identity.
    pub(super) fn steal(cluster: &Cluster, agent: &str) -> Result<Self, Failure> {
        let session = cluster.stolen(agent)?;
        let key = cluster.path().join(format!("agent-{agent}")).join("vote.pem");
        Ok(Self { session, signer: Signer::open(&key)? })
    }

    /// Whose key it is.
    pub(super) fn name(&self) -> &str {
        self.signer.name().as_str()
    }

    /// Signs one verdict and submits it, whatever was signed before.
    pub(super) async fn say(
        &self,
        proposal: &Proposal,
        verdict: Verdict,
    ) -> Result<SubmitVoteResponse, CallError> {
        let note = self.signer.sign(Vote::on(proposal, verdict));
        let request = SubmitVoteRequest { note: note.to_bytes(), ..SubmitVoteRequest::default() };
        self.session.client.submit_vote(request).await
    }
}
