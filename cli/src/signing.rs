//! Signing as a person. A key signs typed statements only, and votes only through its durable
//! guard.

use std::path::{Path, PathBuf};

use quorate_attest::id::{KeyName, Nonce, Sentence};
use quorate_attest::key::{KeyType, NoteSigner};
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;

use crate::connect::Context;
use crate::failure::{Failure, LocalReason, chain};
use crate::files;

/// A key that signs notes, and where it stands.
pub(crate) struct Signer {
    signer: NoteSigner,
    path: PathBuf,
}

impl Signer {
    /// The key of a file, with its name from the `.vkey` beside it.
    ///
    /// # Errors
    /// The file is not private or no key, or the key signs log heads.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let (secret, vkey) = files::read_key(path)?;
        if vkey.key_type() != KeyType::Note {
            return Err(Failure::usage(format!("{}: signs log heads, not texts", path.display())));
        }
        let signer = NoteSigner::new(vkey.name().clone(), secret);
        Ok(Self { signer, path: path.to_owned() })
    }

    /// The key that was named, or `key.pem` of the caller's identity.
    ///
    /// # Errors
    /// None was named and there is no identity; or as [`Signer::open`].
    pub(crate) fn of(key: Option<&Path>, context: &Context) -> Result<Self, Failure> {
        match (key, &context.identity) {
            (Some(path), _) => Self::open(path),
            (None, Some(folder)) => Self::open(&folder.join("key.pem")),
            (None, None) => {
                Err(Failure::local(LocalReason::BadArgument, "nothing says which key to sign with")
                    .help("--key FILE, or --identity DIR with key.pem"))
            }
        }
    }

    /// Whose key it is.
    pub(crate) fn name(&self) -> &KeyName {
        self.signer.vkey().name()
    }

    /// The file it was read from: the guard stands beside it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The signer itself, for a guard.
    pub(crate) fn inner(&self) -> &NoteSigner {
        &self.signer
    }

    /// Signs a statement that is no vote.
    pub(crate) fn sign<S: Statement>(&self, statement: S) -> Signed<S> {
        self.signer.signed(statement)
    }

    /// Adds this signature to a statement that another operator began and printed.
    ///
    /// # Errors
    /// The file cannot be read, or holds no such statement.
    pub(crate) fn add_to<S: Statement + Clone>(&self, path: &Path) -> Result<Signed<S>, Failure> {
        let begun = Signed::<S>::parse(&files::read_bytes(path)?).map_err(|error| {
            Failure::unverified(format!("{}: {}", path.display(), chain(&error)))
        })?;
        let own = self.sign(begun.statement.clone());
        let mut lines = begun.lines;
        lines.extend(own.lines);
        Ok(Signed::new(begun.statement, lines))
    }
}

/// A fresh nonce.
///
/// # Errors
/// The operating system has no randomness.
pub(crate) fn nonce() -> Result<Nonce, Failure> {
    let mut bytes = [0; 16];
    files::random(&mut bytes)?;
    Ok(Nonce::from_bytes(bytes))
}

/// A sentence of a person, in the one form that may be signed.
///
/// # Errors
/// It is empty, too long, or has other letters than printable ASCII.
pub(crate) fn sentence(flag: &str, text: &str) -> Result<Sentence, Failure> {
    text.trim()
        .parse()
        .map_err(|error| Failure::usage(format!("{flag}: {error}")).with("field", flag))
}
