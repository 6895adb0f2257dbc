//! Incidents: what proposals and decisions say they recover from.

use std::collections::BTreeMap;

use quorate_attest::{history::Incident, leaf::Leaf, operator_statement::Subject};
use quorate_proto::pb::v1 as pb;
use quorate_store::LeavesView;
use tonic::Status;

use super::{Context, leaves};

impl Context {
    /// Incidents that open proposals name.
    pub(super) async fn open_incidents(&self, cluster: &str) -> Result<Vec<pb::Incident>, Status> {
        let cluster = cluster.to_owned();
        self.machine(move |machine| {
            let open = machine.state().open().values();
            let open = open
                .filter(|open| cluster.is_empty() || open.proposal().cluster.as_str() == cluster);
            open.map(|open| pb::Incident {
                id: open.proposal().incident.to_string(),
                cluster: open.proposal().cluster.to_string(),
                since: Some(open.opened().into()),
                proposals: vec![open.id().to_string()],
                tokens: Vec::new(),
                ..pb::Incident::default()
            })
            .collect()
        })
        .await
    }
}

impl Context {
    /// Adds what the leaves say of playbooks: the newest attempt, and whether people are asked.
    pub(super) async fn with_ladders(
        &self,
        mut incidents: Vec<pb::Incident>,
    ) -> Result<Vec<pb::Incident>, Status> {
        self.machine(move |machine| {
            let Some(ledger) = machine.state().ledger() else { return incidents };
            for (cluster, id, incident) in ledger.history().incidents() {
                let shown = incidents
                    .iter_mut()
                    .filter(|shown| shown.cluster == cluster.as_str() && shown.id == id.as_str());
                shown.for_each(|shown| fill(shown, incident));
            }
            incidents
        })
        .await
    }
}

fn fill(shown: &mut pb::Incident, incident: &Incident) {
    let rung = &incident.last.rung;
    let due = |span| Some(incident.since.saturating_add(span).into());
    shown.playbook = rung.playbook.to_string();
    shown.attempt = format!("step {}, attempt {} of {}", rung.step, rung.attempt, rung.attempts);
    shown.severity = rung.severity.to_string();
    shown.escalated = incident.escalated.map(|escalation| escalation.since.into());
    shown.rto_target = incident.rto().and_then(|rto| due(rto.target));
    shown.rto_max = incident.rto().and_then(|rto| due(rto.max));
}

/// Incidents of ended proposals and decisions, newest first, behind the open ones.
pub(super) fn all(view: &LeavesView, open: Vec<pb::Incident>, cluster: &str) -> Vec<pb::Incident> {
    let mut found: BTreeMap<(String, String), pb::Incident> = BTreeMap::new();
    let mut order: Vec<(String, String)> = Vec::new();
    let mut note = |incident: pb::Incident| {
        let key = (incident.cluster.clone(), incident.id.clone());
        let known = found.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            pb::Incident { proposals: Vec::new(), tokens: Vec::new(), ..incident.clone() }
        });
        known.proposals.extend(incident.proposals);
        known.tokens.extend(incident.tokens);
        known.closed |= incident.closed;
        known.since = incident.since.or(known.since);
    };
    open.into_iter().for_each(&mut note);
    leaves::backwards(view, view.size().get(), leaves::SCAN_MAX, |_, bytes| {
        if let Some(incident) = incident_of(bytes)
            && (cluster.is_empty() || incident.cluster == cluster)
        {
            note(incident);
        }
        None::<()>
    });
    order.into_iter().filter_map(|key| found.remove(&key)).collect()
}

fn incident_of(bytes: &[u8]) -> Option<pb::Incident> {
    let (proposal, time, tokens) = match Leaf::parse(bytes).ok()? {
        Leaf::Decision(decision) => {
            let tokens = vec![decision.token().to_string()];
            (decision.proposal, decision.time, tokens)
        }
        Leaf::Void(void) => (void.proposal, void.time, Vec::new()),
        Leaf::Act(signed) => {
            let statement = signed.statement;
            let Some(Subject::Incident(incident)) = statement.subject() else { return None };
            return Some(pb::Incident {
                id: incident.to_string(),
                cluster: statement.cluster.to_string(),
                closed: true,
                ..pb::Incident::default()
            });
        }
        Leaf::Charter(_)
        | Leaf::Outcome(_)
        | Leaf::Evidence(_)
        | Leaf::Override(_)
        | Leaf::Pause(_)
        | Leaf::Incarnation(_) => return None,
    };
    Some(pb::Incident {
        id: proposal.incident.to_string(),
        cluster: proposal.cluster.to_string(),
        since: Some(time.into()),
        proposals: vec![proposal.id().to_string()],
        tokens,
        ..pb::Incident::default()
    })
}
