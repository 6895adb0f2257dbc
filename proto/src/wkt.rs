//! Google's `Timestamp` and `Duration`, with their JSON forms (RFC 3339, `"1.5s"`).
//!
//! The wire form is Google's; the types are ours because the common JSON ones bring a second time
//! library. Log time has milliseconds, and `convert::time` goes between the two.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// `google.protobuf.Timestamp`: a point in time, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds of the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `google.protobuf.Duration`: a span of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds beyond them, of the same sign.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A time or span that its JSON form cannot hold, or text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimeTextError {
    /// Outside of the years 0001 to 9999, or the nanoseconds are no fraction of a second.
    #[error("{seconds} s and {nanos} ns is no representable time")]
    OutOfRange {
        /// The seconds.
        seconds: i64,
        /// The nanoseconds.
        nanos: i32,
    },
    /// Not RFC 3339.
    #[error("`{text}` is no RFC 3339 time")]
    NotRfc3339 {
        /// The text.
        text: String,
    },
    /// Not decimal seconds followed by `s`.
    #[error("`{text}` is no duration such as `1.5s`")]
    NotSeconds {
        /// The text.
        text: String,
    },
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC; a time that has no such form prints its seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::new(self.seconds, self.nanos) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}s", self.seconds),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimeTextError;

    fn from_str(text: &str) -> Result<Self, TimeTextError> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| TimeTextError::NotRfc3339 { text: text.to_owned() })?;
        let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
        // jiff rounds towards zero before 1970, Google's nanoseconds always count forward.
        Ok(if nanos < 0 {
            Self { seconds: seconds - 1, nanos: nanos + NANOS_PER_SECOND }
        } else {
            Self { seconds, nanos }
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::new(self.seconds, self.nanos).map_err(|_| {
            serde::ser::Error::custom(TimeTextError::OutOfRange {
                seconds: self.seconds,
                nanos: self.nanos,
            })
        })?;
        serializer.collect_str(&time)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for Duration {
    /// Decimal seconds and `s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds < 0 || self.nanos < 0 {
            f.write_str("-")?;
        }
        write!(f, "{}", self.seconds.unsigned_abs())?;
        let nanos = self.nanos.unsigned_abs();
        if nanos != 0 {
            let digits = format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

impl FromStr for Duration {
    type Err = TimeTextError;

    fn from_str(text: &str) -> Result<Self, TimeTextError> {
        let refused = || TimeTextError::NotSeconds { text: text.to_owned() };
        let body = text.strip_suffix('s').ok_or_else(refused)?;
        let (sign, body) = body.strip_prefix('-').map_or((1, body), |rest| (-1, rest));
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(refused());
        }
        let seconds: i64 = whole.parse().map_err(|_| refused())?;
        let nanos: i32 = format!("{fraction:0<9}").parse().map_err(|_| refused())?;
        Ok(Self { seconds: sign * seconds, nanos: i32::try_from(sign).unwrap_or(1) * nanos })
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl From<std::time::Duration> for Duration {
    fn from(span: std::time::Duration) -> Self {
        Self {
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
        }
    }
}

impl TryFrom<Duration> for std::time::Duration {
    type Error = TimeTextError;

    /// Refuses negative spans and nanoseconds beyond a second.
    fn try_from(span: Duration) -> Result<Self, TimeTextError> {
        let refused = TimeTextError::OutOfRange { seconds: span.seconds, nanos: span.nanos };
        let seconds = u64::try_from(span.seconds).map_err(|_| refused.clone())?;
        let nanos = u32::try_from(span.nanos).map_err(|_| refused.clone())?;
        if span.nanos >= NANOS_PER_SECOND {
            return Err(refused);
        }
        Ok(Self::new(seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339_and_come_back() {
        for text in ["2026-01-31T05:06:51Z", "2026-01-31T05:06:51.25Z", "1969-12-31T23:59:59.5Z"] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&time).unwrap(), format!("\"{text}\""));
            assert!((0..NANOS_PER_SECOND).contains(&time.nanos));
        }
        assert!("yesterday".parse::<Timestamp>().is_err());
        let far = Timestamp { seconds: i64::MAX, nanos: 0 };
        assert!(serde_json::to_string(&far).is_err(), "no panic and no invented year");
    }

    #[test]
    fn spans_print_as_decimal_seconds_and_come_back() {
        for (text, seconds, nanos) in
            [("0s", 0, 0), ("1.5s", 1, 500_000_000), ("-0.25s", 0, -250_000_000), ("-3s", -3, 0)]
        {
            let span = Duration { seconds, nanos };
            assert_eq!(span.to_string(), text);
            assert_eq!(text.parse::<Duration>().unwrap(), span);
        }
        for text in ["", "s", "1", "1.s1", "1.0000000001s", "--1s", "+1s", "1 s"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        assert!(std::time::Duration::try_from(Duration { seconds: -1, nanos: 0 }).is_err());
    }
}
