//! Incidents: what proposals and decisions say they recover from.

use std::collections::BTreeMap;

use quorate_attest::{leaf::Leaf, operator_statement::Subject};
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
                closed: false,
            })
            .collect()
        })
        .await
    }
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
        closed: false,
    })
}
