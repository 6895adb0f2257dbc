//! Paging: the size a caller gets, and the token that continues exactly the same query.

use quorate_attest::id::Digest;

use crate::error_code::ErrorCode;
use crate::problem::Problem;

/// Things on a page if the caller does not say.
pub const SIZE_DEFAULT: usize = 50;

/// Most things on a page.
pub const SIZE_MAX: usize = 1_000;

/// Bytes of the filter's digest in a token.
const FILTER_BYTES: usize = 8;

/// Longest cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 64;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    size: usize,
    filter: [u8; FILTER_BYTES],
    after: Option<Vec<u8>>,
}

impl Page {
    /// Reads `page_size` and `page_token`. `filter` is everything else that selects and orders the
    /// list, in any fixed encoding: a token is good for the very same query only.
    ///
    /// # Errors
    /// `MALFORMED` for a negative size, `PAGE_TOKEN_INVALID` for any token not made by
    /// [`Page::token`] for this filter.
    pub fn parse(page_size: i32, page_token: &str, filter: &[u8]) -> Result<Self, Problem> {
        let size = usize::try_from(page_size).map_err(|_| {
            Problem::new(ErrorCode::Malformed, format!("`page_size` is {page_size}, below 0"))
                .with("field", "page_size")
        })?;
        let size = if size == 0 { SIZE_DEFAULT } else { size.min(SIZE_MAX) };
        let filter = digest(filter);
        if page_token.is_empty() {
            return Ok(Self { size, filter, after: None });
        }
        let bytes = from_hex(page_token).ok_or_else(foreign_token)?;
        match bytes.strip_prefix(filter.as_slice()) {
            Some(cursor) if (1..=CURSOR_BYTES_MAX).contains(&cursor.len()) => {
                Ok(Self { size, filter, after: Some(cursor.to_vec()) })
            }
            Some(_) | None => Err(foreign_token()),
        }
    }

    /// How many things to return, 1 to [`SIZE_MAX`].
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// The cursor of the last thing of the page before.
    #[must_use]
    pub fn after(&self) -> Option<&[u8]> {
        self.after.as_deref()
    }

    /// The cursor as an index.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` if it is none.
    pub fn after_index(&self) -> Result<Option<u64>, Problem> {
        self.after()
            .map(|cursor| cursor.try_into().map(u64::from_be_bytes).map_err(|_| foreign_token()))
            .transpose()
    }

    /// The token for the page after the thing at `cursor`, at most 64 bytes.
    #[must_use]
    pub fn token(&self, cursor: &[u8]) -> String {
        debug_assert!(
            (1..=CURSOR_BYTES_MAX).contains(&cursor.len()),
            "cursors are keys or indexes"
        );
        self.filter.iter().chain(cursor).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The token for the page after `index`.
    #[must_use]
    pub fn token_of_index(&self, index: u64) -> String {
        self.token(&index.to_be_bytes())
    }
}

fn foreign_token() -> Problem {
    Problem::new(ErrorCode::PageTokenInvalid, "`page_token` was not made for this query")
        .with("field", "page_token")
}

fn digest(filter: &[u8]) -> [u8; FILTER_BYTES] {
    let mut short = [0; FILTER_BYTES];
    short.copy_from_slice(&Digest::of(filter).as_bytes()[..FILTER_BYTES]);
    short
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 2 * (FILTER_BYTES + CURSOR_BYTES_MAX) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let lower = pair.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'));
            let text = std::str::from_utf8(pair).ok().filter(|_| lower)?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_defaulted_coerced_or_refused() {
        for (asked, got) in [(0, SIZE_DEFAULT), (1, 1), (1_000, 1_000), (i32::MAX, SIZE_MAX)] {
            assert_eq!(Page::parse(asked, "", b"").unwrap().size(), got);
        }
        let refused = Page::parse(-1, "", b"").unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Malformed);
        assert_eq!(refused.fact("field"), Some("page_size"));
    }

    #[test]
    fn a_token_continues_its_own_query_only() {
        let first = Page::parse(10, "", b"cluster=a").unwrap();
        let token = first.token_of_index(41);
        let second = Page::parse(10, &token, b"cluster=a").unwrap();
        assert_eq!(second.after_index().unwrap(), Some(41));
        for (token, filter) in [
            (token.as_str(), b"cluster=b".as_slice()),
            (&token.to_uppercase(), b"cluster=a"),
            (&token[..16], b"cluster=a"),
            ("zz", b"cluster=a"),
            ("0", b"cluster=a"),
            (&"00".repeat(100), b"cluster=a"),
            ("é", b"cluster=a"),
        ] {
            let refused = Page::parse(10, token, filter).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::PageTokenInvalid, "{token}");
        }
        let word = Page::parse(1, &first.token(b"id"), b"cluster=a").unwrap();
        assert!(word.after_index().is_err(), "a cursor of another kind");
    }
}
