//! One method for each RPC.

use tonic::transport::Channel;

use super::{CallError, Client, DECODE_BYTES_MAX, Route};
use crate::pb::v1::{self as pb, Consistency};

/// A fresh request id, UUID v4.
#[must_use]
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Reads go to anyone if they may be stale.
fn route_of(consistency: i32) -> Route {
    match Consistency::try_from(consistency) {
        Ok(Consistency::Stale) => Route::Any,
        Ok(Consistency::Unspecified | Consistency::Linearizable) | Err(_) => Route::Leader,
    }
}

macro_rules! reads {
    ($($service:ident :: $client:ident . $method:ident ($request:ident) -> $response:ident: $doc:literal;)*) => {
        impl Client {
            $(
                #[doc = $doc]
                ///
                /// # Errors
                /// A refusal, or nobody answered in time.
                pub async fn $method(
                    &self,
                    message: pb::$request,
                ) -> Result<pb::$response, CallError> {
                    let route = route_of(message.consistency);
                    self.call(route, "", message, |channel: Channel, request| async move {
                        pb::$service::$client::new(channel)
                            .max_decoding_message_size(DECODE_BYTES_MAX)
                            .$method(request)
                            .await
                    })
                    .await
                }
            )*
        }
    };
}

macro_rules! writes {
    ($($service:ident :: $client:ident . $method:ident ($request:ident) -> $response:ident: $doc:literal;)*) => {
        impl Client {
            $(
                #[doc = $doc]
                ///
                /// An empty `request_id` is replaced by a fresh one.
                ///
                /// # Errors
                /// A refusal; nobody answered in time; or the outcome is unknown.
                pub async fn $method(
                    &self,
                    mut message: pb::$request,
                ) -> Result<pb::$response, CallError> {
                    if message.request_id.is_empty() {
                        message.request_id = request_id();
                    }
                    let id = message.request_id.clone();
                    self.call(Route::Leader, &id, message, |channel: Channel, request| async move {
                        pb::$service::$client::new(channel)
                            .max_decoding_message_size(DECODE_BYTES_MAX)
                            .$method(request)
                            .await
                    })
                    .await
                }
            )*
        }
    };
}

reads! {
    proposals_client::ProposalsClient.get_proposal(GetProposalRequest) -> GetProposalResponse:
        "One proposal.";
    proposals_client::ProposalsClient.list_proposals(ListProposalsRequest) -> ListProposalsResponse:
        "One page of proposals, newest first.";
    log_client::LogClient.get_checkpoint(GetCheckpointRequest) -> GetCheckpointResponse:
        "A certified head.";
    log_client::LogClient.get_leaf(GetLeafRequest) -> GetLeafResponse:
        "One leaf.";
    log_client::LogClient.list_leaves(ListLeavesRequest) -> ListLeavesResponse:
        "One page of leaves, in order of index.";
    log_client::LogClient.get_inclusion_proof(GetInclusionProofRequest) -> GetInclusionProofResponse:
        "An inclusion proof.";
    log_client::LogClient.get_consistency_proof(GetConsistencyProofRequest) -> GetConsistencyProofResponse:
        "A consistency proof.";
    log_client::LogClient.get_certificate(GetCertificateRequest) -> GetCertificateResponse:
        "A certificate; waits until the deadline for one that is not certified yet.";
    log_client::LogClient.get_decision(GetDecisionRequest) -> GetDecisionResponse:
        "One decision.";
    log_client::LogClient.list_decisions(ListDecisionsRequest) -> ListDecisionsResponse:
        "One page of decisions, newest first.";
    agents_client::AgentsClient.list_agents(ListAgentsRequest) -> ListAgentsResponse:
        "One page of agents.";
    agents_client::AgentsClient.list_facts(ListFactsRequest) -> ListFactsResponse:
        "The newest fact of each agent.";
    charters_client::ChartersClient.get_charter(GetCharterRequest) -> GetCharterResponse:
        "A charter.";
    charters_client::ChartersClient.list_charters(ListChartersRequest) -> ListChartersResponse:
        "One page of charters, oldest first.";
    quorum_client::QuorumClient.list_coordinators(ListCoordinatorsRequest) -> ListCoordinatorsResponse:
        "The coordinators.";
    automation_client::AutomationClient.list_pauses(ListPausesRequest) -> ListPausesResponse:
        "The pauses in force.";
    automation_client::AutomationClient.list_overrides(ListOverridesRequest) -> ListOverridesResponse:
        "The overrides in force.";
    automation_client::AutomationClient.list_budgets(ListBudgetsRequest) -> ListBudgetsResponse:
        "The budget keys.";
    automation_client::AutomationClient.list_actions(ListActionsRequest) -> ListActionsResponse:
        "The action in each cluster's slot.";
    automation_client::AutomationClient.list_incidents(ListIncidentsRequest) -> ListIncidentsResponse:
        "One page of incidents.";
    status_client::StatusClient.get_status(GetStatusRequest) -> GetStatusResponse:
        "The state of the deployment.";
}

