//! Every answer parses in every format, and says the same in all of them.

mod support;

use support::{example, quorate, text};

fn answers() -> Vec<Vec<String>> {
    let charter = text(&example("charter.leaf")).to_owned();
    let proof = text(&example("decision.tlog-proof")).to_owned();
    [
        &["help", "exit-codes"][..],
        &["help", "reasons"],
        &["charter", "show", "--file", &charter],
        &["log", "verify", &proof, "--charter", &charter],
    ]
    .iter()
    .map(|words| words.iter().map(ToString::to_string).collect())
    .collect()
}

fn in_format(answer: &[String], format: &str) -> String {
    let mut words: Vec<&str> = answer.iter().map(String::as_str).collect();
    words.extend(["-o", format]);
    quorate(&words).good()
}

#[test]
fn json_is_one_document_and_jsonl_one_object_a_line() {
    for answer in answers() {
        let json: serde_json::Value =
            serde_json::from_str(&in_format(&answer, "json")).expect("one document");
        assert!(json.is_object(), "{answer:?}");
        let lines: Vec<serde_json::Value> = in_format(&answer, "jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).expect("one object a line"))
            .collect();
        assert!(lines.iter().all(serde_json::Value::is_object) && !lines.is_empty(), "{answer:?}");
    }
}

#[test]
fn yaml_has_every_key_of_json() {
    for answer in answers() {
        let json: serde_json::Value =
            serde_json::from_str(&in_format(&answer, "json")).expect("one document");
        let yaml = in_format(&answer, "yaml");
        for key in json.as_object().expect("an object").keys() {
            assert!(yaml.lines().any(|line| line.starts_with(&format!("{key}:"))), "{key}: {yaml}");
        }
    }
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let json: serde_json::Value =
        serde_json::from_str(&in_format(&answers()[0], "json")).expect("one document");
    let codes: Vec<u64> = json["codes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["code"].as_u64().expect("a number"))
        .collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143]);
}
