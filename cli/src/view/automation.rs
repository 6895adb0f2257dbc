//! Actions, budgets, pauses, overrides, operators' acts.

use quorate_proto::pb::v1::{
    Action, ListActionsResponse, ListBudgetsResponse, ListOverridesResponse, ListPausesResponse,
    Override, Pause, ReissueActionResponse, SubmitActResponse, SubmitOverrideResponse,
    SubmitPauseResponse,
};

use super::{at, lasts, read_line, short, span_ms};
use crate::output::{Paper, Tone, View, items, time::span};

/// The action in one cluster's slot.
pub(super) fn draw_action(paper: &mut Paper, action: &Action) {
    let Some(decision) = &action.decision else {
        paper.line(format_args!("{}: no remediation in effect", action.cluster));
        return;
    };
    let stuck = if action.stuck { paper.tone(Tone::Bad, "STUCK ") } else { String::new() };
    let heading = format!(
        "{}: {stuck}{} {}  token {}",
        action.cluster, decision.kind, decision.target, decision.token
    );
    paper.line(heading);
    paper.facts(&[
        ("  since", at(paper, action.since.as_ref())),
        ("  deadline", at(paper, action.deadline.as_ref())),
        ("  awaited", lasts(&action.awaited)),
        ("  command", action.command.clone()),
        ("  last resort", action.last_resort.clone()),
    ]);
}

impl View for ListActionsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        for action in &self.actions {
            draw_action(paper, action);
        }
        if self.actions.is_empty() {
            paper.line("no remediation in effect");
        }
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.actions)
    }
}

impl View for ListBudgetsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let rows = self
            .budgets
            .iter()
            .map(|budget| {
                let next = at(paper, budget.next_allowed.as_ref());
                let now = if next.is_empty() { "now".to_owned() } else { next };
                let breaker = match (budget.attempts_max, budget.breaker_open) {
                    (0, _) => String::new(),
                    (max, true) => paper.tone(Tone::Bad, format!("OPEN {}/{max}", budget.attempts)),
                    (max, false) => format!("{}/{max}", budget.attempts),
                };
                vec![
                    budget.key.clone(),
                    format!("{}/{}", budget.used, budget.limit),
                    span_ms(budget.period.as_ref()).map(span).unwrap_or_default(),
                    now,
                    at(paper, budget.cooldown_until.as_ref()),
                    breaker,
                    budget.last_used_by.clone(),
                ]
            })
            .collect();
        paper.table(
            &["key", "used", "per", "next allowed", "cooldown until", "breaker", "last used by"],
            rows,
        );
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.budgets)
    }
}

fn pause_rows(paper: &Paper, pauses: &[Pause]) -> Vec<Vec<String>> {
    pauses
        .iter()
        .map(|pause| {
            vec![
                paper.tone(Tone::Bad, "PAUSED"),
                pause.cluster.clone(),
                lasts(&pause.operators),
                at(paper, pause.until.as_ref()),
                pause.reason.clone(),
            ]
        })
        .collect()
}

/// The pauses in force.
pub(super) fn draw_pauses(paper: &mut Paper, pauses: &[Pause]) {
    let rows = pause_rows(paper, pauses);
    paper.table(&["", "cluster", "by", "until", "reason"], rows);
}

impl View for ListPausesResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        draw_pauses(paper, &self.pauses);
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.pauses)
    }
}

impl View for SubmitPauseResponse {
    fn draw(&self, paper: &mut Paper) {
        if self.pauses.is_empty() {
            let running = paper.tone(Tone::Good, "● automation runs");
            paper.line(running);
        } else {
            draw_pauses(paper, &self.pauses);
        }
        for action in &self.running {
            paper.line("already started, goes on:");
            draw_action(paper, action);
        }
    }
}

fn override_row(paper: &Paper, one: &Override) -> Vec<String> {
    vec![
        short(&one.id).to_owned(),
        one.rule.clone(),
        short(&one.proposal_id).to_owned(),
        lasts(&one.operators),
        at(paper, one.expires.as_ref()),
        one.reason.clone(),
    ]
}

const OVERRIDE_HEADER: [&str; 6] = ["override", "rule", "proposal", "by", "expires", "reason"];

impl View for ListOverridesResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let rows = self.overrides.iter().map(|one| override_row(paper, one)).collect();
        paper.table(&OVERRIDE_HEADER, rows);
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.overrides)
    }
}

impl View for SubmitOverrideResponse {
    fn draw(&self, paper: &mut Paper) {
        let rows = self.r#override.iter().map(|one| override_row(paper, one)).collect();
        paper.table(&OVERRIDE_HEADER, rows);
    }
}

impl View for ReissueActionResponse {
    fn draw(&self, paper: &mut Paper) {
        let token = &self.token;
        match self.leaf_index {
            Some(index) => paper.line(format_args!("re-issued as token {token}, leaf {index}")),
            None => paper.line(format_args!("would be re-issued as token {token}")),
        }
    }
}

impl View for SubmitActResponse {
    fn draw(&self, paper: &mut Paper) {
        match self.leaf_index {
            Some(index) => paper.line(format_args!("recorded as leaf {index}")),
            None => paper.line("would be recorded"),
        }
    }
}
