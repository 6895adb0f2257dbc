//! Writing the lines of a text.

use std::fmt::{Display, Result, Write as _};

/// Writes `key value` lines.
#[derive(Debug)]
pub struct TextWriter {
    text: String,
}

impl TextWriter {
    /// Begins a text with its first line.
    pub fn start(first_line: &str) -> Self {
        let mut text = String::with_capacity(1_024);
        text.push_str(first_line);
        text.push('\n');
        Self { text }
    }

    /// Writes one line.
    pub fn line(&mut self, key: &str, value: impl Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _written: Result = writeln!(self.text, "{key} {value}");
        self
    }

    /// Writes repeated lines, sorted bytewise and without duplicates.
    pub fn lines<V: Display>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        let mut written: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        written.sort_unstable();
        written.dedup();
        for value in written {
            self.line(key, value);
        }
        self
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}
