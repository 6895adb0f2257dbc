//! Agents.

use quorate_proto::pb::v1::{ListAgentsResponse, MemberState};

use super::{at, last, ms, read_line, short, stale_facts, word};
use crate::output::{Paper, View, items};

impl View for ListAgentsResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        let is_known = |state: i32| state != i32::from(MemberState::Unspecified);
        stale_facts(
            paper,
            self.agents.iter().any(|agent| is_known(agent.member_state)),
            self.agents.iter().filter_map(|agent| ms(agent.last_seen.as_ref())).max(),
        );
        let rows = self
            .agents
            .iter()
            .map(|agent| {
                let journal = if agent.instance.is_empty() {
                    "none yet".to_owned()
                } else {
                    format!("{}+{}", short(&agent.instance), agent.sequence)
                };
                let votes = if agent.observer { "observer" } else { "mute" };
                vec![
                    last(&agent.name).to_owned(),
                    format!("{}/{}", agent.cluster, agent.member),
                    agent.domain.clone(),
                    votes.to_owned(),
                    word!(MemberState, agent.member_state, "MEMBER_STATE_"),
                    journal,
                    agent.tombstoned_by.clone(),
                    at(paper, agent.last_seen.as_ref()),
                ]
            })
            .collect();
        paper.table(
            &["agent", "member", "domain", "votes", "says", "journal", "tombstone", "heard"],
            rows,
        );
    }

    fn items(&self) -> Option<Vec<serde_json::Value>> {
        items(&self.agents)
    }
}
