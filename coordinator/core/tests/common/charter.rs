//! The charter of the test world: lines that a script replaces or adds to.

use super::{OPERATORS, coordinator, origin, signer};

/// The charter's lines; a script replaces or adds some.
const CHARTER: &[&str] = &[
    "faults 1",
    "threshold 3",
    "skew 2000",
    "max-age 60000",
    "cluster c process closed",
    "cluster d process closed",
    "class * charter 1/2 2 2 0 0",
    "class * cluster 2/3 2 0 0 600000",
    "class * irreversible 2/3 2 2 300000 600000",
    "class * local 1/3 2 0 0 600000",
    "budget * cluster 10 1000 0",
    "budget * global 10 1000 0",
    "budget * irreversible 10 1000 0",
    "budget * local 10 1000 0",
    "budget * target 10 1000 0",
];

/// Members of the two clusters, each in a failure domain of its own.
const MEMBERS: [(&str, &str); 7] =
    [("c", "a"), ("c", "b"), ("c", "c"), ("c", "d"), ("d", "x"), ("d", "y"), ("d", "z")];

/// The text of a charter: the lines above, with `changes` replacing those of the same key.
pub(crate) fn charter_text(epoch: u64, previous: &str, changes: &[String]) -> String {
    let mut lines: Vec<String> = CHARTER.iter().map(ToString::to_string).collect();
    for id in ["1", "2", "3", "4"] {
        lines.push(format!("coordinator {}", coordinator(id).vkey()));
    }
    for id in OPERATORS {
        lines.push(format!("operator - {}", signer(id).vkey()));
    }
    for (cluster, member) in MEMBERS {
        lines.push(format!("member {cluster} {member} -"));
        lines.push(format!("agent {cluster} {member} observer {}", signer(member).vkey()));
    }
    for change in changes {
        let same = |line: &str| key_of(line) == key_of(change);
        lines.retain(|line| !same(line));
        if !change.ends_with(" remove") {
            lines.push(change.clone());
        }
    }
    let mut text =
        format!("quorate-charter/v1\norigin {}\nepoch {epoch}\nprevious {previous}\n", origin());
    for key in [
        "faults",
        "threshold",
        "skew",
        "max-age",
        "coordinator",
        "log",
        "operator",
        "cluster",
        "member",
        "agent",
        "class",
        "budget",
        "rule",
        "playbook",
    ] {
        let mut of_key: Vec<_> =
            lines.iter().filter(|line| line.split(' ').next() == Some(key)).collect();
        of_key.sort();
        of_key.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    text
}

/// What makes two charter lines speak of the same thing.
fn key_of(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split(' ').collect();
    let len = match words[0] {
        "class" | "budget" | "rule" | "member" | "agent" => 3,
        "cluster" => 2,
        "coordinator" | "operator" => words.len(),
        _ => 1,
    };
    words[..len.min(words.len())].to_vec()
}
