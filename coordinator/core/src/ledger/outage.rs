//! Outages we made ourselves: targets that decisions banned, isolated or removed.
//!
//! The floor and the ban cap count them although nobody reports them: what we took away is away
//! until we brought it back, or its TTL ran out, whatever a health page says.
//!
//! A TTL runs from the start of the action, which only its agent knows. Counted is therefore from
//! the latest start there can be: the decision's expiry, or its end in the log if that is earlier.
//! An agent that brings the target back waits while another action is under way, so the count can end
//! earlier than the outage by as long as the slot was held then.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, Word};
use quorate_attest::leaf::Decision;
use quorate_attest::log_time::LogTime;
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;

/// What a kind does to its target's place in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is out until it is brought back, or for its TTL.
    TakenOut,
    /// It is back.
    BroughtBack,
    /// It is away while the action runs.
    Disturbed,
    /// It stays where it is.
    Untouched,
}

/// The table: kind → what becomes of the target.
pub(crate) const fn place(kind: Kind) -> Place {
    match kind {
        Kind::IsolateMember | Kind::RemoveMember | Kind::BanPeer => Place::TakenOut,
        Kind::UnisolateMember | Kind::AddMember | Kind::UnbanPeer | Kind::Readmit => {
            Place::BroughtBack
        }
        Kind::Restart
        | Kind::RestartDependency
        | Kind::ResetPeers
        | Kind::CleanDisk
        | Kind::SetLimits
        | Kind::RepairNetwork
        | Kind::RecoverVault
        | Kind::RepairData
        | Kind::Quiesce
        | Kind::RestoreBackup
        | Kind::WipeMember
        | Kind::Resync
        | Kind::RollbackToHeight => Place::Disturbed,
        Kind::Replay
        | Kind::Drill
        | Kind::AdvanceEpoch
        | Kind::Redistribute
        | Kind::TransferLeader
        | Kind::Throttle
        | Kind::ForceViewChange
        | Kind::Failover
        | Kind::Halt
        | Kind::Resume
        | Kind::DeclareDead
        | Kind::RevokeKey
        | Kind::ActivateRegion
        | Kind::PromoteReplay
        | Kind::Abandon => Place::Untouched,
    }
}

/// One target that is out.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Outage {
    /// The kind that took it out.
    pub kind: Kind,
    /// The decision that did, the first of its chain.
    pub number: DecisionNumber,
    /// When its TTL has brought it back, however late it was taken out.
    pub until: Option<LogTime>,
}

/// All targets that are out.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Outages {
    of: BTreeMap<(ClusterId, Word), Outage>,
}

impl Outages {
    /// A decision was made, or goes on under a later token, by which it may still be started. What
    /// it takes out counts at once; what it brings back, when it is done.
    pub(crate) fn decide(&mut self, decision: &Decision) {
        let proposal = &decision.proposal;
        if place(proposal.kind) != Place::TakenOut {
            return;
        }
        let until = proposal.ttl().map(|ttl| decision.expires.saturating_add(ttl));
        let mut outage = Outage { kind: proposal.kind, number: decision.number, until };
        let key = key(proposal);
        if let Some(known) = self.of.get(&key).filter(|_| decision.continues.is_some()) {
            outage.number = known.number;
        }
        self.of.insert(key, outage);
    }

    /// A decision has ended by `now`, one way or another: nobody starts it later.
    pub(crate) fn end(&mut self, proposal: &Proposal, now: LogTime) {
        let Some(ttl) = proposal.ttl().filter(|_| place(proposal.kind) == Place::TakenOut) else {
            return;
        };
        if let Some(outage) = self.of.get_mut(&key(proposal)) {
            let at_most = now.saturating_add(ttl);
            outage.until = outage.until.map(|until| until.min(at_most));
        }
    }

    /// A decision was carried out with its effect verified.
    pub(crate) fn succeed(&mut self, proposal: &Proposal) {
        if place(proposal.kind) == Place::BroughtBack {
            self.of.remove(&key(proposal));
        }
    }

    /// A decision was never certified: it took nothing out.
    pub(crate) fn undo(&mut self, proposal: &Proposal, number: DecisionNumber) {
        let key = key(proposal);
        if self.of.get(&key).is_some_and(|outage| outage.number == number) {
            self.of.remove(&key);
        }
    }

    /// The targets of `cluster` that are out at `now`.
    pub fn of<'a>(
        &'a self,
        cluster: &'a ClusterId,
        now: LogTime,
    ) -> impl Iterator<Item = (&'a Word, &'a Outage)> {
        self.of
            .iter()
            .filter(move |((of, _), outage)| {
                of == cluster && outage.until.is_none_or(|until| until > now)
            })
            .map(|((_, target), outage)| (target, outage))
    }

    /// Only those of `cluster`.
    pub(crate) fn only(&self, cluster: &ClusterId) -> Self {
        let mut only = self.clone();
        only.of.retain(|(of, _), _| of == cluster);
        only
    }

    /// Drops what time has brought back, while a leaf is recorded.
    pub(crate) fn forget(&mut self, now: LogTime) {
        self.of.retain(|_, outage| outage.until.is_none_or(|until| until > now));
    }
}

fn key(proposal: &Proposal) -> (ClusterId, Word) {
    (proposal.cluster.clone(), proposal.target.clone())
}
