//! Where a member is about to start: host, data directory, and what that directory says of itself.
//!
//! The gate leaves a random marker in the directory. Identity is the digest of it and of the files
//! that hold the system's own ids, so that a dead disk is known again under any member's name. The
//! marker also names the re-admission it was made under: that is how an empty directory, once it is
//! filled, is told from the old one (*dead-stays-dead*).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_attest::declaration::Readmission;
use quorate_attest::id::Digest;
use serde::Deserialize;

use super::durable;

/// The marker's name in the member's data directory.
const MARKER: &str = ".quorate-identity";
/// The largest marker that is read.
const MARKER_BYTES_MAX: u64 = 4_096;
/// The largest file of the system's own ids.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Where Linux says what this host is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The table `[gate]` of an agent's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// The member's data directory. Without it, no disk is known again and no re-admission holds.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// The files in it that hold the system's own ids, relative to it.
    #[serde(default)]
    pub identity_files: Vec<PathBuf>,
    /// This host, as a re-admission names it; what the kernel says if it is not given.
    #[serde(default)]
    pub host: Option<String>,
}

/// What a data directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// The configuration names no directory.
    NotNamed,
    /// It is missing, or there is nothing in it.
    Empty,
    /// It is not empty and no gate has marked it. With files of the system's own it has an
    /// identity.
    Unmarked {
        /// Of the system's own ids, if any file of them is there.
        identity: Option<Digest>,
    },
    /// A gate has marked it.
    Marked {
        /// Of marker and the system's own ids.
        identity: Digest,
        /// The re-admission it was marked under.
        readmission: Option<Digest>,
    },
}

/// Where a member is about to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// This host.
    pub host: String,
    /// The data directory, if it is named.
    pub directory: Option<PathBuf>,
    /// What is in it.
    pub contents: Contents,
}

impl Place {
    /// Looks at the place that `config` names.
    ///
    /// # Errors
    /// The directory is there and cannot be read: nothing is known of the disk.
    pub fn look(config: &GateConfig) -> io::Result<Self> {
        let host = match &config.host {
            Some(host) => host.clone(),
            None => fs::read_to_string(HOST_NAME)?.trim().to_owned(),
        };
        let contents = match &config.directory {
            None => Contents::NotNamed,
            Some(directory) => contents(directory, &config.identity_files)?,
        };
        Ok(Self { host, directory: config.directory.clone(), contents })
    }

    /// The identity, if there is one.
    #[must_use]
    pub fn identity(&self) -> Option<Digest> {
        match &self.contents {
            Contents::NotNamed | Contents::Empty => None,
            Contents::Unmarked { identity } => *identity,
            Contents::Marked { identity, .. } => Some(*identity),
        }
    }

    /// Marks a directory that no gate has marked yet; under a re-admission also one that is
    /// missing.
    ///
    /// # Errors
    /// No randomness, or the directory cannot be written.
    pub fn mark(&self, readmission: Option<&Readmission>) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        match self.contents {
            Contents::NotNamed | Contents::Marked { .. } => return Ok(()),
            Contents::Empty | Contents::Unmarked { .. } => {}
        }
        if readmission.is_none() && !directory.exists() {
            // Its system makes it, and the next start marks it.
            return Ok(());
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let readmitted = readmission.map_or_else(|| "-".to_owned(), |it| digest_of(it).to_string());
        let text = format!(
            "quorate-identity/v1\nmarker {}\nreadmission {readmitted}\n",
            Digest::of(&random)
        );
        fs::create_dir_all(directory)?;
        durable::replace(&directory.join(MARKER), text.as_bytes())
    }
}

/// What names a re-admission in a marker: its words.
#[must_use]
pub(super) fn digest_of(readmission: &Readmission) -> Digest {
    let Readmission { member, host, directory } = readmission;
    Digest::of(format!("{member}\n{host}\n{directory}\n").as_bytes())
}

fn contents(directory: &Path, files: &[PathBuf]) -> io::Result<Contents> {
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Contents::Empty),
        Err(failure) => return Err(failure),
    };
    if entries.next().transpose()?.is_none() {
        return Ok(Contents::Empty);
    }
    let marker = durable::read(&directory.join(MARKER), MARKER_BYTES_MAX)?;
    let mut text = String::from("quorate-identity/v1\n");
    let mut has_any = marker.is_some();
    let mut name = |key: &str, bytes: Option<Vec<u8>>| {
        has_any |= bytes.is_some();
        let digest = bytes.map_or_else(|| "-".to_owned(), |bytes| Digest::of(&bytes).to_string());
        // Writing into memory cannot fail.
        let _written = writeln!(text, "{key} {digest}");
    };
    name("marker", marker.clone());
    for file in files {
        name(&file.display().to_string(), durable::read(&directory.join(file), FILE_BYTES_MAX)?);
    }
    let identity = has_any.then(|| Digest::of(text.as_bytes()));
    Ok(match (marker, identity) {
        (Some(marker), Some(identity)) => {
            Contents::Marked { identity, readmission: readmission_in(&marker) }
        }
        (Some(_) | None, identity) => Contents::Unmarked { identity },
    })
}

/// The re-admission that a marker names. A marker that cannot be read names none.
fn readmission_in(marker: &[u8]) -> Option<Digest> {
    let text = std::str::from_utf8(marker).ok()?;
    let mut lines = text.lines();
    if lines.next()? != "quorate-identity/v1" {
        return None;
    }
    lines.find_map(|line| line.strip_prefix("readmission "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readmission() -> Readmission {
        Readmission {
            member: "n2".parse().unwrap(),
            host: "host-b".parse().unwrap(),
            directory: "/data/n2".parse().unwrap(),
        }
    }

    #[test]
    fn a_marked_directory_keeps_its_identity_wherever_it_is_moved() {
        let base = tempfile::tempdir().unwrap();
        let config = |name: &str| GateConfig {
            directory: Some(base.path().join(name)),
            identity_files: vec!["ids".into()],
            host: Some("host-a".into()),
        };
        assert_eq!(Place::look(&config("a")).unwrap().contents, Contents::Empty);
        fs::create_dir(base.path().join("a")).unwrap();
        Place::look(&config("a")).unwrap().mark(None).unwrap();
        let first = Place::look(&config("a")).unwrap();
        assert!(first.identity().is_some());
        first.mark(None).unwrap();
        assert_eq!(Place::look(&config("a")).unwrap(), first, "a mark is made once");
        fs::rename(base.path().join("a"), base.path().join("b")).unwrap();
        assert_eq!(Place::look(&config("b")).unwrap().identity(), first.identity());
        fs::write(base.path().join("b/ids"), "node 7").unwrap();
        assert_ne!(Place::look(&config("b")).unwrap().identity(), first.identity());
    }

    #[test]
    fn a_marker_names_the_readmission_it_was_made_under() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("not/yet");
        let config = GateConfig { directory: Some(directory), ..GateConfig::default() };
        Place::look(&config).unwrap().mark(Some(&readmission())).unwrap();
        let Contents::Marked { readmission: named, .. } = Place::look(&config).unwrap().contents
        else {
            panic!("it is marked")
        };
        assert_eq!(named, Some(digest_of(&readmission())));
        for garbage in [&b"\xff"[..], b"", b"quorate-identity/v1\nreadmission \n"] {
            assert_eq!(readmission_in(garbage), None);
        }
    }
}
