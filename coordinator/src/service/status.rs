//! Status: everything a person looks at first, as the asked coordinator sees it.

use quorate_attest::{
    history::Incident,
    id::{ClusterId, IncidentId},
    log_time::LogTime,
};
use quorate_core::Machine;
use quorate_proto::pb::v1::{
    self as pb, GetStatusRequest, GetStatusResponse, status_server::Status as StatusService,
};
use tonic::{Request, Response, Status};

use super::{Context, quorum, show};

/// Unacknowledged decisions shown.
const UNACKNOWLEDGED_MAX: usize = 20;

#[tonic::async_trait]
impl StatusService for Context {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let request = request.into_inner();
        let read = self.read(request.consistency).await?;
        let view = self.handle.raft_view();
        let leader_id = view.leader.unwrap_or(0);
        let usage = self.store.usage();
        let now = self.now();
        let mut status =
            self.machine(move |machine| of_machine(machine, now, request.with_hashes)).await?;
        let actions = self.actions(None).await?;
        for cluster in &mut status.clusters {
            let action = actions.iter().find(|action| action.cluster == cluster.name);
            cluster.action = action.filter(|action| action.decision.is_some()).cloned();
        }
        let head = self.certified().map(|certified| show::head(&certified));
        let demo = self.handle.network().as_str().split('/').any(|part| part == "demo");
        Ok(Response::new(GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            coordinator_id: self.handle.own(),
            role: quorum::role(view.role).into(),
            leader_id,
            leader_address: self.handle.clients().get(&leader_id).cloned().unwrap_or_default(),
            term: view.term,
            log_size: self.handle.leaves().size().get(),
            alarms: self.alarms(&actions).await?,
            head,
            unacknowledged: self.unacknowledged().await?,
            pauses: self.pauses().await?,
            store_bytes: usage.used,
            store_quota_bytes: usage.quota,
            demo,
            read: Some(read),
            ..status
        }))
    }
}

/// The fields that the machine alone answers.
fn of_machine(machine: &Machine, now: LogTime, with_hashes: bool) -> GetStatusResponse {
    let mut status = GetStatusResponse {
        machine_version: machine.state().versions().in_force().0,
        ..GetStatusResponse::default()
    };
    if with_hashes {
        status.state_hash = machine.state_hash().to_string();
        status.ledger_hash = machine.ledger_hash().map(|hash| hash.to_string()).unwrap_or_default();
    }
    let Some(ledger) = machine.state().ledger() else { return status };
    let charter = ledger.charter();
    status.origin = ledger.history().origin().to_string();
    status.epoch = charter.epoch.get();
    status.charter_id = charter.id().to_string();
    status.coordinators = charter.coordinators();
    status.faults = charter.faults;
    status.threshold = charter.threshold;
    status.safety = quorum::safety(charter.coordinators(), charter.faults);
    let clusters = charter.cluster.iter();
    status.clusters = clusters.filter_map(|line| of_cluster(machine, &line.name, now)).collect();
    status
}

fn of_cluster(machine: &Machine, cluster: &ClusterId, now: LogTime) -> Option<pb::ClusterStatus> {
    let ledger = machine.state().ledger()?;
    let charter = ledger.charter();
    let line = charter.cluster(cluster)?;
    let number = ledger.history().cluster(cluster).and_then(|history| history.number);
    let open = machine.state().open().values();
    let member = |line: &quorate_attest::charter::MemberLine| {
        let agent = charter.agents(cluster).find(|agent| agent.member == line.member);
        let latest = agent
            .and_then(|agent| machine.state().observations().latest(agent.key.name()))
            .map(|seen| seen.observed.into());
        let tombstone = ledger.tombstone(cluster, &line.member);
        pb::MemberStatus {
            member: line.member.to_string(),
            state: show::member_state(machine, cluster, &line.member, now).into(),
            agent: agent.map(|agent| agent.key.name().to_string()).unwrap_or_default(),
            seen: latest,
            tombstoned_by: tombstone.map(|by| ledger.token(by).to_string()).unwrap_or_default(),
        }
    };
    Some(pb::ClusterStatus {
        name: cluster.to_string(),
        adapter: line.adapter.to_string(),
        members: charter.members(cluster).map(member).collect(),
        action: None,
        token: number.map(|number| ledger.token(number).to_string()).unwrap_or_default(),
        open_proposals: show::narrow(
            open.filter(|open| open.proposal().cluster == *cluster).count() as u64,
        ),
        paused: ledger.history().paused(cluster, now).is_some(),
        survivor: ledger
            .survivor(cluster)
            .map(|survivor| survivor.member.to_string())
            .unwrap_or_default(),
    })
}

/// The incidents whose ladder has ended without success, equal at every coordinator.
fn escalations(machine: &Machine) -> Vec<pb::Alarm> {
    let Some(ledger) = machine.state().ledger() else { return Vec::new() };
    let alarm = |(cluster, id, incident): (&ClusterId, &IncidentId, &Incident)| {
        let escalation = incident.escalated?;
        let (severity, target) = (escalation.severity, &incident.target);
        Some(pb::Alarm {
            name: "escalated".to_owned(),
            message: format!(
                "{cluster}: {severity} {id}: {} attempts on {target} have failed; close it with \
                 `quorate incident close {id}` once it is solved",
                incident.attempts
            ),
            since: Some(escalation.since.into()),
        })
    };
    ledger.history().incidents().filter_map(alarm).collect()
}

impl Context {
    /// What a person should look at.
    async fn alarms(&self, actions: &[pb::Action]) -> Result<Vec<pb::Alarm>, Status> {
        let alarm =
            |name: &str, message: String| pb::Alarm { name: name.to_owned(), message, since: None };
        let mut alarms = Vec::new();
        if let Some(why) = self.signer.state().borrow().stopped.clone() {
            alarms.push(alarm("divergence", format!("this coordinator stopped cosigning: {why}")));
        }
        if let Some(fault) = self.handle.faulted() {
            alarms.push(alarm("fault", fault));
        }
        let usage = self.store.usage();
        if usage.is_exceeded() {
            let message = format!("the store uses {} of {} bytes", usage.used, usage.quota);
            alarms.push(alarm("store-quota", message));
        }
        for action in actions.iter().filter(|action| action.stuck) {
            let message = match action.awaited.as_slice() {
                [] => format!("{}: only an abandon frees the slot", action.cluster),
                awaited => format!("{}: no report from {}", action.cluster, awaited.join(", ")),
            };
            alarms.push(pb::Alarm { since: action.deadline, ..alarm("stuck", message) });
        }
        alarms.extend(self.machine(escalations).await?);
        Ok(alarms)
    }

    /// The newest decisions that no operator has acknowledged.
    async fn unacknowledged(&self) -> Result<Vec<pb::Decision>, Status> {
        let mut shown = Vec::new();
        for (cluster, open) in self.catalog.unacknowledged() {
            for number in open.into_iter().rev().take(UNACKNOWLEDGED_MAX) {
                shown.extend(self.decision(&cluster, number, false).await?);
            }
        }
        shown.sort_by_key(|decision| std::cmp::Reverse(decision.leaf_index));
        shown.truncate(UNACKNOWLEDGED_MAX);
        Ok(shown)
    }
}