writes! {
    proposals_client::ProposalsClient.open_proposal(OpenProposalRequest) -> OpenProposalResponse:
        "Opens a proposal, or asks what would happen.";
    proposals_client::ProposalsClient.veto_proposal(VetoProposalRequest) -> VetoProposalResponse:
        "Hands a veto to the leader. [`Client::veto_everywhere`] tells every coordinator.";
    votes_client::VotesClient.submit_vote(SubmitVoteRequest) -> SubmitVoteResponse:
        "Submits votes: answered once verified, replicated and fsynced on a majority.";
    agents_client::AgentsClient.claim(ClaimRequest) -> ClaimResponse:
        "Claims a decision before its start.";
    agents_client::AgentsClient.report(ReportRequest) -> ReportResponse:
        "Hands in a report.";
    charters_client::ChartersClient.amend_charter(AmendCharterRequest) -> AmendCharterResponse:
        "Puts a charter of the next epoch in force, or asks what would happen.";
    automation_client::AutomationClient.submit_act(SubmitActRequest) -> SubmitActResponse:
        "Submits an operator's act.";
    automation_client::AutomationClient.submit_override(SubmitOverrideRequest) -> SubmitOverrideResponse:
        "Submits an override.";
    automation_client::AutomationClient.submit_pause(SubmitPauseRequest) -> SubmitPauseResponse:
        "Submits a pause or resume.";
    automation_client::AutomationClient.reissue_action(ReissueActionRequest) -> ReissueActionResponse:
        "Re-issues a stuck decision, or asks what would happen.";
}

/// One coordinator's Raft node id and its answer.
pub type Answer<R> = (u64, Result<R, CallError>);

impl Client {
    /// Hands leadership over. Asking twice is harmless.
    ///
    /// # Errors
    /// A refusal, or nobody answered in time.
    pub async fn transfer_leader(
        &self,
        message: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, CallError> {
        self.call(Route::Leader, "", message, |channel: Channel, request| async move {
            pb::quorum_client::QuorumClient::new(channel).transfer_leader(request).await
        })
        .await
    }

    /// Hands a fact to every coordinator: each compares it before it cosigns, so a leader gains
    /// nothing by withholding it.
    pub async fn observe_everywhere(
        &self,
        message: pb::ObserveRequest,
    ) -> Vec<Answer<pb::ObserveResponse>> {
        self.call_each(message, |channel: Channel, request| async move {
            pb::agents_client::AgentsClient::new(channel).observe(request).await
        })
        .await
    }

    /// Hands a veto to every coordinator: whoever holds it refuses to cosign (veto-final).
    pub async fn veto_everywhere(
        &self,
        mut message: pb::VetoProposalRequest,
    ) -> Vec<Answer<pb::VetoProposalResponse>> {
        if message.request_id.is_empty() {
            message.request_id = request_id();
        }
        self.call_each(message, |channel: Channel, request| async move {
            pb::proposals_client::ProposalsClient::new(channel)
                .max_decoding_message_size(DECODE_BYTES_MAX)
                .veto_proposal(request)
                .await
        })
        .await
    }

    /// The status of one coordinator as it sees itself.
    ///
    /// # Errors
    /// A refusal, or it did not answer in time.
    pub async fn status_of(
        &self,
        node_id: u64,
        with_hashes: bool,
    ) -> Result<pb::GetStatusResponse, CallError> {
        let message = pb::GetStatusRequest { consistency: Consistency::Stale.into(), with_hashes };
        self.call(Route::Only(node_id), "", message, |channel: Channel, request| async move {
            pb::status_client::StatusClient::new(channel)
                .max_decoding_message_size(DECODE_BYTES_MAX)
                .get_status(request)
                .await
        })
        .await
    }
}
