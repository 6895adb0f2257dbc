//! Leaves and heads of the decision log.

use quorate_proto::pb::v1::{GetCheckpointResponse, Head, LeafKind, ListLeavesResponse};

use super::{at, hex, lasts, read_line, word};
use crate::output::{Paper, View, items};

/// A head in facts.
pub(super) fn head_facts(paper: &Paper, head: &Head) -> Vec<(&'static str, String)> {
    vec![
        ("origin", head.origin.clone()),
        ("size", head.size.to_string()),
        ("root", hex(&head.root)),
        (
            "cosigned by",
            format!("{} ({}/{})", lasts(&head.cosigners), head.cosigners.len(), head.threshold),
        ),
        ("as of", at(paper, head.time.as_ref())),
    ]
}

impl View for GetCheckpointResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        if let Some(head) = &self.head {
            let facts = head_facts(paper, head);
            paper.facts(&facts);
        }
        paper.facts(&[("applied", format!("{} leaves", self.applied_size))]);
    }
}

impl View for ListLeavesResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let rows = self
            .leaves
            .iter()
            .map(|leaf| {
                let certified = if leaf.certified { "✔" } else { "provisional" };
                vec![
                    leaf.index.to_string(),
                    word!(LeafKind, leaf.kind, "LEAF_KIND_"),
                    leaf.cluster.clone(),
                    certified.to_owned(),
                    leaf.summary.clone(),
                    at(paper, leaf.time.as_ref()),
                ]
            })
            .collect();
        paper.table(&["leaf", "kind", "cluster", "certified", "summary", "time"], rows);
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.leaves)
    }
}
