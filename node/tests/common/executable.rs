//! Programs that a test writes and then starts.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes `text` to `path` and makes it executable.
///
/// Another process writes it: a file that this one has open for writing, in a child of another test
/// between fork and exec for one, cannot be started (`ETXTBSY`).
pub fn executable(path: &Path, text: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"cat > "$1" && chmod 755 "$1""#, "sh"]).arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("sh");
    let mut stdin = shell.stdin.take().expect("its input");
    stdin.write_all(text.as_bytes()).expect("the text");
    drop(stdin);
    assert!(shell.wait().expect("sh").success(), "{}", path.display());
}
