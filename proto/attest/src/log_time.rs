//! Time, as an input: leader-stamped milliseconds, spans, and the seconds of a cosignature.
//!
//! Nothing here reads a clock. Milliseconds and seconds are two types, and a [`LogTime`] has a floor
//! (September 2001), so that seconds given as milliseconds are refused instead of believed.
//!
//! `Display` is the number, as the grammar writes it. What people read is `utc()` and `words()`.

use std::fmt::{Display, Formatter, Result as FmtResult};

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

    /// For people: `2026-09-21T14:13:20Z`, with milliseconds where there are any.
    #[must_use]
    pub const fn utc(self) -> Utc {
        Utc { seconds: self.0 / 1_000, ms: self.0 % 1_000 }
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

    /// For people: `10m`, `15.001s`.
    #[must_use]
    pub const fn words(self) -> Words {
        Words(self.0)
    }

    /// Both spans one after the other, at most [`Span::MAX`].
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(U63_MAX))
    }
}

/// A time as people read it: RFC 3339 in UTC. Beyond the year 9999 it stays a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    seconds: u64,
    ms: u64,
}

impl Display for Utc {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        /// 1 January 10000.
        const FIVE_DIGITS: u64 = 253_402_300_800;
        let Self { seconds, ms } = *self;
        if seconds >= FIVE_DIGITS {
            return write!(formatter, "{seconds}s after 1970");
        }
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if ms > 0 {
            write!(formatter, ".{ms:03}")?;
        }
        formatter.write_str("Z")
    }
}

/// Year, month and day of a day since 1970. Years are counted from March, so that the leap day is
/// the last of its year: 1 March 0000 is day -719,468.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// A span as people read it: `1d2h`, `10m`, `15.001s`, `250ms`. Exact, and without a blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(u64);

impl Display for Words {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        if self.0 > 0 && self.0 < 1_000 {
            return write!(formatter, "{}ms", self.0);
        }
        let (mut seconds, ms) = (self.0 / 1_000, self.0 % 1_000);
        for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
            if seconds >= length {
                write!(formatter, "{}{unit}", seconds / length)?;
                seconds %= length;
            }
        }
        match ms {
            0 if seconds == 0 && self.0 > 0 => Ok(()),
            0 => write!(formatter, "{seconds}s"),
            _ => write!(formatter, "{seconds}.{ms:03}s"),
        }
    }
}

impl CosignTime {
    /// For people: `2026-09-21T14:13:20Z`.
    #[must_use]
    pub const fn utc(self) -> Utc {
        Utc { seconds: self.0, ms: 0 }
    }

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
    fn times_read_as_people_write_them() {
        let table = [
            (1_000_000_000_000, "2001-09-09T01:46:40Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00Z"),
            (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "253402300800s after 1970"),
        ];
        for (ms, text) in table {
            assert_eq!(LogTime::new(ms).unwrap().utc().to_string(), text);
        }
        assert_eq!(
            CosignTime::new(1_790_000_000).unwrap().utc().to_string(),
            "2026-09-21T14:13:20Z"
        );
        assert_eq!(CosignTime::MAX.utc().to_string(), "9223372036854775807s after 1970");
    }

    #[test]
    fn spans_read_as_people_write_them() {
        let table = [
            (0, "0s"),
            (7, "7ms"),
            (1_000, "1s"),
            (15_001, "15.001s"),
            (60_000, "1m"),
            (3_600_001, "1h0.001s"),
            (90_061_000, "1d1h1m1s"),
        ];
        for (ms, text) in table {
            assert_eq!(Span::from_millis(ms).words().to_string(), text);
        }
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
