//! From the file to a [`Playbook`]: every value is checked where it stands.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use quorate_attest::id::Digest;
use quorate_attest::ladder::{Rto, Severity};
use quorate_attest::log_time::Span;
use toml::Spanned;

use super::part::{Comparison, Matching};
use super::schema::{self, Text};
use super::{
    BYTES_MAX, Check, Condition, Detect, Place, Playbook, PlaybookRefused, Rise, SCHEMA, Signal,
    Source, TargetKind, Urgency, Why,
};

/// The shortest time of any kind.
pub(super) const SHORTEST: Span = Span::from_secs(1);
/// The longest time of any kind: a year.
const LONGEST: Span = Span::from_secs(366 * 24 * 3_600);
/// What may be put into an evidence file's name.
const BLANKS: [&str; 5] = ["<cluster>", "<number>", "<kind>", "<date>", "<incident>"];

impl Playbook {
    /// Reads and judges a playbook.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key, value and line.
    pub fn parse(text: &str) -> Result<Self, PlaybookRefused> {
        let source = Paper(text);
        if text.len() > BYTES_MAX {
            let why = Why::Toml(format!("the file has {} bytes, at most {BYTES_MAX}", text.len()));
            return Err(source.refuse("file", 0..0, why));
        }
        let file: schema::File = toml::from_str(text).map_err(|error| source.toml(&error))?;
        source.file(file)
    }
}

/// The text, to show where something stands in it.
pub(super) struct Paper<'t>(&'t str);

pub(super) type Read<T> = Result<T, PlaybookRefused>;

