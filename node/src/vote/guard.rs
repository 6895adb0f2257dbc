//! The guard: a validator never signs two texts for one question (*sign-once*).
//!
//! A file beside the key. Before a signature is released, the question (origin, epoch, proposal;
//! or an old origin, for an incarnation) and the text are appended and fsynced under a file lock.
//! The same text is signed again; another text is refused and the first one shown. The agent and
//! the CLI use the same file, also offline. It travels with the key: a copy of the key without its
//! guard can be made to contradict itself.
//!
//! One line per question: `question word word word text check`, the text in hex, the check the
//! SHA-256 of the rest. A crash in the middle of a line leaves a torn end that was never released;
//! the next writer closes it with a line `torn`. Any other line whose check does not hold stops
//! every signature of this key.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use quorate_attest::id::{Digest, Origin};
use quorate_attest::key::NoteSigner;
use quorate_attest::operator_statement::IncarnationStatement;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_attest::vote::Vote;
use thiserror::Error;

/// The line that closes a torn end.
const TORN: &str = "torn";

/// Why a text is not signed.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Another text was signed for this question. The first one is kept and shown.
    #[error("another text was signed for {question} before:\n{before}")]
    SignedOtherwise {
        /// The question.
        question: String,
        /// The text signed before.
        before: String,
    },
    /// A line is not what was written: nobody can say what this key has signed.
    #[error("line {line} of the guard {path} is damaged; this key must not sign any more")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file cannot be locked, read or made durable. Nothing was released.
    #[error("the guard {path} cannot be used: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The guard of one key.
#[derive(Debug, Clone)]
pub struct Guard {
    path: PathBuf,
    /// Makes a file or directory durable: `fsync`, but for a test of its failure.
    sync: fn(&File) -> io::Result<()>,
}

impl Guard {
    /// The guard beside the key file `key`: `<key>.guard`.
    #[must_use]
    pub fn beside(key: &Path) -> Self {
        let mut path = key.as_os_str().to_owned();
        path.push(".guard");
        Self { path: path.into(), sync: File::sync_all }
    }

    /// Signs a vote, unless another verdict was signed on that proposal. The text is durable first.
    ///
    /// # Errors
    /// [`GuardError`]; nothing was signed.
    pub fn sign_vote(&self, signer: &NoteSigner, vote: Vote) -> Result<Signed<Vote>, GuardError> {
        let question = format!("vote {} {} {}", vote.origin, vote.epoch, vote.proposal);
        self.permit(&question, &vote.text())?;
        Ok(signer.signed(vote))
    }

    /// Signs an incarnation, unless another successor of the old origin was signed.
    ///
    /// # Errors
    /// [`GuardError`]; nothing was signed.
    pub fn sign_incarnation(
        &self,
        signer: &NoteSigner,
        incarnation: IncarnationStatement,
    ) -> Result<Signed<IncarnationStatement>, GuardError> {
        let question = question_of_origin(&incarnation.old_origin);
        self.permit(&question, &incarnation.text())?;
        Ok(signer.signed(incarnation))
    }

    /// Records `text` as the answer to `question`, or finds that it is the recorded one.
    ///
    /// The lock is held from reading to fsync, so two processes with one key are one after the other.
    /// A recorded text is made durable too before it is released: the process that wrote it, or that
    /// made the file, may have been killed before its fsync (*sign-once*).
    fn permit(&self, question: &str, text: &str) -> Result<(), GuardError> {
        let disk = |source| GuardError::Disk { path: self.path.clone(), source };
        let mut file = self.locked().map_err(disk)?;
        let mut content = String::new();
        file.read_to_string(&mut content).map_err(disk)?;
        if let Some(before) = self.recorded(&content, question)? {
            if before == text {
                return self.make_durable(&file).map_err(disk);
            }
            return Err(GuardError::SignedOtherwise { question: question.to_owned(), before });
        }
        let mut line = String::new();
        if !content.is_empty() && !content.ends_with('\n') {
            let _ = write!(line, "\n{TORN}\n");
        }
        let body = format!("{question} {}", hex(text.as_bytes()));
        let _ = writeln!(line, "{body} {}", Digest::of(body.as_bytes()));
        file.seek(SeekFrom::End(0)).map_err(disk)?;
        file.write_all(line.as_bytes()).map_err(disk)?;
        self.make_durable(&file).map_err(disk)
    }

