//! The journal: durable before it matters, never backwards, and never believed when damaged.

mod common;

use std::fs;
use std::path::Path;

use common::{entry, instance, leaf, owner, prepared, proposal, time, token};
use quorate_attest::id::Digest;
use quorate_attest::remediation::Kind;
use quorate_node::fence::{Admission, FenceRefused, Fenced, admit};
use quorate_node::journal::{
    ArmedUndo, ClaimAttempt, Delivery, Entry, Journal, JournalError, JournalFault, Owner, Phase,
    Pinned, StepRefused, Tombstone,
};

fn create(path: &Path) -> Journal {
    Journal::create(path, &owner(), instance()).expect("a new journal")
}

fn reopen(path: &Path) -> Journal {
    Journal::open(path, &owner()).expect("the journal opens")
}

/// A journal with something in every table.
fn filled(path: &Path) {
    let mut journal = create(path);
    let cluster = owner().cluster;
    journal.accept(entry(1, "a")).expect("accept");
    journal.ready(&cluster, token(1), Some(prepared(Kind::BanPeer, "peer:x"))).expect("ready");
    let undo = ArmedUndo {
        cluster: cluster.clone(),
        token: token(1),
        proposal: proposal("a"),
        due: time(5_000),
        prepared: prepared(Kind::BanPeer, "peer:x"),
    };
    journal.start(&cluster, token(1), time(0), None, Some(undo)).expect("start");
    journal.pin(&Pinned { head: b"head".to_vec(), history: vec![9; 3_000] }).expect("pin");
    let tombstone = Tombstone { cluster: cluster.clone(), subject: "n4".into() };
    journal.bury(&[tombstone]).expect("bury");
    journal.evidence_against(&Digest::of(b"leaf"), "n5").expect("evidence");
    journal.raise(&[b"one".to_vec(), b"other".to_vec()]).expect("raise");
    journal.doubt(Some(&[b"one".to_vec(), b"third".to_vec()])).expect("doubt");
    journal.next_observation(0).expect("observation");
}

fn content(journal: &Journal) -> String {
    let entries: Vec<&Entry> = journal.entries().collect();
    let undos: Vec<_> = journal.undos().collect();
    let tombstones: Vec<_> = journal.tombstones().collect();
    format!(
        "{:?} {:?} {} {} {:?} {entries:?} {undos:?} {tombstones:?} {:?} {:?} {:?}",
        journal.alarm(),
        journal.doubted(),
        journal.instance(),
        journal.sequence(),
        journal.highest(&owner().cluster),
        journal.pinned(),
        journal.used(&proposal("a")),
        journal.evidence(&Digest::of(b"leaf")),
    )
}

#[test]
fn everything_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    filled(&path);
    let journal = reopen(&path);
    let cluster = owner().cluster;
    let found = journal.entry(&cluster, token(1)).expect("the entry");
    assert_eq!((found.phase, found.started), (Phase::Started, Some(time(0))));
    assert_eq!(found.prepared, Some(prepared(Kind::BanPeer, "peer:x")));
    assert_eq!(journal.highest(&cluster), Some(token(1)));
    assert_eq!(journal.undos().count(), 1);
    assert_eq!(journal.evidence(&Digest::of(b"leaf")), Some("n5"));
    assert_eq!(journal.instance(), instance());
}

#[test]
fn a_start_never_makes_a_journal_and_enrolment_never_replaces_one() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let missing = Journal::open(&path, &owner());
    assert!(matches!(missing, Err(JournalFault::Missing { .. })), "{missing:?}");
    assert!(!path.exists());
    drop(create(&path));
    let again = Journal::create(&path, &owner(), instance());
    assert!(matches!(again, Err(JournalFault::Exists { .. })), "{again:?}");
}

#[test]
fn a_journal_is_open_in_one_place() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let journal = create(&path);
    let refused = Journal::open(&path, &owner());
    assert!(matches!(refused, Err(JournalFault::InUse { .. })), "{refused:?}");
    drop(journal);
    reopen(&path);
}

#[test]
fn a_journal_opens_for_its_owner_alone() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    drop(create(&path));
    let other = Owner::new(common::name("n2"), owner().cluster);
    let refused = Journal::open(&path, &other);
    assert!(matches!(refused, Err(JournalFault::OtherOwner { .. })), "{refused:?}");
}

#[test]
fn the_sequence_rises_with_every_change_and_through_restarts() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let mut journal = create(&path);
    let cluster = owner().cluster;
    let mut last = journal.sequence();
    journal.accept(entry(1, "a")).expect("accept");
    assert!(journal.sequence() > last);
    last = journal.sequence();
    let ClaimAttempt::First(claim) = journal.ready(&cluster, token(1), None).expect("ready") else {
        panic!("it was never claimed before");
    };
    assert_eq!(claim, journal.sequence(), "the claim names the change that announced it");
    assert!(claim > last);
    drop(journal);
    let mut journal = reopen(&path);
    assert_eq!(journal.sequence(), claim);
    let again = journal.ready(&cluster, token(1), None).expect("again");
    assert_eq!(again, ClaimAttempt::Again(claim), "the same claim");
}

