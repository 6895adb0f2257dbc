//! Decisions: one, a list, a watch.

use quorate_proto::pb::v1::{
    Decision, DecisionState, Execution, GetDecisionResponse, ListDecisionsResponse,
};

use super::{at, last, lasts, read_line, short, word};
use crate::output::{Paper, Tone, View, items};

fn state(paper: &Paper, raw: i32) -> String {
    let text = match DecisionState::try_from(raw) {
        Ok(DecisionState::None) => "no effect".to_owned(),
        Ok(_) | Err(_) => word!(DecisionState, raw, "DECISION_STATE_"),
    };
    let tone = match DecisionState::try_from(raw) {
        Ok(DecisionState::Effective) => Tone::Good,
        Ok(DecisionState::Decided | DecisionState::Certified | DecisionState::Executing) => {
            Tone::Warn
        }
        Ok(
            DecisionState::Harmful
            | DecisionState::Ineffective
            | DecisionState::Inconclusive
            | DecisionState::Abandoned,
        ) => Tone::Bad,
        Ok(
            DecisionState::Voided
            | DecisionState::Continued
            | DecisionState::None
            | DecisionState::Unspecified,
        )
        | Err(_) => Tone::Dim,
    };
    paper.tone(tone, text)
}

fn execution(paper: &Paper, one: &Execution) -> Vec<String> {
    let said = match (one.answer.as_str(), one.effect.as_str()) {
        ("", _) if one.claimed => "claimed, no report yet".to_owned(),
        ("", _) => "waiting".to_owned(),
        (answer, effect) => format!("{answer}, {effect}"),
    };
    let journal = if one.instance.is_empty() {
        String::new()
    } else {
        format!("{}+{}", short(&one.instance), one.sequence)
    };
    vec![
        last(&one.agent).to_owned(),
        said,
        journal,
        at(paper, one.started.as_ref()),
        at(paper, one.finished.as_ref()),
    ]
}

impl View for Decision {
    fn draw(&self, paper: &mut Paper) {
        let acknowledged = if self.acknowledged {
            format!("by {}: {}", last(&self.acknowledged_by), self.acknowledgement)
        } else {
            "no".to_owned()
        };
        let continues = match self.continues {
            0 => String::new(),
            number => number.to_string(),
        };
        paper.facts(&[
            ("decision", format!("{}/{}", self.cluster, self.number)),
            ("token", self.token.clone()),
            ("state", state(paper, self.state)),
            ("act", format!("{} {}", self.kind, self.target)),
            ("incident", self.incident.clone()),
            ("proposal", self.proposal_id.clone()),
            ("continues", continues),
            ("approved by", lasts(&self.approved_by)),
            ("refused by", lasts(&self.refused_by)),
            ("decided", at(paper, self.time.as_ref())),
            ("not before", at(paper, self.not_before.as_ref())),
            ("expires", at(paper, self.expires.as_ref())),
            ("leaf", self.leaf_index.to_string()),
            ("acknowledged", acknowledged),
        ]);
        if !self.executions.is_empty() {
            let rows = self.executions.iter().map(|one| execution(paper, one)).collect();
            paper.table(&["executor", "says", "journal", "started", "finished"], rows);
        }
    }
}

impl View for GetDecisionResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        if let Some(decision) = &self.decision {
            decision.draw(paper);
        }
    }
}

/// One row of a list of decisions.
pub(super) fn row(paper: &Paper, one: &Decision) -> Vec<String> {
    let acknowledged = if one.acknowledged { "✔" } else { "" };
    vec![
        format!("{}/{}", one.cluster, one.number),
        one.token.clone(),
        state(paper, one.state),
        format!("{} {}", one.kind, one.target),
        acknowledged.to_owned(),
        at(paper, one.time.as_ref()),
    ]
}

/// The header of such a list.
pub(super) const HEADER: [&str; 6] = ["decision", "token", "state", "act", "ack", "decided"];

impl View for ListDecisionsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let rows = self.decisions.iter().map(|one| row(paper, one)).collect();
        paper.table(&HEADER, rows);
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.decisions)
    }
}
