//! The end: the log is exported and verified, the processes are stopped in order, the sum is drawn.

use quorate_attest::export::{Root, VerifiedExport};
use quorate_proto::pb::v1::{DecisionState, GetStatusRequest, ProposalState};
use serde::Serialize;

use super::audit::Fold;
use super::cluster::{Cluster, OPERATORS};
use super::screen::Screen;
use super::story::Told;
use crate::command::{export_to, replay};
use crate::failure::{Failure, LocalReason};
use crate::output::time::{now_ms, rfc3339, span};
use crate::output::{Paper, Tone, View};

/// What is left of a demo for the audit.
pub(super) struct Ending {
    /// The exported log, verified against the charter the demo pinned.
    pub(super) verified: VerifiedExport,
    /// Its leaves, in order.
    pub(super) fold: Fold,
    /// Ledger hash of the export, replayed here.
    pub(super) replayed: String,
    /// Ledger hash by coordinator, where its log has the export's size.
    pub(super) ledgers: Vec<(u64, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryView {
    leaves: u64,
    root: String,
    cosigned_by: Vec<String>,
    ledger_hash: String,
    decisions: usize,
    effective: usize,
    evidence: usize,
    waiting: usize,
    next_allowed: String,
    restarts: Vec<Restarts>,
}

#[derive(Serialize)]
struct Restarts {
    member: String,
    starts: usize,
}

impl View for SummaryView {
    fn draw(&self, paper: &mut Paper) {
        paper.heading("Summary");
        let verified = format!(
            "✔ log verified from leaf 0 to {}, cosigned by {}",
            self.leaves.saturating_sub(1),
            self.cosigned_by.join(" ")
        );
        let verified = paper.tone(Tone::Good, verified);
        paper.line(format_args!("  {verified}"));
        let starts: Vec<String> =
            self.restarts.iter().map(|one| format!("{} {}", one.member, one.starts)).collect();
        paper.facts(&[
            ("  root", self.root.clone()),
            ("  replayed", self.ledger_hash.clone()),
            ("  decisions", format!("{}, of them effective {}", self.decisions, self.effective)),
            ("  evidence", format!("{} leaf", self.evidence)),
            (
                "  waiting",
                format!(
                    "{} approved; the ban is next allowed at {}",
                    self.waiting, self.next_allowed
                ),
            ),
            ("  starts", format!("{} (1 is the first one)", starts.join(", "))),
        ]);
    }
}

/// Exports, verifies and replays the log, stops everything in order, sums up.
pub(super) async fn take(
    cluster: &mut Cluster,
    told: &Told,
    screen: &Screen,
) -> Result<Ending, Failure> {
    let session = cluster.session(OPERATORS[0])?;
    let path = cluster.path().join("log.txt");
    let mut bytes = Vec::new();
    export_to(&session, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })
    .await?;
    crate::files::create(&path, &bytes)?;
    let mut fold = Fold::default();
    let root = Root::Pinned(cluster.charter.id());
    let replayed = replay(bytes.as_slice(), &path, root, |index, leaf| fold.leaf(index, leaf))?;
    let (verified, replayed) = (replayed.export, replayed.ledger_hash.to_string());
    let size = verified.history.size().get();
    let mut ledgers = Vec::new();
    for endpoint in session.context.endpoints.clone() {
        let status = session.client.status_of(endpoint.id, true).await.ok();
        if let Some(status) = status.filter(|status| status.log_size == size) {
            ledgers.push((endpoint.id, status.ledger_hash));
        }
    }
    let request = GetStatusRequest { consistency: session.consistency, with_hashes: false };
    let status = session.client.get_status(request).await?;
    cluster.stop().await?;
    let next = told.ban_next_allowed;
    let view = SummaryView {
        leaves: size,
        root: crate::view::hex(verified.history.root().as_bytes()),
        cosigned_by: verified
            .head
            .cosigned()
            .keys()
            .map(|name| format!("c{}", crate::view::last(name.as_str())))
            .collect(),
        ledger_hash: replayed.clone(),
        decisions: told.observer.look(|seen| seen.decisions.len()),
        effective: told.observer.look(|seen| {
            let effective = i32::from(DecisionState::Effective);
            seen.decisions.values().filter(|one| one.state == effective).count()
        }),
        evidence: fold.evidence(),
        waiting: told.observer.look(|seen| {
            let approved = i32::from(ProposalState::Approved);
            seen.proposals.values().filter(|one| one.state == approved).count()
        }),
        next_allowed: format!("{} (in {})", rfc3339(next), span(next.saturating_sub(now_ms()))),
        restarts: cluster
            .starts()
            .into_iter()
            .map(|(member, starts)| Restarts { member: member.to_string(), starts })
            .collect(),
    };
    screen.summary(&view)?;
    if status.log_size < size {
        let message = "the leader has fewer leaves than were certified";
        return Err(Failure::local(LocalReason::DemoFailed, message));
    }
    Ok(Ending { verified, fold, replayed, ledgers })
}
