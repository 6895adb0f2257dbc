//! Plain fields: fixed-width big-endian numbers, lengths before contents, one tag byte per option.

use super::{CodecError, NUMBER_MAX};

/// Appends fields to a growing buffer. Writing cannot fail.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes of a fixed length, without a length in front.
    pub fn fixed(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// A `u32` length, then the bytes. Callers keep contents far below 4 GiB.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// A count as `u32`.
    pub fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("records are bounded far below 4 GiB");
        self.u32(count);
    }

    /// `0`, or `1` and the value.
    pub fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
    }
}

/// Reads fields from a slice and refuses whatever the writer cannot have written.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`CodecError::Short`] if fewer are left.
    pub fn fixed(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], CodecError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(CodecError::Short { field, need: length, have: self.rest.len() }),
        }
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`CodecError::Short`] if fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let have = self.rest.len();
        let taken = self.fixed(field, N)?;
        taken.try_into().map_err(|_| CodecError::Short { field, need: N, have })
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Short`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// [`CodecError::Short`] at the end.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A number of at most 63 bits.
    ///
    /// # Errors
    /// [`CodecError::Short`], or [`CodecError::Bounds`] above 2^63 - 1.
    pub fn number(&mut self, field: &'static str) -> Result<u64, CodecError> {
        let found = self.array(field).map(u64::from_be_bytes)?;
        if found > NUMBER_MAX {
            return Err(CodecError::Bounds { field, found, min: 0, max: NUMBER_MAX });
        }
        Ok(found)
    }

    /// `0` or `1`.
    ///
    /// # Errors
    /// [`CodecError::Tag`] for any other byte.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(CodecError::Tag { field, found }),
        }
    }

    /// A count of at most `max`.
    ///
    /// # Errors
    /// [`CodecError::Bounds`] above it.
    pub fn count(&mut self, field: &'static str, max: usize) -> Result<usize, CodecError> {
        let found = self.u32(field)?;
        let count = usize::try_from(found).unwrap_or(usize::MAX);
        self.length(field, count, max)?;
        Ok(count)
    }

    /// Length-prefixed bytes, at most `max` of them.
    ///
    /// # Errors
    /// [`CodecError::Bounds`] above `max`, [`CodecError::Short`] at the end.
    pub fn bytes(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], CodecError> {
        let length = self.count(field, max)?;
        self.fixed(field, length)
    }

    /// `None` for `0`, the value for `1`.
    ///
    /// # Errors
    /// [`CodecError::Tag`] for any other byte, or what `read` answers.
    pub fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    /// Checks a length against its bound.
    ///
    /// # Errors
    /// [`CodecError::Bounds`] above `max`.
    pub fn length(&self, field: &'static str, length: usize, max: usize) -> Result<(), CodecError> {
        if length > max {
            return Err(CodecError::Bounds {
                field,
                found: length as u64,
                min: 0,
                max: max as u64,
            });
        }
        Ok(())
    }

    /// Succeeds if everything was read.
    ///
    /// # Errors
    /// [`CodecError::Trailing`] otherwise.
    pub fn finish(&self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Trailing { extra: self.rest.len() })
        }
    }
}
