//! The coordinators.

use quorate_proto::pb::v1::{CoordinatorRole, ListCoordinatorsResponse, TransferLeaderResponse};

use super::{read_line, span_ms, word};
use crate::output::{Paper, Tone, View, items, time::span};

impl View for ListCoordinatorsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let rows = self
            .coordinators
            .iter()
            .map(|one| {
                let role = word!(CoordinatorRole, one.role, "COORDINATOR_ROLE_");
                let role = match (one.reachable, one.id == self.leader_id) {
                    (false, _) => paper.tone(Tone::Bad, "unreachable"),
                    (true, true) => paper.tone(Tone::Good, "LEADER"),
                    (true, false) => role,
                };
                vec![
                    one.id.to_string(),
                    role,
                    // A coordinator that was asked itself does not know the other followers' terms.
                    if one.term == 0 { "-".to_owned() } else { one.term.to_string() },
                    one.matched_index.to_string(),
                    one.trails_by.to_string(),
                    one.cosigned_size.to_string(),
                    span_ms(one.last_contact.as_ref()).map(span).unwrap_or_default(),
                    one.client_address.clone(),
                    if one.in_charter { "yes" } else { "no" }.to_owned(),
                ]
            })
            .collect();
        paper.table(
            &[
                "id",
                "role",
                "term",
                "matched",
                "trails by",
                "cosigned",
                "heard",
                "address",
                "in charter",
            ],
            rows,
        );
        let text = match (self.leader_id, self.can_lose) {
            (0, _) => paper.tone(Tone::Bad, "✖ no leader is known"),
            (_, 0) => paper.tone(Tone::Warn, "● quorum; none may be lost"),
            (_, more) => paper.tone(Tone::Good, format!("✔ quorum; {more} more may be lost")),
        };
        paper.line(text);
        if self.changing {
            let text = paper.tone(Tone::Warn, "● the set is being changed to the charter's");
            paper.line(text);
        }
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.coordinators)
    }
}

impl View for TransferLeaderResponse {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[("leader", self.leader_id.to_string()), ("term", self.term.to_string())]);
    }
}
