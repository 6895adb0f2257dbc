//! Forensic copies: what lay on disk before an irreversible action, and the way back to it.
//!
//! A copy is a directory `<name>/` with `data/` and a `manifest`: one line per file, digest, length
//! and path, in the order of the paths. It is built beside its place and renamed when all of it is
//! fsynced, so a copy that is there is whole. The digest of a copy is that of its manifest.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use quorate_attest::id::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// What is left free on the file system beside a copy.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// Why there is no copy, or no way back. What was to be copied is as it was.
#[derive(Debug, Error)]
pub(super) enum ForensicError {
    /// The disk says no.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A copy would fill the disk.
    #[error(
        "a copy of {directory} needs {need} bytes and {SPARE_BYTES} to spare, {into} has {free} free"
    )]
    NoSpace {
        /// What is to be copied.
        directory: PathBuf,
        /// Where to.
        into: PathBuf,
        /// Its length.
        need: u64,
        /// What is free there.
        free: u64,
    },
    /// A link or a device: a copy would not hold what it stands for.
    #[error("{path} is neither a file nor a directory, so a copy would not be whole")]
    NotPlain {
        /// What it is.
        path: PathBuf,
    },
    /// What was read back is not what was written.
    #[error("{path} holds {found}, its manifest says {wanted}")]
    Differs {
        /// Where.
        path: PathBuf,
        /// The digest of what is there.
        found: Digest,
        /// The digest of what was copied.
        wanted: Digest,
    },
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> ForensicError {
    let path = path.to_owned();
    move |source| ForensicError::Disk { path, source }
}

/// Copies `directory` to `<into>/<name>` and answers the digest of the copy. One that is there
/// already is kept: it was made before the action, and what lies on disk now may be its effect.
///
/// # Errors
/// [`ForensicError`]; nothing is left but, after a crash, a directory `<name>.partial`.
pub(super) fn keep(directory: &Path, into: &Path, name: &str) -> Result<Digest, ForensicError> {
    let kept = into.join(name);
    if kept.is_dir() {
        return digest_of(&kept);
    }
    fs::create_dir_all(into).map_err(disk(into))?;
    check_space(directory, into)?;
    let partial = into.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(disk(&partial))?;
    }
    copy_tree(directory, &partial.join("data"))?;
    let manifest = manifest(&partial.join("data"))?;
    // What was written is compared with what is still there: a disk that lies is found here.
    let (found, wanted) = (Digest::of(manifest.as_bytes()), tree_digest(directory)?);
    if found != wanted {
        return Err(ForensicError::Differs { path: partial, found, wanted });
    }
    write_synced(&partial.join("manifest"), manifest.as_bytes())?;
    sync(&partial)?;
    fs::rename(&partial, &kept).map_err(disk(&kept))?;
    sync(into)?;
    Ok(found)
}

/// Puts the copy `<into>/<name>` back in the place of `directory`, which is moved aside, not deleted.
///
/// # Errors
/// [`ForensicError`]; `directory` is as it was, or lies beside with the ending `.refuted-<name>`.
pub(super) fn put_back(directory: &Path, into: &Path, name: &str) -> Result<Digest, ForensicError> {
    let kept = into.join(name);
    let wanted = digest_of(&kept)?;
    let beside = |ending: &str| {
        let file = directory.file_name().unwrap_or_default().to_string_lossy();
        directory.with_file_name(format!("{file}.{ending}-{name}"))
    };
    let (restoring, refuted) = (beside("restoring"), beside("refuted"));
    if restoring.exists() {
        fs::remove_dir_all(&restoring).map_err(disk(&restoring))?;
    }
    check_space(&kept.join("data"), restoring.parent().unwrap_or(Path::new(".")))?;
    copy_tree(&kept.join("data"), &restoring)?;
    let found = tree_digest(&restoring)?;
    if found != wanted {
        return Err(ForensicError::Differs { path: restoring, found, wanted });
    }
    if directory.exists() && !refuted.exists() {
        fs::rename(directory, &refuted).map_err(disk(directory))?;
    }
    // A crash here leaves no directory: the member does not start, and this is done again.
    fs::rename(&restoring, directory).map_err(disk(directory))?;
    sync(directory.parent().unwrap_or(Path::new(".")))?;
    Ok(found)
}

