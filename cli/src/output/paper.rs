//! A page for eyes: lines, aligned facts, tables. Every colour stands beside a word or a sign.

use std::fmt::{Display, Write};

use comfy_table::{ContentArrangement, Table, presets};

use super::{TimeFormat, time};
use crate::failure::Failure;

/// What a piece of text means. A colour is never the only carrier of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Good news.
    Good,
    /// Needs attention.
    Warn,
    /// Bad news.
    Bad,
    /// Secondary.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Tone::Good => "\u{1b}[32m",
            Tone::Warn => "\u{1b}[33m",
            Tone::Bad => "\u{1b}[31m",
            Tone::Dim => "\u{1b}[2m",
            Tone::Strong => "\u{1b}[1m",
        }
    }
}

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Paper {
    text: String,
    is_colored: bool,
    time: TimeFormat,
    now: u64,
}

impl Paper {
    /// An empty page.
    pub(super) fn new(is_colored: bool, time: TimeFormat) -> Self {
        Self { text: String::new(), is_colored, time, now: time::now_ms() }
    }

    /// The finished page.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Text in a tone.
    pub(crate) fn tone(&self, tone: Tone, text: impl Display) -> String {
        if self.is_colored { format!("{}{text}\u{1b}[0m", tone.code()) } else { text.to_string() }
    }

    /// A time beside now.
    pub(crate) fn time(&self, ms: u64) -> String {
        time::shown(ms, self.now, self.time)
    }

    /// One line.
    pub(crate) fn line(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{text}");
    }

    /// A heading, after an empty line where something stands above.
    pub(crate) fn heading(&mut self, text: impl Display) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.tone(Tone::Strong, text);
        self.line(text);
    }

    /// Aligned facts, one a line. A fact without a value is left out.
    pub(crate) fn facts(&mut self, facts: &[(&str, String)]) {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            self.line(format_args!("{name:width$}  {value}"));
        }
    }

    /// A table, or `none` where there is no row.
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) {
        if rows.is_empty() {
            let none = self.tone(Tone::Dim, "none");
            self.line(none);
            return;
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.iter().map(|name| name.to_uppercase()))
            .add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }
}

/// Draws a failure: what and why, when, how to go on.
pub(super) fn failure(paper: &mut Paper, failure: &Failure) {
    let error = paper.tone(Tone::Bad, "error:");
    paper.line(format_args!("{error} {}", failure.message));
    let mut facts = vec![("reason", failure.reason.clone())];
    if let Some(next) = &failure.next_allowed {
        facts.push(("next allowed at", next.clone()));
    }
    if let Some(remedy) = failure.remedy {
        facts.push(("remedy", remedy.to_owned()));
    }
    if let Some(help) = &failure.help {
        facts.push(("help", help.clone()));
    }
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        paper.line(format_args!("  {name:width$}  {value}"));
    }
}
