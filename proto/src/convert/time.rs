//! Log time in milliseconds and Google's seconds and nanoseconds.

use quorate_attest::log_time::{CosignTime, LogTime, Span};

use super::ConversionError;
use crate::wkt::{Duration, Timestamp};

const MS_PER_SECOND: u64 = 1_000;
const NANOS_PER_MS: u32 = 1_000_000;

impl From<LogTime> for Timestamp {
    fn from(time: LogTime) -> Self {
        let (seconds, nanos) = split(time.get());
        Self { seconds, nanos }
    }
}

impl From<CosignTime> for Timestamp {
    fn from(time: CosignTime) -> Self {
        Self { seconds: i64::try_from(time.get()).unwrap_or(i64::MAX), nanos: 0 }
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        let (seconds, nanos) = split(span.get());
        Self { seconds, nanos }
    }
}

impl TryFrom<Timestamp> for LogTime {
    type Error = ConversionError;

    /// Refuses times before the floor of log time, and fractions of a millisecond.
    fn try_from(time: Timestamp) -> Result<Self, ConversionError> {
        let refused = || ConversionError::OutOfRange { field: "time", value: time.to_string() };
        let ms = join(time.seconds, time.nanos).ok_or_else(refused)?;
        Self::new(ms).map_err(|_| refused())
    }
}

impl TryFrom<Duration> for Span {
    type Error = ConversionError;

    /// Refuses negative spans, and fractions of a millisecond.
    fn try_from(span: Duration) -> Result<Self, ConversionError> {
        let refused = || ConversionError::OutOfRange { field: "span", value: span.to_string() };
        let ms = join(span.seconds, span.nanos).ok_or_else(refused)?;
        Self::new(ms).map_err(|_| refused())
    }
}

fn split(ms: u64) -> (i64, i32) {
    let seconds = i64::try_from(ms / MS_PER_SECOND).unwrap_or(i64::MAX);
    let nanos = u32::try_from(ms % MS_PER_SECOND).unwrap_or(0) * NANOS_PER_MS;
    (seconds, i32::try_from(nanos).unwrap_or(0))
}

fn join(seconds: i64, nanos: i32) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanos = u32::try_from(nanos).ok().filter(|n| *n < 1_000_000_000)?;
    if nanos % NANOS_PER_MS != 0 {
        return None;
    }
    seconds.checked_mul(MS_PER_SECOND)?.checked_add(u64::from(nanos / NANOS_PER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_time_survives_the_wire_to_the_millisecond() {
        let time = LogTime::new(1_790_000_000_123).unwrap();
        let wire = Timestamp::from(time);
        assert_eq!(wire, Timestamp { seconds: 1_790_000_000, nanos: 123_000_000 });
        assert_eq!(LogTime::try_from(wire), Ok(time));
        let span = Span::from_millis(2_500);
        assert_eq!(Duration::from(span).to_string(), "2.5s");
        assert_eq!(Span::try_from(Duration::from(span)), Ok(span));
    }

    #[test]
    fn what_is_no_log_time_is_refused() {
        for (seconds, nanos) in
            [(0, 0), (-1, 0), (1_790_000_000, 1), (1_790_000_000, -1), (i64::MAX, 0)]
        {
            assert!(LogTime::try_from(Timestamp { seconds, nanos }).is_err(), "{seconds} {nanos}");
        }
        assert!(Span::try_from(Duration { seconds: -1, nanos: 0 }).is_err());
    }
}