/// Whether there is room for a copy of `directory` in `into`, which exists.
///
/// # Errors
/// [`ForensicError::NoSpace`] if there is not.
pub(super) fn check_space(directory: &Path, into: &Path) -> Result<(), ForensicError> {
    let mut need = 0;
    for (path, _) in files(directory)? {
        need += fs::metadata(&path).map_err(disk(&path))?.len();
    }
    let stat = rustix::fs::statvfs(into).map_err(|errno| disk(into)(errno.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < need.saturating_add(SPARE_BYTES) {
        let (directory, into) = (directory.to_owned(), into.to_owned());
        return Err(ForensicError::NoSpace { directory, into, need, free });
    }
    Ok(())
}

/// The digest of a directory's manifest: of all its files, their names and lengths.
///
/// # Errors
/// [`ForensicError`] if it cannot be read.
pub(super) fn tree_digest(directory: &Path) -> Result<Digest, ForensicError> {
    Ok(Digest::of(manifest(directory)?.as_bytes()))
}

fn digest_of(kept: &Path) -> Result<Digest, ForensicError> {
    let path = kept.join("manifest");
    Ok(Digest::of(&fs::read(&path).map_err(disk(&path))?))
}

fn manifest(directory: &Path) -> Result<String, ForensicError> {
    let mut text = String::from("quorate-forensic/v1\n");
    for (path, name) in files(directory)? {
        let (digest, length) = digest_file(&path)?;
        let name = name.to_string_lossy();
        let _ = writeln!(text, "{digest} {length} {}", name.escape_default());
    }
    Ok(text)
}

/// Every file below `directory` with its path from there, in the order of those.
fn files(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>, ForensicError> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(name) = open.pop() {
        let here = directory.join(&name);
        for entry in fs::read_dir(&here).map_err(disk(&here))? {
            let entry = entry.map_err(disk(&here))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(disk(&here))?);
            let name = name.join(entry.file_name());
            if kind.is_dir() {
                open.push(name);
            } else if kind.is_file() {
                found.push((path, name));
            } else {
                return Err(ForensicError::NotPlain { path });
            }
        }
    }
    found.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(found)
}

fn digest_file(path: &Path) -> Result<(Digest, u64), ForensicError> {
    let mut file = File::open(path).map_err(disk(path))?;
    let (mut hasher, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 65_536]);
    loop {
        let read = file.read(&mut buffer).map_err(disk(path))?;
        if read == 0 {
            return Ok((Digest::from_bytes(hasher.finalize().into()), length));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

/// Copies files and empty directories too: a system may refuse a directory that lacks one.
fn copy_tree(from: &Path, to: &Path) -> Result<(), ForensicError> {
    fs::create_dir_all(to).map_err(disk(to))?;
    let permissions = fs::metadata(from).map_err(disk(from))?.permissions();
    fs::set_permissions(to, permissions).map_err(disk(to))?;
    for entry in fs::read_dir(from).map_err(disk(from))? {
        let entry = entry.map_err(disk(from))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(disk(from))?);
        let copy = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&path, &copy)?;
        } else if kind.is_file() {
            fs::copy(&path, &copy).map_err(disk(&copy))?;
            sync(&copy)?;
        } else {
            return Err(ForensicError::NotPlain { path });
        }
    }
    sync(to)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ForensicError> {
    let mut file = File::create(path).map_err(disk(path))?;
    file.write_all(bytes).map_err(disk(path))?;
    file.sync_all().map_err(disk(path))
}

fn sync(path: &Path) -> Result<(), ForensicError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(disk(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("d/member/snap")).unwrap();
        fs::write(root.path().join("d/member/snap/db"), b"all keys").unwrap();
        fs::write(root.path().join("d/member/wal"), b"entries").unwrap();
        root
    }

    #[test]
    fn a_copy_goes_back_whole_and_what_was_there_is_moved_aside() {
        let root = tree();
        let (data, into) = (root.path().join("d"), root.path().join("forensic"));
        let before = tree_digest(&data).unwrap();
        assert_eq!(keep(&data, &into, "p1").unwrap(), before);
        fs::write(data.join("member/snap/db"), b"nothing").unwrap();
        fs::write(data.join("member/new"), b"new").unwrap();
        assert_eq!(keep(&data, &into, "p1").unwrap(), before, "the first copy is kept");
        assert_eq!(put_back(&data, &into, "p1").unwrap(), before);
        assert_eq!(tree_digest(&data).unwrap(), before);
        assert!(root.path().join("d.refuted-p1/member/new").is_file(), "moved aside, not deleted");
    }

    #[test]
    fn a_copy_that_was_damaged_since_is_not_put_back() {
        let root = tree();
        let (data, into) = (root.path().join("d"), root.path().join("forensic"));
        keep(&data, &into, "p1").unwrap();
        let before = tree_digest(&data).unwrap();
        fs::write(into.join("p1/data/member/wal"), b"other").unwrap();
        assert!(matches!(put_back(&data, &into, "p1"), Err(ForensicError::Differs { .. })));
        assert_eq!(tree_digest(&data).unwrap(), before, "nothing was touched");
    }

    #[test]
    fn what_a_crash_left_half_made_is_no_copy_and_a_link_is_refused() {
        let root = tree();
        let (data, into) = (root.path().join("d"), root.path().join("forensic"));
        fs::create_dir_all(into.join("p1.partial/data")).unwrap();
        fs::write(into.join("p1.partial/data/half"), b"x").unwrap();
        keep(&data, &into, "p1").unwrap();
        assert!(!into.join("p1/data/half").exists());
        std::os::unix::fs::symlink("/etc", data.join("elsewhere")).unwrap();
        assert!(matches!(keep(&data, &into, "p2"), Err(ForensicError::NotPlain { .. })));
        assert!(!into.join("p2").exists());
    }
}
