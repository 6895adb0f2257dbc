//! What the leaves say of one guarded cluster: its last number, its slot, its dead.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use super::LastOn;
use crate::agent_statement::Rollback;
use crate::declaration::{Declaration, Readmission};
use crate::id::{Digest, KeyName, MemberId, ProposalId, Word};
use crate::leaf::Decision;
use crate::log_time::LogTime;
use crate::merkle::Hash;
use crate::number::{DecisionNumber, Epoch, FencingToken, LeafIndex};
use crate::remediation::Kind;

/// One guarded cluster, as its leaves determine it.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClusterHistory {
    /// The number of the newest decision; the next one is one higher, through epochs and
    /// incarnations (*token-monotone*).
    pub number: Option<DecisionNumber>,
    /// What stands now.
    pub standing: Standing,
    /// How it stood before the newest decision, while that one may still be void (R14).
    pub(super) refusable: Option<Refusable>,
}

/// What a decision can change, and the void of a refused decision restores.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Standing {
    /// The decision under way (*single-effect*).
    pub slot: Option<Slot>,
    /// Member names that no gate starts, with the decision that declared them (*dead-stays-dead*).
    pub dead_members: BTreeMap<MemberId, DecisionNumber>,
    /// Identities of data directories that no gate starts on, whoever asks. Never cleared.
    pub dead_identities: BTreeMap<Digest, DecisionNumber>,
    /// Members that came back, and where they may.
    pub readmitted: BTreeMap<MemberId, Readmission>,
    /// The survivor of the newest declaration (*one-survivor*), until its roster is whole again.
    pub survivor: Option<Survivor>,
}

/// The one member that a declaration lets start alone.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Survivor {
    /// Which member.
    pub member: MemberId,
    /// By which decision.
    pub token: FencingToken,
}

/// The newest decision, while nobody can have started it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Refusable {
    pub(super) proposal: ProposalId,
    pub(super) before: Box<Standing>,
    /// The newest decision of its target before it.
    pub(super) last_before: Option<LastOn>,
}

/// What a decision orders its executors to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Orders {
    /// The proposal's action.
    Action,
    /// The rollback its plan names, after a harmful effect.
    Rollback,
}

/// The decision that holds a cluster's slot. State frees it, never a clock.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Slot {
    /// Its token; a re-issue has a higher one.
    pub token: FencingToken,
    /// The idempotency key, equal across re-issues.
    pub proposal: ProposalId,
    /// The epoch it was decided in; only within it can it be continued.
    pub epoch: Epoch,
    /// The kind of remediation.
    pub kind: Kind,
    /// Its target.
    pub target: Word,
    /// Action or rollback.
    pub orders: Orders,
    /// Who carries it out.
    pub executors: BTreeSet<KeyName>,
    /// Who has not answered for this number.
    pub awaited: BTreeSet<KeyName>,
    /// Who reported harm that the plan's rollback is to undo.
    pub harmful: BTreeSet<KeyName>,
    /// The plan's rollback.
    pub rollback: Option<Digest>,
    /// Last log time at which anybody may start it.
    pub expires: LogTime,
    /// Where it stands in the log.
    pub leaf: LeafIndex,
    /// The hash of that leaf.
    pub hash: Hash,
    /// Members whose observers had no voice in it: what they say later changes nothing.
    pub silenced: BTreeSet<MemberId>,
    /// Keys whose votes on it did not count when it was decided.
    pub equivocators: BTreeSet<KeyName>,
}

/// Whose votes did not count when a decision was made.
pub(super) struct Discounted {
    pub(super) silenced: BTreeSet<MemberId>,
    pub(super) equivocators: BTreeSet<KeyName>,
}

impl Slot {
    pub(super) fn of(
        decision: &Decision,
        continued: Option<&Self>,
        (leaf, hash): (LeafIndex, Hash),
        discounted: Discounted,
    ) -> Self {
        let executors: BTreeSet<KeyName> = decision.proposal.executor.iter().cloned().collect();
        // After harm one continuation orders the rollback; its own re-issues order it again.
        let rolls_back =
            continued.is_some_and(|slot| slot.orders == Orders::Rollback || slot.is_rollback_due());
        Self {
            token: decision.token(),
            proposal: decision.proposal.id(),
            epoch: decision.epoch,
            kind: decision.proposal.kind,
            target: decision.proposal.target.clone(),
            orders: if rolls_back { Orders::Rollback } else { Orders::Action },
            awaited: executors.clone(),
            executors,
            harmful: BTreeSet::new(),
            rollback: decision.proposal.rollback(),
            expires: decision.expires,
            leaf,
            hash,
            silenced: discounted.silenced,
            equivocators: discounted.equivocators,
        }
    }

    /// Whether a harmful report keeps the slot for a rollback (R10).
    pub fn rollback_state(&self) -> Rollback {
        match (self.orders, self.rollback) {
            (Orders::Action, Some(_)) => Rollback::ToCome,
            (Orders::Rollback, _) | (Orders::Action, None) => Rollback::NoneOrOrdered,
        }
    }

    /// Whether the rollback is what comes next: every executor has answered, one of them with harm.
    /// While one is awaited it may still act, and nothing is rolled back beside it (*single-effect*).
    pub fn is_rollback_due(&self) -> bool {
        self.awaited.is_empty() && !self.harmful.is_empty()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.awaited.is_empty() && self.harmful.is_empty()
    }
}

impl ClusterHistory {
    /// The number the next decision must have (R5); none only at 2^63 − 1.
    pub fn next_number(&self) -> Option<DecisionNumber> {
        match self.number {
            None => Some(DecisionNumber::MIN),
            Some(number) => number.next(),
        }
    }

    /// The decision under way.
    pub const fn slot(&self) -> Option<&Slot> {
        self.standing.slot.as_ref()
    }

    /// The members that are tombstoned: their observers have no voice.
    pub fn tombstoned(&self) -> BTreeSet<MemberId> {
        self.standing.dead_members.keys().cloned().collect()
    }

    /// Whether a start under this name, on a directory of this identity, is stopped: either match
    /// is enough.
    pub fn is_dead(&self, member: &MemberId, identity: Option<&Digest>) -> bool {
        self.standing.dead_members.contains_key(member)
            || identity.is_some_and(|identity| self.standing.dead_identities.contains_key(identity))
    }

    /// The newest decision that a void may still name (R14).
    pub fn refusable(&self) -> Option<(DecisionNumber, ProposalId)> {
        let refusable = self.refusable.as_ref()?;
        Some((self.number?, refusable.proposal))
    }
}

impl Standing {
    /// Tombstones the dead and the fenced, names and identities both.
    pub(super) fn declare(&mut self, declaration: &Declaration, token: FencingToken) {
        for member in declaration.ended() {
            self.dead_members.insert(member.clone(), token.number);
            self.readmitted.remove(member);
        }
        for identity in declaration.identities() {
            self.dead_identities.insert(identity, token.number);
        }
        self.survivor = Some(Survivor { member: declaration.survivor.clone(), token });
        if let Some(readmission) = &declaration.readmits {
            self.clear(readmission);
        }
    }

    /// Re-admits a member. When nobody is dead any more the roster is whole again, and the former
    /// survivor is a member like the others.
    pub(super) fn readmit(&mut self, readmission: &Readmission) {
        self.clear(readmission);
        if self.dead_members.is_empty() {
            self.survivor = None;
        }
    }

    /// Clears the tombstone of a name; the old identity stays dead.
    fn clear(&mut self, readmission: &Readmission) {
        self.dead_members.remove(&readmission.member);
        self.readmitted.insert(readmission.member.clone(), readmission.clone());
    }
}
