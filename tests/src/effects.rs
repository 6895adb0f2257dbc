//! What was really done to the counted target: one line for each time it was acted on.

use std::path::Path;

/// One act, in the target's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Which agent's target; the member's name.
    pub member: String,
    /// The proposal's id.
    pub proposal: String,
    /// The fencing token.
    pub token: String,
}

/// Everything done under one deployment, in the order of each file.
///
/// # Panics
/// The deployment's folder cannot be read.
#[must_use]
pub fn all(root: &Path) -> Vec<Effect> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).expect("the deployment's folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(member) = name.as_deref().and_then(|name| name.strip_prefix("effects-")) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("a file of effects");
        found.extend(text.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            Effect { member: member.to_owned(), proposal: next(), token: next() }
        }));
    }
    found
}
