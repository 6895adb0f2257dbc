//! This machine's clock as log time: for expiries of what is signed here, never for a judgement.

use std::time::Duration;

use quorate_attest::log_time::LogTime;

use crate::failure::Failure;
use crate::output::time::{ms_of, now_ms};

/// Now.
///
/// # Errors
/// The clock says that it is before 2001: every expiry would be refused.
pub(crate) fn now() -> Result<LogTime, Failure> {
    LogTime::new(now_ms()).map_err(|error| Failure::usage(format!("the clock is wrong: {error}")))
}

/// `span` from now.
///
/// # Errors
/// The clock is wrong, or the span leads out of time.
pub(crate) fn in_span(span: Duration) -> Result<LogTime, Failure> {
    LogTime::new(now_ms().saturating_add(ms_of(span)))
        .map_err(|error| Failure::usage(format!("the span is too long: {error}")))
}
