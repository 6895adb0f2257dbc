//! Heads of this log, kept beside the store: the newest certified one, and each coordinator's
//! largest.
//!
//! They are not this coordinator's own promises (those are in the sign-once store), so losing them
//! harms nothing: peers have them too. They let a restarted quorum tell one of its members that its
//! disk was rolled back, and serve certificates before the first new signature.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use quorate_attest::head::CosignedHead;

/// The largest file that is read: 64 lines and a checkpoint are far below.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// The folder with one file per head.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    written: BTreeMap<String, Vec<u8>>,
}

impl Shelf {
    /// The shelf of a data directory; made if it is not there.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("heads");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, written: BTreeMap::new() })
    }

    /// Every head on the shelf. Files that are no heads are ignored: they are only hints.
    pub(super) fn load(&self) -> io::Result<Vec<CosignedHead>> {
        let mut heads = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_head = path.extension().is_some_and(|extension| extension == "head");
            if !is_head || fs::metadata(&path)?.len() > HEAD_BYTES_MAX {
                continue;
            }
            match CosignedHead::parse(&fs::read(&path)?) {
                Ok(head) => heads.push(head),
                Err(refused) => {
                    tracing::warn!(path = %path.display(), %refused, "a kept head is ignored")
                }
            }
        }
        Ok(heads)
    }

    /// Keeps proof of a lie for a person. The first one under a name stays.
    pub(super) fn evidence(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(format!("{name}.evidence"));
        if path.exists() { Ok(()) } else { fs::write(path, bytes) }
    }

    /// Replaces what differs from what was written last.
    pub(super) fn keep(&mut self, heads: BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for (name, bytes) in heads {
            if self.written.get(&name) == Some(&bytes) {
                continue;
            }
            let temporary = self.folder.join(format!("{name}.new"));
            fs::write(&temporary, &bytes)?;
            fs::rename(&temporary, self.folder.join(format!("{name}.head")))?;
            self.written.insert(name, bytes);
        }
        Ok(())
    }
}
