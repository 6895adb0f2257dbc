//! The kinds of remediation and their class.
//!
//! The table is part of the crate, not of a charter: a kind cannot be made to need fewer people by
//! an amendment. What a class needs is the charter's (`authority`, `floor`).

use borsh::{BorshDeserialize, BorshSerialize};

use crate::text::words;

/// What has to agree before a remediation may be carried out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Class {
    /// Charters and incarnations: operators only.
    Charter,
    /// Changes the guarded cluster's membership or order, and can be taken back.
    Cluster,
    /// Cannot be taken back: operators, observers, and a veto window.
    Irreversible,
    /// Concerns one member and loses nothing.
    Local,
    /// Two operators give up a decision whose executor is lost. In no charter: it is fixed.
    Abandon,
}

words!(Class {
    Charter => "charter",
    Cluster => "cluster",
    Irreversible => "irreversible",
    Local => "local",
    Abandon => "abandon",
});

impl Class {
    /// The classes whose numbers a charter must write out.
    pub const IN_CHARTER: [Self; 4] =
        [Self::Charter, Self::Cluster, Self::Irreversible, Self::Local];
}

/// One kind of remediation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[allow(missing_docs, reason = "each name is its word in scenarios and playbooks")]
pub enum Kind {
    Restart,
    RestartDependency,
    ResetPeers,
    CleanDisk,
    SetLimits,
    RepairNetwork,
    Replay,
    Drill,
    IsolateMember,
    UnisolateMember,
    AdvanceEpoch,
    Redistribute,
    RemoveMember,
    AddMember,
    TransferLeader,
    RecoverVault,
    BanPeer,
    UnbanPeer,
    Throttle,
    ForceViewChange,
    Quiesce,
    Failover,
    RepairData,
    Halt,
    Resume,
    DeclareDead,
    Readmit,
    RestoreBackup,
    WipeMember,
    Resync,
    RollbackToHeight,
    RevokeKey,
    ActivateRegion,
    PromoteReplay,
    Abandon,
}

words!(Kind {
    Restart => "restart",
    RestartDependency => "restart-dependency",
    ResetPeers => "reset-peers",
    CleanDisk => "clean-disk",
    SetLimits => "set-limits",
    RepairNetwork => "repair-network",
    Replay => "replay",
    Drill => "drill",
    IsolateMember => "isolate-member",
    UnisolateMember => "unisolate-member",
    AdvanceEpoch => "advance-epoch",
    Redistribute => "redistribute",
    RemoveMember => "remove-member",
    AddMember => "add-member",
    TransferLeader => "transfer-leader",
    RecoverVault => "recover-vault",
    BanPeer => "ban-peer",
    UnbanPeer => "unban-peer",
    Throttle => "throttle",
    ForceViewChange => "force-view-change",
    Quiesce => "quiesce",
    Failover => "failover",
    RepairData => "repair-data",
    Halt => "halt",
    Resume => "resume",
    DeclareDead => "declare-dead",
    Readmit => "readmit",
    RestoreBackup => "restore-backup",
    WipeMember => "wipe-member",
    Resync => "resync",
    RollbackToHeight => "rollback-to-height",
    RevokeKey => "revoke-key",
    ActivateRegion => "activate-region",
    PromoteReplay => "promote-replay",
    Abandon => "abandon",
});

impl Kind {
    /// The class, fixed for each kind.
    pub const fn class(self) -> Class {
        match self {
            Self::Restart
            | Self::RestartDependency
            | Self::ResetPeers
            | Self::CleanDisk
            | Self::SetLimits
            | Self::RepairNetwork
            | Self::Replay
            | Self::Drill => Class::Local,
            Self::IsolateMember
            | Self::UnisolateMember
            | Self::AdvanceEpoch
            | Self::Redistribute
            | Self::RemoveMember
            | Self::AddMember
            | Self::TransferLeader
            | Self::RecoverVault
            | Self::BanPeer
            | Self::UnbanPeer
            | Self::Throttle
            | Self::ForceViewChange
            | Self::Quiesce
            | Self::Failover
            | Self::RepairData
            | Self::Halt
            | Self::Resume => Class::Cluster,
            Self::DeclareDead
            | Self::Readmit
            | Self::RestoreBackup
            | Self::WipeMember
            | Self::Resync
            | Self::RollbackToHeight
            | Self::RevokeKey
            | Self::ActivateRegion
            | Self::PromoteReplay => Class::Irreversible,
            Self::Abandon => Class::Abandon,
        }
    }

    /// Whether an observer can judge it by its own probe. The others are voted by operators alone.
    pub const fn has_probe(self) -> bool {
        !matches!(
            self,
            Self::RevokeKey
                | Self::ActivateRegion
                | Self::PromoteReplay
                | Self::Abandon
                | Self::Halt
                | Self::Resume
        )
    }

    /// Whether it takes the cluster's slot. Only an abandon does not: it frees one.
    pub const fn takes_slot(self) -> bool {
        !matches!(self, Self::Abandon)
    }

    /// Whether it may take itself back after a time (`param ttl-ms`).
    pub const fn may_end_by_itself(self) -> bool {
        matches!(self, Self::BanPeer | Self::IsolateMember | Self::Quiesce | Self::Throttle)
    }

    /// Whether it must: a ban is never for good.
    pub const fn must_end_by_itself(self) -> bool {
        matches!(self, Self::BanPeer)
    }

    /// Whether automation may open it without an operator.
    pub const fn may_be_automatic(self) -> bool {
        matches!(self.class(), Class::Local | Class::Cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_word() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        assert_eq!(Kind::ALL.len(), 35);
    }

    #[test]
    fn nothing_irreversible_is_ever_automatic() {
        for kind in Kind::ALL {
            let class = kind.class();
            assert_eq!(
                kind.may_be_automatic(),
                class == Class::Local || class == Class::Cluster,
                "{kind}"
            );
        }
    }

    #[test]
    fn the_classes_have_the_sizes_of_the_table() {
        let count = |class| Kind::ALL.iter().filter(|kind| kind.class() == class).count();
        assert_eq!(count(Class::Local), 8);
        assert_eq!(count(Class::Cluster), 17);
        assert_eq!(count(Class::Irreversible), 9);
        assert_eq!(count(Class::Abandon), 1);
        assert_eq!(count(Class::Charter), 0);
    }

    #[test]
    fn six_kinds_have_no_probe() {
        let unprobed = Kind::ALL.iter().filter(|kind| !kind.has_probe()).count();
        assert_eq!(unprobed, 6);
    }
}
