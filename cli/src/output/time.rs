//! Times and spans as people and programs read them. Milliseconds since 1970 inside, RFC 3339
//! outside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_proto::wkt::Timestamp;

use super::TimeFormat;

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-01-31T05:06:51Z`, with milliseconds where there are any: letter for letter as the same time
/// stands in the JSON of a message. A time beyond the calendar stays a number of seconds.
pub(crate) fn rfc3339(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0);
    Timestamp { seconds, nanos }.to_string()
}

/// `1h 2m`, `2m 3s`, `3s`, `250ms`: the two largest units that say something.
pub(crate) fn span(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let units = [("d", 86_400_u64), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut rest = ms / 1_000;
    let mut parts = Vec::new();
    for (name, seconds) in units {
        if rest >= seconds {
            parts.push(format!("{}{name}", rest / seconds));
            rest %= seconds;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

/// A time in a table, next to `now`.
pub(crate) fn shown(ms: u64, now: u64, format: TimeFormat) -> String {
    let absolute = rfc3339(ms);
    match format {
        TimeFormat::Iso8601 => absolute,
        TimeFormat::Relative if ms > now => format!("in {} ({absolute})", span(ms - now)),
        TimeFormat::Relative => format!("{} ago ({absolute})", span(now - ms)),
    }
}

/// Parses a span such as `90s`, `2h 30m` or `1d`.
///
/// # Errors
/// The words are no span, in humantime's terms.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 90s, 2h or 1d"))
}

/// A span in whole milliseconds.
pub(crate) fn ms_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_on_both_sides_of_now() {
        let now = 1_790_000_000_000;
        assert_eq!(
            shown(now - 125_000, now, TimeFormat::Relative),
            "2m 5s ago (2026-09-21T14:11:15Z)"
        );
        assert_eq!(shown(now + 59_000, now, TimeFormat::Relative), "in 59s (2026-09-21T14:14:19Z)");
        assert_eq!(shown(now, now, TimeFormat::Iso8601), "2026-09-21T14:13:20Z");
    }

    #[test]
    fn a_time_in_a_table_is_the_one_in_the_json_of_a_message() {
        let table = [
            (1_790_000_000_000, "2026-09-21T14:13:20Z"),
            (1_790_000_000_500, "2026-09-21T14:13:20.5Z"),
            (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
            (0, "1970-01-01T00:00:00Z"),
        ];
        for (ms, text) in table {
            assert_eq!(rfc3339(ms), text);
            let message: Timestamp = text.parse().unwrap();
            assert_eq!(serde_json::to_value(message).unwrap(), text);
        }
        assert_eq!(rfc3339(u64::MAX), "18446744073709551s");
    }

    #[test]
    fn spans_read_like_people_write_them() {
        let table = [(7, "7ms"), (1_000, "1s"), (61_000, "1m 1s"), (90_061_000, "1d 1h")];
        for (ms, text) in table {
            assert_eq!(span(ms), text);
        }
        assert_eq!(parse_span("2h 30m").map(ms_of), Ok(9_000_000));
        assert!(parse_span("two hours").is_err());
    }
}
