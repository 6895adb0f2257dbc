//! Files of keys, notes and texts: read with their limits, created and never overwritten.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use quorate_attest::id::KeyName;
use quorate_attest::key::{KeyType, SecretKey, VerifierKey};
use quorate_proto::key_file::{self, KeyFileError};
use zeroize::Zeroizing;

use crate::failure::{Failure, LocalReason};

/// The longest text or note that is read at once. A certificate has at most 204,800 bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let mut message = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            message += &format!(": {source}");
        }
        let reason = match &error {
            KeyFileError::Exists { .. } => LocalReason::FileExists,
            KeyFileError::Io { .. }
            | KeyFileError::SymbolicLink { .. }
            | KeyFileError::NotRegular { .. }
            | KeyFileError::OtherOwner { .. }
            | KeyFileError::OpenToOthers { .. }
            | KeyFileError::TooLarge { .. }
            | KeyFileError::NotText { .. }
            | KeyFileError::Key { .. } => LocalReason::FileFailed,
        };
        Failure::local(reason, message)
    }
}

/// A new secret from the operating system's randomness.
///
/// # Errors
/// The operating system has none.
pub(crate) fn new_secret() -> Result<SecretKey, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    random(seed.as_mut())?;
    Ok(SecretKey::from_seed(seed))
}

/// Fills `bytes` with randomness.
///
/// # Errors
/// The operating system has none.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|error| Failure::local(LocalReason::FileFailed, format!("no randomness: {error}")))
}

/// Makes a key: `path` with the secret, `path.vkey` with the public line.
///
/// # Errors
/// Either file exists, or a write failed.
pub(crate) fn generate_key(
    path: &Path,
    name: KeyName,
    key_type: KeyType,
) -> Result<VerifierKey, Failure> {
    let secret = new_secret()?;
    let vkey = VerifierKey::new(name, key_type, secret.public());
    key_file::create(path, &secret, &vkey)?;
    Ok(vkey)
}

/// Reads a secret and the verifier key beside it, which must belong together.
///
/// # Errors
/// A file is missing, not private or no key; or the two do not fit.
pub(crate) fn read_key(path: &Path) -> Result<(SecretKey, VerifierKey), Failure> {
    let secret = key_file::load(path)?;
    let vkey = read_vkey(&key_file::vkey_path(path))?;
    if secret.public() != *vkey.public() {
        return Err(Failure::local(
            LocalReason::FileFailed,
            format!("{}: the .vkey beside it is of another key", path.display()),
        ));
    }
    Ok((secret, vkey))
}

/// Reads a verifier key.
///
/// # Errors
/// No such file, or no verifier key in it.
pub(crate) fn read_vkey(path: &Path) -> Result<VerifierKey, Failure> {
    read_text(path)?
        .trim_end()
        .parse()
        .map_err(|error| Failure::file(path, format!("no verifier key: {error}")))
}

/// Reads a text; `-` is standard input.
///
/// # Errors
/// It cannot be read, is larger than a mebibyte, or is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(path)?).map_err(|_| Failure::file(path, "is not UTF-8"))
}

/// Reads a file of bounded size; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is larger than a mebibyte.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = TEXT_BYTES_MAX + 1;
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::file(path, error))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(Failure::file(path, format!("has more than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Creates a file that was not there, readable by everybody, durably.
///
/// # Errors
/// It exists, or a write failed.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let mut file = opened.map_err(|error| {
        if error.kind() != std::io::ErrorKind::AlreadyExists {
            return Failure::file(path, error);
        }
        let message = format!("{}: exists already and is not overwritten", path.display());
        Failure::local(LocalReason::FileExists, message)
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| Failure::file(path, error))
}
