//! Evidence leaves: of a key that the charter lists, and once per key and question (R11).

use super::{Change, History, LeafRefused};
use crate::charter::Charter;
use crate::evidence::{Equivocation, Evidence, EvidenceKind};
use crate::log_time::{LogTime, Span};
use crate::text::Statement;
use crate::vote::Vote;

/// How long evidence without an expiry of its own is remembered against a second leaf: 30 days.
const EVIDENCE_MEMORY: Span = Span::from_secs(30 * 24 * 3_600);

impl History {
    pub(super) fn judge_evidence(&self, evidence: &Evidence) -> Result<Change, LeafRefused> {
        let equivocation = evidence.check()?;
        let name = evidence.key.name().clone();
        let charters = || std::iter::once(&self.charter).chain(&self.previous);
        let has_role = |charter: &Charter| match evidence.kind {
            EvidenceKind::Vote => charter.validator_keys().any(|key| *key == evidence.key),
            EvidenceKind::Report => charter.agent.iter().any(|line| line.key == evidence.key),
            EvidenceKind::Head => charter.coordinator.contains(&evidence.key),
        };
        if !charters().any(has_role) {
            return Err(LeafRefused::EvidenceKey { name });
        }
        let question = evidence.question();
        if self.texts.contains(&question) {
            return Err(LeafRefused::EvidenceKnown);
        }
        let later = evidence.time.saturating_add(EVIDENCE_MEMORY);
        let (until, voter) = match equivocation {
            Equivocation::Vote(proposal) => {
                let expires = [&evidence.a, &evidence.b]
                    .map(|note| Vote::parse(&note.text).map_or(LogTime::MIN, |vote| vote.expires));
                // The proposal's own expiry is one of both, or neither vote counts for it (R2). The
                // later one, so that no vote comes to count again.
                let until = expires[0].max(expires[1]).max(evidence.time);
                (until, Some((proposal, name)))
            }
            Equivocation::Report | Equivocation::Head => (later, None),
        };
        Ok(Change::Evidence { question, until, voter })
    }
}
