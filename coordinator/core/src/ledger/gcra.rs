//! One rate limit: one word of state, and the generic cell rate algorithm of `governor` around it.
//!
//! No limiter object is kept. Each use builds one around the word, asks it once and takes it apart
//! again, so that the whole state of a limit is the word in the replicated ledger and its only
//! clock is the log's time. A leader change, a restart or a snapshot cannot widen a window.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use quorate_attest::log_time::{LogTime, Span};

const NANOS_PER_MS: u64 = 1_000_000;

/// A rate: `burst` units may be saved up, one comes back per `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    burst: NonZeroU32,
    period: Span,
}

/// The numbers are no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a burst of {burst} per {period_ms} ms is no rate: both must be positive and their product fit"
)]
pub struct RateError {
    /// The burst asked for.
    pub burst: u64,
    /// The period asked for, in milliseconds.
    pub period_ms: u64,
}

/// A moment of log time that governor can count: nanoseconds.
struct LogClock<'a>(&'a Cell<u64>);

impl Clock for LogClock<'_> {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.get().into()
    }
}

/// The state of one limit. A refusal leaves it untouched.
struct Word(Cell<Option<u64>>);

impl StateStore for Word {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (answer, next) = f(self.0.get().map(Nanos::from))?;
        self.0.set(Some(next.as_u64()));
        Ok(answer)
    }
}

impl Rate {
    /// A rate from a charter's numbers.
    ///
    /// # Errors
    /// Refuses zero, and products that overflow the nanoseconds of a word.
    pub(crate) fn new(burst: u64, period: Span) -> Result<Self, RateError> {
        let error = RateError { burst, period_ms: period.get() };
        let count = u32::try_from(burst).ok().and_then(NonZeroU32::new).ok_or(error)?;
        // Half of the range is left for log time itself (milliseconds times a million: year 2262).
        period
            .get()
            .checked_mul(NANOS_PER_MS)
            .and_then(|nanos| nanos.checked_mul(burst))
            .filter(|nanos| *nanos > 0 && *nanos <= u64::MAX / 2)
            .ok_or(error)?;
        Ok(Self { burst: count, period })
    }

    /// How many units may be saved up.
    pub(crate) fn burst(self) -> u64 {
        u64::from(self.burst.get())
    }

    /// One unit comes back per this span.
    pub(crate) fn period(self) -> Span {
        self.period
    }

    fn quota(self) -> Option<Quota> {
        Quota::with_period(Duration::from_millis(self.period.get()))
            .map(|quota| quota.allow_burst(self.burst))
    }

    /// Takes one unit at `now`: the next word, or the time from which one can be taken.
    pub(crate) fn take(self, word: Option<u64>, now: LogTime) -> Result<Option<u64>, LogTime> {
        // `Rate::new` refuses a period of zero, the only one without a quota.
        let Some(quota) = self.quota() else { return Err(now) };
        // It MUST read 0 while the limiter is built: the limiter keeps that as its start.
        let clock = Cell::new(0);
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(
            quota,
            Word(Cell::new(word)),
            LogClock(&clock),
        );
        clock.set(nanos(now));
        match limiter.check() {
            Ok(()) => Ok(limiter.into_state_store().0.get()),
            Err(refused) => Err(ceil_ms(refused.earliest_possible().as_u64(), now)),
        }
    }

    /// Units that could be taken at `now`.
    pub(crate) fn left(self, word: Option<u64>, now: LogTime) -> u64 {
        let period = self.period.get().saturating_mul(NANOS_PER_MS);
        let owed = word.unwrap_or(0).saturating_sub(nanos(now));
        period.saturating_mul(self.burst()).saturating_sub(owed).checked_div(period).unwrap_or(0)
    }
}

/// Whether a word says no more than no word at all.
pub(crate) fn is_spent(word: u64, now: LogTime) -> bool {
    word <= nanos(now)
}

fn nanos(time: LogTime) -> u64 {
    time.get().saturating_mul(NANOS_PER_MS)
}

/// The first millisecond at or after `nanos`; `now` where that is no time of ours.
fn ceil_ms(nanos: u64, now: LogTime) -> LogTime {
    LogTime::new(nanos.div_ceil(NANOS_PER_MS)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + ms).unwrap()
    }

    fn rate(burst: u64, period_ms: u64) -> Rate {
        Rate::new(burst, Span::from_millis(period_ms)).unwrap()
    }

    #[test]
    fn the_named_time_is_accepted_and_a_millisecond_earlier_is_not() {
        let rate = rate(2, 600_000);
        let word = rate.take(None, at(0)).unwrap();
        let word = rate.take(word, at(1)).unwrap();
        let next = rate.take(word, at(2)).unwrap_err();
        assert_eq!(next, at(600_000));
        assert_eq!(rate.take(word, at(599_999)), Err(next));
        assert!(rate.take(word, next).is_ok());
    }

    #[test]
    fn zero_and_overflow_are_no_rates() {
        assert!(Rate::new(0, Span::from_millis(1)).is_err());
        assert!(Rate::new(1, Span::from_millis(0)).is_err());
        assert!(Rate::new(u64::from(u32::MAX), Span::from_millis(u64::from(u32::MAX))).is_err());
        assert!(Rate::new(u64::from(u32::MAX) + 1, Span::from_millis(1)).is_err());
    }

    proptest! {
        /// No window of `w` ms ever holds more than burst + w / period units.
        #[test]
        fn every_window_holds_no_more_than_the_rate(
            burst in 1_u64..5,
            period in 1_u64..1000,
            steps in prop::collection::vec(0_u64..700, 1..200),
        ) {
            let rate = rate(burst, period);
            let (mut now, mut word, mut taken) = (0, None, Vec::new());
            for step in steps {
                now += step;
                let left = rate.left(word, at(now));
                match rate.take(word, at(now)) {
                    Ok(next) => {
                        prop_assert!(left > 0);
                        prop_assert_eq!(rate.left(next, at(now)), left - 1);
                        word = next;
                        taken.push(now);
                    }
                    Err(next) => {
                        prop_assert_eq!(left, 0);
                        prop_assert!(next > at(now));
                    }
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (j, to) in taken.iter().enumerate().skip(i) {
                    prop_assert!((j - i + 1) as u64 <= burst + (to - from) / period);
                }
            }
        }
    }
}
