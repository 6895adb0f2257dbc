//! The first page: what needs a person comes first.

use quorate_proto::pb::v1::{ClusterStatus, GetStatusResponse, MemberState};

use super::leaf::head_facts;
use super::{automation, decision, last, read_line, short, word};
use crate::output::{Paper, Tone, View};

fn draw_attention(paper: &mut Paper, status: &GetStatusResponse) {
    for alarm in &status.alarms {
        let text = paper.tone(Tone::Bad, format!("✖ {}: {}", alarm.name, alarm.message));
        paper.line(text);
    }
    if !status.unacknowledged.is_empty() {
        let count = status.unacknowledged.len();
        let text = format!("● {count} unacknowledged: quorate decision ack DECISION --comment …");
        let text = paper.tone(Tone::Warn, text);
        paper.line(text);
        let rows = status.unacknowledged.iter().map(|one| decision::row(paper, one)).collect();
        paper.table(&decision::HEADER, rows);
    }
    if !status.pauses.is_empty() {
        automation::draw_pauses(paper, &status.pauses);
    }
}

fn draw_cluster(paper: &mut Paper, cluster: &ClusterStatus) {
    let token = if cluster.token.is_empty() { "none" } else { &cluster.token };
    paper.heading(format_args!(
        "Cluster {} ({})  token {token}  proposals {}",
        cluster.name, cluster.adapter, cluster.open_proposals
    ));
    match &cluster.action {
        Some(action) => automation::draw_action(paper, action),
        None => paper.line("no remediation in effect"),
    }
    if !cluster.survivor.is_empty() {
        let text = format!("only {} may start alone", cluster.survivor);
        let text = paper.tone(Tone::Warn, text);
        paper.line(text);
    }
    let is_known = |state: i32| state != i32::from(MemberState::Unspecified);
    super::stale_facts(
        paper,
        cluster.members.iter().any(|member| is_known(member.state)),
        cluster.members.iter().filter_map(|member| super::ms(member.seen.as_ref())).max(),
    );
    let rows = cluster
        .members
        .iter()
        .map(|member| {
            let state = word!(MemberState, member.state, "MEMBER_STATE_");
            let (sign, tone) = match MemberState::try_from(member.state) {
                Ok(MemberState::Up) => ("✔", Tone::Good),
                Ok(MemberState::Down | MemberState::Dead) => ("✖", Tone::Bad),
                Ok(MemberState::Unreachable | MemberState::Fenced | MemberState::Unspecified)
                | Err(_) => ("●", Tone::Warn),
            };
            vec![
                member.member.clone(),
                paper.tone(tone, format!("{sign} {state}")),
                last(&member.agent).to_owned(),
                member.tombstoned_by.clone(),
                super::at(paper, member.seen.as_ref()),
            ]
        })
        .collect();
    paper.table(&["member", "state", "agent", "tombstone", "seen"], rows);
}

impl View for GetStatusResponse {
    fn draw(&self, paper: &mut Paper) {
        read_line(paper, self.read.as_ref());
        draw_attention(paper, self);
        let leader = match self.leader_id {
            0 => paper.tone(Tone::Bad, "✖ none known"),
            id => format!("{id} ({}), term {}", self.leader_address, self.term),
        };
        let percent = match self.store_quota_bytes {
            0 => 0,
            quota => self.store_bytes.saturating_mul(100) / quota,
        };
        paper.facts(&[
            ("origin", self.origin.clone()),
            ("charter", format!("epoch {}, {}", self.epoch, short(&self.charter_id))),
            ("asked", format!("coordinator {}, version {}", self.coordinator_id, self.version)),
            ("leader", leader),
            ("quorum", format!("{} coordinators: {}", self.coordinators, self.safety)),
            ("log", format!("{} leaves", self.log_size)),
            ("store", format!("{percent} % of {} MiB", self.store_quota_bytes >> 20)),
            ("state hash", self.state_hash.clone()),
            ("ledger hash", self.ledger_hash.clone()),
        ]);
        match &self.head {
            Some(head) => {
                paper.heading("Certified head");
                let facts = head_facts(paper, head);
                paper.facts(&facts[1..]);
            }
            None => paper.line("no certified head yet"),
        }
        for cluster in &self.clusters {
            draw_cluster(paper, cluster);
        }
    }
}
