//! Automation: operators' acts, pauses and overrides; budgets; the actions under way; incidents.

use quorate_attest::{
    id::{ClusterId, ProposalId},
    leaf::{Leaf, LeafKind as Kind},
    log_time::LogTime,
    number::DecisionNumber,
    operator_statement::{Act, Override, Pause},
    signed::Signed,
    text::Statement as _,
};
use quorate_core::{Body, Machine, Outcome};
use quorate_proto::{
    page::Page,
    pb::v1::{
        self as pb, ListActionsRequest, ListActionsResponse, ListBudgetsRequest,
        ListBudgetsResponse, ListIncidentsRequest, ListIncidentsResponse, ListOverridesRequest,
        ListOverridesResponse, ListPausesRequest, ListPausesResponse, ReissueActionRequest,
        ReissueActionResponse, SubmitActRequest, SubmitActResponse, SubmitOverrideRequest,
        SubmitOverrideResponse, SubmitPauseRequest, SubmitPauseResponse,
        automation_server::Automation,
    },
};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};

use super::{Context, caller, incidents, leaves, malformed, parse, parse_optional, show, verify};

#[tonic::async_trait]
impl Automation for Context {
    async fn submit_act(
        &self,
        request: Request<SubmitActRequest>,
    ) -> Result<Response<SubmitActResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let act: Signed<Act> =
            verify::verified(&self.handle, &self.verifiers, &request.note).await?;
        let body = Body::Act(act);
        if request.validate_only {
            self.consider(body).await?;
            return Ok(Response::new(SubmitActResponse { leaf_index: None, applied_index: 0 }));
        }
        let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
        let leaf_index = Some(recorded(&outcome)?);
        Ok(Response::new(SubmitActResponse { leaf_index, applied_index: written.index }))
    }

    async fn submit_override(
        &self,
        request: Request<SubmitOverrideRequest>,
    ) -> Result<Response<SubmitOverrideResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let signed: Signed<Override> =
            verify::verified(&self.handle, &self.verifiers, &request.note).await?;
        let operators = signed.lines.iter().map(|line| line.name.clone()).collect();
        let shown = overridden(&signed.statement, 0, operators);
        let body = Body::Override(signed);
        if request.validate_only {
            self.consider(body).await?;
            return Ok(Response::new(SubmitOverrideResponse {
                leaf_index: None,
                r#override: Some(shown),
                applied_index: 0,
            }));
        }
        let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
        let leaf_index = recorded(&outcome)?;
        Ok(Response::new(SubmitOverrideResponse {
            leaf_index: Some(leaf_index),
            r#override: Some(pb::Override { leaf_index, ..shown }),
            applied_index: written.index,
        }))
    }

    async fn submit_pause(
        &self,
        request: Request<SubmitPauseRequest>,
    ) -> Result<Response<SubmitPauseResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let signed: Signed<Pause> =
            verify::verified(&self.handle, &self.verifiers, &request.note).await?;
        let body = Body::Pause(signed);
        let (leaf_index, applied_index) = if request.validate_only {
            self.consider(body).await?;
            (None, 0)
        } else {
            let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
            (Some(recorded(&outcome)?), written.index)
        };
        let running = self.actions(None).await?;
        Ok(Response::new(SubmitPauseResponse {
            leaf_index,
            pauses: self.pauses().await?,
            running: running.into_iter().filter(|action| action.decision.is_some()).collect(),
            applied_index,
        }))
    }

    async fn list_pauses(
        &self,
        request: Request<ListPausesRequest>,
    ) -> Result<Response<ListPausesResponse>, Status> {
        let read = self.read(request.into_inner().consistency).await?;
        Ok(Response::new(ListPausesResponse { pauses: self.pauses().await?, read: Some(read) }))
    }

    async fn list_overrides(
        &self,
        request: Request<ListOverridesRequest>,
    ) -> Result<Response<ListOverridesResponse>, Status> {
        let request = request.into_inner();
        let wanted: Option<ProposalId> = parse_optional("proposal_id", &request.proposal_id)?;
        let read = self.read(request.consistency).await?;
        let now = self.now();
        let in_force = self.machine(move |machine| in_force(machine, wanted, now)).await?;
        let view = self.view()?;
        let overrides = spawn_blocking(move || {
            let find = |statement: Override| {
                let digest = statement.digest();
                let found = find_note(&view, Kind::Override, |leaf| {
                    let Leaf::Override(signed) = leaf else { return None };
                    (signed.statement.digest() == digest).then(|| names(&signed.lines))
                });
                let (index, operators) = found.unwrap_or_default();
                overridden(&statement, index, operators)
            };
            in_force.into_iter().map(find).collect()
        });
        let overrides = overrides.await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(ListOverridesResponse { overrides, read: Some(read) }))
    }

    async fn list_budgets(
        &self,
        request: Request<ListBudgetsRequest>,
    ) -> Result<Response<ListBudgetsResponse>, Status> {
        let request = request.into_inner();
        let cluster: Option<ClusterId> = parse_optional("cluster", &request.cluster)?;
        let read = self.read(request.consistency).await?;
        let now = self.now();
        let budgets = self.machine(move |machine| budgets(machine, cluster.as_ref(), now)).await?;
        Ok(Response::new(ListBudgetsResponse { budgets, read: Some(read) }))
    }

    async fn list_actions(
        &self,
        request: Request<ListActionsRequest>,
    ) -> Result<Response<ListActionsResponse>, Status> {
        let request = request.into_inner();
        let cluster: Option<ClusterId> = parse_optional("cluster", &request.cluster)?;
        let read = self.read(request.consistency).await?;
        let actions = self.actions(cluster).await?;
        Ok(Response::new(ListActionsResponse { actions, read: Some(read) }))
    }

    async fn reissue_action(
        &self,
        request: Request<ReissueActionRequest>,
    ) -> Result<Response<ReissueActionResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let name = request.decision.ok_or_else(|| malformed("decision", "it is missing"))?;
        let cluster: ClusterId = parse("decision.cluster", &name.cluster)?;
        let number = DecisionNumber::new(name.number)
            .map_err(|error| malformed("decision.number", error))?;
        verify::operator_in_force(&self.handle, Some(&caller.key_name()))?;
        self.expect(request.expect, Some(cluster.clone())).await?;
        let body = Body::Continue { cluster, number };
        if request.validate_only {
            let outcome = self.consider(body).await?;
            return Ok(Response::new(ReissueActionResponse {
                leaf_index: None,
                ..continued(&outcome)?
            }));
        }
        let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
        let response =
            ReissueActionResponse { applied_index: written.index, ..continued(&outcome)? };
        tracing::info!(%caller, token = response.token, "re-issued");
        Ok(Response::new(response))
    }

    async fn list_incidents(
        &self,
        request: Request<ListIncidentsRequest>,
    ) -> Result<Response<ListIncidentsResponse>, Status> {
        let request = request.into_inner();
        let cluster = request.cluster.clone();
        let filter = format!("incidents {cluster}");
        let page = Page::parse(request.page_size, &request.page_token, filter.as_bytes())?;
        let read = self.read(request.consistency).await?;
        let open = self.open_incidents(&cluster).await?;
        let view = self.view()?;
        let all = spawn_blocking(move || incidents::all(&view, open, &cluster));
        let all = all.await.map_err(|error| Status::internal(error.to_string()))?;
        let skip = page.after_index()?.map_or(0, |after| after + 1);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let incidents: Vec<_> = all.iter().skip(skip).take(page.size()).cloned().collect();
        let end = skip.saturating_add(incidents.len());
        let next_page_token = if end < all.len() && end > 0 {
            page.token_of_index(end as u64 - 1)
        } else {
            String::new()
        };
        let incidents = self.with_ladders(incidents).await?;
        Ok(Response::new(ListIncidentsResponse { incidents, next_page_token, read: Some(read) }))
    }
}

