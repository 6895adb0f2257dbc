//! Agents: facts in, claims before a start, reports after it.

use quorate_attest::{
    agent_statement::{Claim, Fact, Observe, Report},
    id::{ClusterId, KeyName},
    signed::Signed,
};
use quorate_core::{Body, Outcome, SlotChange, freshness};
use quorate_proto::{
    page::Page,
    pb::v1::{
        self as pb, ClaimRequest, ClaimResponse, ListAgentsRequest, ListAgentsResponse,
        ListFactsRequest, ListFactsResponse, ObserveRequest, ObserveResponse, ReportRequest,
        ReportResponse, agents_server::Agents,
    },
};
use tonic::{Request, Response, Status};

use super::{Context, caller, error, own_text, parse_optional, show, verify};
use crate::handle::ProposeError;

#[tonic::async_trait]
impl Agents for Context {
    async fn observe(
        &self,
        request: Request<ObserveRequest>,
    ) -> Result<Response<ObserveResponse>, Status> {
        let caller = caller(&request)?;
        let observe: Signed<Observe> =
            verify::verified(&self.handle, &self.verifiers, &request.get_ref().note).await?;
        let statement = observe.statement.clone();
        own_text(&caller, &statement.agent)?;
        self.signer.hold_observe(observe).await;
        // The leader's loop replicates it if it says something new.
        self.news.notify_one();
        let replicated = self.machine(move |machine| {
            let known = machine.state().observations().latest(&statement.agent);
            known.is_some_and(|known| known.sequence >= statement.sequence)
        });
        let replicated = replicated.await?;
        let applied_index = if replicated { self.handle.applied_index() } else { 0 };
        Ok(Response::new(ObserveResponse { held: true, replicated, applied_index }))
    }

