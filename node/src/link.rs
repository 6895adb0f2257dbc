//! The coordinators over gRPC: the port of `quorum.rs`, and the tails that feed `trust`.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Claim, Observe};
use quorate_attest::id::{ClusterId, ProposalId};
use quorate_attest::log_time::LogTime;
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::Vote;
use quorate_proto::client::{CallError, Client};
use quorate_proto::error_code::{ErrorCode, Retry};
use quorate_proto::pb::v1 as pb;

use crate::detect::PeerFact;
use crate::probe::Reading;
use crate::quorum::{
    Asked, ClaimRefused, Claimed, Declined, OpenProposal, Quorum, Stage, Unanswered,
};

/// Most proposals of one cluster that may be open, so that one page holds them all.
const PROPOSALS_MAX: i32 = 64;

/// How long is asked for what is asked again in a moment anyway.
const QUICK: Duration = Duration::from_secs(3);

/// What a coordinator says that has not known itself to be current for longer is nobody's to act on:
/// it may be cut off from the others, and not from us.
const AGE_MAX: Duration = Duration::from_secs(5);

/// All coordinators of one deployment.
#[derive(Clone)]
pub struct Link {
    client: Client,
    quick: Client,
}

impl Link {
    /// Over this client, which knows all of them.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let quick = client.clone().with_deadline(QUICK);
        Self { client, quick }
    }

    /// Refuses an answer from a coordinator that is behind, and asks another one next time.
    fn current(&self, read: Option<pb::ReadState>) -> Result<(), Asked> {
        let Some(read) = read else { return Err(unreadable("the age of the answer")) };
        let age = read.age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(Duration::MAX);
        if age <= AGE_MAX {
            return Ok(());
        }
        self.quick.avoid(read.coordinator_id);
        let why = format!("coordinator {} is behind by {age:?}", read.coordinator_id);
        Err(Asked::Unanswered(Unanswered { why }))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.client.endpoints()).finish()
    }
}

/// Time heals it, or nobody answered: ask again. Anything else is final.
fn asked(error: CallError) -> Asked {
    match error.problem().filter(|problem| problem.code().retry() == Retry::Never) {
        Some(problem) => Asked::Declined(Declined {
            reason: problem.code().reason().to_owned(),
            message: problem.message().to_owned(),
        }),
        None => Asked::Unanswered(Unanswered { why: error.to_string() }),
    }
}

fn unreadable(what: &str) -> Asked {
    Asked::Unanswered(Unanswered { why: format!("{what} cannot be read") })
}

#[async_trait]
impl Quorum for Link {
    async fn certificate(
        &self,
        cluster: &ClusterId,
        number: DecisionNumber,
    ) -> Result<Vec<u8>, Asked> {
        let decision = pb::DecisionRef { cluster: cluster.to_string(), number: number.get() };
        // Stale is fine: the certificate proves itself.
        let request = pb::GetCertificateRequest {
            of: Some(pb::get_certificate_request::Of::Decision(decision)),
            consistency: pb::Consistency::Stale.into(),
        };
        Ok(self.client.get_certificate(request).await.map_err(asked)?.certificate)
    }

    async fn claim(&self, claim: &Signed<Claim>) -> Result<Claimed, ClaimRefused> {
        let request = pb::ClaimRequest { note: claim.to_bytes(), request_id: String::new() };
        match self.client.claim(request).await {
            Ok(answer) if answer.fresh => Ok(Claimed::Fresh),
            Ok(_) => Ok(Claimed::Held),
            Err(error) => match error.problem() {
                Some(problem) if problem.code() == ErrorCode::JournalRolledBack => {
                    Err(ClaimRefused::RolledBack { message: problem.message().to_owned() })
                }
                Some(_) | None => Err(asked(error).into()),
            },
        }
    }

    async fn report(&self, note: &[u8]) -> Result<(), Asked> {
        let request = pb::ReportRequest { note: note.to_vec(), request_id: String::new() };
        self.client.report(request).await.map(drop).map_err(asked)
    }

