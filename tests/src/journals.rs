//! The agents' own journals, read by the agent's own reader while the agent does not run.

use std::path::{Path, PathBuf};

use quorate_attest::id::{ClusterId, KeyName};
use quorate_node::journal::{Entry, Journal, Owner};

/// The journal file in an agent's folder.
///
/// # Panics
/// There is not exactly one redb file.
#[must_use]
pub fn file_of(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    let entries =
        std::fs::read_dir(&data).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
    let mut files = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "redb"));
    match (files.next(), files.next()) {
        (Some(file), None) => file,
        (None | Some(_), _) => panic!("{} does not hold exactly one journal", data.display()),
    }
}

/// All entries of a stopped agent's journal.
///
/// # Panics
/// It is missing, damaged, in use, or another agent's.
#[must_use]
pub fn entries(folder: &Path, name: &KeyName, cluster: &ClusterId) -> Vec<Entry> {
    open(folder, name, cluster).entries().cloned().collect()
}

/// The journal of a stopped agent.
///
/// # Panics
/// As [`entries`].
#[must_use]
pub fn open(folder: &Path, name: &KeyName, cluster: &ClusterId) -> Journal {
    let file = file_of(folder);
    Journal::open(&file, &Owner::new(name.clone(), cluster.clone()))
        .unwrap_or_else(|fault| panic!("{}: {fault}", file.display()))
}
