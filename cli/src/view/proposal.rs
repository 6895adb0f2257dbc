//! Proposals: one, a list, what opening one would mean, what a vote did.

use quorate_proto::pb::v1::{
    ActionClass, Assessment, Budget, GetProposalResponse, ListProposalsResponse,
    OpenProposalResponse, Proposal, ProposalState, Refusal, SubmitVoteResponse, ValidatorRole,
    VetoProposalResponse,
};

use super::{at, last, lasts, ms, progress, read_line, short, tally_lines, word};
use crate::output::{Paper, Tone, View, items};

fn state(paper: &Paper, raw: i32) -> String {
    let text = match ProposalState::try_from(raw) {
        Ok(ProposalState::Unspecified) => "not opened".to_owned(),
        Ok(_) | Err(_) => word!(ProposalState, raw, "PROPOSAL_STATE_"),
    };
    let tone = match ProposalState::try_from(raw) {
        Ok(ProposalState::Decided | ProposalState::Superseded) => Tone::Good,
        Ok(ProposalState::Open | ProposalState::Approved) => Tone::Warn,
        Ok(
            ProposalState::Rejected
            | ProposalState::Vetoed
            | ProposalState::Withdrawn
            | ProposalState::Expired
            | ProposalState::EpochEnded
            | ProposalState::Unspecified,
        )
        | Err(_) => Tone::Dim,
    };
    paper.tone(tone, text)
}

/// What an approved proposal waits for, one line each: reason, words, when, command.
pub(crate) fn waiting(paper: &mut Paper, refusals: &[Refusal]) {
    for refusal in refusals {
        let mut line = format!("{}: {}", refusal.reason, refusal.message);
        if let Some(next) = ms(refusal.next_allowed.as_ref()) {
            line += &format!(" — next allowed {}", paper.time(next));
        }
        let line = paper.tone(Tone::Warn, line);
        paper.line(format_args!("  {line}"));
        if !refusal.command.is_empty() {
            paper.line(format_args!("    {}", refusal.command));
        }
    }
}

/// The lines to paste for each operator whose vote is missing: by the context of that name, where
/// the client's file has one, else by a key file.
pub(crate) fn next_votes(proposal: &Proposal, contexts: &[String]) -> Vec<String> {
    let missing = proposal.tally.as_ref().map(|tally| tally.missing.as_slice()).unwrap_or_default();
    missing
        .iter()
        .filter(|voter| voter.role == i32::from(ValidatorRole::Operator))
        .map(|voter| {
            let (id, name) = (short(&proposal.id), last(&voter.name));
            if contexts.iter().any(|context| context == name) {
                format!("quorate vote approve {id} --context {name}")
            } else {
                format!("quorate vote approve {id} --key {name}.pem")
            }
        })
        .collect()
}

fn draw(paper: &mut Paper, proposal: &Proposal) {
    let params: Vec<String> = proposal
        .params
        .iter()
        .map(|param| format!("{} {}", param.key, param.values.join(" ")))
        .collect();
    let token = match proposal.token.as_str() {
        "" => String::new(),
        token => format!("{token} ({}/{})", proposal.cluster, proposal.decision_number),
    };
    let class = word!(ActionClass, proposal.class, "ACTION_CLASS_");
    paper.facts(&[
        ("proposal", proposal.id.clone()),
        ("state", state(paper, proposal.state)),
        ("act", format!("{} {} in {}", proposal.kind, proposal.target, proposal.cluster)),
        ("class", class),
        ("incident", proposal.incident.clone()),
        ("reason", proposal.reason.clone()),
        ("proposer", last(&proposal.proposer).to_owned()),
        ("executors", lasts(&proposal.executors)),
        ("params", params.join("; ")),
        ("plan", proposal.plan.clone()),
        ("evidence", proposal.evidence.join(" ")),
        ("opened", at(paper, proposal.opened.as_ref())),
        ("approved", at(paper, proposal.approved.as_ref())),
        ("veto until", at(paper, proposal.veto_until.as_ref())),
        ("expires", at(paper, proposal.expires.as_ref())),
        ("token", token),
        ("leaf", proposal.leaf_index.map(|index| index.to_string()).unwrap_or_default()),
    ]);
    if let Some(tally) = &proposal.tally {
        tally_lines(paper, tally);
    }
    if !proposal.waiting_for.is_empty() {
        paper.line("waiting for");
        waiting(paper, &proposal.waiting_for);
    }
}

impl View for Proposal {
    fn draw(&self, paper: &mut Paper) {
        draw(paper, self);
    }
}

impl View for GetProposalResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        if let Some(proposal) = &self.proposal {
            draw(paper, proposal);
        }
    }
}

impl View for ListProposalsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let rows = self
            .proposals
            .iter()
            .map(|one| {
                vec![
                    short(&one.id).to_owned(),
                    state(paper, one.state),
                    one.cluster.clone(),
                    format!("{} {}", one.kind, one.target),
                    one.tally.as_ref().map(progress).unwrap_or_default(),
                    at(paper, one.expires.as_ref()),
                ]
            })
            .collect();
        paper.table(&["proposal", "state", "cluster", "act", "votes", "expires"], rows);
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.proposals)
    }
}

fn budget_line(paper: &Paper, budget: &Budget) -> String {
    let mut text = format!("{} {}/{}", budget.key, budget.used, budget.limit);
    if let Some(next) = ms(budget.next_allowed.as_ref()) {
        text += &format!(", next allowed {}", paper.time(next));
    }
    text
}

fn draw_assessment(paper: &mut Paper, assessment: &Assessment) {
    paper.heading("What it would mean");
    if let Some(tally) = &assessment.tally {
        tally_lines(paper, tally);
    }
    let budgets: Vec<String> =
        assessment.budgets.iter().map(|budget| budget_line(paper, budget)).collect();
    paper.facts(&[
        ("next token", assessment.next_token.clone()),
        ("would fence", assessment.fenced.join(" ")),
        ("answering", format!("{} of {} members", assessment.answering, assessment.members)),
        ("veto until", at(paper, assessment.veto_until.as_ref())),
        ("budgets", budgets.join("; ")),
    ]);
    if assessment.blocks.is_empty() {
        let clear = paper.tone(Tone::Good, "✔ nothing but votes stands in its way");
        paper.line(clear);
    } else {
        paper.line("blocked by");
        waiting(paper, &assessment.blocks);
    }
}

impl View for OpenProposalResponse {
    fn draw(&self, paper: &mut Paper) {
        if self.existed {
            let note =
                paper.tone(Tone::Warn, "an equal proposal was open already; this is that one");
            paper.line(note);
        }
        if let Some(proposal) = &self.proposal {
            draw(paper, proposal);
        }
        if let Some(assessment) = &self.assessment {
            draw_assessment(paper, assessment);
        }
    }
}

impl View for VetoProposalResponse {
    fn draw(&self, paper: &mut Paper) {
        if let Some(proposal) = &self.proposal {
            draw(paper, proposal);
        } else if self.held {
            paper.line("held: this coordinator will not cosign a decision against it");
        }
    }
}

impl View for SubmitVoteResponse {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[
            ("proposal", self.proposal_id.clone()),
            ("state", state(paper, self.state)),
            ("counted before", lasts(&self.already_counted)),
        ]);
        if let Some(tally) = &self.tally {
            tally_lines(paper, tally);
        }
        if !self.waiting_for.is_empty() {
            paper.line("waiting for");
            waiting(paper, &self.waiting_for);
        }
        if let Some(decision) = &self.decision {
            paper.heading("Decision");
            decision.draw(paper);
        }
    }
}
