//! C2SP `tlog-policy`: the trust file of other tools, written from the charter's keys.
//!
//! ```text
//! log <vkey> [url]                       the log's own keys
//! witness <name> <vkey>                  a coordinator; here named c1, c2, ... by key name
//! group coordinators <k> c1 c2 ...       k of them are a quorum
//! quorum coordinators
//! ```

use std::fmt::Write as _;

use crate::head::HeadPolicy;
use crate::id::Word;

/// The policy file that says the same as `policy`. `url` is where the log can be read, if anywhere.
#[must_use]
pub fn write_policy(policy: &HeadPolicy, url: Option<&Word>) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("a String takes every text");
        text.push('\n');
    };
    for key in policy.log_keys() {
        match url {
            Some(url) => line(format_args!("log {key} {url}")),
            None => line(format_args!("log {key}")),
        }
    }
    let mut members = String::new();
    for (at, key) in policy.coordinators().enumerate() {
        let name = format!("c{}", at + 1);
        line(format_args!("witness {name} {key}"));
        members.push(' ');
        members.push_str(&name);
    }
    line(format_args!("group coordinators {}{members}", policy.threshold()));
    line(format_args!("quorum coordinators"));
    text
}
