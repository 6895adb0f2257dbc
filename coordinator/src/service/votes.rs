//! Votes: verified, replicated, fsynced on a majority, and only then acknowledged.

use quorate_attest::{signed::Signed, vote::Vote};
use quorate_core::{Body, Novelty, Outcome};
use quorate_proto::pb::v1::{
    ProposalState, SubmitVoteRequest, SubmitVoteResponse, votes_server::Votes,
};
use tonic::{Request, Response, Status};

use super::{Context, caller, show, verify};

#[tonic::async_trait]
impl Votes for Context {
    async fn submit_vote(
        &self,
        request: Request<SubmitVoteRequest>,
    ) -> Result<Response<SubmitVoteResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let vote: Signed<Vote> =
            verify::verified(&self.handle, &self.verifiers, &request.note).await?;
        let id = vote.statement.proposal;
        let cluster = self
            .machine(move |machine| {
                machine.state().open().get(&id).map(|open| open.proposal().cluster.clone())
            })
            .await?;
        self.expect(request.expect, cluster).await?;
        let voters: Vec<String> = vote.lines.iter().map(|line| line.name.clone()).collect();
        let body = Body::Vote(vote);
        let (outcome, applied_index) = if request.validate_only {
            (self.consider(body).await?, 0)
        } else {
            let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
            (outcome, written.index)
        };
        let Outcome::Voted { proposal, novelty, standing } = outcome else {
            return Err(Status::internal("a vote was answered like something else"));
        };
        let now = self.now();
        let shown = standing.clone();
        let (tally, found) = self
            .machine(move |machine| {
                let ledger = machine.state().ledger()?;
                let equivocators = ledger.history().equivocators(&proposal);
                let tally = show::tally(ledger.charter(), &shown, &equivocators);
                let decided = match ledger.history().ended(&proposal) {
                    Some(ended) => Some(ended.cluster.clone()),
                    None => machine
                        .state()
                        .open()
                        .get(&proposal)
                        .map(|open| open.proposal().cluster.clone()),
                };
                Some((tally, decided))
            })
            .await?
            .unzip();
        let decision = match (found.flatten(), standing.decision) {
            (Some(cluster), Some(number)) if !request.validate_only => {
                self.decision(cluster.as_str(), number.get(), false).await?
            }
            (Some(_) | None, _) => None,
        };
        let state = match (standing.decision, standing.approved) {
            (Some(_), _) => ProposalState::Decided,
            (None, Some(_)) => ProposalState::Approved,
            (None, None) if standing.tally.is_lost() => ProposalState::Rejected,
            (None, None) => ProposalState::Open,
        };
        Ok(Response::new(SubmitVoteResponse {
            proposal_id: proposal.to_string(),
            state: state.into(),
            tally,
            already_counted: if novelty == Novelty::Repeated { voters } else { Vec::new() },
            waiting_for: show::refusals(&standing.waiting_for, now),
            decision,
            applied_index,
        }))
    }
}
