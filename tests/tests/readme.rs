//! The README's commands, as a newcomer pastes them: every block of "Use it", in order, in one shell.

use std::path::Path;
use std::process::Command;

use quorate_tests::binary;
use quorate_tests::ports;

/// From an empty directory to the last command.
const MINUTES_MAX: &str = "5m";

/// What a newcomer types: the lines behind `$`, with the lines that continue them.
fn commands(readme: &str) -> Vec<String> {
    let section = readme.split("\n## Use it").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let mut commands: Vec<String> = Vec::new();
    let mut inside = false;
    for line in section.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            commands.push(command.to_owned());
        } else if inside {
            let last = commands.last_mut().expect("a block begins with a command");
            last.push('\n');
            last.push_str(line);
        }
    }
    commands
}

#[test]
fn the_section_is_read_as_a_reader_reads_it() {
    let text = "\n## Use it\n```console\n$ one \\\n    two\n$ three\n```\nprose\n## Next\n```console\n$ four\n```";
    assert_eq!(commands(text), ["one \\\n    two", "three"]);
}

#[test]
#[ignore = "a minute: a restart counts as effective only after its stability window; run by .ci/run"]
fn every_command_of_the_readme_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let place = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(root.join("docs"), place.path().join("docs")).expect("a link");
    // The build is this test's own, and its ports are free ones.
    let first = ports::block(6);
    let members = ports::block(4);
    let typed: Vec<String> = commands(&readme)
        .into_iter()
        .filter(|command| !command.starts_with("cargo ") && !command.starts_with("export PATH"))
        .map(|command| {
            command.replace("quorate init ./prod", &format!("quorate init ./prod --port {first}"))
        })
        .map(|command| {
            (1..=3).fold(command, |command, n| {
                command.replace(&format!(":790{n}"), &format!(":{}", members + n))
            })
        })
        .map(|command| command.replace(":790$n", &format!(":$(({members} + n))")))
        .collect();
    assert!(typed.len() > 15, "only {} commands were found", typed.len());
    let script = format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nset -x\n{}\n",
        typed.join("\n")
    );
    let programs = place.path().join("bin");
    std::fs::create_dir(&programs).expect("a directory");
    std::os::unix::fs::symlink(binary::quorate(), programs.join("quorate")).expect("a link");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("PATH"));
    // A newcomer gets through all of it in this time, and so does the test.
    let output = Command::new("timeout")
        .args([MINUTES_MAX, "bash", "-c", &script])
        .current_dir(place.path())
        .env("PATH", path)
        .env_remove("QUORATE_CONFIG")
        .output()
        .expect("bash runs");
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{}\n{said}", output.status);
    eprintln!("{said}");
    let told = [
        "decision shop/1  effective\n",
        "refused-precondition",
        "✔ verified against the pinned charter\ndecision     token 1.1",
        "ok       decision       token 1.1, restart member:n2 in shop\n",
        "holds        2 decisions, 2 outcomes",
        "✔ equal: coordinator 3 at size 5\n",
        "VERIFICATION_FAILED",
    ];
    for expected in told {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    let negative = said.matches("+ echo 'exit 3'\n").count();
    assert_eq!(negative, 2, "the refused restart and the forged log\n{said}");
}
