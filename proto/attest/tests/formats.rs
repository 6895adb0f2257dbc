//! The page that specifies the formats says what this crate reads and writes: its examples are read
//! and written again, and texts are made from its grammar alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

use quorate_attest::agent_statement::{Claim, Observe, Report};
use quorate_attest::charter::Charter;
use quorate_attest::head::CosignedHead;
use quorate_attest::leaf::{Decision, Leaf, LeafKind};
use quorate_attest::operator_statement::{Act, IncarnationStatement, Override, Pause};
use quorate_attest::proposal::Proposal;
use quorate_attest::refusal::Refusal;
use quorate_attest::text::Statement;
use quorate_attest::vote::{Veto, Vote};

const PAGE: &str = include_str!("../../../docs/reference/formats.md");
const CHARTER: &str = include_str!("vectors/examples/charter.leaf");

/// What each type of the grammar may be written as.
const SAMPLES: &[(&str, &str)] = &[
    ("[ <word>]", ""),
    ("<word of section 6>", "restart"),
    ("<base64 hash>", "taDH+PfT8DEhyB0d/+mQuZDLDbQyWV6Vgj9r7rV9pXI="),
    ("<origin>", "example/1-0f0e0d0c0b0a09080706050403020100"),
    ("<number>", "1"),
    ("<u63>", "0"),
    ("<ms>", "1790000000000"),
    ("<label>", "a"),
    ("<scope>", "*"),
    ("<name>", "example/agent/a"),
    ("<sentence>", "-"),
    ("<nonce>", "202122232425262728292a2b2c2d2e2f"),
    // Also a word, and the subject of an act.
    ("<digest>", "sha256:852c6b0f8b1c567e2b76b635daf2eaec617ac433bac494d50ce3c55f730f6ce3"),
    ("<word>", "sha256:852c6b0f8b1c567e2b76b635daf2eaec617ac433bac494d50ce3c55f730f6ce3"),
    (
        "<vkey>",
        "quorate.example/testnet/operator/ana+2ee9cce7+AYwXHCehryrgPqMLGpQXOpjg0yIsYhZFe1cxwSI9RSV9",
    ),
];

/// The types of the keys that stand alone.
const BARE: &[(&str, &str)] = &[
    ("origin", "<origin>"),
    ("epoch", "<number>"),
    ("time", "<ms>"),
    ("cluster", "<label>"),
    ("number", "<number>"),
    ("agent", "<name>"),
    ("reason", "<sentence>"),
    ("expires", "<ms>"),
    ("nonce", "<nonce>"),
];

/// A signature line of the right shape.
const LINE: &str = "\u{2014} example/agent/a LunM5/lwp/uEhbhPuCEZg0qydWoKCysbY4Cc9192FzrhO5bHRNRVI0WwY/v+X21E7Xt+QKRyM77aC0/GmpU2p1+vnAE=\n";

/// What stands in the fences of one kind.
fn fenced(kind: &str) -> Vec<&'static str> {
    let open = format!("\n```{kind}\n");
    let blocks: Vec<&str> = PAGE.split(&open).skip(1).collect();
    blocks.iter().map(|rest| &rest[..=rest.find("\n```\n").expect("a closed fence")]).collect()
}

/// The lines that the page gives the text of this first line: keys with the types of their values.
fn grammar(first: &str) -> Vec<(String, String)> {
    let page = fenced("text").concat();
    let begins = |line: &&str| line.split(' ').next() == Some(first);
    assert_eq!(page.lines().filter(begins).count(), 1, "{first}");
    let below = page.lines().skip_while(|line| !begins(line)).skip(1);
    let mut lines = Vec::new();
    for line in below.take_while(|line| line.starts_with("  ")) {
        let (entries, _comment) = line.rsplit_once(';').expect("a line ends in `;`");
        for entry in entries.split(';') {
            // How often the one before may stand.
            let entry = entry.trim_start_matches(|c: char| " *+?0123456789".contains(c));
            let bare = BARE.iter().find(|(key, _)| *key == entry).map(|(_, value)| *value);
            let (key, value) = entry.split_once(' ').unwrap_or_else(|| (entry, bare.expect(entry)));
            lines.push((key.to_owned(), value.to_owned()));
        }
    }
    lines
}

/// A text made from the page alone, every line once.
fn made(first: &str) -> String {
    let mut text = format!("{first}\n");
    for (key, value) in grammar(first) {
        let value = SAMPLES.iter().fold(value, |value, (name, sample)| value.replace(name, sample));
        let value = value.split('|').next().expect("one of them");
        text.push_str(&format!("{key} {value}\n"));
    }
    text
}

fn check_statement<S: Statement>() {
    let text = made(S::FIRST_LINE);
    let statement = S::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(statement.text(), text);
}

#[test]
fn texts_made_from_the_grammar_on_the_page_are_read() {
    check_statement::<Proposal>();
    check_statement::<Vote>();
    check_statement::<Veto>();
    check_statement::<Observe>();
    check_statement::<Claim>();
    check_statement::<Report>();
    check_statement::<Refusal>();
    check_statement::<Override>();
    check_statement::<Act>();
    check_statement::<Pause>();
    check_statement::<IncarnationStatement>();
}

#[test]
fn leaves_made_from_the_grammar_on_the_page_are_read() {
    let proposal = made(Proposal::FIRST_LINE);
    let note = |first| format!("{}\n{LINE}", made(first));
    for (kind, body) in [
        (LeafKind::Decision, format!("{proposal}\n{}", note(Vote::FIRST_LINE))),
        (LeafKind::Void, format!("{proposal}\n{}", note(Veto::FIRST_LINE))),
        (LeafKind::Outcome, note(Report::FIRST_LINE)),
        (LeafKind::Evidence, format!("{0}\n{0}", note(Vote::FIRST_LINE))),
    ] {
        let leaf = format!("{}\n{body}", made(kind.first_line()));
        Leaf::parse(leaf.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{leaf}"));
    }
}

#[test]
fn the_lines_of_a_charter_are_those_on_the_page() {
    let (text, _lines) = CHARTER.split_once("\n\n").unwrap();
    let mut keys: Vec<&str> =
        text.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    keys.dedup();
    let page = grammar(Charter::FIRST_LINE);
    assert_eq!(keys, page.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>());
}

#[test]
fn every_example_on_the_page_re_encodes_to_itself() {
    let examples = fenced("quorate");
    assert!(examples.iter().any(|text| text.starts_with(Decision::FIRST_LINE)));
    for text in examples {
        // A checkpoint begins with its origin, a leaf with the first line of its kind.
        let again = if text.starts_with("quorate-") {
            Leaf::parse(text.as_bytes()).unwrap().to_bytes()
        } else {
            CosignedHead::parse(text.as_bytes()).unwrap().to_bytes()
        };
        assert_eq!(String::from_utf8(again).unwrap(), text);
    }
}
