//! `quorate key`: make and show keys. A secret is never printed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use quorate_attest::id::KeyName;
use quorate_attest::key::{KeyType, VerifierKey};
use serde::Serialize;

use super::Env;
use crate::Done;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{Paper, View};

/// Verbs of `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a key: FILE with the secret (PKCS#8, mode 0600) and FILE.vkey with the public line
    #[command(after_help = "\
Examples:
  quorate key generate --name example.org/prod/operator/ana --out ana.pem
  quorate key generate --name example.org/prod/coordinator/4 --purpose cosign --out cosign.pem")]
    Generate(GenerateArgs),
    /// Show the public half of a key
    #[command(after_help = "\
Examples:
  quorate key show ana.pem
  quorate key show ana.pem.vkey -o json")]
    Show(ShowArgs),
}

/// What a key signs; one key, one purpose.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Purpose {
    /// Notes: votes, charters, acts and reports (type 0x01).
    Note,
    /// Log heads, by a coordinator (type 0x04).
    Cosign,
}

impl Purpose {
    fn key_type(self) -> KeyType {
        match self {
            Purpose::Note => KeyType::Note,
            Purpose::Cosign => KeyType::Cosignature,
        }
    }
}

/// Arguments of `key generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The key's name: NETWORK/ROLE/ID
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The file to create; never overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What it will sign
    #[arg(long, value_enum, default_value = "note", value_name = "PURPOSE")]
    purpose: Purpose,
}

/// Arguments of `key show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A secret key with its .vkey beside it, or a .vkey file
    file: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    name: String,
    key_id: String,
    r#type: &'static str,
    public_key: String,
    verifier_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl KeyView {
    fn of(key: &VerifierKey, file: Option<&Path>) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            name: key.name().to_string(),
            key_id: key.id().to_string(),
            r#type: match key.key_type() {
                KeyType::Note => "note",
                KeyType::Cosignature => "cosign",
            },
            public_key: hex(key.public().as_bytes()),
            verifier_key: key.to_string(),
            file: file.map(|path| path.display().to_string()),
        }
    }
}

impl View for KeyView {
    fn draw(&self, paper: &mut Paper) {
        paper.facts(&[
            ("name", self.name.clone()),
            ("key id", self.key_id.clone()),
            ("type", self.r#type.to_owned()),
            ("public key", self.public_key.clone()),
            ("verifier key", self.verifier_key.clone()),
            ("file", self.file.clone().unwrap_or_default()),
        ]);
    }
}

/// Runs the verb.
pub(crate) fn run(verb: Verb, env: &Env) -> Done {
    match verb {
        Verb::Generate(args) => generate(&args, env),
        Verb::Show(args) => show(&args, env),
    }
}

fn generate(args: &GenerateArgs, env: &Env) -> Done {
    let name: KeyName = args.name.parse().map_err(|error| {
        Failure::usage(format!("--name {}: {error}", args.name)).with("field", "name")
    })?;
    let key = files::generate_key(&args.out, name, args.purpose.key_type())?;
    env.printer.print(&KeyView::of(&key, Some(&args.out)))?;
    env.printer.say("The .vkey line is public: it goes into the charter.");
    Ok(Exit::Ok)
}

fn show(args: &ShowArgs, env: &Env) -> Done {
    let key = if args.file.extension().is_some_and(|ending| ending == "vkey") {
        files::read_vkey(&args.file)?
    } else {
        files::read_key(&args.file)?.1
    };
    env.printer.print(&KeyView::of(&key, None))?;
    Ok(Exit::Ok)
}
