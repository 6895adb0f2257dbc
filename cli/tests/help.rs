//! What the help says, word for word, and that every command has some: scripts and people rely on
//! it.
//!
//! `TRYCMD=overwrite cargo test -p quorate --test help` writes the snapshots again.

#[test]
fn help_and_errors_are_as_they_were() {
    trycmd::TestCases::new()
        .case("tests/cmd/*.trycmd")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("QUORATE_OUTPUT", "table");
}