#[test]
fn observations_rise_through_restarts() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let mut journal = create(&path);
    let first: Vec<u64> = (0..3).map(|_| journal.next_observation(0).expect("number")).collect();
    assert_eq!(first, [0, 1, 2]);
    drop(journal);
    assert!(reopen(&path).next_observation(0).expect("number") > 2);
}

#[test]
fn an_observation_is_numbered_above_what_it_is_told_and_never_below_what_it_was() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let mut journal = create(&path);
    let certified = time(0).get();
    assert_eq!(journal.next_observation(certified).expect("number"), certified);
    assert_eq!(journal.next_observation(certified).expect("number"), certified + 1);
    assert_eq!(journal.next_observation(0).expect("number"), certified + 2, "time may fall");
    drop(journal);
    let next = reopen(&path).next_observation(certified).expect("number");
    assert!(next > certified + 2 && next <= certified + 1_000, "{next}: near the certified time");
}

#[test]
fn a_doubt_outlives_a_restart_until_it_is_accounted_for() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let heads = [b"believed".to_vec(), b"another".to_vec()];
    create(&path).doubt(Some(&heads)).expect("doubt");
    let mut journal = reopen(&path);
    assert_eq!(journal.doubted(), Some(&heads));
    let sequence = journal.sequence();
    journal.doubt(Some(&heads)).expect("the same");
    assert_eq!(journal.sequence(), sequence, "nothing to write");
    journal.doubt(None).expect("accounted for");
    assert_eq!(journal.doubted(), None);
    drop(journal);
    assert_eq!(reopen(&path).doubted(), None);
}

#[test]
fn nothing_starts_without_a_claim_or_beside_another_action() {
    let directory = tempfile::tempdir().expect("directory");
    let mut journal = create(&directory.path().join("journal.redb"));
    let cluster = owner().cluster;
    journal.accept(entry(1, "a")).expect("accept");
    let unclaimed = journal.start(&cluster, token(1), time(0), None, None);
    assert!(matches!(unclaimed, Err(JournalError::Refused(StepRefused::NotClaimed { .. }))));
    journal.ready(&cluster, token(1), None).expect("ready");
    journal.start(&cluster, token(1), time(0), None, None).expect("start");
    journal.accept(entry(2, "b")).expect("accept");
    journal.ready(&cluster, token(2), None).expect("ready");
    for phase in [Phase::Started, Phase::Unknown] {
        if phase == Phase::Unknown {
            journal.unknown(&cluster, token(1)).expect("unknown");
        }
        let second = journal.start(&cluster, token(2), time(1), None, None);
        assert!(
            matches!(second, Err(JournalError::Refused(StepRefused::OtherUnderWay { .. }))),
            "{phase:?}: {second:?}"
        );
    }
    journal.report(&cluster, token(1), Phase::Done, b"report".to_vec()).expect("done");
    journal.start(&cluster, token(2), time(2), None, None).expect("now it is free");
}

#[test]
fn a_started_action_never_starts_again_and_an_abandoned_one_never_resumes() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let mut journal = create(&path);
    let cluster = owner().cluster;
    journal.accept(entry(1, "a")).expect("accept");
    journal.ready(&cluster, token(1), None).expect("ready");
    journal.start(&cluster, token(1), time(0), None, None).expect("start");
    drop(journal);
    let mut journal = reopen(&path);
    let again = journal.start(&cluster, token(1), time(1), None, None);
    assert!(matches!(again, Err(JournalError::Refused(StepRefused::Backwards { .. }))));
    journal.abandon(&cluster, token(1)).expect("abandon");
    for refused in [
        journal.start(&cluster, token(1), time(2), None, None),
        journal.unknown(&cluster, token(1)),
        journal.report(&cluster, token(1), Phase::Done, b"late".to_vec()),
    ] {
        assert!(matches!(refused, Err(JournalError::Refused(StepRefused::Backwards { .. }))));
    }
}

#[test]
fn one_terminal_report_per_decision_and_an_open_one_may_be_followed() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let mut journal = create(&path);
    let cluster = owner().cluster;
    journal.accept(entry(1, "a")).expect("accept");
    journal.ready(&cluster, token(1), None).expect("ready");
    journal.start(&cluster, token(1), time(0), None, None).expect("start");
    journal.unknown(&cluster, token(1)).expect("unknown");
    journal.report(&cluster, token(1), Phase::Unknown, b"inconclusive".to_vec()).expect("open");
    journal.report(&cluster, token(1), Phase::Done, b"effective".to_vec()).expect("terminal");
    drop(journal);
    let mut journal = reopen(&path);
    journal.report(&cluster, token(1), Phase::Done, b"effective".to_vec()).expect("the same");
    let other = journal.report(&cluster, token(1), Phase::Done, b"harmful".to_vec());
    let Err(JournalError::Refused(StepRefused::OtherReport { before, .. })) = other else {
        panic!("a second terminal report was signed: {other:?}");
    };
    assert_eq!(before, "effective");
    journal.acknowledged(&cluster, token(1), b"effective").expect("acknowledged");
    let report = journal.entry(&cluster, token(1)).and_then(|entry| entry.report.clone());
    assert_eq!(report.expect("a report").delivery, Delivery::Acknowledged);
}

