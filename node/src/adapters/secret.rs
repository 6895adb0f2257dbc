//! Secrets of guarded systems: one line in a file of mode 0600, wiped from memory after use.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

/// Reads the secret of `path`, without the line end.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let mode = fs::metadata(path).map_err(|e| e.to_string())?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("mode {mode:04o} lets others in; run `chmod 600`"));
    }
    let mut secret = Zeroizing::new(fs::read_to_string(path).map_err(|e| e.to_string())?);
    let whole = secret.trim_end().len();
    secret.truncate(whole);
    if secret.is_empty() { Err("it is empty".into()) } else { Ok(secret) }
}
