//! One meaning has one spelling: what is not of the grammar is refused, and says where.

use quorate_attest::agent_statement::{Claim, Observe, Report};
use quorate_attest::leaf::{Leaf, LeafError};
use quorate_attest::operator_statement::Act;
use quorate_attest::proposal::Proposal;
use quorate_attest::refusal::Refusal;
use quorate_attest::text::{Statement, TextError};
use quorate_attest::vote::{Veto, Vote};

const VOTE: &str = "quorate-vote/v1\n\
    origin quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100\n\
    epoch 1\n\
    proposal sha256:4bc34386b30df90b80d186b6dddb4ad5d8490b5bb02e265bfc02dceda6656ceb\n\
    verdict approve\n\
    expires 1790000600000\n";

fn refused(text: &str) -> TextError {
    Vote::parse(text).expect_err("the text must be refused")
}

#[test]
fn lines_are_in_order_known_and_complete() {
    assert_eq!(Vote::parse(VOTE).unwrap().text(), VOTE);
    let lines: Vec<&str> = VOTE.split_inclusive('\n').collect();
    for at in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(at);
        refused(&fewer.concat());
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at]);
        refused(&repeated.concat());
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            refused(&swapped.concat());
        }
    }
    let extra = refused(&format!("{VOTE}more 1\n"));
    assert!(matches!(extra, TextError::ExtraLine { line: 7 }));
    let unknown = refused(&VOTE.replace("verdict", "Verdict"));
    assert!(matches!(unknown, TextError::WrongKey { line: 5, expected: "verdict", .. }));
    assert!(matches!(refused(VOTE.trim_end()), TextError::NoFinalLineFeed));
    assert!(matches!(refused(""), TextError::NoFinalLineFeed));
}

#[test]
fn other_bytes_and_other_spellings_are_refused() {
    for (from, to) in [
        ("epoch 1", "epoch 01"),
        ("epoch 1", "epoch 0"),
        ("epoch 1", "epoch +1"),
        ("epoch 1", "epoch  1"),
        ("epoch 1", "epoch 1 "),
        ("epoch 1", "epoch\t1"),
        ("epoch 1", "epoch"),
        ("epoch 1", "epoch "),
        ("epoch 1\n", "epoch 1\r\n"),
        ("epoch 1\n", "epoch 1\n\n"),
        ("epoch 1", "epoch 9223372036854775808"),
        ("approve", "Approve"),
        ("approve", "appr\u{f6}ve"),
        ("approve", "app\0ove"),
        ("sha256:4b", "sha256:4B"),
        ("sha256:", "SHA256:"),
        ("1790000600000", "1790000600"),
        ("/1-", "/0-"),
        ("quorate-vote/v1", "quorate-vote/v2"),
        ("quorate-vote/v1", "quorate-veto/v1"),
    ] {
        let text = VOTE.replacen(from, to, 1);
        assert_ne!(text, VOTE);
        refused(&text);
    }
}

#[test]
fn a_text_of_one_purpose_is_of_no_other() {
    assert!(matches!(Veto::parse(VOTE), Err(TextError::FirstLine { .. })));
    assert!(matches!(Proposal::parse(VOTE), Err(TextError::FirstLine { .. })));
    assert!(matches!(Leaf::parse(VOTE.as_bytes()), Err(LeafError::UnknownKind { .. })));
    // An origin cannot spell a first line: it ends in `counter-hex`.
    let origin = VOTE.replacen(
        "quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100",
        "quorate-vote/v1",
        1,
    );
    assert!(matches!(refused(&origin), TextError::BadValue { key: "origin", .. }));
}

#[test]
fn lines_and_texts_have_a_longest_length() {
    let long = VOTE.replacen("approve", &"a".repeat(1_100), 1);
    assert!(matches!(refused(&long), TextError::LineTooLong { line: 5, .. }));
    let long = format!("{VOTE}{}", "x y\n".repeat(3_000));
    assert!(matches!(refused(&long), TextError::TooLong { .. }));
    let leaf = vec![b'a'; 48_001];
    assert!(matches!(Leaf::parse(&leaf), Err(LeafError::TooLong { length: 48_001 })));
}

