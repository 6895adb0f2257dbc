//! What of a decision only the log can judge: its number, its slot, its dead (R5, R7 to R9, R12).

use super::authority::judge_authority;
use super::cluster::{ClusterHistory, Discounted, Refusable, Slot, Standing};
use super::{Change, End, History, LeafRefused};
use crate::declaration::{Declaration, Readmission};
use crate::id::ProposalId;
use crate::leaf::Decision;
use crate::merkle::Hash;
use crate::number::DecisionNumber;
use crate::proposal::Target;
use crate::quorum::Silenced;
use crate::remediation::Kind;
use crate::signed::Signatures;

impl History {
    pub(super) fn judge_decision(
        &self,
        decision: &Decision,
        hash: Hash,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let silenced = self.tombstoned(&decision.cluster);
        let proposal = decision.proposal.id();
        let equivocators = self.equivocators(&proposal);
        judge_authority(
            &self.charter,
            self.charter_id,
            decision,
            Silenced { tombstoned: &silenced },
            &equivocators,
            signatures,
        )?;
        let cluster = decision.cluster.clone();
        let mut history = self.clusters.get(&cluster).cloned().unwrap_or_default();
        match history.next_number() {
            Some(expected) if expected == decision.number => {}
            Some(expected) => {
                let found = decision.number;
                return Err(LeafRefused::WrongNumber { cluster, expected, found });
            }
            None => return Err(LeafRefused::NoNumberLeft { cluster }),
        }
        let before = Box::new(history.standing.clone());
        match decision.continues {
            Some(continued) => self.judge_continuation(decision, proposal, continued, &history)?,
            None => self.judge_fresh(decision, proposal, &history)?,
        }
        self.judge_death(decision, &mut history.standing)?;
        history.standing.slot = decision.proposal.kind.takes_slot().then(|| {
            let leaf = (self.size().next_index(), hash);
            let discounted = Discounted { silenced, equivocators };
            Slot::of(decision, history.standing.slot.as_ref(), leaf, discounted)
        });
        history.number = Some(decision.number);
        let last_before = self.last_on(&cluster, &decision.proposal.target);
        history.refusable = Some(Refusable { proposal, before, last_before });
        let changed = self.changed_by(decision, proposal);
        // A continuation's proposal ended when it was first decided.
        let end = (proposal, decision.proposal.expires, End::Decided(decision.number));
        let ended = decision.continues.is_none().then_some(end);
        Ok(Change::Cluster { cluster, history, ended, changed })
    }

    /// R9 and R7: the proposal has not ended, and nothing holds the slot.
    fn judge_fresh(
        &self,
        decision: &Decision,
        proposal: ProposalId,
        history: &ClusterHistory,
    ) -> Result<(), LeafRefused> {
        let slot = history.slot();
        if self.ended.contains(&proposal) || slot.is_some_and(|slot| slot.proposal == proposal) {
            return Err(LeafRefused::AlreadyEnded { proposal });
        }
        let holder = slot.map(|slot| slot.token.number);
        if decision.proposal.kind != Kind::Abandon {
            if let Some(holder) = holder {
                let cluster = decision.cluster.clone();
                return Err(LeafRefused::SlotTaken { cluster, holder });
            }
            return Ok(self.rung_due(&decision.proposal, decision.time)?);
        }
        let named = match decision.proposal.target() {
            Target::Decision(number) => Some(number),
            Target::Member(_) | Target::Key(_) | Target::Other => None,
        };
        let Some(slot) = slot.filter(|slot| Some(slot.token.number) == named) else {
            return Err(LeafRefused::NothingToAbandon { holder });
        };
        // Before that somebody could still start what is abandoned.
        let after = slot.expires.saturating_add(self.charter.skew);
        if decision.time <= after {
            return Err(LeafRefused::AbandonTooEarly { number: slot.token.number, after });
        }
        Ok(())
    }

    /// R8: the same action goes on under a higher token, or its rollback is ordered.
    fn judge_continuation(
        &self,
        decision: &Decision,
        proposal: ProposalId,
        continued: DecisionNumber,
        history: &ClusterHistory,
    ) -> Result<(), LeafRefused> {
        let holder = history.slot().filter(|slot| slot.token.number == continued);
        let Some(slot) = holder.filter(|_| decision.proposal.kind.takes_slot()) else {
            return Err(LeafRefused::NotContinuable { found: continued });
        };
        if slot.epoch != self.epoch() {
            let (number, epoch) = (continued, slot.epoch);
            return Err(LeafRefused::ContinuesOldEpoch { number, epoch });
        }
        if slot.proposal != proposal {
            // The proposal's text lists the executors, so they are the same too.
            let (number, expected, found) = (continued, slot.proposal, proposal);
            return Err(LeafRefused::ContinuesOther { number, expected, found });
        }
        // A rollback follows the last answer at once: nobody is left who could start the action.
        let after = slot.expires.saturating_add(self.charter.skew);
        if !slot.is_rollback_due() && decision.time <= after {
            return Err(LeafRefused::ContinuesTooEarly { number: continued, after });
        }
        Ok(())
    }

    /// R12 and re-admissions: what the log says of the dead. A continuation repeats nothing.
    fn judge_death(&self, decision: &Decision, standing: &mut Standing) -> Result<(), LeafRefused> {
        if decision.continues.is_some() {
            return Ok(());
        }
        if let Some(declaration) = Declaration::of(&self.charter, &decision.proposal)? {
            if standing.dead_members.contains_key(&declaration.survivor) {
                return Err(LeafRefused::SurvivorDead { member: declaration.survivor });
            }
            let former = standing.survivor.as_ref();
            let former = former.filter(|former| !declaration.dead.contains_key(&former.member));
            if let Some(former) = former {
                let (member, number) = (former.member.clone(), former.token.number);
                return Err(LeafRefused::FormerSurvivor { member, number });
            }
            standing.declare(&declaration, decision.token());
        }
        if let Some(readmission) = Readmission::of(&self.charter, &decision.proposal)? {
            if !standing.dead_members.contains_key(&readmission.member) {
                return Err(LeafRefused::NotDead { member: readmission.member });
            }
            standing.readmit(&readmission);
        }
        Ok(())
    }
}
