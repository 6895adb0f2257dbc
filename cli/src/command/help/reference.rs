//! `docs/reference/reasons.md` is generated from the two tables of reasons.

use std::fmt::Write as _;
use std::path::PathBuf;

use quorate_proto::error_code::{ErrorCode, Retry};
use quorate_proto::exit_code::ExitCode;

use crate::failure::LocalReason;

#[test]
fn the_reference_is_generated_from_both_tables() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/reasons.md");
    let wanted = reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        have == wanted,
        "{} is not what the tables say; run UPDATE_REFERENCE=1 cargo test -p quorate reference",
        path.display()
    );
}

fn reference() -> String {
    let mut text = String::from(
        "# Reasons and exit codes\n\n\
         <!-- Generated from proto/src/error_code.rs and cli/src/failure.rs:\n\
         \x20    UPDATE_REFERENCE=1 cargo test -p quorate reference -->\n\n\
         Every refusal carries a `google.rpc.ErrorInfo` with the domain `quorate.v1`, one of the \
         reasons below and\nits facts as metadata. A reason is never renamed and never reused.\n\n\
         ## Exit codes\n\n| code | meaning |\n|---|---|\n",
    );
    for exit in ExitCode::ALL {
        let _ = writeln!(text, "| {} | {} |", exit.code(), exit.meaning());
    }
    text.push_str("\nInterrupted by a signal: 130 (SIGINT) or 143 (SIGTERM).\n");
    push_remote(&mut text);
    push_local(&mut text);
    for code in ErrorCode::ALL {
        let row = code.row();
        let facts: Vec<String> = row.metadata.iter().map(|key| format!("`{key}`")).collect();
        let facts = if facts.is_empty() { "none".to_owned() } else { facts.join(", ") };
        let _ = write!(
            text,
            "\n### {}\n\n{}\n\n* Facts: {}.\n* What to do: {}\n",
            row.reason, row.meaning, facts, row.remedy
        );
    }
    text
}

fn push_remote(text: &mut String) {
    text.push_str(
        "\n## Reasons\n\n| reason | gRPC code | HTTP | exit | ask again |\n|---|---|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        let row = code.row();
        let _ = writeln!(
            text,
            "| [{0}](#{1}) | {2} | {3} | {4} | {5} |",
            row.reason,
            row.reason.to_lowercase(),
            row.grpc.name(),
            row.grpc.http_status(),
            row.exit.code(),
            match row.retry {
                Retry::Never => "no",
                Retry::Later => "at the time it says",
                Retry::Soon => "soon, same request id",
            }
        );
    }
}

fn push_local(text: &mut String) {
    text.push_str(
        "\n## Reasons of the command line\n\n\
         What `quorate` finds out by itself has the code `LOCAL` and one of these.\n\n\
         | reason | exit | meaning |\n|---|---|---|\n",
    );
    for reason in LocalReason::ALL {
        let (word, exit) = (reason.word(), reason.exit().code());
        let _ = writeln!(text, "| {word} | {exit} | {} |", reason.meaning());
    }
}