    async fn claim(
        &self,
        request: Request<ClaimRequest>,
    ) -> Result<Response<ClaimResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let claim: Signed<Claim> =
            verify::verified(&self.handle, &self.verifiers, &request.note).await?;
        own_text(&caller, &claim.statement.agent)?;
        let body = Body::Claim(claim.clone());
        let (_, written) = self.write(body.clone(), &caller, &request.request_id).await?;
        let Outcome::Claimed { token, fresh, .. } = self.claimed_here(&claim, body).await? else {
            return Err(Status::internal("a claim was answered like something else"));
        };
        let time = self.machine(|machine| machine.state().time()).await?;
        Ok(Response::new(ClaimResponse {
            fresh,
            token: token.to_string(),
            applied_index: written.index,
            time: Some(time.into()),
        }))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let report: Signed<Report> =
            verify::verified(&self.handle, &self.verifiers, &request.note).await?;
        let statement = report.statement.clone();
        own_text(&caller, &statement.agent)?;
        let (outcome, written) =
            self.write(Body::Report(report), &caller, &request.request_id).await?;
        let Outcome::Reported { index, slot, .. } = outcome else {
            return Err(Status::internal("a report was answered like something else"));
        };
        let cluster = statement.cluster.as_str();
        let decision = self.decision(cluster, statement.number.get(), false).await?;
        Ok(Response::new(ReportResponse {
            decision,
            terminal: index.is_some() && slot != SlotChange::RollbackOrdered,
            slot_freed: slot == SlotChange::Freed,
            applied_index: written.index,
        }))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        let request = request.into_inner();
        let wanted: Option<ClusterId> = parse_optional("cluster", &request.cluster)?;
        let filter = format!("agents {}", request.cluster);
        let page = Page::parse(request.page_size, &request.page_token, filter.as_bytes())?;
        let read = self.read(request.consistency).await?;
        let (from, size) = (page.after_index()?.map_or(0, |after| after + 1), page.size());
        let now = self.now();
        let (agents, total) = self
            .machine(move |machine| {
                let Some(ledger) = machine.state().ledger() else { return (Vec::new(), 0) };
                let names: Vec<&KeyName> = ledger
                    .charter()
                    .agent
                    .iter()
                    .filter(|line| wanted.as_ref().is_none_or(|wanted| line.cluster == *wanted))
                    .map(|line| line.key.name())
                    .collect();
                let skip = usize::try_from(from).unwrap_or(usize::MAX);
                let shown = names.iter().skip(skip).take(size);
                let shown = shown.filter_map(|name| show::agent(machine, name, now)).collect();
                (shown, names.len() as u64)
            })
            .await?;
        let end = from + agents.len() as u64;
        let next_page_token =
            if end < total && end > 0 { page.token_of_index(end - 1) } else { String::new() };
        Ok(Response::new(ListAgentsResponse { agents, next_page_token, read: Some(read) }))
    }

    async fn list_facts(
        &self,
        request: Request<ListFactsRequest>,
    ) -> Result<Response<ListFactsResponse>, Status> {
        let request = request.into_inner();
        let cluster: Option<ClusterId> = parse_optional("cluster", &request.cluster)?;
        let agent: Option<KeyName> = parse_optional("agent", &request.agent)?;
        let read = self.read(request.consistency).await?;
        // Only what says something new is replicated. Whoever has to agree on a member that stays dead
        // asks for the newest word, and that is held here.
        let held = match read.consistency() {
            pb::Consistency::Stale => self.signer.held().await.observations,
            pb::Consistency::Linearizable | pb::Consistency::Unspecified => Vec::new(),
        };
        let now = self.now();
        let facts = self
            .machine(move |machine| {
                let Some(ledger) = machine.state().ledger() else { return Vec::new() };
                let charter = ledger.charter();
                let newest = |agent: &KeyName| {
                    let held = held.iter().map(|held| &held.statement);
                    held.filter(|held| held.agent == *agent && held.epoch == charter.epoch)
                        .chain(machine.state().observations().latest(agent))
                        .max_by_key(|seen| seen.sequence)
                };
                charter
                    .agent
                    .iter()
                    .filter(|line| cluster.as_ref().is_none_or(|wanted| line.cluster == *wanted))
                    .filter(|line| agent.as_ref().is_none_or(|wanted| line.key.name() == wanted))
                    .filter_map(|line| newest(line.key.name()))
                    .flat_map(|seen| {
                        let window = freshness(charter, &seen.cluster);
                        let fresh = now.since(seen.observed) <= window;
                        seen.fact.iter().map(move |said| fact(seen, said, fresh))
                    })
                    .collect()
            })
            .await?;
        Ok(Response::new(ListFactsResponse { facts, read: Some(read) }))
    }
}

impl Context {
    /// What this replica's own state says of a claim that the leader says it has recorded.
    ///
    /// A leader that lies could answer without recording anything, and have the decision voided
    /// while the agent acts (*single-effect*): nobody voids what is claimed in their own state.
    async fn claimed_here(&self, claim: &Signed<Claim>, body: Body) -> Result<Outcome, Status> {
        let statement = claim.statement.clone();
        let held = self.machine(move |machine| {
            let Claim { cluster, number, agent, .. } = &statement;
            let mut holders = machine.state().claims().holders(cluster, *number);
            let is_held = holders.any(|(holder, _)| holder == agent);
            // Asked again at the time it was applied: the same answer, from our own state.
            is_held.then(|| machine.consider(machine.state().time(), &body).outcome)
        });
        match held.await? {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(rejection)) => Err(error::problem(&rejection, self.now()).into()),
            None => {
                let why = "this coordinator has not applied the claim".to_owned();
                Err(error::propose_status(ProposeError::OutcomeUnknown { why }, &self.handle))
            }
        }
    }
}

fn fact(observe: &Observe, fact: &Fact, fresh: bool) -> pb::Fact {
    pb::Fact {
        agent: observe.agent.to_string(),
        cluster: observe.cluster.to_string(),
        key: fact.key.to_string(),
        values: std::iter::once(&fact.value).chain(&fact.extra).map(ToString::to_string).collect(),
        observed: Some(observe.observed.into()),
        sequence: observe.sequence.get(),
        fresh,
    }
}
