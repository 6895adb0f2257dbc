//! Playbooks: every shipped file reads back as the catalogue says, and everything a file could get
//! wrong is refused where it stands.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use quorate_attest::charter::PlaybookLine;
use quorate_attest::ladder::Severity;
use quorate_attest::log_time::Span;
use quorate_attest::remediation::{Class, Kind};
use quorate_node::playbook::{Opens, Playbook, PlaybookRefused, Source, Why};

const MINUTE: u64 = 60;

fn shipped() -> BTreeMap<String, (String, Playbook)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/playbooks");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("deploy/playbooks") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        let playbook = Playbook::parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        let id = playbook.id.to_string();
        assert!(name.starts_with(&format!("{id}-")), "{name} is called by its row");
        assert!(all.insert(id, (name, playbook)).is_none(), "one file for each row");
    }
    all
}

/// Row, severity, RTO in seconds, source, ladder as `kind*attempts`.
type Row = (&'static str, Severity, Option<(u64, u64)>, Source, &'static str);

/// The catalogue's rows that ship, as its table of numbers has them.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("s1", Severity::P2, None, Source::Agents, "isolate-member*1 advance-epoch*1 redistribute*1 unisolate-member*1"),
    ("s7", Severity::P3, None, Source::Operator, "replay*1 promote-replay*1"),
    ("s13", Severity::P3, Some((0, 5 * MINUTE)), Source::Agents, "remove-member*1 add-member*1"),
    ("s14", Severity::P1, Some((10 * MINUTE, 15 * MINUTE)), Source::Agents, "declare-dead*1 restore-backup*1"),
    ("s15", Severity::P1, Some((10 * MINUTE, 15 * MINUTE)), Source::Agents, "readmit*1"),
    ("s19", Severity::P2, Some((30 * MINUTE, 60 * MINUTE)), Source::Alert, "recover-vault*1 remove-member*1 wipe-member*1 add-member*1"),
    ("s21", Severity::P1, Some((15 * MINUTE, 30 * MINUTE)), Source::Alert, "isolate-member*1 activate-region*1"),
    ("s25", Severity::P1, Some((30, 30)), Source::Agents, "restart*3"),
    ("s26", Severity::P1, Some((30, 30)), Source::Agents, "repair-network*1"),
    ("s27", Severity::P1, Some((60, 60)), Source::Agents, "restart-dependency*3"),
    ("s28", Severity::P3, None, Source::Agents, "restart-dependency*3"),
    ("s29", Severity::P1, None, Source::Evidence, "ban-peer*1"),
    ("s35", Severity::P2, None, Source::Agents, "restart*3"),
    ("s36", Severity::P2, None, Source::Agents, "repair-data*1 restore-backup*1 resync*1"),
    ("s37", Severity::P2, None, Source::Agents, "reset-peers*1 repair-network*1"),
    ("s40", Severity::P1, None, Source::Evidence, "isolate-member*1 revoke-key*1"),
    ("s41", Severity::P2, None, Source::Agents, "force-view-change*1 force-view-change*1"),
    ("s43", Severity::P1, None, Source::Agents, "isolate-member*1 failover*1"),
];

#[test]
fn every_shipped_playbook_reads_back_as_its_row() {
    let shipped = shipped();
    let wanted: Vec<&str> = ROWS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(shipped.len(), wanted.len(), "{:?}", shipped.keys());
    for (id, severity, rto, source, ladder) in ROWS {
        let (name, playbook) = shipped.get(*id).unwrap_or_else(|| panic!("{id} ships"));
        assert_eq!(playbook.urgency.level, *severity, "{name}");
        let seconds = |span: Span| span.get() / 1_000;
        let found = playbook.rto.map(|rto| (seconds(rto.target), seconds(rto.max)));
        assert_eq!(found, *rto, "{name}");
        assert_eq!(playbook.detect.source, *source, "{name}");
        let steps = playbook.steps.iter().map(|step| format!("{}*{}", step.kind, step.attempts));
        assert_eq!(steps.collect::<Vec<_>>().join(" "), *ladder, "{name}");
    }
}

