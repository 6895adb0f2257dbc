//! How each answer looks to eyes. Programs get the message itself, in the proto3 JSON mapping: the
//! same fields as over gRPC and HTTP.

mod agent;
mod automation;
mod charter;
mod decision;
mod incident;
mod leaf;
mod proposal;
mod quorum;
mod status;
mod tally;

pub(crate) use proposal::next_votes;
pub(crate) use tally::{progress, tally_lines};

use quorate_proto::pb::v1::ReadState;
use quorate_proto::wkt::{Duration, Timestamp};

use crate::output::{Paper, Tone};

/// The word of an enum value: `DECISION_STATE_EFFECTIVE` is `effective`.
macro_rules! word {
    ($enum:ty, $raw:expr, $prefix:literal) => {
        <$enum>::try_from($raw).map_or_else(
            |_| format!("unknown {}", $raw),
            |value| {
                let word = value.as_str_name().trim_start_matches($prefix);
                let word = word.to_lowercase().replace('_', "-");
                if word == "unspecified" { "unknown".to_owned() } else { word }
            },
        )
    };
}
pub(crate) use word;

/// Milliseconds since 1970 of a timestamp; times before 1970 do not occur in a log.
pub(crate) fn ms(time: Option<&Timestamp>) -> Option<u64> {
    let time = time?;
    let seconds = u64::try_from(time.seconds).ok()?;
    let nanos = u64::try_from(time.nanos).ok()?;
    seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)
}

/// Milliseconds of a span.
pub(crate) fn span_ms(span: Option<&Duration>) -> Option<u64> {
    let span = span?;
    let seconds = u64::try_from(span.seconds).ok()?;
    let nanos = u64::try_from(span.nanos).ok()?;
    seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)
}

/// A time as the page shows it, empty if there is none.
pub(crate) fn at(paper: &Paper, time: Option<&Timestamp>) -> String {
    ms(time).map(|ms| paper.time(ms)).unwrap_or_default()
}

/// The last part of a key name: `ana` of `example.org/prod/operator/ana`.
pub(crate) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Key names as a short list.
pub(crate) fn lasts<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| last(name.as_ref())).collect::<Vec<_>>().join(" ")
}

/// The first twelve digits of a digest: enough to type, and accepted everywhere.
pub(crate) fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From which state a stale answer comes; says nothing of a linearizable one.
pub(crate) fn read_line(paper: &mut Paper, read: Option<&ReadState>) {
    let Some(read) = read else { return };
    let age = span_ms(read.age.as_ref()).unwrap_or(0);
    if age > 0 {
        let text = format!(
            "stale read: coordinator {}, applied {}, {} old",
            read.coordinator_id,
            read.applied_index,
            crate::output::time::span(age)
        );
        let text = paper.tone(Tone::Warn, text);
        paper.line(text);
    }
}

/// Says that the facts shown are old where no state is believed for that reason: agents tell facts
/// while a proposal is open.
pub(crate) fn stale_facts(paper: &mut Paper, is_any_known: bool, newest: Option<u64>) {
    let Some(newest) = newest.filter(|_| !is_any_known) else { return };
    let age = crate::output::time::span(crate::output::time::now_ms().saturating_sub(newest));
    let text = format!("facts are {age} old; agents refresh them once a proposal is open");
    let text = paper.tone(Tone::Warn, text);
    paper.line(text);
}

/// A message whose page is its JSON: answers that are files.
pub(crate) struct Plain<'a, T>(pub &'a T);

impl<T: serde::Serialize> serde::Serialize for Plain<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: serde::Serialize> crate::output::View for Plain<'_, T> {
    fn draw(&self, paper: &mut Paper) {
        if let Ok(text) = serde_json::to_string_pretty(self) {
            paper.line(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{ColorChoice, Format, Printer, TimeFormat, time};

    #[test]
    fn the_age_of_old_facts_is_said_in_units_and_only_where_no_state_is_known() {
        let page = |is_any_known, newest| {
            let printer = Printer::new(Format::Table, ColorChoice::Never, TimeFormat::Relative);
            let mut paper = printer.paper();
            stale_facts(&mut paper, is_any_known, newest);
            paper.into_text()
        };
        // One day, one hour and a half: the smaller units are not said, whatever passes meanwhile.
        let newest = time::now_ms() - (25 * 60 + 30) * 60_000;
        assert_eq!(
            page(false, Some(newest)),
            "facts are 1d 1h old; agents refresh them once a proposal is open\n"
        );
        assert_eq!(page(true, Some(newest)), "");
        assert_eq!(page(false, None), "");
    }
}
