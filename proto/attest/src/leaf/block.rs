//! The blocks of a record leaf.

use super::LeafError;
use crate::note::Note;
use crate::signed::Signed;
use crate::text::Statement;

/// Reads the blocks of a leaf one after the other.
pub(crate) struct Blocks<'a> {
    blocks: std::iter::Peekable<std::vec::IntoIter<&'a str>>,
}

impl<'a> Blocks<'a> {
    /// Splits at the empty lines.
    pub(crate) fn split(text: &'a str) -> Result<Self, LeafError> {
        let body = text.strip_suffix('\n').ok_or(LeafError::NoFinalLineFeed)?;
        let blocks: Vec<&str> = body.split("\n\n").collect();
        for (index, block) in blocks.iter().enumerate() {
            if block.is_empty() || block.starts_with('\n') || block.ends_with('\n') {
                return Err(LeafError::EmptyBlock { block: index + 1 });
            }
        }
        Ok(Self { blocks: blocks.into_iter().peekable() })
    }

    /// The next block, with its last line feed.
    pub(crate) fn next(&mut self, expected: &'static str) -> Result<String, LeafError> {
        match self.blocks.next() {
            Some(block) => Ok(format!("{block}\n")),
            None => Err(LeafError::MissingBlock { expected }),
        }
    }

    /// The first line of the next block.
    pub(crate) fn peek(&mut self) -> Option<&'a str> {
        self.blocks.peek().and_then(|block| block.split('\n').next())
    }

    /// The next two blocks as a note: text, then lines.
    pub(crate) fn note(&mut self, expected: &'static str) -> Result<Note, LeafError> {
        let text = self.next(expected)?;
        let lines = self.next("its signature lines")?;
        Ok(Note::parse(format!("{text}\n{lines}").as_bytes())?)
    }

    /// The next two blocks as a signed statement.
    pub(crate) fn signed<S: Statement>(
        &mut self,
        expected: &'static str,
    ) -> Result<Signed<S>, LeafError> {
        Ok(Signed::from_note(self.note(expected)?)?)
    }

    /// Refuses blocks after the grammar's last one.
    pub(crate) fn finish(mut self) -> Result<(), LeafError> {
        match self.peek() {
            None => Ok(()),
            Some(line) => Err(LeafError::ExtraBlock { found: line.chars().take(64).collect() }),
        }
    }
}