impl Paper<'_> {
    pub(super) fn refuse(&self, key: &str, span: Range<usize>, why: Why) -> PlaybookRefused {
        let before = self.0.get(..span.start).unwrap_or_default();
        let value = self.0.get(span).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let value = value.split('\n').next().unwrap_or_default().chars().take(80).collect();
        PlaybookRefused { at: Box::new(Place { line, key: key.to_owned(), value }), why }
    }

    /// What TOML itself refuses: the key is the one of that line.
    fn toml(&self, error: &toml::de::Error) -> PlaybookRefused {
        let span = error.span().unwrap_or(0..0);
        let from = self.0.get(..span.start).unwrap_or_default().rfind('\n').map_or(0, |at| at + 1);
        let line = self.0.get(from..).unwrap_or_default().lines().next().unwrap_or_default();
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let mut refused = self.refuse(key.trim(), span, Why::Toml(error.message().to_owned()));
        refused.at.value = value.trim().chars().take(80).collect();
        refused
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&self, key: &str, text: &Text) -> Read<T> {
        let parsed = text.get_ref().parse::<T>();
        parsed.map_err(|why| self.refuse(key, text.span(), Why::Unreadable(why.to_string())))
    }

    pub(super) fn word<T>(
        &self,
        key: &str,
        text: &Text,
        (what, known): (&'static str, fn() -> String),
        of: fn(&str) -> Option<T>,
    ) -> Read<T> {
        of(text.get_ref())
            .ok_or_else(|| self.refuse(key, text.span(), Why::Unknown { what, known: known() }))
    }

    pub(super) fn time(&self, key: &str, text: &Text, min: Span) -> Read<Span> {
        let read = humantime::parse_duration(text.get_ref())
            .map_err(|why| self.refuse(key, text.span(), Why::Unreadable(why.to_string())))?;
        let span = Span::from_millis(u64::try_from(read.as_millis()).unwrap_or(u64::MAX));
        if (min..=LONGEST).contains(&span) {
            return Ok(span);
        }
        let (min, max) = (min.words().to_string(), LONGEST.words().to_string());
        Err(self.refuse(key, text.span(), Why::OutOfRange { min, max }))
    }

    pub(super) fn number(&self, key: &str, number: &Spanned<u32>, max: u32) -> Read<u32> {
        let found = *number.get_ref();
        if (1..=max).contains(&found) {
            return Ok(found);
        }
        let (min, max) = ("1".to_owned(), max.to_string());
        Err(self.refuse(key, number.span(), Why::OutOfRange { min, max }))
    }

    /// A list of different values.
    pub(super) fn list<T: Ord + Clone>(
        &self,
        key: &str,
        texts: &[Text],
        read: impl Fn(&str, &Text) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut seen = BTreeSet::new();
        let mut values = Vec::new();
        for text in texts {
            let value = read(key, text)?;
            if !seen.insert(value.clone()) {
                return Err(self.refuse(key, text.span(), Why::Twice));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn file(&self, file: schema::File) -> Read<Playbook> {
        if *file.schema.get_ref() != SCHEMA {
            let why = Why::Schema { expected: SCHEMA };
            return Err(self.refuse("schema", file.schema.span(), why));
        }
        let steps = self.steps(&file)?;
        let closing = self.list("closing", &file.closing, |key, text| {
            self.word(key, text, (Check::WHAT, Check::known), Check::of)
        })?;
        let people = self.list("escalation.to", file.escalation.to.get_ref(), |key, text| {
            self.parse(key, text)
        })?;
        if people.is_empty() {
            return Err(self.refuse("escalation.to", file.escalation.to.span(), Why::Empty));
        }
        if closing.is_empty() {
            return Err(self.refuse("closing", file.id.span(), Why::Empty));
        }
        let rto = file.rto.as_ref().map(|rto| self.rto(rto)).transpose()?;
        let also = file.evidence.also.iter();
        Ok(Playbook {
            id: self.parse("id", &file.id)?,
            digest: Digest::of(self.0.as_bytes()),
            title: self.parse("title", &file.title)?,
            system: self.parse("system", &file.system)?,
            target: self.word(
                "target",
                &file.target,
                (TargetKind::WHAT, TargetKind::known),
                TargetKind::of,
            )?,
            detect: self.detect(&file.detect)?,
            steps,
            witness: self.list("witness", &file.witness, |key, text| self.parse(key, text))?,
            closing,
            quiet: self.time("quiet", &file.quiet, SHORTEST)?,
            urgency: self.urgency(&file.severity)?,
            rto,
            people,
            evidence: self.pattern("evidence.file", &file.evidence.file)?,
            evidence_also: also
                .map(|text| self.pattern("evidence.also", text))
                .collect::<Read<_>>()?,
        })
    }

    fn detect(&self, detect: &schema::Detect) -> Read<Detect> {
        let matching = match &detect.matching {
            None => Matching::Any,
            Some(text) => {
                self.word("detect.match", text, (Matching::WHAT, Matching::known), Matching::of)?
            }
        };
        let source = &detect.source;
        let signals = detect.signal.iter().enumerate();
        let signals: Vec<_> =
            signals.map(|(at, signal)| self.signal(at + 1, signal)).collect::<Read<_>>()?;
        if signals.is_empty() {
            return Err(self.refuse("detect.signal", source.span(), Why::Empty));
        }
        Ok(Detect {
            source: self.word(
                "detect.source",
                source,
                (Source::WHAT, Source::known),
                Source::of,
            )?,
            matching,
            signals,
        })
    }

    fn signal(&self, at: usize, signal: &schema::Signal) -> Read<Signal> {
        let key = |name: &str| format!("detect.signal.{at}.{name}");
        let is = condition(signal.is.get_ref()).ok_or_else(|| {
            let known = format!(
                "down, unreachable, absent, present, or one of {} and a value",
                Comparison::known()
            );
            let why = Why::Unknown { what: Comparison::WHAT, known };
            self.refuse(&key("is"), signal.is.span(), why)
        })?;
        let observers = self.number(&key("observers"), &signal.observers, 63)?;
        let observers_at = *self.refuse(&key("observers"), signal.observers.span(), Why::Empty).at;
        Ok(Signal {
            name: self.parse(&key("name"), &signal.name)?,
            is,
            lasting: self.time(&key("for"), &signal.lasting, Span::ZERO)?,
            observers,
            observers_at,
        })
    }

    fn urgency(&self, severity: &schema::Severity) -> Read<Urgency> {
        let first = self.time("severity.first-response", &severity.first_response, SHORTEST)?;
        let rise = |rise: &schema::Rise| -> Read<Rise> {
            if rise.after.is_none() && rise.when.is_none() {
                let why = Why::Unreadable("it says neither after how long nor when".to_owned());
                return Err(self.refuse("severity.rise", rise.to.span(), why));
            }
            let after = rise.after.as_ref();
            let when = rise.when.as_ref();
            Ok(Rise {
                to: self.severity("severity.rise.to", &rise.to)?,
                after: after
                    .map(|text| self.time("severity.rise.after", text, SHORTEST))
                    .transpose()?,
                when: when.map(|text| self.parse("severity.rise.when", text)).transpose()?,
            })
        };
        Ok(Urgency {
            level: self.severity("severity.level", &severity.level)?,
            first_response: first,
            resolution: self.time("severity.resolution", &severity.resolution, first)?,
            rise: severity.rise.iter().map(rise).collect::<Read<_>>()?,
        })
    }

    fn severity(&self, key: &str, text: &Text) -> Read<Severity> {
        let known = || "p1, p2, p3, p4".to_owned();
        self.word(key, text, ("severity", known), |word| word.parse().ok())
    }

    fn rto(&self, rto: &schema::Rto) -> Read<Rto> {
        let target = self.time("rto.target", &rto.target, Span::ZERO)?;
        Ok(Rto { target, max: self.time("rto.max", &rto.max, target)? })
    }

    /// A path below the evidence directory; the blanks in it are filled when it is written.
    fn pattern(&self, key: &str, text: &Text) -> Read<String> {
        let pattern = text.get_ref();
        let filled =
            BLANKS.iter().fold(pattern.clone(), |filled, blank| filled.replace(blank, "x"));
        let plain = |character: char| {
            character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '/')
        };
        let inside = filled.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if inside && filled.chars().all(plain) {
            return Ok(pattern.clone());
        }
        let why = format!(
            "an evidence file is a relative path of letters, digits, `.`, `_`, `-` and {}",
            BLANKS.join(", ")
        );
        Err(self.refuse(key, text.span(), Why::Unreadable(why)))
    }
}

fn condition(text: &str) -> Option<Condition> {
    let named = match text {
        "down" => Some(Condition::Down),
        "unreachable" => Some(Condition::Unreachable),
        "absent" => Some(Condition::Absent),
        "present" => Some(Condition::Present),
        _ => None,
    };
    if named.is_some() {
        return named;
    }
    let (with, value) = text.split_once(' ')?;
    let with = Comparison::of(with)?;
    let is_number = value.parse::<f64>().is_ok_and(f64::is_finite);
    let is_word = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = match with {
        Comparison::Equals | Comparison::Differs => is_word,
        Comparison::Above | Comparison::Below | Comparison::AtLeast | Comparison::AtMost => {
            is_number
        }
    };
    fits.then(|| Condition::Compares { with, value: value.to_owned() })
}