    async fn observe(&self, observe: &Signed<Observe>) -> usize {
        let request = pb::ObserveRequest { note: observe.to_bytes() };
        let answers = self.quick.observe_everywhere(request).await;
        for (id, answer) in &answers {
            if let Err(error) = answer {
                tracing::debug!(coordinator = id, %error, "an observation was not taken");
            }
        }
        answers.iter().filter(|(_, answer)| answer.is_ok()).count()
    }

    async fn vote(&self, vote: &Signed<Vote>) -> Result<(), Asked> {
        let request =
            pb::SubmitVoteRequest { note: vote.to_bytes(), ..pb::SubmitVoteRequest::default() };
        self.client.submit_vote(request).await.map(drop).map_err(asked)
    }

    async fn open(&self, proposal: &Proposal) -> Result<ProposalId, Asked> {
        let text = proposal.text().into_bytes();
        let request = pb::OpenProposalRequest { text, ..pb::OpenProposalRequest::default() };
        let answer = self.client.open_proposal(request).await.map_err(asked)?;
        let id = answer.proposal.and_then(|proposal| proposal.id.parse().ok());
        id.ok_or_else(|| unreadable("the proposal's id"))
    }

    async fn proposals(&self, cluster: &ClusterId) -> Result<Vec<OpenProposal>, Asked> {
        let states = [pb::ProposalState::Open, pb::ProposalState::Approved];
        let request = pb::ListProposalsRequest {
            page_size: PROPOSALS_MAX,
            cluster: cluster.to_string(),
            states: states.map(Into::into).to_vec(),
            consistency: pb::Consistency::Stale.into(),
            view: pb::View::Full.into(),
            ..pb::ListProposalsRequest::default()
        };
        let answer = self.quick.list_proposals(request).await.map_err(asked)?;
        self.current(answer.read)?;
        // One that cannot be read, or whose id is not the digest of its text, is nobody's to vote on.
        Ok(answer.proposals.iter().filter_map(open_proposal).collect())
    }

    async fn facts(&self, cluster: &ClusterId) -> Result<Vec<PeerFact>, Asked> {
        let request = pb::ListFactsRequest {
            cluster: cluster.to_string(),
            consistency: pb::Consistency::Stale.into(),
            ..pb::ListFactsRequest::default()
        };
        let answer = self.quick.list_facts(request).await.map_err(asked)?;
        self.current(answer.read)?;
        Ok(answer.facts.iter().filter_map(peer_fact).collect())
    }
}

fn open_proposal(wire: &pb::Proposal) -> Option<OpenProposal> {
    let text = std::str::from_utf8(&wire.text).ok()?;
    let proposal = Proposal::parse(text).ok()?;
    let stage = match wire.state() {
        pb::ProposalState::Open => Stage::Voting,
        pb::ProposalState::Approved => Stage::Approved,
        pb::ProposalState::Unspecified
        | pb::ProposalState::Decided
        | pb::ProposalState::Rejected
        | pb::ProposalState::Vetoed
        | pb::ProposalState::Withdrawn
        | pb::ProposalState::Expired
        | pb::ProposalState::Superseded
        | pb::ProposalState::EpochEnded => return None,
    };
    (proposal.id().to_string() == wire.id).then_some(OpenProposal { proposal, stage })
}

fn peer_fact(wire: &pb::Fact) -> Option<PeerFact> {
    if wire.key != crate::observe::MEMBER_FACT {
        return None;
    }
    let [member, word] = wire.values.as_slice() else { return None };
    let reading = [Reading::Up, Reading::Down, Reading::Unreachable]
        .into_iter()
        .find(|reading| reading.word() == word)?;
    Some(PeerFact {
        agent: wire.agent.parse().ok()?,
        member: member.parse().ok()?,
        reading,
        observed: LogTime::try_from(wire.observed?).ok()?,
    })
}