#[test]
fn in_every_shipped_playbook_a_class_is_its_kinds_and_nothing_irreversible_is_automatic() {
    for (name, playbook) in shipped().values() {
        assert!(!playbook.witness.is_empty(), "{name} measures something before it acts");
        assert!(playbook.evidence.starts_with("evidence/<cluster>/<number>-<kind>"), "{name}");
        for step in &playbook.steps {
            assert_eq!(step.class, step.kind.class(), "{name}");
            assert!(!(step.automatic && step.class == Class::Irreversible), "{name}");
        }
        for (at, step) in playbook.steps.iter().enumerate().skip(1) {
            assert!(step.after.is_some_and(|after| after < at), "{name}: {}", step.name);
            assert!(!step.on.is_empty(), "{name}: {}", step.name);
        }
    }
}

#[test]
fn the_numbers_of_the_restart_ladder_are_three_at_thirty_seconds() {
    let shipped = shipped();
    for id in ["s25", "s35"] {
        let playbook = &shipped[id].1;
        let [step] = playbook.steps.as_slice() else { panic!("{id} has one step") };
        assert_eq!((step.kind, step.attempts), (Kind::Restart, 3));
        assert_eq!(step.pause, Span::from_secs(30));
        assert!(step.automatic);
    }
    let corruption = &shipped["s36"].1;
    let on_failure = vec![Opens::Ineffective, Opens::Failed, Opens::Deadline];
    assert_eq!(corruption.steps[1].on, on_failure, "restore opens by the failure of repair");
    assert_eq!(corruption.steps[2].after, Some(1));
}

const GOOD: &str = include_str!("../../deploy/playbooks/s36-database-corruption.toml");

/// The file with one piece of text replaced.
fn with(from: &str, to: &str) -> PlaybookRefused {
    assert!(GOOD.contains(from), "{from}");
    Playbook::parse(&GOOD.replacen(from, to, 1)).expect_err(to)
}