#[test]
fn forgetting_keeps_what_is_open_and_the_highest_token() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    let mut journal = create(&path);
    let cluster = owner().cluster;
    journal.accept(entry(1, "a")).expect("accept");
    journal.report(&cluster, token(1), Phase::Done, b"done".to_vec()).expect("done");
    journal.accept(entry(2, "b")).expect("accept");
    journal.forget(time(700_000), |_| true).expect("forget");
    assert!(journal.entry(&cluster, token(1)).is_some(), "its report has not arrived");
    journal.acknowledged(&cluster, token(1), b"done").expect("acknowledged");
    journal.forget(time(700_000), |entry| entry.token != token(1)).expect("forget");
    assert!(journal.entry(&cluster, token(1)).is_some(), "its decision has not ended");
    journal.forget(time(700_000), |_| true).expect("forget");
    assert!(journal.entry(&cluster, token(1)).is_none());
    assert!(journal.entry(&cluster, token(2)).is_some(), "it is not finished");
    assert!(journal.used(&proposal("a")).is_none());
    drop(journal);
    assert_eq!(reopen(&path).highest(&cluster), Some(token(2)));
}

fn order(number: u64, tag: &str, continues: Option<u64>) -> Fenced {
    Fenced {
        cluster: owner().cluster,
        token: token(number),
        proposal: proposal(tag),
        leaf: leaf(&format!("{number}{tag}")),
        continues: continues.map(token),
    }
}

#[test]
fn the_fence_tells_replays_forks_and_used_vote_sets_apart() {
    let directory = tempfile::tempdir().expect("directory");
    let mut journal = create(&directory.path().join("journal.redb"));
    assert_eq!(admit(&journal, &order(5, "a", None)), Ok(Admission::New));
    journal.accept(entry(5, "a")).expect("accept");
    assert!(matches!(admit(&journal, &order(5, "a", None)), Ok(Admission::Known(_))));
    let forked = Fenced { leaf: leaf("other"), ..order(5, "a", None) };
    assert!(matches!(admit(&journal, &forked), Err(FenceRefused::Forked { .. })));
    assert!(matches!(admit(&journal, &order(4, "b", None)), Err(FenceRefused::Stale { .. })));
    let reused = admit(&journal, &order(6, "a", None));
    assert!(matches!(reused, Err(FenceRefused::ProposalUsed { .. })), "{reused:?}");
    assert_eq!(admit(&journal, &order(6, "b", None)), Ok(Admission::New));
}

#[test]
fn a_continuation_needs_its_beginning_in_this_journal() {
    let directory = tempfile::tempdir().expect("directory");
    let mut journal = create(&directory.path().join("journal.redb"));
    journal.accept(entry(5, "a")).expect("accept");
    let Ok(Admission::Continuation(begun)) = admit(&journal, &order(6, "a", Some(5))) else {
        panic!("the journal shows its beginning");
    };
    assert_eq!(begun.token, token(5));
    let nothing = admit(&journal, &order(6, "a", Some(4)));
    assert!(matches!(nothing, Err(FenceRefused::NothingToContinue { .. })), "{nothing:?}");
    let other = admit(&journal, &order(6, "b", Some(5)));
    assert!(matches!(other, Err(FenceRefused::OtherAction { .. })), "{other:?}");
}

#[test]
fn a_truncated_journal_is_refused_or_whole() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    filled(&path);
    let whole = fs::read(&path).expect("read");
    let before = content(&reopen(&path));
    let mut refused = 0;
    for cut in (0..whole.len()).step_by(4_096).chain([1, 100, whole.len() - 1]) {
        fs::write(&path, &whole[..cut]).expect("write");
        match Journal::open(&path, &owner()) {
            Ok(journal) => assert_eq!(content(&journal), before, "cut at {cut}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10, "only {refused} refused");
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal.redb");
    filled(&path);
    let whole = fs::read(&path).expect("read");
    let before = content(&reopen(&path));
    // Every byte of the header, and of the rest those that hold something, thinned out.
    let used: Vec<usize> = (320..whole.len()).filter(|at| whole[*at] != 0).collect();
    let places = (0..320).step_by(3).chain(used.iter().copied().step_by(used.len() / 150 + 1));
    let mut refused = 0;
    for (round, at) in places.enumerate() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (round % 8);
        fs::write(&path, &flipped).expect("write");
        match Journal::open(&path, &owner()) {
            Ok(journal) => assert_eq!(content(&journal), before, "bit {} of byte {at}", round % 8),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "only {refused} refused");
}
