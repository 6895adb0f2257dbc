//! The plan: what would be done, as one text that everybody computes alike.
//!
//! Its digest is what validators vote on. It is computed from the charter's adapter, the kind, the
//! target and the parameters, and from nothing else: no clock, no probe, no configuration of this
//! machine. So an observer on another machine, a person's CLI and the executing agent get the same
//! bytes, and an executor whose plan differs refuses (*authority*).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{AdapterName, Digest, Word};
use quorate_attest::ladder;
use quorate_attest::proposal::Param;
use quorate_attest::remediation::Kind;
use thiserror::Error;

use crate::adapters::Action;

/// The parameter that names the digest of the planned way back. It is no part of the plan's text.
pub const ROLLBACK_PARAM: &str = "rollback";

/// A plan text with its digests.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Plan {
    /// The text, `quorate-plan/v1`.
    pub text: String,
    /// SHA-256 of the text: the `plan` line of the proposal.
    pub digest: Digest,
    /// The digest of the planned way back, if the kind has one: the proposal's `param rollback`.
    pub rollback: Option<Digest>,
}

/// Why a proposal's plan is not the plan computed here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanDiffers {
    /// The plan lines differ.
    #[error("the plan computed here is {here}, the proposal's is {theirs}")]
    Digest {
        /// Computed here.
        here: Digest,
        /// In the proposal.
        theirs: Digest,
    },
    /// The way back differs, is missing, or is named where the kind has none.
    #[error("the way back computed here is {here}, the proposal's is {theirs}")]
    Rollback {
        /// Computed here, `none` if the kind has none.
        here: String,
        /// In the proposal, `none` if it names none.
        theirs: String,
    },
}

/// Computes the plan of an action under the charter's `adapter`.
///
/// The parameters of a playbook's rung are left out: they say where an action stands, not what it
/// does. A parameter `rollback` is left out, so that a proposal can carry the digest of its own way back.
#[must_use]
pub fn plan(adapter: &AdapterName, kind: Kind, target: &Word, params: &[Param]) -> Plan {
    let rollback =
        undo_of(kind).map(|undo| Digest::of(text(adapter, undo, target, &[], None).as_bytes()));
    let text = text(adapter, kind, target, params, rollback.as_ref());
    let digest = Digest::of(text.as_bytes());
    Plan { text, digest, rollback }
}

/// Computes the plan of `action`.
#[must_use]
pub fn plan_of(adapter: &AdapterName, action: &Action) -> Plan {
    plan(adapter, action.kind, &action.target, &action.params)
}

/// Compares the plan computed here with the digests a proposal names.
///
/// # Errors
/// [`PlanDiffers`] with both digests.
pub fn check(here: &Plan, theirs: Digest, rollback: Option<Digest>) -> Result<(), PlanDiffers> {
    if here.digest != theirs {
        return Err(PlanDiffers::Digest { here: here.digest, theirs });
    }
    if here.rollback != rollback {
        let named =
            |digest: Option<Digest>| digest.map_or("none".into(), |digest| digest.to_string());
        return Err(PlanDiffers::Rollback { here: named(here.rollback), theirs: named(rollback) });
    }
    Ok(())
}

/// The kind that takes `kind` back, if a plan of `kind` names a way back.
///
/// Only kinds whose undo needs nothing but the target: everything else is another decision.
#[must_use]
pub const fn undo_of(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::BanPeer => Some(Kind::UnbanPeer),
        Kind::IsolateMember => Some(Kind::UnisolateMember),
        Kind::Restart
        | Kind::RestartDependency
        | Kind::ResetPeers
        | Kind::CleanDisk
        | Kind::SetLimits
        | Kind::RepairNetwork
        | Kind::Replay
        | Kind::Drill
        | Kind::UnisolateMember
        | Kind::AdvanceEpoch
        | Kind::Redistribute
        | Kind::RemoveMember
        | Kind::AddMember
        | Kind::TransferLeader
        | Kind::RecoverVault
        | Kind::UnbanPeer
        | Kind::Throttle
        | Kind::ForceViewChange
        | Kind::Quiesce
        | Kind::Failover
        | Kind::RepairData
        | Kind::Halt
        | Kind::Resume
        | Kind::DeclareDead
        | Kind::Readmit
        | Kind::RestoreBackup
        | Kind::WipeMember
        | Kind::Resync
        | Kind::RollbackToHeight
        | Kind::RevokeKey
        | Kind::ActivateRegion
        | Kind::PromoteReplay
        | Kind::Abandon => None,
    }
}

