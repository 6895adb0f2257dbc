//! Voids: a proposal that ended without effect, or a decision that nobody will certify (R14).

use std::collections::BTreeSet;

use super::authority::{check_in_force, effect_of_veto, judge_votes};
use super::{Change, End, History, LeafRefused};
use crate::charter::Charter;
use crate::id::{KeyName, ProposalId};
use crate::leaf::{Void, VoidCause};
use crate::note::SignatureLine;
use crate::proposal::Proposal;
use crate::quorum::{Electorate, Silenced};
use crate::signed::Signatures;
use crate::vote::Verdict;

/// Who said what in a void.
struct Said {
    approvers: BTreeSet<KeyName>,
    rejecters: BTreeSet<KeyName>,
    vetoers: BTreeSet<KeyName>,
}

impl History {
    pub(super) fn judge_void(
        &self,
        void: &Void,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let proposal = &void.proposal;
        if proposal.cluster != void.cluster {
            let (leaf, inner) = (void.cluster.clone(), proposal.cluster.clone());
            return Err(LeafRefused::OtherCluster { leaf, inner });
        }
        let charter = self.charter_of(void)?;
        let said = Self::judge_notes(charter, void, signatures)?;
        let id = proposal.id();
        let mut history = self.clusters.get(&void.cluster).cloned().unwrap_or_default();
        let mut changed = None;
        match void.refused() {
            Some(number) => {
                // Only the newest decision, and only while no outcome shows that somebody acted.
                let named = history.number == Some(number);
                let refusable = history.refusable.take().filter(|found| found.proposal == id);
                let Some(refusable) = refusable.filter(|_| named) else {
                    return Err(LeafRefused::NotRefusable { number });
                };
                changed = Self::restored_by(void, refusable.last_before);
                history.standing = *refusable.before;
            }
            None => {
                let holds = history.slot().is_some_and(|slot| slot.proposal == id);
                if holds || self.ended.contains(&id) {
                    return Err(LeafRefused::AlreadyEnded { proposal: id });
                }
                self.judge_cause(charter, void, id, &said)?;
            }
        }
        // What a refused continuation continued runs again: its proposal's end stays its decision.
        let runs_again = history.slot().is_some_and(|slot| slot.proposal == id);
        let ended = (!runs_again).then_some((id, proposal.expires, End::Void(void.cause)));
        Ok(Change::Cluster { cluster: void.cluster.clone(), history, ended, changed })
    }

    /// The charter the proposal was made under: the one in force, or the one before for proposals
    /// that its end left open, and for decisions of then that coordinators refuse.
    fn charter_of(&self, void: &Void) -> Result<&Charter, LeafRefused> {
        let proposal = &void.proposal;
        let charter = match &self.previous {
            Some(previous)
                if (void.cause == VoidCause::Epoch || void.refused().is_some())
                    && previous.id() == proposal.charter =>
            {
                previous
            }
            Some(_) | None if proposal.charter == self.charter_id => &self.charter,
            Some(_) | None => {
                let (expected, found) = (self.charter_id, proposal.charter);
                return Err(LeafRefused::OtherCharter { expected, found });
            }
        };
        check_in_force(charter, &proposal.origin, proposal.epoch)?;
        if charter.cluster(&proposal.cluster).is_none() {
            return Err(LeafRefused::UnknownCluster { cluster: proposal.cluster.clone() });
        }
        Ok(charter)
    }

    fn judge_notes(
        charter: &Charter,
        void: &Void,
        signatures: Signatures,
    ) -> Result<Said, LeafRefused> {
        let proposal = &void.proposal;
        let votes = |votes: &Option<_>, verdict| match votes {
            Some(votes) => judge_votes(charter, proposal, votes, verdict, signatures),
            None => Ok(BTreeSet::new()),
        };
        let approvers = votes(&void.approve, Verdict::Approve)?;
        let rejecters = votes(&void.reject, Verdict::Reject)?;
        let vetoers = Self::judge_veto(charter, proposal, void, signatures)?;
        Ok(Said { approvers, rejecters, vetoers })
    }

    /// The veto note: by operators, or by the proposer's key.
    fn judge_veto(
        charter: &Charter,
        proposal: &Proposal,
        void: &Void,
        signatures: Signatures,
    ) -> Result<BTreeSet<KeyName>, LeafRefused> {
        let Some(veto) = &void.veto else { return Ok(BTreeSet::new()) };
        let expected = proposal.id();
        if veto.statement.proposal != expected {
            let found = veto.statement.proposal;
            return Err(LeafRefused::OtherVeto { expected, found });
        }
        check_in_force(charter, &veto.statement.origin, veto.statement.epoch)?;
        let lookup = |line: &SignatureLine| {
            let proposer = || charter.agent_of_line(line);
            let proposer = || proposer().filter(|key| *key.name() == proposal.proposer);
            charter.operator_of_line(line).or_else(proposer)
        };
        let signers = veto
            .verify_strict(signatures, lookup)
            .map_err(|source| LeafRefused::Lines { what: "veto note", source })?;
        Ok(signers.into_iter().map(|key| key.name().clone()).collect())
    }

    fn judge_cause(
        &self,
        charter: &Charter,
        void: &Void,
        id: ProposalId,
        said: &Said,
    ) -> Result<(), LeafRefused> {
        let proposal = &void.proposal;
        let shown = match void.cause {
            VoidCause::Rejected => {
                let tombstoned = self.tombstoned(&void.cluster);
                let silenced = Silenced { tombstoned: &tombstoned };
                let equivocators = self.equivocators(&id);
                Electorate::of_proposal(charter, proposal, silenced).is_some_and(|electorate| {
                    let (approvers, rejecters) = (&said.approvers, &said.rejecters);
                    electorate.tally(approvers, rejecters, &equivocators).is_lost()
                })
            }
            cause @ (VoidCause::Vetoed | VoidCause::Withdrawn) => said
                .vetoers
                .iter()
                .any(|name| effect_of_veto(charter, proposal, name) == Some(cause)),
            VoidCause::Expired => void.time >= proposal.expires,
            // What the machine saw, and the charter's end, are not in the leaf.
            VoidCause::Superseded | VoidCause::Epoch => true,
        };
        if shown { Ok(()) } else { Err(LeafRefused::CauseNotShown { cause: void.cause }) }
    }
}
