//! Veto windows, by this coordinator's own steady clock.
//!
//! A leader stamps log time, so it could date an approval back and find the window over at once. A
//! cosigner therefore counts the window from when it first saw the approval itself. After a restart
//! it has seen nothing yet and waits the whole window again; whoever did not restart does not.

use std::{collections::BTreeMap, time::Duration};

use quorate_attest::{
    charter::Charter,
    history::{History, excludes},
    id::ProposalId,
    leaf::Decision,
    log_time::Span,
};
use tokio::time::Instant;

use super::{held::charter_of, task::Task};
use crate::clock::SKEW_MS_MAX;

/// When each approval that may still be vetoed was first seen.
#[derive(Debug, Default)]
pub(super) struct Windows {
    seen: BTreeMap<ProposalId, Instant>,
}

impl Windows {
    /// Notes what is approved now, and forgets everything else: memory is bounded by what is open.
    fn note(&mut self, approved: impl IntoIterator<Item = ProposalId>, now: Instant) {
        let before = std::mem::take(&mut self.seen);
        let first_seen = |id: &ProposalId| before.get(id).copied().unwrap_or(now);
        self.seen = approved.into_iter().map(|id| (id, first_seen(&id))).collect();
    }

    /// Whether the window of a decision is still open.
    pub(super) fn is_open(&self, history: &History, decision: &Decision, now: Instant) -> bool {
        let Some(veto) = veto_of(charter_of(history, decision), decision) else { return false };
        // Clocks may differ, and an approval is seen a moment after it was made.
        let least = Duration::from_millis(veto.get().saturating_sub(SKEW_MS_MAX));
        let seen = self.seen.get(&decision.proposal.id());
        seen.is_none_or(|seen| now.saturating_duration_since(*seen) < least)
    }
}

/// How long a decision could be vetoed; `None` if it could not, or if all who could have approved.
fn veto_of(charter: &Charter, decision: &Decision) -> Option<Span> {
    let proposal = &decision.proposal;
    let policy = charter.policy(&decision.cluster, proposal.kind.class())?;
    let approved = |name: &str| decision.votes.lines.iter().any(|line| line.name == name);
    let everybody = charter
        .operator
        .iter()
        .map(|line| line.key.name())
        .all(|name| approved(name.as_str()) || excludes(charter, proposal, name));
    let is_fresh = decision.continues.is_none();
    (is_fresh && policy.veto > Span::ZERO && !everybody).then_some(policy.veto)
}

impl Task {
    /// Looks which approvals there are: those that wait, and those that became decisions.
    pub(super) async fn watch_windows(&mut self) {
        let open = self.handle.machine(|machine| {
            let open = machine.state().open().iter();
            let approved = open.filter(|(_, open)| open.approved().is_some());
            approved.map(|(id, _)| *id).collect::<Vec<_>>()
        });
        let Ok(open) = open.await else { return };
        let decided = self.verifier.iter().flat_map(|verifier| {
            verifier.suspects_from(0).map(|suspect| suspect.decision.proposal.id())
        });
        self.windows.note(open.into_iter().chain(decided), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use quorate_attest::remediation::{Class, Kind};

    use super::{
        super::fixture::{amended, decision, history, operator, proposal},
        *,
    };

    #[test]
    fn a_later_charter_does_not_end_the_window_of_what_was_decided_before_it() {
        let mut wipe = proposal(&operator("ana"), 1);
        wipe.kind = Kind::WipeMember;
        let decided = decision(&wipe, 1);
        let shorter = amended(|charter| {
            let of_class = charter.class.iter_mut().filter(|it| it.class == Class::Irreversible);
            of_class.for_each(|line| line.policy.veto = Span::ZERO);
        });
        let windows = Windows::default();
        assert!(windows.is_open(&history(), &decided, Instant::now()), "it was not seen yet");
        assert!(windows.is_open(&shorter, &decided, Instant::now()));
    }
}