/// The lines in a fixed order; parameters sorted, equal ones once. Every value is of a type that
/// holds neither blanks nor line ends, so no value can forge a line.
fn text(
    adapter: &AdapterName,
    kind: Kind,
    target: &Word,
    params: &[Param],
    rollback: Option<&Digest>,
) -> String {
    let aside = |key: &str| key == ROLLBACK_PARAM || ladder::PARAMS.contains(&key);
    let named = params.iter().filter(|param| !aside(param.key.as_str()));
    let lines: BTreeSet<String> = named.map(|param| format!("param {param}\n")).collect();
    let mut text = format!("quorate-plan/v1\nadapter {adapter}\nkind {kind}\ntarget {target}\n");
    text.extend(lines);
    match rollback {
        Some(digest) => {
            let _ = writeln!(text, "rollback {digest}");
        }
        None => text.push_str("rollback none\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        text.parse().expect("a word")
    }

    fn param(line: &str) -> Param {
        line.parse().expect("a parameter")
    }

    fn adapter() -> AdapterName {
        "process".parse().expect("an adapter name")
    }

    #[test]
    fn the_text_is_fixed_and_its_digest_is_over_its_bytes() {
        let plan = plan(&adapter(), Kind::Restart, &word("member:n4"), &[]);
        assert_eq!(
            plan.text,
            "quorate-plan/v1\nadapter process\nkind restart\ntarget member:n4\nrollback none\n"
        );
        assert_eq!(plan.digest, Digest::of(plan.text.as_bytes()));
        assert_eq!(plan.rollback, None);
    }

    #[test]
    fn the_order_of_parameters_and_the_rollback_line_do_not_change_the_digest() {
        let one = [param("ttl-ms 600000"), param("list a b")];
        let mut two = vec![one[1].clone(), one[0].clone()];
        let first = plan(&adapter(), Kind::BanPeer, &word("peer:x"), &one);
        two.push(param(&format!("{ROLLBACK_PARAM} {}", first.rollback.expect("undo"))));
        assert_eq!(first, plan(&adapter(), Kind::BanPeer, &word("peer:x"), &two));
    }

    #[test]
    fn every_input_changes_the_digest() {
        let base = plan(&adapter(), Kind::BanPeer, &word("peer:x"), &[]).digest;
        let other: AdapterName = "exec".parse().expect("an adapter name");
        for changed in [
            plan(&other, Kind::BanPeer, &word("peer:x"), &[]),
            plan(&adapter(), Kind::UnbanPeer, &word("peer:x"), &[]),
            plan(&adapter(), Kind::BanPeer, &word("peer:y"), &[]),
            plan(&adapter(), Kind::BanPeer, &word("peer:x"), &[param("ttl-ms 1")]),
        ] {
            assert_ne!(base, changed.digest, "{}", changed.text);
        }
    }

    #[test]
    fn a_way_back_must_be_named_exactly_if_the_kind_has_one() {
        let ban = plan(&adapter(), Kind::BanPeer, &word("peer:x"), &[]);
        let back = ban.rollback;
        assert!(back.is_some());
        assert_eq!(check(&ban, ban.digest, back), Ok(()));
        assert!(matches!(check(&ban, ban.digest, None), Err(PlanDiffers::Rollback { .. })));
        let restart = plan(&adapter(), Kind::Restart, &word("member:n4"), &[]);
        assert_eq!(check(&restart, restart.digest, None), Ok(()));
        let surplus = check(&restart, restart.digest, back);
        assert!(matches!(surplus, Err(PlanDiffers::Rollback { .. })));
        let wrong = check(&restart, ban.digest, None);
        assert!(matches!(wrong, Err(PlanDiffers::Digest { .. })));
    }
}
