//! Time, as an input: leader-stamped milliseconds, spans, and the seconds of a cosignature.
//!
//! Nothing here reads a clock. Milliseconds and seconds are two types, and a [`LogTime`] has a floor
//! (September 2001), so that seconds given as milliseconds are refused instead of believed.

use borsh::BorshSerialize;

use crate::number::{NumberError, U63_MAX, u63_type};

u63_type! {
    /// Time of the log: POSIX milliseconds, stamped by the leader and made monotone by `apply`.
    LogTime, "time in milliseconds", 1_000_000_000_000
}
u63_type! {
    /// A length of time in milliseconds.
    Span, "span in milliseconds", 0
}
u63_type! {
    /// Time of a cosignature: POSIX **seconds**, as C2SP `cosignature/v1` wants them.
    CosignTime, "cosignature time in seconds", 0
}

impl LogTime {
    /// This time and `span` later, at most [`LogTime::MAX`].
    #[must_use]
    pub fn saturating_add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0).min(U63_MAX))
    }

    /// `span` before this time, at least [`LogTime::MIN`].
    #[must_use]
    pub fn saturating_sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0).max(Self::MIN.0))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The distance between two times, in whichever order.
    #[must_use]
    pub fn distance(self, other: Self) -> Span {
        Span(self.0.abs_diff(other.0))
    }

    /// The cosignature time of this moment: whole seconds, rounded down.
    #[must_use]
    pub const fn to_cosign_time(self) -> CosignTime {
        CosignTime(self.0 / 1000)
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole milliseconds, at most [`Span::MAX`].
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        if ms > U63_MAX { Self::MAX } else { Self(ms) }
    }

    /// A span of whole seconds, at most [`Span::MAX`].
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Both spans one after the other, at most [`Span::MAX`].
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(U63_MAX))
    }
}

impl CosignTime {
    /// The first millisecond of this second; the log's floor or ceiling where that is nearer.
    #[must_use]
    pub fn to_log_time(self) -> LogTime {
        LogTime(self.0.saturating_mul(1000).clamp(LogTime::MIN.0, U63_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_not_taken_for_milliseconds() {
        assert!(matches!(LogTime::new(1_790_000_000), Err(NumberError::TooSmall { .. })));
        let time = LogTime::new(1_790_000_000_999).unwrap();
        assert_eq!(time.to_cosign_time(), CosignTime::new(1_790_000_000).unwrap());
        assert_eq!(time.to_cosign_time().to_log_time().get(), 1_790_000_000_000);
    }

    #[test]
    fn arithmetic_stays_inside_the_type() {
        let time = LogTime::new(1_790_000_000_000).unwrap();
        assert_eq!(time.saturating_add(Span::from_secs(2)).get(), 1_790_000_002_000);
        assert_eq!(time.saturating_add(Span::MAX), LogTime::MAX);
        assert_eq!(time.saturating_sub(Span::MAX), LogTime::MIN);
        assert_eq!(time.since(time.saturating_add(Span::from_secs(1))), Span::ZERO);
        assert_eq!(time.distance(time.saturating_add(Span::from_secs(1))).get(), 1000);
        assert_eq!(Span::from_secs(u64::MAX), Span::MAX);
        assert_eq!(CosignTime::MAX.to_log_time(), LogTime::MAX);
    }
}