fn recorded(outcome: &Outcome) -> Result<u64, Status> {
    let Outcome::Recorded { index, .. } = outcome else {
        return Err(Status::internal("an operators' text was answered like something else"));
    };
    Ok(index.get())
}

fn continued(outcome: &Outcome) -> Result<ReissueActionResponse, Status> {
    let Outcome::Continued { token, index } = outcome else {
        return Err(Status::internal("a re-issue was answered like something else"));
    };
    Ok(ReissueActionResponse {
        number: token.number.get(),
        token: token.to_string(),
        leaf_index: Some(index.get()),
        applied_index: 0,
    })
}

fn names(lines: &[quorate_attest::note::SignatureLine]) -> Vec<String> {
    lines.iter().map(|line| line.name.clone()).collect()
}

fn overridden(statement: &Override, leaf_index: u64, operators: Vec<String>) -> pb::Override {
    pb::Override {
        id: statement.digest().to_string(),
        cluster: statement.cluster.to_string(),
        rule: statement.rule.to_string(),
        proposal_id: statement.scope.to_string(),
        operators,
        reason: statement.reason.to_string(),
        expires: Some(statement.expires.into()),
        leaf_index,
    }
}

/// Overrides in force: of one proposal, or of every open one.
fn in_force(machine: &Machine, wanted: Option<ProposalId>, now: LogTime) -> Vec<Override> {
    let Some(ledger) = machine.state().ledger() else { return Vec::new() };
    let proposals: Vec<ProposalId> = match wanted {
        Some(id) => vec![id],
        None => machine.state().open().keys().copied().collect(),
    };
    proposals.iter().flat_map(|id| ledger.history().overrides_for(id, now).cloned()).collect()
}

