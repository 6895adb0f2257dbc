//! The system that the `exec` adapter acts on in the tests: it counts what is really done to it.
//!
//! `counted-target FILE`: speaks the JSON of `quorate-node`'s exec adapter. Each `execute` appends one
//! line `<proposal> <token> <pid>` to FILE and syncs it; `verify` finds the effect only if FILE has
//! grown. While a file `FILE.hold` is there, `execute` does not return after its effect. It keeps no memory of proposals on purpose: an action that is carried out twice counts twice.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: counted-target FILE");
        return ExitCode::from(2);
    };
    match answer(Path::new(&file)) {
        Ok(answer) => {
            // A closed pipe means that nobody listens any more.
            drop(writeln!(std::io::stdout(), "{answer}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(path: &Path) -> std::io::Result<Value> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Value = serde_json::from_str(&text)?;
    let done = std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let hold = path.with_extension("hold");
    let witness = json!({ "done": done.to_string() });
    Ok(match request["call"].as_str() {
        Some("probe") => json!({ "signals": witness }),
        Some("prepare") => json!({ "witness": witness, "preconditions": [] }),
        Some("execute") => {
            let word = |key: &str| request["order"][key].as_str().unwrap_or("-").to_owned();
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            let line = format!("{} {} {}\n", word("proposal"), word("token"), std::process::id());
            file.write_all(line.as_bytes())?;
            file.sync_all()?;
            while hold.exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
            json!({ "answer": "applied", "detail": "counted" })
        }
        Some("verify") => {
            let before = request["witness"]["done"].as_str().and_then(|word| word.parse().ok());
            let effect = if before.is_some_and(|before: usize| done > before) {
                "effective"
            } else {
                "ineffective"
            };
            json!({ "effect": effect, "witness": witness, "difference": format!("{done} done") })
        }
        Some(other) => json!({ "answer": "failed", "detail": format!("unknown call {other}") }),
        None => json!({ "answer": "failed", "detail": "no call" }),
    })
}
