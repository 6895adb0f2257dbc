//! Reading the vectors: JSON, hex, and the policies the cases are judged under.

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod reason;

use quorate_attest::head::HeadPolicy;
use quorate_attest::key::VerifierKey;
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::{Hash, HashLength};
use quorate_attest::note::KeyRing;
use serde_json::Value;

/// One file of the vectors.
pub(crate) fn file(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// One plain file of the vectors.
pub(crate) fn plain(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The cases of one kind; a wrong count means that the file was cut or the test reads past it.
pub(crate) fn cases(file: &Value, kind: &str, count: usize) -> Vec<Value> {
    let cases = file[kind].as_array().unwrap().clone();
    assert_eq!(cases.len(), count, "cases of {kind}");
    cases
}

pub(crate) fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_else(|| panic!("no text {key} in {case}"))
}

pub(crate) fn number(case: &Value, key: &str) -> u64 {
    case[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {case}"))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

pub(crate) fn bytes<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

pub(crate) fn hash(text: &str) -> Hash {
    Hash::from_bytes(bytes(text))
}

pub(crate) fn hashes(case: &Value) -> Result<Vec<Hash>, HashLength> {
    let hashes = case["proof"].as_array().unwrap();
    hashes.iter().map(|hash| Hash::from_slice(&unhex(hash.as_str().unwrap()))).collect()
}

/// A case given as text, or as hex where it is not UTF-8.
pub(crate) fn content(case: &Value, text_key: &str, hex_key: &str) -> Vec<u8> {
    match case[text_key].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => unhex(text(case, hex_key)),
    }
}

pub(crate) fn vkeys(list: &Value) -> Vec<VerifierKey> {
    list.as_array().unwrap().iter().map(|vkey| vkey.as_str().unwrap().parse().unwrap()).collect()
}

pub(crate) fn ring(case: &Value) -> KeyRing {
    KeyRing::new(vkeys(&case["vkeys"])).unwrap()
}

/// The policy of `proof.json`, and the latest time it accepts.
pub(crate) fn policy(file: &Value) -> (HeadPolicy, CosignTime) {
    let policy = &file["policy"];
    let head = HeadPolicy::new(
        text(policy, "origin").parse().unwrap(),
        vkeys(&policy["cosigners"]),
        vkeys(&policy["log"]),
        usize::try_from(number(policy, "k")).unwrap(),
    );
    let latest = CosignTime::new(number(policy, "now") + number(policy, "skew")).unwrap();
    (head.unwrap(), latest)
}

/// The entry of leaf `index` of the test tree.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("quorate leaf {index}\n").into_bytes()
}
