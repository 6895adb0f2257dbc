//! Secrets in files: PKCS#8 version 1 PEM, mode 0600, or refused.
//!
//! A file is created with `O_EXCL` (an existing one is never overwritten), written, fsynced, and its
//! directory fsynced, before the key is used for anything: a key that vanishes after its first
//! signature could be made again by mistake. Reading refuses a symbolic link, anything but a regular
//! file, another owner, and any permission for group or others. These calls block; they belong to
//! start-up and to tools.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use quorate_attest::key::{KeyError, SecretKey, VerifierKey};
use rustix::fs::{FileType, Mode, OFlags};
use thiserror::Error;
use zeroize::Zeroizing;

/// Largest secret file that is read, in bytes.
pub const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// Why a secret file was not read or written. Never holds key bytes.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// There is a file already.
    #[error("{}: exists already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link may point anywhere by the time it is read.
    #[error("{}: is a symbolic link", path.display())]
    SymbolicLink {
        /// The file.
        path: PathBuf,
    },
    /// A directory, device or pipe.
    #[error("{}: is no regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else could replace it.
    #[error("{}: belongs to user {have}, not to user {want}", path.display())]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        have: u32,
        /// This process.
        want: u32,
    },
    /// Somebody else could read it.
    #[error("{}: mode {mode:04o} lets others in; run `chmod 600`", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No key is as large.
    #[error("{}: has more than {SECRET_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not ASCII or UTF-8.
    #[error("{}: is no text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The text is no usable key.
    #[error("{}: holds no usable key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
}

/// Writes a new signing key to `path`, and its verifier key to `<path>.vkey`.
///
/// # Errors
/// Either file exists, or a write failed. A secret that was written before its verifier key failed
/// stays: [`VerifierKey`] can be made again from it.
pub fn create(path: &Path, key: &SecretKey, vkey: &VerifierKey) -> Result<(), KeyFileError> {
    create_secret(path, key.to_pem().as_bytes())?;
    let text = Zeroizing::new(format!("{vkey}\n"));
    write_new(&vkey_path(path), text.as_bytes(), Mode::from_raw_mode(0o644))
}

/// Reads a signing key.
///
/// # Errors
/// The file is not private to this user, or holds no usable key.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let pem = read_secret(path)?;
    SecretKey::from_pem(&pem).map_err(|source| KeyFileError::Key { path: path.to_owned(), source })
}

/// Where the verifier key of the key file `path` stands.
#[must_use]
pub fn vkey_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".vkey");
    PathBuf::from(name)
}

/// Writes any new secret (a TLS key, for one) with mode 0600.
///
/// # Errors
/// The file exists, or a write failed.
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    write_new(path, bytes, Mode::RUSR | Mode::WUSR)
}

/// Reads any secret text of at most [`SECRET_BYTES_MAX`] bytes.
///
/// # Errors
/// The file is not private to this user, too large or no text.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let file = open_private(path)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| failed(path, "read", source))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(KeyFileError::TooLarge { path: path.to_owned() });
    }
    std::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| KeyFileError::NotText { path: path.to_owned() })
}

/// Opens without following a link, then judges the very file that was opened.
fn open_private(path: &Path) -> Result<File, KeyFileError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        if errno == rustix::io::Errno::LOOP {
            KeyFileError::SymbolicLink { path: path.to_owned() }
        } else {
            failed(path, "open", errno.into())
        }
    })?;
    let stat =
        rustix::fs::fstat(&descriptor).map_err(|errno| failed(path, "examine", errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(KeyFileError::NotRegular { path: path.to_owned() });
    }
    let want = rustix::process::geteuid().as_raw();
    if stat.st_uid != want {
        return Err(KeyFileError::OtherOwner { path: path.to_owned(), have: stat.st_uid, want });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::OpenToOthers { path: path.to_owned(), mode });
    }
    Ok(File::from(descriptor))
}

/// Creates a file that was not there, durably: its bytes, then its name.
fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), KeyFileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, mode).map_err(|errno| {
        if errno == rustix::io::Errno::EXIST {
            KeyFileError::Exists { path: path.to_owned() }
        } else {
            failed(path, "create", errno.into())
        }
    })?;
    // The umask may have taken bits away from us, never given any; for us both are needed.
    rustix::fs::fchmod(&descriptor, mode)
        .map_err(|errno| failed(path, "set the mode", errno.into()))?;
    let mut file = File::from(descriptor);
    file.write_all(bytes).map_err(|source| failed(path, "write", source))?;
    file.sync_all().map_err(|source| failed(path, "fsync", source))?;
    // A crash before the next line may lose the name: the file was never there, nothing used it.
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), KeyFileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| failed(path, "fsync the directory", source))
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.to_owned(), action, source }
}
