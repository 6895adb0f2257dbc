//! One party of a deployment: an identity for TLS, a key that signs, a client that follows the leader.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_attest::agent_statement::Claim;
use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, KeyName, Nonce, ProposalId};
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::LogTime;
use quorate_attest::proposal::{Proposal, Target};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Vote};
use quorate_node::plan::plan;
use quorate_proto::client::{CallError, Client, ClientOptions, Endpoint, Transport};
use quorate_proto::error_code::ErrorCode;
use quorate_proto::key_file;
use quorate_proto::pb::v1::{
    self as pb, Consistency, DecisionRef, DecisionState, ProposalState, View,
};
use quorate_proto::tls::TlsMaterial;

use crate::wait;

/// How long one call may take: an election, and a coordinator that starts again.
const CALL_WITHIN: Duration = Duration::from_secs(20);

/// Somebody who calls and signs.
#[derive(Clone)]
pub struct Party {
    /// Its key name.
    pub name: KeyName,
    /// Its client.
    pub client: Client,
    signer: std::sync::Arc<NoteSigner>,
}

impl Party {
    /// Reads TLS files from `folder` and the signing key from `key`.
    ///
    /// # Panics
    /// One of them cannot be read.
    #[must_use]
    pub fn open(folder: &Path, key: &Path, endpoints: Vec<Endpoint>) -> Self {
        let file = |name: &str| folder.join(name);
        let material = TlsMaterial::load(&file("tls.pem"), &file("tls.key"), &file("ca.pem"))
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let secret =
            key_file::load(key).unwrap_or_else(|error| panic!("{}: {error}", key.display()));
        let name = material.identity().key_name();
        let transport = Transport::tls(&material).expect("a client's TLS");
        let options = ClientOptions { deadline: CALL_WITHIN, ..ClientOptions::default() };
        let client = Client::new(endpoints, &transport, options).expect("endpoints");
        Self { client, signer: NoteSigner::new(name.clone(), secret).into(), name }
    }

    /// The key, for statements of the test's own making.
    #[must_use]
    pub fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    /// A proposal in this party's name, complete but not opened.
    ///
    /// # Panics
    /// The charter has no such cluster, or a word does not parse.
    #[must_use]
    pub fn draft(&self, charter: &Charter, cluster: &ClusterId, of: &Draft<'_>) -> Proposal {
        let adapter = &charter.cluster(cluster).expect("the cluster").adapter;
        let target = of.target.parse().expect("a target");
        let proposal = Proposal {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            charter: charter.id(),
            cluster: cluster.clone(),
            incident: format!("i-{}", hex(&random::<6>())).parse().expect("an incident"),
            kind: of.kind,
            plan: plan(adapter, of.kind, &target, &[]).digest,
            target,
            proposer: self.name.clone(),
            executor: of.executors.to_vec(),
            param: Vec::new(),
            reason: "the test asks for it".parse().expect("a sentence"),
            evidence: Vec::new(),
            expires: now().saturating_add(quorate_attest::log_time::Span::from_secs(1_800)),
            nonce: Nonce::from_bytes(random()),
        };
        assert!(!matches!(proposal.target(), Target::Decision(_)), "no abandon here");
        Proposal::parse(&proposal.text()).expect("a canonical proposal")
    }

    /// Opens a proposal.
    ///
    /// # Errors
    /// As the client.
    pub async fn open_proposal(
        &self,
        proposal: &Proposal,
    ) -> Result<pb::OpenProposalResponse, CallError> {
        let text = proposal.text().into_bytes();
        self.client.open_proposal(pb::OpenProposalRequest { text, ..Default::default() }).await
    }

    /// Signs a verdict and submits it.
    ///
    /// # Errors
    /// As the client.
    pub async fn vote(
        &self,
        proposal: &Proposal,
        verdict: Verdict,
    ) -> Result<pb::SubmitVoteResponse, CallError> {
        let note = self.signer.signed(Vote::on(proposal, verdict)).to_bytes();
        self.client.submit_vote(pb::SubmitVoteRequest { note, ..Default::default() }).await
    }

