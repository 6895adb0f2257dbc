//! Incidents: how far each is, and whether people are asked.

use quorate_proto::pb::v1::{Incident, ListIncidentsResponse};

use super::{at, lasts, read_line};
use crate::output::{Paper, Tone, View, items};

/// Open, closed, or the people's turn.
fn state(paper: &Paper, incident: &Incident) -> String {
    match (&incident.escalated, incident.closed) {
        (Some(_), _) => paper.tone(Tone::Bad, "ESCALATED"),
        (None, true) => paper.tone(Tone::Dim, "closed"),
        (None, false) => "open".to_owned(),
    }
}

impl View for ListIncidentsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let row = |incident: &Incident| {
            vec![
                incident.id.clone(),
                incident.cluster.clone(),
                state(paper, incident),
                incident.severity.clone(),
                incident.playbook.clone(),
                incident.attempt.clone(),
                at(paper, incident.since.as_ref()),
                at(paper, incident.escalated.as_ref()),
            ]
        };
        let rows = self.incidents.iter().map(row).collect();
        let header = [
            "incident",
            "cluster",
            "state",
            "severity",
            "playbook",
            "newest",
            "since",
            "escalated",
        ];
        paper.table(&header, rows);
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.incidents)
    }
}

impl View for Incident {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[
            ("incident", self.id.clone()),
            ("cluster", self.cluster.clone()),
            ("state", state(paper, self)),
            ("severity", self.severity.clone()),
            ("playbook", self.playbook.clone()),
            ("newest attempt", self.attempt.clone()),
            ("since", at(paper, self.since.as_ref())),
            ("escalated", at(paper, self.escalated.as_ref())),
            ("RTO target", at(paper, self.rto_target.as_ref())),
            ("RTO maximum", at(paper, self.rto_max.as_ref())),
            ("decisions", lasts(&self.tokens)),
        ]);
    }
}
