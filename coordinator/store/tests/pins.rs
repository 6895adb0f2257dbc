//! openraft and its sisters are one release: a mixed lock file is refused before it runs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

const LOCK: &str = include_str!("../../../Cargo.lock");
const PINNED: &str = "0.10.0-alpha.37";

/// Name and version of every locked package.
fn locked() -> Vec<(&'static str, &'static str)> {
    let field = |package: &'static str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_matches('"')
    };
    let packages = LOCK.split("[[package]]").skip(1);
    packages.map(|package| (field(package, "name = "), field(package, "version = "))).collect()
}

#[test]
fn openraft_is_locked_to_one_release() {
    let mut family = locked();
    family.retain(|(name, _)| name.starts_with("openraft"));
    let names: Vec<&str> = family.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["openraft", "openraft-macros", "openraft-rt", "openraft-rt-tokio"]);
    for (name, version) in family {
        assert_eq!(version, PINNED, "{name}");
    }
}

#[test]
fn redb_is_above_its_recovery_bugs() {
    let redb = locked().into_iter().find(|(name, _)| *name == "redb").unwrap().1;
    let mut numbers = redb.split('.').map(|number| number.parse::<u32>().unwrap());
    let (major, minor) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!((major, minor) >= (4, 4), "{redb}");
}