#[test]
fn repeated_lines_rise_strictly_and_are_counted() {
    let text = |evidence: &[u8]| {
        let lines: String = evidence
            .iter()
            .map(|byte| format!("evidence sha256:{}\n", format!("{byte:02x}").repeat(32)))
            .collect();
        format!(
            "quorate-report/v1\norigin quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100\n\
             epoch 1\ncluster c\nnumber 1\nproposal sha256:{a}\nagent a\nanswer applied\n\
             effect effective\nwitness sha256:{a}\n{lines}started 0\nfinished 1790000000000\n",
            a = "ab".repeat(32)
        )
    };
    assert!(Report::parse(&text(&[])).is_ok());
    assert!(Report::parse(&text(&[1, 2, 3])).is_ok());
    assert!(matches!(Report::parse(&text(&[2, 1])), Err(TextError::NotAscending { .. })));
    assert!(matches!(Report::parse(&text(&[1, 1])), Err(TextError::NotAscending { .. })));
    let many: Vec<u8> = (0..17).collect();
    assert!(matches!(Report::parse(&text(&many)), Err(TextError::TooMany { max: 16, .. })));
}

#[test]
fn the_other_statements_read_back() {
    let origin = "origin quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100";
    let hex = "000102030405060708090a0b0c0d0e0f";
    let observe = format!(
        "quorate-observe/v1\n{origin}\nepoch 1\ncluster c\nagent a\nsequence 0\n\
         observed 1790000000000\nfact height 12\nfact member n2 down\n"
    );
    assert_eq!(Observe::parse(&observe).unwrap().text(), observe);
    let none = observe.replace("fact height 12\nfact member n2 down\n", "");
    assert!(matches!(Observe::parse(&none), Err(TextError::MissingLine { expected: "fact" })));
    let claim = format!(
        "quorate-claim/v1\n{origin}\nepoch 1\ncluster c\nnumber 1\nagent a\ninstance {hex}\n\
         sequence 4\nnonce {hex}\n"
    );
    assert_eq!(Claim::parse(&claim).unwrap().text(), claim);
    let without = claim.replace(&format!("nonce {hex}\n"), "");
    assert!(matches!(Claim::parse(&without), Err(TextError::MissingLine { expected: "nonce" })));
    let refusal = format!(
        "quorate-refusal/v1\n{origin}\nepoch 1\ncluster c\nnumber 1\nleaf 0\ncause clock\n"
    );
    assert_eq!(Refusal::parse(&refusal).unwrap().text(), refusal);
    assert!(Refusal::parse(&refusal.replace("clock", "bored")).is_err());
}

#[test]
fn the_subject_of_an_act_fits_it() {
    let act = |act: &str, subject: &str| {
        Act::parse(&format!(
            "quorate-act/v1\norigin quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100\n\
             epoch 1\ncluster c\nact {act}\nsubject {subject}\nreason -\nexpires 1790000000000\n\
             nonce 000102030405060708090a0b0c0d0e0f\n"
        ))
    };
    assert!(act("ack", "1.7").is_ok());
    assert!(act("close", "incident-7").is_ok());
    assert!(act("reset-breaker", "member:n1").is_ok());
    assert!(act("enrol", "net/agent/a+000102030405060708090a0b0c0d0e0f").is_ok());
    for (kind, subject) in [("ack", "incident-7"), ("close", "Not-A-Label"), ("enrol", "a")] {
        assert!(matches!(act(kind, subject), Err(TextError::Contradiction { .. })));
    }
}

#[test]
fn blocks_are_separated_by_exactly_one_empty_line() {
    let decision = include_str!("../vectors/examples/decision.leaf");
    let wide = decision.replacen("\n\n", "\n\n\n", 1);
    assert!(matches!(Leaf::parse(wide.as_bytes()), Err(LeafError::EmptyBlock { .. })));
    let narrow = decision.replacen("\n\n", "\n", 1);
    assert!(Leaf::parse(narrow.as_bytes()).is_err());
    let longer = format!("{decision}\n{VOTE}");
    assert!(matches!(Leaf::parse(longer.as_bytes()), Err(LeafError::ExtraBlock { .. })));
    let cut = decision.split("\n\n").take(2).collect::<Vec<_>>().join("\n\n") + "\n";
    assert!(matches!(Leaf::parse(cut.as_bytes()), Err(LeafError::MissingBlock { .. })));
}
