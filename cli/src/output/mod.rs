//! Data to standard output, words to standard error, in the format asked for.
//!
//! `json` is one document, `jsonl` one object a line, `yaml` the same data as `json`, `table` is
//! for eyes and not stable. Failures obey the format too: one object on standard error.

mod encode;
mod paper;
pub(crate) mod time;
pub(crate) mod value;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use paper::{Paper, Tone};

use crate::failure::{Failure, LocalReason};

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For eyes; not stable.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// The same data as JSON, in YAML.
    Yaml,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How times are shown in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeFormat {
    /// `2m ago (2026-01-31T05:06:51Z)`.
    Relative,
    /// `2026-01-31T05:06:51Z`.
    Iso8601,
}

/// The answer of a command: data for programs, a page for eyes.
pub(crate) trait View: Serialize {
    /// Draws the page.
    fn draw(&self, paper: &mut Paper);

    /// The items that `jsonl` prints one a line; `None` for an answer that is one object.
    fn items(&self) -> Option<Vec<serde_json::Value>> {
        None
    }
}

/// Serialises list items for [`View::items`].
pub(crate) fn items<T: Serialize>(all: &[T]) -> Option<Vec<serde_json::Value>> {
    all.iter().map(|item| serde_json::to_value(item).ok()).collect()
}

/// Prints answers and failures in one format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    format: Format,
    color: ColorChoice,
    time: TimeFormat,
    is_asked: bool,
}

impl Printer {
    /// A printer for these choices.
    pub(crate) fn new(format: Format, color: ColorChoice, time: TimeFormat) -> Self {
        Self { format, color, time, is_asked: false }
    }

    /// The same, where somebody asked for this format by name: then a stream obeys it, terminal or
    /// not.
    #[must_use]
    pub(crate) fn asked(self, is_asked: bool) -> Self {
        Self { is_asked, ..self }
    }

    /// The format asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether standard output is a terminal that may be redrawn.
    pub(crate) fn is_live(&self) -> bool {
        self.format == Format::Table && io::stdout().is_terminal()
    }

    /// An empty page for standard output.
    pub(crate) fn paper(&self) -> Paper {
        Paper::new(self.colored(io::stdout().is_terminal()), self.time)
    }

    /// An empty page for standard error.
    pub(crate) fn aside(&self) -> Paper {
        Paper::new(self.colored(io::stderr().is_terminal()), self.time)
    }

    fn colored(&self, is_terminal: bool) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                is_terminal && !set("NO_COLOR") && !dumb
            }
        }
    }

    /// Prints one answer.
    ///
    /// # Errors
    /// Standard output could not be written; a reader that closed the pipe is no error.
    pub(crate) fn print<V: View>(&self, view: &V) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => {
                let mut paper = self.paper();
                view.draw(&mut paper);
                paper.into_text()
            }
            Format::Json => encode::json(view)?,
            Format::Jsonl => match view.items() {
                Some(items) => items.iter().map(encode::line).collect::<Result<_, _>>()?,
                None => encode::line(view)?,
            },
            Format::Yaml => encode::yaml(view)?,
        };
        self.raw(text.as_bytes())
    }

    /// Prints one event of a stream: an object a line, a document each in YAML, and a page on a
    /// terminal or where somebody asked for pages.
    ///
    /// # Errors
    /// As [`Printer::print`].
    pub(crate) fn event<V: View>(&self, view: &V) -> Result<(), Failure> {
        match self.format {
            Format::Table if self.is_live() || self.is_asked => self.print(view),
            Format::Table | Format::Json | Format::Jsonl => {
                self.raw(encode::line(view)?.as_bytes())
            }
            Format::Yaml => self.raw(format!("---\n{}", encode::yaml(view)?).as_bytes()),
        }
    }

    /// Writes exact bytes to standard output: notes, proofs and exports are data in their own
    /// format.
    ///
    /// # Errors
    /// As [`Printer::print`].
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                Err(Failure::local(LocalReason::FileFailed, format!("standard output: {error}")))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Says something beside the data: progress, warnings, next steps. Goes to standard error.
    pub(crate) fn say(&self, words: impl AsRef<str>) {
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell when standard error is gone; the answer itself still counts.
        drop(writeln!(stderr, "{}", words.as_ref()));
    }

    /// Prints a failure on standard error.
    pub(crate) fn fail(&self, failure: &Failure) {
        match encode::failure(failure, self.format) {
            Some(text) => self.say(text.trim_end()),
            None => {
                let mut paper = self.aside();
                paper::failure(&mut paper, failure);
                self.say(paper.into_text().trim_end());
            }
        }
    }
}
