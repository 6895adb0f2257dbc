//! A playbook's file as it is written: every key that may stand in it, and no other.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A text with the place where it stands, so that a refusal can show it.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) schema: Spanned<u32>,
    pub(super) id: Text,
    pub(super) title: Text,
    pub(super) system: Text,
    pub(super) target: Text,
    /// Nothing is ever executed: the incident is recorded, timed and escalated.
    #[serde(default)]
    pub(super) record_only: bool,
    pub(super) detect: Detect,
    #[serde(default)]
    pub(super) step: Vec<Step>,
    pub(super) witness: Vec<Text>,
    pub(super) closing: Vec<Text>,
    pub(super) quiet: Text,
    pub(super) severity: Severity,
    pub(super) rto: Option<Rto>,
    pub(super) escalation: Escalation,
    pub(super) evidence: Evidence,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Detect {
    pub(super) source: Text,
    #[serde(rename = "match")]
    pub(super) matching: Option<Text>,
    pub(super) signal: Vec<Signal>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Signal {
    pub(super) name: Text,
    pub(super) is: Text,
    #[serde(rename = "for")]
    pub(super) lasting: Text,
    pub(super) observers: Spanned<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Step {
    pub(super) name: Text,
    pub(super) kind: Text,
    pub(super) class: Text,
    #[serde(default)]
    pub(super) automatic: bool,
    pub(super) attempts: Spanned<u32>,
    pub(super) pause: Option<Text>,
    pub(super) deadline: Text,
    pub(super) after: Option<Text>,
    pub(super) on: Option<Vec<Text>>,
    #[serde(default)]
    pub(super) params: BTreeMap<String, Text>,
    #[serde(default)]
    pub(super) needs: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Severity {
    pub(super) level: Text,
    pub(super) first_response: Text,
    pub(super) resolution: Text,
    #[serde(default)]
    pub(super) rise: Vec<Rise>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rise {
    pub(super) to: Text,
    pub(super) after: Option<Text>,
    pub(super) when: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rto {
    pub(super) target: Text,
    pub(super) max: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Escalation {
    pub(super) to: Spanned<Vec<Text>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Evidence {
    pub(super) file: Text,
    #[serde(default)]
    pub(super) also: Vec<Text>,
}
