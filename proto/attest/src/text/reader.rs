//! Reading the lines of a text in the order of its grammar, and in no other.

use std::str::FromStr;

use super::{LINE_BYTES_MAX, TextError};

/// How often a line may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    min: usize,
    max: usize,
}

impl Repeat {
    /// `*`: 0 to 16 lines.
    pub const FEW: Self = Self { min: 0, max: 16 };

    /// `*n`: 0 to `max` lines.
    pub const fn up_to(max: usize) -> Self {
        Self { min: 0, max }
    }

    /// `+`: 1 or more lines; the length of the text bounds them.
    pub const SOME: Self = Self { min: 1, max: usize::MAX };
}

/// Reads `key value` lines in the order of a grammar.
#[derive(Debug)]
pub struct TextReader<'a> {
    lines: Vec<&'a str>,
    /// Index of the next line; the first line of the text has index 0.
    next: usize,
}

impl<'a> TextReader<'a> {
    /// Checks the bytes of every line, and the first line.
    pub fn start(text: &'a str, first_line: &'static str) -> Result<Self, TextError> {
        let body = text.strip_suffix('\n').ok_or(TextError::NoFinalLineFeed)?;
        let lines: Vec<&str> = body.split('\n').collect();
        for (index, line) in lines.iter().enumerate() {
            if line.len() > LINE_BYTES_MAX {
                return Err(TextError::LineTooLong { line: index + 1, length: line.len() });
            }
            if let Some(byte) = line.bytes().find(|byte| !(0x20..=0x7e).contains(byte)) {
                return Err(TextError::ForeignByte { line: index + 1, byte });
            }
        }
        let found = lines.first().copied().unwrap_or_default();
        if found != first_line {
            let found = found.chars().take(64).collect();
            return Err(TextError::FirstLine { expected: first_line, found });
        }
        Ok(Self { lines, next: 1 })
    }

    /// Reads the line `key` and its value.
    pub fn value<V: FromStr>(&mut self, key: &'static str) -> Result<V, TextError> {
        self.value_with(key, |value| value.parse().ok())
    }

    /// Reads the line `key`, whose value `read` understands.
    pub fn value_with<V>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'a str) -> Option<V>,
    ) -> Result<V, TextError> {
        let line = self.lines.get(self.next).ok_or(TextError::MissingLine { expected: key })?;
        let number = self.next + 1;
        let (found, value) = line.split_once(' ').unwrap_or((line, ""));
        if found != key {
            let found = found.chars().take(64).collect();
            return Err(TextError::WrongKey { line: number, expected: key, found });
        }
        self.next += 1;
        if value.is_empty() {
            return Err(TextError::BadValue { line: number, key, value: String::new() });
        }
        read(value).ok_or_else(|| TextError::BadValue {
            line: number,
            key,
            value: value.chars().take(128).collect(),
        })
    }

    /// Reads the line `key` if it comes next.
    pub fn optional_with<V>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'a str) -> Option<V>,
    ) -> Result<Option<V>, TextError> {
        if self.comes_next(key) { self.value_with(key, read).map(Some) } else { Ok(None) }
    }

    /// Reads the repeated lines `key`, whose values rise strictly.
    pub fn values<V: FromStr>(
        &mut self,
        key: &'static str,
        repeat: Repeat,
    ) -> Result<Vec<V>, TextError> {
        self.values_with(key, repeat, |value| value.parse().ok())
    }

    /// Reads the repeated lines `key`, whose values rise strictly and which `read` understands.
    pub fn values_with<V>(
        &mut self,
        key: &'static str,
        repeat: Repeat,
        read: impl Fn(&'a str) -> Option<V>,
    ) -> Result<Vec<V>, TextError> {
        let mut values = Vec::new();
        let mut last: Option<&str> = None;
        while self.comes_next(key) {
            let line = self.next + 1;
            if values.len() == repeat.max {
                return Err(TextError::TooMany { line, key, max: repeat.max });
            }
            let current = self.lines.get(self.next).copied().unwrap_or_default();
            if last.is_some_and(|last| last >= current) {
                return Err(TextError::NotAscending { line, key });
            }
            values.push(self.value_with(key, &read)?);
            last = Some(current);
        }
        if values.len() < repeat.min {
            // Names the line that stands where the first of them belongs.
            self.value_with(key, |_| Some(()))?;
        }
        Ok(values)
    }

    /// Reads up to `max` lines `key` whose order means something: the hashes of a proof.
    pub fn ordered<V: FromStr>(
        &mut self,
        key: &'static str,
        max: usize,
    ) -> Result<Vec<V>, TextError> {
        let mut values = Vec::new();
        while self.comes_next(key) {
            if values.len() == max {
                return Err(TextError::TooMany { line: self.next + 1, key, max });
            }
            values.push(self.value(key)?);
        }
        Ok(values)
    }

    /// Refuses lines after the grammar's last one.
    pub fn finish(self) -> Result<(), TextError> {
        if self.next < self.lines.len() {
            return Err(TextError::ExtraLine { line: self.next + 1 });
        }
        Ok(())
    }

    fn comes_next(&self, key: &str) -> bool {
        self.lines
            .get(self.next)
            .and_then(|line| line.strip_prefix(key))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }
}
