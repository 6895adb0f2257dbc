//! Charters.

use quorate_proto::pb::v1::{AmendCharterResponse, Charter, GetCharterResponse};

use super::{last, read_line, short, tally_lines};
use crate::output::{Paper, Tone, View};

/// `1 2 3` of verifier keys `…/coordinator/1+…`.
fn key_names(vkeys: &[String]) -> String {
    vkeys
        .iter()
        .map(|vkey| last(vkey.split('+').next().unwrap_or(vkey)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn draw(paper: &mut Paper, charter: &Charter) {
    paper.facts(&[
        ("charter", charter.id.clone()),
        ("epoch", charter.epoch.to_string()),
        ("leaf", charter.leaf_index.to_string()),
        ("origin", charter.origin.clone()),
        ("coordinators", key_names(&charter.coordinators)),
        (
            "cosignatures",
            format!("{} needed, {} liars tolerated", charter.threshold, charter.faults),
        ),
        ("operators", key_names(&charter.operators)),
    ]);
    let rows = charter
        .clusters
        .iter()
        .map(|cluster| {
            let gate = if cluster.fail_open { "open" } else { "closed" };
            vec![
                cluster.name.clone(),
                cluster.adapter.clone(),
                gate.to_owned(),
                cluster.members.join(" "),
                key_names(&cluster.agents),
            ]
        })
        .collect();
    paper.table(&["cluster", "adapter", "gate", "members", "agents"], rows);
}

impl View for GetCharterResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        if let Some(charter) = &self.charter {
            draw(paper, charter);
        }
    }
}

impl View for AmendCharterResponse {
    fn draw(&self, paper: &mut Paper) {
        if let Some(charter) = &self.charter {
            draw(paper, charter);
        }
        for (title, tally) in [
            ("Operators of the charter before", &self.old_operators),
            ("Its own operators", &self.new_operators),
        ] {
            if let Some(tally) = tally {
                paper.heading(title);
                tally_lines(paper, tally);
            }
        }
        if !self.ended_proposals.is_empty() {
            let ids: Vec<&str> = self.ended_proposals.iter().map(|id| short(id)).collect();
            let text = paper.tone(Tone::Warn, format!("ends open proposals: {}", ids.join(" ")));
            paper.line(text);
        }
    }
}
