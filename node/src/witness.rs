//! The witness: what is measured before an action, so that its effect can be told afterwards.

use std::collections::BTreeMap;
use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::Digest;

/// One measurement. *Absent is not zero and unreachable is not dead.*
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Measure {
    /// It was measured.
    Value(String),
    /// It was looked for and is not there.
    Absent,
    /// It could not be measured.
    Unreachable,
}

impl Measure {
    /// The measured value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unreachable => None,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(out, "value {value}"),
            Self::Absent => out.write_str("absent"),
            Self::Unreachable => out.write_str("unreachable"),
        }
    }
}

/// Named measurements, in the order of their names. Its digest goes into the signed report.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize)]
pub struct Witness {
    measures: BTreeMap<String, Measure>,
}

impl Witness {
    /// Adds a measurement; a later one of the same name replaces it.
    #[must_use]
    pub fn with(mut self, name: &str, measure: Measure) -> Self {
        self.measures.insert(name.to_owned(), measure);
        self
    }

    /// The measurement called `name`; one that was never taken is unreachable.
    #[must_use]
    pub fn get(&self, name: &str) -> &Measure {
        self.measures.get(name).unwrap_or(&Measure::Unreachable)
    }

    /// All measurements.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Measure)> {
        self.measures.iter().map(|(name, measure)| (name.as_str(), measure))
    }

    /// The text whose digest is reported: one line per measurement.
    ///
    /// Names and values are escaped, so that two different witnesses never have one text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from("quorate-witness/v1\n");
        for (name, measure) in &self.measures {
            text.push_str(&name.escape_default().to_string());
            text.push(' ');
            text.push_str(&measure.to_string().escape_default().to_string());
            text.push('\n');
        }
        text
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }
}

impl FromIterator<(String, Measure)> for Witness {
    fn from_iter<T: IntoIterator<Item = (String, Measure)>>(measures: T) -> Self {
        Self { measures: measures.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_unreachable_and_empty_have_different_digests() {
        let digests: std::collections::BTreeSet<_> = [
            Witness::default().with("pid", Measure::Absent),
            Witness::default().with("pid", Measure::Unreachable),
            Witness::default().with("pid", Measure::Value(String::new())),
            Witness::default(),
        ]
        .iter()
        .map(|witness| witness.digest().to_string())
        .collect();
        assert_eq!(digests.len(), 4);
    }

    #[test]
    fn a_line_end_inside_a_value_does_not_forge_a_second_measurement() {
        let forged = Witness::default().with("a", Measure::Value("1\nb absent".into()));
        let honest =
            Witness::default().with("a", Measure::Value("1".into())).with("b", Measure::Absent);
        assert_ne!(forged.digest(), honest.digest());
        assert_eq!(forged.text().lines().count(), 2);
    }

    #[test]
    fn what_was_never_measured_is_unreachable() {
        assert_eq!(Witness::default().get("height"), &Measure::Unreachable);
    }
}