#[test]
fn what_is_wrong_is_refused_with_key_value_and_line() {
    let refused = with("kind = \"repair-data\"", "kind = \"reboot-everything\"");
    assert_eq!(refused.at.key, "step.1.kind");
    assert_eq!(refused.at.value, "\"reboot-everything\"");
    let line = GOOD.lines().position(|line| line.contains("repair-data")).expect("a line") + 1;
    assert_eq!(refused.at.line, line);
    assert!(matches!(&refused.why, Why::Unknown { what: "kind", .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.starts_with(&format!("line {line}, step.1.kind = ")), "{text}");

    let refused = with("class = \"cluster\"", "class = \"local\"");
    let differs = Why::ClassDiffers { kind: Kind::RepairData, expected: Class::Cluster };
    assert_eq!((refused.at.key.as_str(), &refused.why), ("step.1.class", &differs));

    let refused = with(
        "automatic = false\nattempts = 1\ndeadline = \"60m\"",
        "automatic = true\nattempts = 1\ndeadline = \"60m\"",
    );
    assert!(
        matches!(refused.why, Why::NeverAutomatic { kind: Kind::RestoreBackup, .. }),
        "{refused}"
    );

    let refused = with("attempts = 1", "attempts = 11");
    assert!(matches!(refused.why, Why::OutOfRange { .. }), "{refused}");
    assert_eq!((refused.at.key.as_str(), refused.at.value.as_str()), ("step.1.attempts", "11"));

    let refused = with("deadline = \"30m\"", "deadline = \"999ms\"");
    assert!(matches!(refused.why, Why::OutOfRange { .. }), "{refused}");
    let refused = with("deadline = \"30m\"", "deadline = \"59s\"");
    assert!(matches!(refused.why, Why::StepTooShort { .. }), "{refused}");

    let refused = with("quiet = ", "quite = ");
    assert_eq!(refused.at.key, "quite");
    assert!(matches!(refused.why, Why::Toml(_)), "{refused}");
    let refused = with("level = \"p2\"", "level = \"p0\"");
    assert_eq!(refused.at.key, "severity.level");
    let refused = with("file = \"evidence/", "file = \"../evidence/");
    assert_eq!(refused.at.key, "evidence.file");
    let refused = with("\"incident-documented\"", "\"looks-fine\"");
    assert!(matches!(refused.why, Why::Unknown { what: "closing check", .. }), "{refused}");
    let refused = with("schema = 1", "schema = 2");
    assert_eq!(refused.why, Why::Schema { expected: 1 });
}

#[test]
fn a_ladder_that_goes_back_or_has_no_step_is_refused() {
    let circle = "name = \"repair\"\nkind = \"repair-data\"";
    let refused = with(circle, &format!("after = \"resync\"\non = [\"failed\"]\n{circle}"));
    assert!(matches!(refused.why, Why::Cycle { .. }), "{refused}");
    assert_eq!(refused.at.key, "step.1.after");
    let itself = "name = \"restore\"";
    let refused = with(itself, &format!("after = \"restore\"\n{itself}"));
    assert!(matches!(refused.why, Why::Cycle { .. }), "{refused}");
    let refused = with(itself, &format!("after = \"reboot\"\n{itself}"));
    assert!(matches!(refused.why, Why::Unknown { what: "step", .. }), "{refused}");

    let (head, _) = GOOD.split_once("[[step]]").expect("steps");
    let (_, tail) = GOOD.split_once("[severity]").expect("severity");
    let empty = format!("{head}[severity]{tail}");
    let refused = Playbook::parse(&empty).expect_err("an empty ladder");
    assert_eq!(refused.why, Why::EmptyLadder);
    // A row that only records says so: S6, S22 and their like need no other schema.
    let records = empty.replacen("schema = 1", "schema = 1\nrecord-only = true", 1);
    assert!(Playbook::parse(&records).expect("it reads").steps.is_empty());
    let both = GOOD.replacen("schema = 1", "schema = 1\nrecord-only = true", 1);
    assert_eq!(Playbook::parse(&both).expect_err("both").why, Why::RecordOnly);
}

#[test]
fn a_charter_pins_the_file_and_its_roster_bounds_the_observers() {
    let charter = common::world::World::new().charter.statement;
    let cluster = common::world::CLUSTER.parse().expect("a name");
    let text = GOOD.replacen("observers = 2", "observers = 4", 1);
    let fits = Playbook::parse(&text).expect("it reads");
    assert_eq!(charter.observers(&cluster).count(), 4, "the fixture's roster");
    assert_eq!(fits.check(&charter, &cluster), Ok(()));
    let above = Playbook::parse(&text.replacen("observers = 4", "observers = 5", 1));
    let refused = above.expect("it reads").check(&charter, &cluster).expect_err("five of four");
    assert!(matches!(refused.why, Why::AboveRoster { have: 4, .. }), "{refused}");
    assert_eq!(refused.at.key, "detect.signal.1.observers");
    let elsewhere = fits.check(&charter, &"elsewhere".parse().expect("a name"));
    assert!(matches!(elsewhere.expect_err("no cluster").why, Why::NoCluster { .. }));

    assert!(matches!(fits.check_pinned(&charter).expect_err("none").why, Why::NotPinned { .. }));
    let mut pinning = charter;
    pinning.playbook.push(PlaybookLine { playbook: fits.id.clone(), digest: fits.digest });
    assert_eq!(fits.check_pinned(&pinning), Ok(()));
    let other = Playbook::parse(&format!("{text}# one more byte\n")).expect("it reads");
    assert!(other.check_pinned(&pinning).is_err(), "every byte is pinned");
}

#[test]
fn the_how_to_begins_with_a_playbook_that_parses() {
    let page = include_str!("../../docs/how-to/write-a-playbook.md");
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let playbook = Playbook::parse(example).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(playbook.id.as_str(), "s35");
}

#[test]
fn no_cut_and_no_changed_byte_of_a_playbook_panics() {
    for at in 0..GOOD.len() {
        if let Some(cut) = GOOD.get(..at) {
            let _read = Playbook::parse(cut);
        }
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] ^= 0x15;
        if let Ok(changed) = String::from_utf8(bytes) {
            let _read = Playbook::parse(&changed);
        }
    }
}