    /// Submits a claim signed by this party.
    ///
    /// # Errors
    /// As the client.
    pub async fn claim(&self, claim: Claim) -> Result<pb::ClaimResponse, CallError> {
        let note = self.signer.signed(claim).to_bytes();
        self.client.claim(pb::ClaimRequest { note, ..Default::default() }).await
    }

    /// The proposal as the leader holds it; `None` if it is not remembered.
    ///
    /// # Errors
    /// As the client.
    pub async fn proposal(&self, id: &ProposalId) -> Result<Option<pb::Proposal>, CallError> {
        let request = pb::GetProposalRequest {
            id: id.to_string(),
            consistency: Consistency::Linearizable.into(),
            view: View::Full.into(),
        };
        match self.client.get_proposal(request).await {
            Ok(response) => Ok(response.proposal),
            Err(error) if reason(&error) == Some(ErrorCode::UnknownProposal) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One decision, with its certificate once there is one.
    ///
    /// # Errors
    /// As the client.
    pub async fn decision(
        &self,
        cluster: &ClusterId,
        number: u64,
    ) -> Result<pb::Decision, CallError> {
        let request = pb::GetDecisionRequest {
            decision: Some(DecisionRef { cluster: cluster.to_string(), number }),
            consistency: Consistency::Linearizable.into(),
            view: View::WithProof.into(),
        };
        Ok(self.client.get_decision(request).await?.decision.unwrap_or_default())
    }

    /// Waits until a proposal has become a decision, and answers its number.
    ///
    /// # Panics
    /// It ends otherwise, or not within `limit`.
    pub async fn decided(&self, id: &ProposalId, limit: Duration) -> u64 {
        let mut last = None;
        let found = wait::until_or(limit, async || {
            let found = self.proposal(id).await.ok().flatten()?;
            let number = found.decision_number;
            let is_decided = found.state() == ProposalState::Decided;
            last = Some(found);
            is_decided.then_some(number)
        })
        .await;
        found.unwrap_or_else(|| panic!("{id} was not decided within {limit:?}: {last:#?}"))
    }

    /// Waits until a decision has ended in `state`.
    ///
    /// # Panics
    /// It does not within `limit`.
    pub async fn ends(
        &self,
        cluster: &ClusterId,
        number: u64,
        state: DecisionState,
        limit: Duration,
    ) -> pb::Decision {
        let mut last = None;
        let found = wait::until_or(limit, async || {
            let found = self.decision(cluster, number).await.ok()?;
            last = Some(found.clone());
            (found.state() == state).then_some(found)
        })
        .await;
        found.unwrap_or_else(|| {
            panic!("decision {number} of {cluster} is not {state:?} after {limit:?}: {last:#?}")
        })
    }
}

/// What a proposal is to do.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The kind.
    pub kind: Kind,
    /// The target word.
    pub target: &'a str,
    /// Who carries it out.
    pub executors: &'a [KeyName],
}

/// The reason of a refusal.
#[must_use]
pub fn reason(error: &CallError) -> Option<ErrorCode> {
    error.problem().map(quorate_proto::problem::Problem::code)
}

/// This machine's clock as log time.
///
/// # Panics
/// It is before 2001.
#[must_use]
pub fn now() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let ms = u64::try_from(since.as_millis()).expect("a clock before the year 292 million");
    LogTime::new(ms).expect("a clock after 2001")
}

/// Random bytes.
///
/// # Panics
/// The operating system has none.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl std::fmt::Debug for Party {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Party({})", self.name)
    }
}

/// A note of this party's vote, for submission by others.
#[must_use]
pub fn vote_note(party: &Party, proposal: &Proposal, verdict: Verdict) -> Signed<Vote> {
    party.signer().signed(Vote::on(proposal, verdict))
}
