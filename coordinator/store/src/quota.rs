//! Refusing early, so that the disk never refuses late.
//!
//! A full disk is a fault: the replica stops in the middle of an acknowledgement. The quota stops
//! *new* work before that, at the configured bytes or, without such, at 80 % of the volume, and
//! leaves the rest as headroom for what must still pass: votes, reports, claims, abandon,
//! snapshots. A configured size does not make the volume larger: its last [`HEADROOM_BYTES`] stay
//! free anyway.
//! Beside the files lies the ballast, 16 MiB that an operator can delete in an emergency to make
//! room for one start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::disk::{Disk, StoreFile};

/// The share of the volume that may be in use before new work is refused, in percent.
pub const VOLUME_PERCENT_MAX: u64 = 80;
/// What stays free on the volume even where the quota is configured in bytes.
pub const HEADROOM_BYTES: u64 = 256 << 20;
/// The size of the ballast file in bytes.
pub const BALLAST_BYTES: u64 = 16 << 20;
/// The name of the ballast file inside the data directory.
pub const BALLAST_FILE: &str = "ballast";

/// Bytes in use, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreUsage {
    /// Bytes of the three files.
    pub used: u64,
    /// Bytes they may take: the configured limit, or what the volume still gives.
    pub quota: u64,
}

impl StoreUsage {
    /// Whether new proposals are to be refused with `STORE_QUOTA`.
    pub fn is_exceeded(&self) -> bool {
        self.used >= self.quota
    }
}

/// The volume that holds the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Volume {
    used: u64,
    /// Without blocks that only root may take.
    free: u64,
}

/// Measures the files of one store against its quota. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quota {
    directory: Option<PathBuf>,
    configured: Option<u64>,
}

impl Quota {
    /// A quota over `disk`: `configured` bytes, and in any case [`VOLUME_PERCENT_MAX`] of the
    /// volume. A simulated disk has no volume.
    pub fn new(disk: &Disk, configured: Option<u64>) -> Self {
        Self { directory: disk.directory().map(Path::to_owned), configured }
    }

    /// Reads the present sizes.
    ///
    /// # Errors
    /// The disk's error; a file that is missing is one.
    pub fn measure(&self) -> io::Result<StoreUsage> {
        let Some(directory) = &self.directory else {
            return Ok(judge(0, self.configured, None));
        };
        let mut used = 0;
        for file in StoreFile::ALL {
            used += fs::metadata(directory.join(file.file_name()))?.len();
        }
        let volume = statvfs(directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        let volume = Volume {
            used: bytes(volume.f_blocks.saturating_sub(volume.f_bfree)),
            free: bytes(volume.f_bavail),
        };
        Ok(judge(used, self.configured, Some(volume)))
    }

    /// Puts the ballast back unless it is there, or the quota is exceeded: then its room is needed.
    ///
    /// # Errors
    /// The disk's error. A start goes on without ballast.
    pub fn restore_ballast(&self) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        if directory.join(BALLAST_FILE).try_exists()? || self.measure()?.is_exceeded() {
            return Ok(());
        }
        create_ballast(directory)
    }
}

/// What the volume gives the files is their present size plus what they may still take of it.
fn judge(used: u64, configured: Option<u64>, volume: Option<Volume>) -> StoreUsage {
    let given = |left: u64| used.saturating_add(left);
    let quota = match (configured, volume) {
        (Some(bytes), Some(volume)) => bytes.min(given(volume.free.saturating_sub(HEADROOM_BYTES))),
        (None, Some(volume)) => {
            let limit = (volume.used.saturating_add(volume.free)) / 100 * VOLUME_PERCENT_MAX;
            given(limit.saturating_sub(volume.used))
        }
        (configured, None) => configured.unwrap_or(u64::MAX),
    };
    StoreUsage { used, quota }
}

/// Creates the ballast; real blocks, not a hole.
pub(crate) fn create_ballast(directory: &Path) -> io::Result<()> {
    let path = directory.join(BALLAST_FILE);
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let filled = fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES)
        .map_err(io::Error::from)
        .or_else(|_| fill(&file));
    if let Err(refused) = filled {
        // Half a ballast would pass for a whole one at the next start.
        fs::remove_file(&path)?;
        return Err(refused);
    }
    file.sync_all()
}

/// For file systems that cannot reserve blocks.
fn fill(mut file: &File) -> io::Result<()> {
    let block = [0xa5_u8; 64 << 10];
    for _ in 0..BALLAST_BYTES / (block.len() as u64) {
        file.write_all(&block)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn configured_bytes_count_instead_of_the_share_but_never_beyond_the_headroom() {
        let full = Some(Volume { used: 95 * GIB, free: 5 * GIB });
        assert_eq!(judge(GIB, Some(2 * GIB), full).quota, 2 * GIB);
        assert!(!judge(GIB, Some(2 * GIB), full).is_exceeded());
        assert!(judge(2 * GIB, Some(2 * GIB), full).is_exceeded());
        let fuller = Some(Volume { used: 99 * GIB, free: HEADROOM_BYTES + 7 });
        assert_eq!(judge(GIB, Some(2 * GIB), fuller).quota, GIB + 7);
        let last = Some(Volume { used: 99 * GIB, free: HEADROOM_BYTES });
        assert!(judge(GIB, Some(2 * GIB), last).is_exceeded());
        assert_eq!(judge(GIB, None, None).quota, u64::MAX);
    }

    #[test]
    fn without_configured_bytes_the_share_of_the_volume_counts_whoever_filled_it() {
        let at = |used| Some(Volume { used: used * GIB, free: (1000 - used) * GIB });
        assert_eq!(judge(GIB, None, at(500)).quota, 301 * GIB);
        assert!(!judge(GIB, None, at(799)).is_exceeded());
        assert!(judge(GIB, None, at(800)).is_exceeded());
        assert!(judge(GIB, None, at(801)).is_exceeded());
    }

    #[test]
    fn the_ballast_takes_real_blocks_and_is_put_back() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        create_ballast(directory.path()).unwrap();
        let path = directory.path().join(BALLAST_FILE);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), BALLAST_BYTES);
        assert!(metadata.blocks() * 512 >= BALLAST_BYTES);
        // An operator deletes it; with room again the next start puts it back.
        fs::remove_file(&path).unwrap();
        for file in StoreFile::ALL {
            fs::write(directory.path().join(file.file_name()), b"x").unwrap();
        }
        let disk = Disk::from(directory.path());
        Quota::new(&disk, Some(2)).restore_ballast().unwrap();
        assert!(!path.exists(), "no room: the ballast stays away");
        Quota::new(&disk, Some(4)).restore_ballast().unwrap();
        assert!(path.exists());
    }
}
