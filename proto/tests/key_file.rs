//! Key files: created once, durable, private; anything else is refused by name.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use quorate_attest::id::KeyName;
use quorate_attest::key::{KeyType, SecretKey, VerifierKey};
use quorate_proto::key_file::{
    KeyFileError, SECRET_BYTES_MAX, create, create_secret, load, read_secret, vkey_path,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

fn key() -> (SecretKey, VerifierKey) {
    let secret = SecretKey::from_seed(Zeroizing::new([7; 32]));
    let name = KeyName::new("quorate.example/testnet/operator/alice").unwrap();
    let vkey = VerifierKey::new(name, KeyType::Note, secret.public());
    (secret, vkey)
}

/// A directory with one good key file in it.
fn stored() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pem");
    let (secret, vkey) = key();
    create(&path, &secret, &vkey).unwrap();
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_key_is_written_privately_with_its_verifier_key_beside_it() {
    let (_directory, path) = stored();
    assert_eq!(mode(&path), 0o600);
    let pem = fs::read_to_string(&path).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(pem.len(), 119, "PKCS#8 version 1: OpenSSL 3.0 cannot read version 2");
    let vkey: VerifierKey = fs::read_to_string(vkey_path(&path)).unwrap().trim().parse().unwrap();
    assert_eq!(vkey, key().1);
    assert_eq!(vkey_path(&path).file_name().unwrap(), "key.pem.vkey");
    assert_eq!(load(&path).unwrap().public(), key().0.public());
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (_directory, path) = stored();
    let before = fs::read(&path).unwrap();
    let (_, vkey) = key();
    let other = SecretKey::from_seed(Zeroizing::new([8; 32]));
    let refused = create(&path, &other, &vkey).unwrap_err();
    assert!(matches!(refused, KeyFileError::Exists { .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);

    // A dangling link is a name that exists: nothing is created behind it.
    let target = path.with_file_name("elsewhere");
    let link = path.with_file_name("link.pem");
    symlink(&target, &link).unwrap();
    assert!(matches!(create_secret(&link, b"x"), Err(KeyFileError::Exists { .. })));
    assert!(!target.exists());
}

#[test]
fn permissions_for_group_or_others_are_refused() {
    let (_directory, path) = stored();
    for bits in [0o640, 0o604, 0o620, 0o601, 0o660, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        let refused = load(&path).err().unwrap();
        assert!(matches!(refused, KeyFileError::OpenToOthers { mode, .. } if mode == bits));
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(load(&path).is_ok(), "read-only is stricter still");
}

#[test]
fn a_symbolic_link_is_refused_even_to_a_good_key() {
    let (_directory, path) = stored();
    let link = path.with_file_name("link.pem");
    symlink(&path, &link).unwrap();
    assert!(matches!(load(&link), Err(KeyFileError::SymbolicLink { .. })));
}

#[test]
fn directories_and_pipes_are_refused_without_waiting() {
    let (directory, path) = stored();
    assert!(matches!(read_secret(directory.path()), Err(KeyFileError::NotRegular { .. })));
    let pipe = path.with_file_name("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(matches!(read_secret(&pipe), Err(KeyFileError::NotRegular { .. })));
}

#[test]
fn a_file_of_another_user_is_refused() {
    let (_directory, path) = stored();
    let other = if rustix::process::geteuid().is_root() {
        let nobody = rustix::fs::Uid::from_raw(65_534);
        rustix::fs::chown(&path, Some(nobody), None).unwrap();
        path
    } else {
        PathBuf::from("/etc/passwd")
    };
    assert!(matches!(load(&other), Err(KeyFileError::OtherOwner { .. })));
}

#[test]
fn a_missing_directory_is_named_and_bad_contents_never_shown() {
    let (_directory, path) = stored();
    let missing = path.with_file_name("no").join("key.pem");
    let refused = create_secret(&missing, b"x").unwrap_err();
    assert!(refused.to_string().contains("no/key.pem: cannot create"), "{refused}");

    let write = |name: &str, bytes: &[u8]| {
        let path = path.with_file_name(name);
        create_secret(&path, bytes).unwrap();
        path
    };
    let refused = load(&write("bad.pem", b"hunter2 is no key")).err().unwrap();
    assert!(matches!(refused, KeyFileError::Key { .. }));
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    let binary = write("binary.pem", &[0xff, 0xfe]);
    assert!(matches!(read_secret(&binary), Err(KeyFileError::NotText { .. })));
    let bytes = usize::try_from(SECRET_BYTES_MAX).unwrap();
    assert!(read_secret(&write("full", &vec![b'a'; bytes])).is_ok());
    let large = write("large", &vec![b'a'; bytes + 1]);
    assert!(matches!(read_secret(&large), Err(KeyFileError::TooLarge { .. })));
}
