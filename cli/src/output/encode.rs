//! Answers and failures as JSON and YAML.

use serde::Serialize;

use super::Format;
use crate::failure::{Failure, LocalReason};

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::local(LocalReason::FileFailed, format!("the answer cannot be encoded: {error}"))
}

/// One JSON document, indented, with a last line end.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(refused)
}

/// One JSON object on one line.
pub(super) fn line<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(refused)
}

/// The same data in YAML. Ambiguous words come out quoted.
pub(super) fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    let value = serde_json::to_value(value).map_err(refused)?;
    let mut text = serde_saphyr::to_string(&value).map_err(refused)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a Failure,
}

/// A failure for programs, or `None` where eyes read it.
pub(super) fn failure(failure: &Failure, format: Format) -> Option<String> {
    let envelope = Envelope { error: failure };
    match format {
        Format::Table => None,
        Format::Json | Format::Jsonl => line(&envelope).ok(),
        Format::Yaml => yaml(&envelope).ok(),
    }
}
