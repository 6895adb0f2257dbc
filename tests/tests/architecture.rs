//! The folders are the architecture: dependencies point down only, and each crate knows only what
//! ARCHITECTURE.md allows it to know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Crate, and the crates of ours it may depend on (without dev-dependencies).
const ALLOWED: &[(&str, &[&str])] = &[
    ("quorate-attest", &[]),
    ("quorate-core", &["quorate-attest"]),
    ("quorate-store", &["quorate-attest", "quorate-core"]),
    ("quorate-proto", &["quorate-attest"]),
    ("quorate-coordinator", &["quorate-attest", "quorate-core", "quorate-proto", "quorate-store"]),
    ("quorate-node", &["quorate-attest", "quorate-proto"]),
    ("quorate", &["quorate-attest", "quorate-coordinator", "quorate-node", "quorate-proto"]),
];

/// Crate, and the foreign crates that must not be reachable from it, however indirectly.
const NEVER_REACHES: &[(&str, &[&str])] = &[
    ("quorate-attest", &["tokio", "prost", "tonic", "redb", "openraft", "serde", "rand"]),
    ("quorate-core", &["tokio", "prost", "tonic", "redb", "openraft", "rand", "quanta"]),
    ("quorate-store", &["tonic", "prost"]),
    ("quorate-proto", &["openraft", "redb"]),
    ("quorate-node", &["openraft"]),
    ("quorate", &["aws-lc-rs", "openssl"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".into()])
        .exec()
        .expect("cargo metadata")
}

fn dependencies(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let package = metadata
        .packages
        .iter()
        .find(|candidate| candidate.name.as_str() == package)
        .unwrap_or_else(|| panic!("{package} is no package of the workspace"));
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.clone())
        .collect()
}

#[test]
fn our_crates_depend_downwards_only() {
    let metadata = metadata();
    for (package, allowed) in ALLOWED {
        let ours: BTreeSet<String> = dependencies(&metadata, package)
            .into_iter()
            .filter(|name| name.starts_with("quorate"))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        assert!(ours.is_subset(&allowed), "{package} may know {allowed:?}, but knows {ours:?}");
    }
}

#[test]
fn nothing_depends_on_the_tests_or_the_benchmarks() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        for leaf in ["quorate-tests", "quorate-bench"] {
            assert!(
                !dependencies(&metadata, package.name.as_str()).contains(leaf),
                "{} depends on {leaf}",
                package.name
            );
        }
    }
}

/// Everything that `package` links when it is built alone: its own features, not those that the rest of
/// the workspace asks for, and without what only runs at build time.
fn reachable(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--package", package, "--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names");
    let names: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(package), "cargo tree lists the package itself");
    names
}

#[test]
fn no_crate_reaches_what_it_must_not_know() {
    // Through two of ours: without this an empty list would pass.
    assert!(reachable("quorate").contains("openraft"));
    for (package, banned) in NEVER_REACHES {
        let reached = reachable(package);
        for name in *banned {
            assert!(!reached.contains(*name), "{package} reaches {name}");
        }
    }
}

#[test]
fn openraft_and_its_sisters_are_pinned_to_one_version() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is committed");
    let versions: BTreeSet<&str> = lock
        .split("[[package]]")
        .filter(|package| package.contains("name = \"openraft"))
        .map(|package| package.split("version = \"").nth(1).expect("version").split('"').next())
        .map(|version| version.expect("version"))
        .collect();
    assert_eq!(versions.len(), 1, "mixed alphas of openraft: {versions:?}");
}

/// All Rust sources of the project.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn openraft_is_named_only_in_the_store_and_the_raft_layer() {
    let root = root();
    let mut found = Vec::new();
    sources(&root, &mut found);
    let allowed = |path: &str| {
        path.starts_with("coordinator/store/")
            || path.starts_with("coordinator/src/raft/")
            || path.starts_with("coordinator/src/handle/")
            || path == "tests/tests/architecture.rs"
    };
    for path in found {
        let short = path.strip_prefix(&root).expect("inside").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("source");
        let names = text.lines().any(|line| {
            let code = line.trim_start();
            !code.starts_with("//") && code.contains("openraft")
        });
        assert!(!names || allowed(&short), "{short} names openraft");
    }
}

#[test]
fn one_agent_or_core_never_reads_another_crates_private_folder() {
    // `#[path]` or `include!` would go round the crate edges.
    let root = root();
    let mut found = Vec::new();
    sources(&root, &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).expect("source");
        let short = path.strip_prefix(&root).expect("inside").display().to_string();
        let around = text.lines().any(|line| line.trim_start().starts_with("#[path"));
        assert!(!around, "{short} uses #[path]");
    }
}

/// Folders of the tree by which a word in backticks is known for a path.
const TOP: &[&str] =
    &["cli", "coordinator", "node", "proto", "bench", "tests", "deploy", "docs", ".ci"];

/// Words in backticks outside fences that are paths of the tree.
fn paths_named(text: &str) -> Vec<String> {
    let fences = text.split("```").step_by(2);
    fences
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .filter(|word| word.split_once('/').is_some_and(|(top, _)| TOP.contains(&top)))
        .filter(|word| {
            !word.contains(|letter: char| letter.is_whitespace() || "<>*".contains(letter))
        })
        .map(str::to_owned)
        .collect()
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_path_that_a_document_names_exists() {
    let root = root();
    let mut found = vec![root.join("ARCHITECTURE.md"), root.join("CONTRIBUTING.md")];
    documents(&root.join("docs"), &mut found);
    let mut named = 0;
    for document in found {
        let text = std::fs::read_to_string(&document).expect("document");
        for path in paths_named(&text) {
            named += 1;
            assert!(root.join(&path).exists(), "{} names {path}", document.display());
        }
    }
    assert!(named > 30, "only {named} paths were found");
}
