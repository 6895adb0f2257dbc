//! What `deploy/` ships can be started: here its form is checked with the programs that would read it, as far
//! as this machine has them; `.ci/compose` starts the compose file for real.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Highest exposure that `systemd-analyze security` may say, of 10.
const EXPOSURE_MAX: &[(&str, f64)] = &[("coordinator", 1.5), ("agent", 4.0)];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join("deploy")
}

fn unit(name: &str) -> PathBuf {
    deploy().join(format!("systemd/quorate-{name}.service"))
}

/// The standard output and error of `program`, or nothing where this machine does not have it.
fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(_) => {
            eprintln!("left out: {program} is not on this machine");
            None
        }
    }
}

#[test]
fn each_unit_is_known_to_systemd_in_every_line() {
    for (name, _) in EXPOSURE_MAX {
        let path = unit(name);
        let Some((_, said)) = run("systemd-analyze", &["verify", &path.to_string_lossy()]) else {
            return;
        };
        // The binary itself is not installed on a build machine.
        let complaints: Vec<&str> =
            said.lines().filter(|line| !line.contains("is not executable")).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }
}

#[test]
fn each_unit_keeps_its_walls() {
    for (name, most) in EXPOSURE_MAX {
        let path = unit(name);
        let arguments = ["security", "--offline=yes", &path.to_string_lossy()];
        let Some((_, said)) = run("systemd-analyze", &arguments) else { return };
        let level: f64 = said
            .lines()
            .find_map(|line| line.split("service: ").nth(1).filter(|_| line.contains("exposure")))
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no exposure level in: {said}"));
        assert!(level <= *most, "{name} has exposure {level}, at most {most} is allowed");
    }
}

#[test]
fn each_unit_starts_a_command_that_exists() {
    for (name, _) in EXPOSURE_MAX {
        let text = std::fs::read_to_string(unit(name)).expect("unit");
        let start =
            text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("ExecStart");
        let mut words = start.split(' ').skip(1).take(2).collect::<Vec<_>>();
        assert_eq!(words, [*name, "run"], "{start}");
        words.push("--help");
        let binary = quorate_tests::binary::quorate();
        let output = Command::new(binary).args(&words).output().expect("the binary runs");
        assert!(output.status.success(), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("--config"), "{start}");
    }
}

#[test]
fn the_compose_file_is_accepted_by_compose() {
    let file = deploy().join("compose/compose.yaml");
    let arguments = ["--file", &file.to_string_lossy(), "config", "--quiet"];
    if let Some((accepted, said)) = run("docker-compose", &arguments) {
        assert!(accepted, "{said}");
    }
}
