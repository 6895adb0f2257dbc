//! C2SP `tlog-tiles`: the log as static files that any reader can cache.
//!
//! ```text
//! tile/<level>/<N>[.p/<W>]       up to 256 hashes; one of level L+1 is the root of a full tile of L
//! tile/entries/<N>[.p/<W>]       up to 256 entries, each (u16 big-endian length || entry)
//! ```
//!
//! N is written in groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`.
//! `.p/<W>` marks a tile that is not full yet; W is 1 to 255. Tiles never change once written.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::merkle::{HashReader, ProveError};
use crate::number::{NumberError, TreeSize, U63_MAX, parse_u63};

/// Hashes or entries of a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Bits of an index that a tile takes: 256 = 2^8.
const TILE_BITS: u32 = 8;

/// Levels of tiles that a log of u63 leaves can have: 0 to 7.
const LEVELS: u8 = 8;

/// Why a tile path or an entry bundle was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TileError {
    /// Not `tile/<level or entries>/<N>[.p/<W>]`.
    #[error("{path:?} is no path of a tile")]
    Path {
        /// What was given, cut at 128 characters.
        path: String,
    },
    /// The level is no number.
    #[error("the level of the tile is no number")]
    Level(#[source] NumberError),
    /// No log has such a level.
    #[error("there is no tile level {level}, the highest is 7")]
    LevelOutOfRange {
        /// The level asked for.
        level: u64,
    },
    /// A width that is not written: 0, or 256 and more.
    #[error("a partial tile has 1 to 255 hashes or entries, not {width}")]
    WidthOutOfRange {
        /// The width asked for.
        width: u64,
    },
    /// An entry that does not fit its length field.
    #[error("an entry of {len} bytes does not fit a bundle, at most 65535 do")]
    EntryTooLarge {
        /// Bytes of the entry.
        len: usize,
    },
    /// A bundle that ends inside an entry.
    #[error("the entry bundle ends inside entry {entry}")]
    Truncated {
        /// Position of the entry in the bundle, from 0.
        entry: usize,
    },
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of full subtrees of 256^level leaves; level 0 to 7.
    Hashes {
        /// Level of the tile.
        level: u8,
    },
    /// The leaves themselves.
    Entries,
}

/// The name of one tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    /// 1 to 256; 256 is a full tile.
    width: u16,
}

impl Tile {
    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Position of its first hash or entry within its level.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.index << TILE_BITS
    }

    /// How many hashes or entries it holds, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether a log of `size` leaves has it. Partial tiles of smaller sizes still count: a reader
    /// of an older head may ask for them.
    #[must_use]
    pub fn is_in(&self, size: TreeSize) -> bool {
        self.start() + u64::from(self.width) <= hashes_of_kind(self.kind, size)
    }

    /// The tiles of a log of `size` leaves, level by level: the full ones, then the partial one.
    /// Entry bundles are those of level 0 by another name, see [`Tile::entries`].
    pub fn of_size(size: TreeSize) -> impl Iterator<Item = Self> {
        (0..LEVELS).flat_map(move |level| {
            let kind = TileKind::Hashes { level };
            let count = hashes_of_kind(kind, size);
            let full =
                (0..count >> TILE_BITS).map(move |index| Self { kind, index, width: TILE_WIDTH });
            // Below 256, so it fits; and a partial tile is never empty.
            let rest = u16::try_from(count % u64::from(TILE_WIDTH)).unwrap_or(0);
            let partial = Self { kind, index: count >> TILE_BITS, width: rest };
            full.chain((rest > 0).then_some(partial))
        })
    }

    /// The entry bundle beside a tile of level 0; `None` for higher levels.
    #[must_use]
    pub fn entries(self) -> Option<Self> {
        match self.kind {
            TileKind::Hashes { level: 0 } | TileKind::Entries => {
                Some(Self { kind: TileKind::Entries, ..self })
            }
            TileKind::Hashes { .. } => None,
        }
    }

    /// The bytes of a hash tile; `None` for an entry bundle, which is made of entries.
    ///
    /// # Errors
    /// A hash is not stored: the log is shorter.
    pub fn read_hashes(&self, reader: &impl HashReader) -> Option<Result<Vec<u8>, ProveError>> {
        let TileKind::Hashes { level } = self.kind else { return None };
        let level = level * 8;
        let read = (0..u64::from(self.width)).map(|at| {
            let index = self.start() + at;
            let hash = reader.hash(level, index);
            hash.map(|hash| *hash.as_bytes()).ok_or(ProveError::MissingHash { level, index })
        });
        Some(read.collect::<Result<Vec<_>, _>>().map(|hashes| hashes.concat()))
    }
}