    fn locked(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&self.path)?;
        file.lock()?;
        Ok(file)
    }

    /// The text, then the name under which it is found again.
    fn make_durable(&self, file: &File) -> io::Result<()> {
        (self.sync)(file)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (self.sync)(&File::open(parent.unwrap_or(Path::new(".")))?)
    }

    fn recorded(&self, content: &str, question: &str) -> Result<Option<String>, GuardError> {
        // Behind the last line end stands nothing, or a line whose fsync never returned.
        let whole = content.rfind('\n').map_or("", |end| &content[..end]);
        let lines: Vec<&str> =
            if whole.is_empty() { Vec::new() } else { whole.split('\n').collect() };
        let mut found = None;
        for (at, line) in lines.iter().enumerate() {
            let closed = lines.get(at + 1).is_some_and(|next| *next == TORN);
            match parse(line) {
                Some((asked, text)) if asked == question => found = Some(text),
                Some(_) => {}
                None if *line == TORN && at > 0 || closed => {}
                None => {
                    return Err(GuardError::Damaged { path: self.path.clone(), line: at + 1 });
                }
            }
        }
        Ok(found)
    }
}

fn question_of_origin(old: &Origin) -> String {
    // Four words like a vote's question, so that one parser reads both.
    format!("incarnation {old} - -")
}

fn parse(line: &str) -> Option<(String, String)> {
    let (body, check) = line.rsplit_once(' ')?;
    (Digest::of(body.as_bytes()).to_string() == check).then_some(())?;
    let (question, text) = body.rsplit_once(' ')?;
    let text = String::from_utf8(unhex(text)?).ok()?;
    Some((question.to_owned(), text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use quorate_attest::key::SecretKey;
    use quorate_attest::log_time::LogTime;
    use quorate_attest::number::Epoch;
    use quorate_attest::vote::Verdict;
    use zeroize::Zeroizing;

    use super::*;

    fn fails(_: &File) -> io::Result<()> {
        Err(io::Error::other("killed before its fsync"))
    }

    fn fails_on_directories(file: &File) -> io::Result<()> {
        if file.metadata()?.is_dir() { fails(file) } else { file.sync_all() }
    }

    #[test]
    fn a_recorded_text_is_not_released_before_it_and_its_name_are_durable() {
        let directory = tempfile::tempdir().unwrap();
        let name = "quorate.example/testnet/agent/n1".parse().unwrap();
        let signer = NoteSigner::new(name, SecretKey::from_seed(Zeroizing::new([7; 32])));
        let vote = Vote {
            origin: "quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100".parse().unwrap(),
            epoch: Epoch::MIN,
            proposal: quorate_attest::id::ProposalId(Digest::of(b"a")),
            verdict: Verdict::Approve,
            expires: LogTime::MAX,
        };
        let guard = Guard::beside(&directory.path().join("vote.pem"));
        for sync in [fails, fails_on_directories] {
            let killed = Guard { sync, ..guard.clone() };
            for _ in 0..2 {
                let refused = killed.sign_vote(&signer, vote.clone());
                assert!(matches!(refused, Err(GuardError::Disk { .. })), "{refused:?}");
            }
            assert!(fs_has_one_line(&guard.path), "it is recorded all the same");
        }
        guard.sign_vote(&signer, vote).unwrap();
    }

    fn fs_has_one_line(path: &Path) -> bool {
        std::fs::read_to_string(path).is_ok_and(|text| text.lines().count() == 1)
    }
}
