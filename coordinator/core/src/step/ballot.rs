//! Votes and vetoes.
//!
//! A key counts once. A second text by the same key on the same proposal is equivocation: its
//! evidence becomes a leaf and neither vote counts, in whichever order they came.

use quorate_attest::evidence::{Evidence, EvidenceKind};
use quorate_attest::history::effect_of_veto;
use quorate_attest::id::{KeyName, ProposalId};
use quorate_attest::key::VerifierKey;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::note::{MAX_LINES, Note, SignatureLine};
use quorate_attest::number::LeafIndex;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_attest::vote::{Veto, Vote};

use crate::effect::{Alarm, Effect};
use crate::judge;
use crate::outcome::{Novelty, Outcome};
use crate::proposal::OPEN_FOR_MAX;
use crate::rejection::Rejection;
use crate::step::Step;

/// What became of one line of a vote.
enum Counted {
    New,
    Repeated,
    Equivocation(Rejection),
}

impl Step<'_> {
    /// Counts the lines of a vote.
    pub(crate) fn vote(&mut self, signed: &Signed<Vote>) -> Result<Outcome, Rejection> {
        let vote = &signed.statement;
        self.check_in_force(&vote.origin, vote.epoch)?;
        let id = vote.proposal;
        let voters = self.voters(signed, id)?;
        let (mut novelty, mut equivocation) = (Novelty::Repeated, None);
        for (key, line) in voters {
            match self.count(vote, &key, line)? {
                Counted::New => novelty = Novelty::New,
                Counted::Repeated => {}
                Counted::Equivocation(rejection) => equivocation = Some(rejection),
            }
        }
        let standing = self.recount(id)?;
        match equivocation {
            Some(rejection) => Err(rejection),
            None => Ok(Outcome::Voted { proposal: id, novelty, standing }),
        }
    }

    /// The keys under a vote: each known, and each with a voice on this proposal.
    fn voters(
        &self,
        signed: &Signed<Vote>,
        id: ProposalId,
    ) -> Result<Vec<(VerifierKey, SignatureLine)>, Rejection> {
        let open = self.state.open.get(&id).ok_or_else(|| self.closed(id))?;
        let ledger = self.ledger()?;
        let cluster = &open.proposal().cluster;
        let electorate = judge::electorate(ledger, open.proposal())
            .ok_or(Rejection::UnknownProposal { proposal: id })?;
        let expected = Vote::on(open.proposal(), signed.statement.verdict);
        let mut voters = Vec::with_capacity(signed.lines.len());
        for line in &signed.lines {
            let key = ledger
                .charter()
                .validator_of_line(cluster, line)
                .ok_or_else(|| self.unknown_validator(&line.name))?;
            if !electorate.has(key.name()) {
                return Err(Rejection::RoleNotAllowed {
                    name: key.name().to_string(),
                    admits: "the proposal's electorate".to_owned(),
                });
            }
            // A first vote must be the proposal's one text. A second one may be evidence instead.
            if signed.statement != expected && open.vote_of(key.name()).is_none() {
                let (have, min) = (signed.statement.expires, self.now());
                let max = min.saturating_add(OPEN_FOR_MAX);
                if have < min || max < have {
                    return Err(Rejection::ExpiryOutOfRange { have, min, max });
                }
                return Err(Rejection::WrongProposal { proposal: id, field: "expires".to_owned() });
            }
            voters.push((key.clone(), line.clone()));
        }
        if voters.is_empty() {
            let (field, why) = ("signature".to_owned(), "a vote has at least one line".to_owned());
            return Err(Rejection::Malformed { field, why });
        }
        Ok(voters)
    }

    fn count(
        &mut self,
        vote: &Vote,
        key: &VerifierKey,
        line: SignatureLine,
    ) -> Result<Counted, Rejection> {
        let id = vote.proposal;
        let open = self.state.open.get(&id).ok_or_else(|| self.closed(id))?;
        if let Some(evidence) = open.struck(key.name()) {
            let key = key.name().clone();
            return Ok(Counted::Equivocation(Rejection::Equivocation {
                key,
                proposal: id,
                evidence,
            }));
        }
        let Some((said, first)) = open.vote_of(key.name()) else {
            if open.voters(vote.verdict).len() >= MAX_LINES {
                return Err(Rejection::Overloaded {
                    cluster: open.proposal().cluster.clone(),
                    limit: MAX_LINES as u64,
                    next_allowed: open.proposal().expires,
                });
            }
            let (name, verdict) = (key.name().clone(), vote.verdict);
            if let Some(open) = self.state.open.get_mut(&id) {
                open.count(name, verdict, line);
            }
            return Ok(Counted::New);
        };
        let before = Vote::on(open.proposal(), said);
        if before == *vote {
            return Ok(Counted::Repeated);
        }
        let first = Note { text: before.text(), lines: vec![first.clone()] };
        let second = Note { text: vote.text(), lines: vec![line] };
        let evidence = self.evidence(EvidenceKind::Vote, key, first, second)?;
        if let Some(open) = self.state.open.get_mut(&id) {
            open.strike(key.name(), evidence);
        }
        let key = key.name().clone();
        Ok(Counted::Equivocation(Rejection::Equivocation { key, proposal: id, evidence }))
    }

    /// Puts two conflicting texts of one key on record.
    pub(super) fn evidence(
        &mut self,
        kind: EvidenceKind,
        key: &VerifierKey,
        first: Note,
        second: Note,
    ) -> Result<LeafIndex, Rejection> {
        let (a, b) = if first.text < second.text { (first, second) } else { (second, first) };
        let charter = self.charter()?;
        let leaf = Leaf::Evidence(Evidence {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            time: self.now(),
            kind,
            key: key.clone(),
            prefix: None,
            proof: Vec::new(),
            a,
            b,
        });
        let index = self.append(&leaf)?;
        let alarm = Alarm::Equivocation { key: key.name().clone(), evidence: index };
        self.effects.push(Effect::Raise(alarm));
        Ok(index)
    }

    /// Counts anew after the votes changed: approved since now, no longer, or lost for good.
    fn recount(&mut self, id: ProposalId) -> Result<crate::outcome::Standing, Rejection> {
        self.note_approval(id);
        let open = self.state.open.get(&id).ok_or_else(|| self.closed(id))?;
        let standing = judge::standing(self.state, open, self.now())
            .ok_or(Rejection::UnknownProposal { proposal: id })?;
        if standing.tally.is_lost() {
            self.end(id, VoidCause::Rejected, "-", None)?;
        }
        Ok(standing)
    }

    /// Keeps the time of the approval in step with the tally.
    pub(super) fn note_approval(&mut self, id: ProposalId) {
        let now = self.now();
        let (Some(ledger), Some(open)) = (&self.state.ledger, self.state.open.get_mut(&id)) else {
            return;
        };
        let won = judge::tally(ledger, open).is_some_and(|tally| tally.is_won());
        match (won, open.approved()) {
            (true, None) => open.set_approved(Some(now)),
            (false, Some(_)) => open.set_approved(None),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Ends a proposal by a veto, or by its proposer's withdrawal.
    pub(crate) fn veto(&mut self, signed: &Signed<Veto>) -> Result<Outcome, Rejection> {
        let veto = &signed.statement;
        self.check_in_force(&veto.origin, veto.epoch)?;
        let id = veto.proposal;
        let cause = self.veto_cause(signed, id)?;
        let (ending, index) = self.end(id, cause, "-", Some(signed.clone()))?;
        Ok(Outcome::Ended { proposal: id, ending, index })
    }

    fn veto_cause(&self, signed: &Signed<Veto>, id: ProposalId) -> Result<VoidCause, Rejection> {
        let open = self.state.open.get(&id).ok_or_else(|| self.closed(id))?;
        let (charter, proposal) = (self.charter()?, open.proposal());
        let mut cause = None;
        for line in &signed.lines {
            let name = self.vetoer(line, &proposal.proposer)?;
            match effect_of_veto(charter, proposal, &name) {
                Some(VoidCause::Withdrawn) => cause = Some(VoidCause::Withdrawn),
                counts => cause = cause.or(counts),
            }
        }
        let admits = if proposal.kind == Kind::Abandon {
            "its proposer, who withdraws it; others vote to reject it"
        } else {
            "operators whose key the proposal does not name, and its proposer"
        };
        cause.ok_or_else(|| Rejection::RoleNotAllowed {
            name: signed.lines.first().map_or_else(String::new, |line| line.name.clone()),
            admits: admits.to_owned(),
        })
    }

    fn vetoer(&self, line: &SignatureLine, proposer: &KeyName) -> Result<KeyName, Rejection> {
        let charter = self.charter()?;
        if let Some(key) = charter.operator_of_line(line) {
            return Ok(key.name().clone());
        }
        match charter.agent_of_line(line) {
            Some(key) if key.name() == proposer => Ok(key.name().clone()),
            Some(key) => Err(Rejection::NotYours {
                name: key.name().to_string(),
                owner: proposer.to_string(),
            }),
            None => Err(self.unknown_validator(&line.name)),
        }
    }
}