/// How many hashes (or entries) of this kind a log of `size` leaves has.
fn hashes_of_kind(kind: TileKind, size: TreeSize) -> u64 {
    match kind {
        TileKind::Hashes { level } => size.get() >> (TILE_BITS * u32::from(level)),
        TileKind::Entries => size.get(),
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let digits = self.index.to_string();
        let digits = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        let last = digits.len() - 3;
        for at in (0..last).step_by(3) {
            write!(f, "x{}/", &digits[at..at + 3])?;
        }
        f.write_str(&digits[last..])?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for Tile {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let shape = || TileError::Path { path: path.chars().take(128).collect() };
        let rest = path.strip_prefix("tile/").ok_or_else(shape)?;
        let (kind, rest) = rest.split_once('/').ok_or_else(shape)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes { level: parse_level(level)? },
        };
        let (digits, width) = match rest.split_once(".p/") {
            Some((digits, width)) => (digits, parse_width(width).ok_or_else(shape)??),
            None => (rest, TILE_WIDTH),
        };
        let index = parse_index(digits).ok_or_else(shape)?;
        let tile = Self { kind, index, width };
        // One path, one spelling: no group of zeros in front, no width with a leading zero.
        if tile.to_string() == path { Ok(tile) } else { Err(shape()) }
    }
}

fn parse_level(text: &str) -> Result<u8, TileError> {
    let level = parse_u63("tile level", text).map_err(TileError::Level)?;
    let in_range = u8::try_from(level).ok().filter(|level| *level < LEVELS);
    in_range.ok_or(TileError::LevelOutOfRange { level })
}

/// `None` if the text is no number at all.
fn parse_width(text: &str) -> Option<Result<u16, TileError>> {
    let width = parse_u63("tile width", text).ok()?;
    let in_range = u16::try_from(width).ok().filter(|width| (1..TILE_WIDTH).contains(width));
    Some(in_range.ok_or(TileError::WidthOutOfRange { width }))
}

/// Groups of three digits, all but the last with an `x`.
fn parse_index(text: &str) -> Option<u64> {
    let (groups, last) = match text.rsplit_once('/') {
        Some((groups, last)) => (Some(groups), last),
        None => (None, text),
    };
    let mut digits = String::new();
    for group in groups.iter().flat_map(|groups| groups.split('/')) {
        digits.push_str(group.strip_prefix('x').filter(|group| group.len() == 3)?);
    }
    digits.push_str(last);
    let three = last.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let index: u64 = digits.parse().ok().filter(|_| three)?;
    (index <= U63_MAX >> TILE_BITS).then_some(index)
}

/// The bytes of an entry bundle.
///
/// # Errors
/// An entry over 65,535 bytes. Leaves of ours are far smaller.
pub fn write_bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for entry in entries {
        let len = u16::try_from(entry.len())
            .map_err(|_| TileError::EntryTooLarge { len: entry.len() })?;
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle.
///
/// # Errors
/// The bundle ends inside an entry.
pub fn read_bundle(mut bundle: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let truncated = || TileError::Truncated { entry: entries.len() };
        let (len, rest) = bundle.split_first_chunk::<2>().ok_or_else(truncated)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, rest) = rest.split_at_checked(len).ok_or_else(truncated)?;
        entries.push(entry);
        bundle = rest;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for path in
            ["tile/0/000", "tile/7/x001/x234/067", "tile/entries/x001/000.p/255", "tile/0/999.p/1"]
        {
            assert_eq!(path.parse::<Tile>().unwrap().to_string(), path);
        }
        for path in [
            "",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/x+01/000",
            "tile/0/..",
        ] {
            assert!(path.parse::<Tile>().is_err(), "{path:?}");
        }
    }

    #[test]
    fn every_tile_of_a_size_is_in_it_and_the_next_width_is_not() {
        for size in [0, 1, 255, 256, 257, 65_536, 70_000] {
            let size = TreeSize::new(size).unwrap();
            for tile in Tile::of_size(size) {
                assert!(tile.is_in(size), "{tile} {size}");
                if tile.width < TILE_WIDTH {
                    let wider = Tile { width: tile.width + 1, ..tile };
                    assert!(!wider.is_in(size), "{wider} {size}");
                }
            }
        }
    }

    #[test]
    fn a_bundle_that_ends_inside_an_entry_is_refused() {
        let bundle = write_bundle([b"ab".as_slice(), b"", b"c"]).unwrap();
        assert_eq!(read_bundle(&bundle), Ok(vec![b"ab".as_slice(), b"", b"c"]));
        let last = bundle.len() - 1;
        assert_eq!(read_bundle(&bundle[..last]), Err(TileError::Truncated { entry: 2 }));
        assert_eq!(read_bundle(&bundle[..last - 1]), Err(TileError::Truncated { entry: 2 }));
        let large = vec![0; 65_536];
        assert!(matches!(write_bundle([large.as_slice()]), Err(TileError::EntryTooLarge { .. })));
    }
}
