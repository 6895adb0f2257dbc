//! Retry caps: how often the same thing is tried before a person has to look.
//!
//! Attempts are counted per target, and per kind on that target. At the cap the breaker opens: no
//! further decision about the target is made until an operator resets it. After a success and a
//! long enough quiet the count starts again.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{ClusterId, Word};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::remediation::Kind;

/// The charter's numbers: `rule <cluster|*> retry-cap <per kind> <per target> <clear span>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryCap {
    pub(crate) per_kind: u64,
    pub(crate) per_target: u64,
    pub(crate) clear: Span,
}

/// What was tried on one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Attempts {
    by_kind: BTreeMap<Kind, u64>,
    /// When the newest attempt ended well; nothing while it runs or if it did not.
    ended_well: Option<LogTime>,
}

impl Attempts {
    fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    fn is_cleared(&self, clear: Span, now: LogTime) -> bool {
        self.ended_well.is_some_and(|ended| now >= ended.saturating_add(clear))
    }
}

/// The breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerOpen {
    pub(crate) attempts: u64,
    pub(crate) cap: u64,
    /// Only an attempt that ended well clears by time.
    pub(crate) next_allowed: Option<LogTime>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// Every executor verified the effect.
    Well,
    /// Anything else.
    Badly,
}

/// The attempts on all targets.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Retries {
    on: BTreeMap<(ClusterId, Word), Attempts>,
}

impl Retries {
    /// Whether one more attempt is allowed.
    pub(crate) fn check(
        &self,
        cluster: &ClusterId,
        target: &Word,
        kind: Kind,
        cap: RetryCap,
        now: LogTime,
    ) -> Result<(), BreakerOpen> {
        let Some(attempts) = self.on.get(&(cluster.clone(), target.clone())) else {
            return Ok(());
        };
        if attempts.is_cleared(cap.clear, now) {
            return Ok(());
        }
        let of_kind = attempts.by_kind.get(&kind).copied().unwrap_or(0);
        let next_allowed = attempts.ended_well.map(|ended| ended.saturating_add(cap.clear));
        if attempts.total() >= cap.per_target {
            return Err(BreakerOpen {
                attempts: attempts.total(),
                cap: cap.per_target,
                next_allowed,
            });
        }
        if of_kind >= cap.per_kind {
            return Err(BreakerOpen { attempts: of_kind, cap: cap.per_kind, next_allowed });
        }
        Ok(())
    }

    /// Counts an attempt.
    pub(crate) fn begin(
        &mut self,
        cluster: &ClusterId,
        target: &Word,
        kind: Kind,
        cap: Option<RetryCap>,
        now: LogTime,
    ) {
        let attempts = self.on.entry((cluster.clone(), target.clone())).or_default();
        if cap.is_some_and(|cap| attempts.is_cleared(cap.clear, now)) {
            *attempts = Attempts::default();
        }
        attempts.ended_well = None;
        let count = attempts.by_kind.entry(kind).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Notes how the newest attempt ended.
    pub(crate) fn end(
        &mut self,
        cluster: &ClusterId,
        target: &Word,
        how: AttemptEnd,
        now: LogTime,
    ) {
        if let Some(attempts) = self.on.get_mut(&(cluster.clone(), target.clone())) {
            attempts.ended_well = match how {
                AttemptEnd::Well => Some(now),
                AttemptEnd::Badly => None,
            };
        }
    }

    /// An operator resets the breaker.
    pub(crate) fn reset(&mut self, cluster: &ClusterId, target: &Word) {
        self.on.remove(&(cluster.clone(), target.clone()));
    }

    /// Drops counts that are cleared, or that no cap asks for, while a leaf is recorded.
    pub(crate) fn forget(&mut self, cap: impl Fn(&ClusterId) -> Option<RetryCap>, now: LogTime) {
        self.on.retain(|(cluster, _), attempts| {
            cap(cluster).is_some_and(|cap| !attempts.is_cleared(cap.clear, now))
        });
    }

    /// Attempts counted on a target.
    #[must_use]
    pub fn attempts(&self, cluster: &ClusterId, target: &Word) -> u64 {
        self.on.get(&(cluster.clone(), target.clone())).map_or(0, Attempts::total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: RetryCap =
        RetryCap { per_kind: 2, per_target: 3, clear: Span::from_millis(3_600_000) };

    fn at(ms: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + ms).unwrap()
    }

    #[test]
    fn a_kind_and_a_target_have_caps_and_success_clears_after_a_quiet() {
        let (cluster, target) = ("c".parse().unwrap(), "member:a".parse().unwrap());
        let mut retries = Retries::default();
        let try_one = |retries: &mut Retries, kind, now| {
            retries.check(&cluster, &target, kind, CAP, now)?;
            retries.begin(&cluster, &target, kind, Some(CAP), now);
            Ok::<_, BreakerOpen>(())
        };
        assert!(try_one(&mut retries, Kind::Restart, at(0)).is_ok());
        assert!(try_one(&mut retries, Kind::Restart, at(1)).is_ok());
        let open = try_one(&mut retries, Kind::Restart, at(2)).unwrap_err();
        assert_eq!((open.attempts, open.cap, open.next_allowed), (2, 2, None));
        assert!(try_one(&mut retries, Kind::CleanDisk, at(3)).is_ok());
        assert_eq!(try_one(&mut retries, Kind::ResetPeers, at(4)).unwrap_err().cap, 3);

        retries.end(&cluster, &target, AttemptEnd::Well, at(10));
        let open = try_one(&mut retries, Kind::Restart, at(11)).unwrap_err();
        assert_eq!(open.next_allowed, Some(at(3_600_010)));
        assert!(try_one(&mut retries, Kind::Restart, at(3_600_010)).is_ok());
        assert_eq!(retries.attempts(&cluster, &target), 1);
    }

    #[test]
    fn failure_is_never_cleared_by_time() {
        let (cluster, target) = ("c".parse().unwrap(), "member:a".parse().unwrap());
        let mut retries = Retries::default();
        for _ in 0..2 {
            retries.begin(&cluster, &target, Kind::Restart, Some(CAP), at(0));
            retries.end(&cluster, &target, AttemptEnd::Badly, at(1));
        }
        retries.forget(|_| Some(CAP), at(1_000_000_000));
        assert!(retries.check(&cluster, &target, Kind::Restart, CAP, at(1_000_000_000)).is_err());
        retries.reset(&cluster, &target);
        assert!(retries.check(&cluster, &target, Kind::Restart, CAP, at(1_000_000_000)).is_ok());
    }
}
