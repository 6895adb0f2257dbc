//! Which size to cosign next: one pure function.
//!
//! Coordinators converge because everybody follows the largest head that somebody else signed, and
//! nobody ever signs a smaller one. Only when nothing is pending does somebody begin: the leader at
//! once, anybody else after a while.

use std::time::Duration;

/// Leaves that stay uncertified for so long make any coordinator begin, and a pending head that
/// stays so is not waited for any longer.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// What the choice depends on.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    /// The size this coordinator signed last.
    pub(super) signed: u64,
    /// The largest size it may sign: applied, judged, nothing refused in it.
    pub(super) signable: u64,
    /// The size of the newest certified head.
    pub(super) certified: u64,
    /// Sizes above both that others signed, over this coordinator's own roots; ascending.
    pub(super) wanted: Vec<u64>,
    /// Whether this coordinator leads.
    pub(super) leads: bool,
    /// How long the certified head has trailed the judged leaves.
    pub(super) uncertified: Duration,
    /// Whether the last signature has become old: the newest head is refreshed.
    pub(super) stale: bool,
}

/// The size to sign now, if any.
pub(super) fn next_size(now: &Situation) -> Option<u64> {
    // Exactly at a size somebody signed: it is the largest of them that everybody will reach.
    let wanted = now.wanted.iter().rev().find(|size| **size <= now.signable && **size > now.signed);
    if let Some(size) = wanted {
        return Some(*size);
    }
    // The others were quicker. It is signed all the same: by its own newest head a coordinator is told
    // that its disk was restored (*sign-once*).
    if now.certified > now.signed && now.certified <= now.signable {
        return Some(now.certified);
    }
    let grown = now.signable > now.signed.max(now.certified);
    let pending = now.signed > now.certified || !now.wanted.is_empty();
    let begins = match (now.leads, pending) {
        (true, false) => true,
        (true, true) | (false, _) => now.uncertified >= PATIENCE,
    };
    if grown && begins {
        return Some(now.signable);
    }
    // A refresh costs one fsync here and no Raft entry.
    (now.stale && now.signed > 0 && now.signed <= now.signable && now.certified <= now.signed)
        .then_some(now.signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Situation {
        Situation {
            signed: 10,
            signable: 10,
            certified: 10,
            wanted: Vec::new(),
            leads: false,
            uncertified: Duration::ZERO,
            stale: false,
        }
    }

    #[test]
    fn nothing_new_is_nothing_to_sign() {
        assert_eq!(next_size(&calm()), None);
        assert_eq!(next_size(&Situation { stale: true, ..calm() }), Some(10));
    }

    #[test]
    fn the_leader_begins_at_once_and_others_after_a_while() {
        let grown = Situation { signable: 13, ..calm() };
        assert_eq!(next_size(&grown), None);
        assert_eq!(next_size(&Situation { leads: true, ..grown.clone() }), Some(13));
        assert_eq!(next_size(&Situation { uncertified: PATIENCE, ..grown }), Some(13));
    }

    #[test]
    fn a_pending_head_is_waited_for_and_then_left_behind() {
        let pending = Situation { signed: 11, signable: 13, leads: true, ..calm() };
        assert_eq!(next_size(&pending), None);
        assert_eq!(next_size(&Situation { uncertified: PATIENCE, ..pending }), Some(13));
    }

    #[test]
    fn everybody_follows_the_largest_head_it_can_reach() {
        let asked = Situation { signable: 13, wanted: vec![11, 12, 14], ..calm() };
        assert_eq!(next_size(&asked), Some(12));
        assert_eq!(next_size(&Situation { signed: 12, ..asked }), None);
    }

    #[test]
    fn a_head_that_others_certified_is_signed_too() {
        let late = Situation { signed: 7, ..calm() };
        assert_eq!(next_size(&late), Some(10));
        assert_eq!(next_size(&Situation { signable: 9, ..late.clone() }), None, "not judged yet");
        assert_eq!(next_size(&Situation { signable: 12, wanted: vec![12], ..late }), Some(12));
    }

    #[test]
    fn a_refused_decision_is_never_signed_past() {
        let barred = Situation {
            signable: 10,
            wanted: vec![12],
            leads: true,
            uncertified: PATIENCE * 10,
            ..calm()
        };
        assert_eq!(next_size(&barred), None);
    }
}