/// Looks back for an operators' text; answers its index and what `look` says.
fn find_note<T>(
    view: &quorate_store::LeavesView,
    kind: Kind,
    look: impl Fn(Leaf) -> Option<T>,
) -> Option<(u64, T)> {
    leaves::backwards(view, view.size().get(), leaves::SCAN_MAX, |index, bytes| {
        if leaves::kind_of(bytes) != Some(kind) {
            return None;
        }
        Some((index, look(Leaf::parse(bytes).ok()?)?))
    })
}

/// Every budget key that is limited: of the cluster's classes, of targets in use, and global.
fn budgets(machine: &Machine, cluster: Option<&ClusterId>, now: LogTime) -> Vec<pb::Budget> {
    let Some(ledger) = machine.state().ledger() else { return Vec::new() };
    let cooling: Vec<_> = ledger.cooldowns().running(now).collect();
    let shown = |(left, next): (quorate_core::BudgetLeft, Option<LogTime>)| {
        let mut budget = show::budget(&left, &[]);
        budget.next_allowed = next.map(Into::into);
        if let Some((_, until, by)) = cooling.iter().find(|(key, _, _)| **key == left.key) {
            budget.cooldown_until = Some((*until).into());
            budget.last_used_by = by.to_string();
        }
        budget
    };
    ledger.budgets(cluster, now).into_iter().map(shown).collect()
}

impl Context {
    pub(crate) async fn pauses(&self) -> Result<Vec<pb::Pause>, Status> {
        let now = self.now();
        let in_force = self
            .machine(move |machine| {
                let history = machine.state().ledger()?.history();
                // Not whoever signed the leaf: some of them may have lifted their part since.
                let held = |pause: &Pause| {
                    let holders = history.holders_of(pause).map(ToString::to_string);
                    (pause.clone(), holders.collect::<Vec<_>>())
                };
                Some(history.pauses(now).map(held).collect::<Vec<_>>())
            })
            .await?
            .unwrap_or_default();
        if in_force.is_empty() {
            return Ok(Vec::new());
        }
        let view = self.view()?;
        let found = spawn_blocking(move || {
            let find = |(statement, holders): (Pause, Vec<String>)| {
                let digest = statement.digest();
                let at = find_note(&view, Kind::Pause, |leaf| {
                    let Leaf::Pause(signed) = leaf else { return None };
                    (signed.statement.digest() == digest).then_some(())
                });
                show::pause(&statement, at.map_or(0, |(index, ())| index), holders)
            };
            in_force.into_iter().map(find).collect()
        });
        found.await.map_err(|error| Status::internal(error.to_string()))
    }

    /// What holds each cluster's slot.
    pub(crate) async fn actions(
        &self,
        wanted: Option<ClusterId>,
    ) -> Result<Vec<pb::Action>, Status> {
        let now = self.now();
        let held = self.machine(move |machine| held(machine, wanted.as_ref(), now)).await?;
        let mut actions = Vec::new();
        for (action, number) in held {
            let decision = match number {
                Some(number) => self.decision(&action.cluster, number, false).await?,
                None => None,
            };
            actions.push(pb::Action { decision, ..action });
        }
        Ok(actions)
    }
}

fn held(
    machine: &Machine,
    wanted: Option<&ClusterId>,
    now: LogTime,
) -> Vec<(pb::Action, Option<u64>)> {
    let Some(ledger) = machine.state().ledger() else { return Vec::new() };
    let clusters = ledger.charter().cluster.iter().map(|line| &line.name);
    let action = |cluster: &ClusterId| {
        let free = pb::Action { cluster: cluster.to_string(), ..pb::Action::default() };
        let (Some(slot), Some(running)) = (ledger.slot(cluster), ledger.running(cluster)) else {
            return (free, None);
        };
        let deadline = ledger.stuck_at(cluster);
        let stuck = deadline.is_some_and(|deadline| deadline <= now);
        // R8: an action of an older epoch cannot go on, only be given up.
        let can_go_on = running.head().epoch == ledger.charter().epoch;
        let command = |verb, helps| match helps {
            true => format!("quorate action {verb} {cluster}/{}", slot.token.number),
            false => String::new(),
        };
        let shown = pb::Action {
            since: Some(running.since().into()),
            deadline: deadline.map(Into::into),
            stuck,
            awaited: slot.awaited.iter().map(ToString::to_string).collect(),
            command: command("reissue", stuck && can_go_on),
            last_resort: command("abandon", stuck),
            ..free
        };
        (shown, Some(slot.token.number.get()))
    };
    clusters.filter(|cluster| wanted.is_none_or(|wanted| wanted == *cluster)).map(action).collect()
}
