//! Starting alone: at most one survivor of a declaration, once, whatever is copied, replayed or
//! killed (*one-survivor*, *no-double-execution*).

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use common::booth::{Ask, Booth, decision_at, declared, who};
use common::world::World;
use quorate_attest::log_time::Span;
use quorate_attest::remediation::Kind;
use quorate_node::gate::{Allowed, AloneRefused, Refusal, Start, judge_alone};
use quorate_node::journal::{Consumed, JournalError, Phase, StepRefused};

const LONG: Duration = Duration::from_secs(60);

/// What the journal says of decision 1's permission.
async fn consumed(booth: &Booth) -> Option<Consumed> {
    let cluster = who("n1").cluster;
    let asked =
        booth.journal.with(move |journal| journal.consumed(&cluster, common::token(1)).cloned());
    asked.await.expect("the journal")
}

fn is_alone(decided: &Result<Allowed, Refusal>) -> bool {
    matches!(decided, Ok(Allowed { start: Start::Alone(_), .. }))
}

fn why(decided: Result<Allowed, Refusal>) -> &'static str {
    match decided {
        Err(Refusal::Alone(refused)) => refused.why(),
        other => panic!("it may not start alone: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_survivor_starts_alone_once_and_as_ever_after_it() {
    let (world, index) = declared("n1", "n1");
    let booth = Booth::open(&world, "n1", "").await;
    assert!(!is_alone(&booth.decide(Ask::Alone).await), "nobody carries it out");
    let token = booth.started(&world, index).await;
    let armed = booth.permits.arm(booth.carried(&world, index));
    let refused = booth.decide(Ask::Alone).await.expect_err("nothing starts beside it");
    assert!(matches!(refused, Refusal::Reserved { .. }), "{refused}");
    let permission = booth.permits.offer(token, LONG).expect("offered");
    // Refused before anything is taken.
    assert_eq!(why(booth.decide(Ask::Ordinary).await), "argument");
    assert_eq!(why(booth.decide(Ask::Nothing).await), "program");
    assert!(!permission.was_taken());
    let allowed = booth.decide(Ask::Alone).await.expect("it is permitted");
    assert_eq!(allowed.start, Start::Alone(token));
    assert!(permission.was_taken());
    assert_eq!(consumed(&booth).await.expect("consumed").at, world.now);
    assert_eq!(fs::read_to_string(booth.data().join("gate.used")).expect("used"), "1.1\n");
    // It crashed, and its supervisor starts it again: as ever.
    assert_eq!(booth.decide(Ask::Alone).await.expect("it may").start, Start::Ordinary);
    assert!(permission.withdraw());
    assert!(booth.permits.offer(token, LONG).is_err(), "never a second one");
    drop(armed);
    assert_eq!(booth.decide(Ask::Alone).await.expect("it may").start, Start::Ordinary);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_gates_at_once_one_starts_alone() {
    let (world, index) = declared("n1", "n1");
    let booth = Arc::new(Booth::open(&world, "n1", "").await);
    let token = booth.started(&world, index).await;
    let _armed = booth.permits.arm(booth.carried(&world, index));
    let _permission = booth.permits.offer(token, LONG).expect("offered");
    let gates: Vec<_> = (0..12)
        .map(|_| {
            let booth = Arc::clone(&booth);
            tokio::spawn(async move { booth.decide(Ask::Alone).await })
        })
        .collect();
    let mut alone = 0;
    for gate in gates {
        alone += usize::from(is_alone(&gate.await.expect("a gate")));
    }
    assert_eq!(alone, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_withdrawn_or_too_old_starts_nobody() {
    let (world, index) = declared("n1", "n1");
    let booth = Booth::open(&world, "n1", "").await;
    let token = booth.started(&world, index).await;
    let _armed = booth.permits.arm(booth.carried(&world, index));
    let permission = booth.permits.offer(token, Duration::ZERO).expect("offered");
    assert!(!is_alone(&booth.decide(Ask::Alone).await));
    assert!(!permission.withdraw());
    let permission = booth.permits.offer(token, LONG).expect("offered");
    drop(permission);
    assert!(!is_alone(&booth.decide(Ask::Alone).await));
    assert_eq!(consumed(&booth).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_dies_after_it_took_starts_nobody_and_nobody_is_given_it_again() {
    let (world, index) = declared("n1", "n1");
    let booth = Booth::open(&world, "n1", "").await;
    let token = booth.started(&world, index).await;
    let armed = booth.permits.arm(booth.carried(&world, index));
    let permission = booth.permits.offer(token, LONG).expect("offered");
    // A gate that is killed before it reads the answer.
    let mut stream = UnixStream::connect(booth.data().join("gate.sock")).expect("it listens");
    stream.write_all(b"{\"ask\":\"take\",\"token\":\"1.1\"}\n").expect("it reads");
    drop(stream);
    common::eventually("it is taken", || permission.was_taken()).await;
    // Its conversation goes on to the journal by itself.
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while consumed(&booth).await.is_none() {
        assert!(std::time::Instant::now() < end, "it is journalled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!is_alone(&booth.decide(Ask::Alone).await));
    assert!(permission.withdraw());
    assert!(booth.permits.offer(token, LONG).is_err());
    // The same decision is armed once more, which no executor does: the journal still says no.
    drop(armed);
    let _armed = booth.permits.arm(booth.carried(&world, index));
    let permission = booth.permits.offer(token, LONG).expect("memory has forgotten");
    assert_eq!(why(booth.decide(Ask::Alone).await), "claim");
    assert!(permission.withdraw(), "it counts as taken: nobody else gets it");
}

/// A STAND-IN for an agent that offers a certificate to whoever asks, and gives it to whoever
/// takes.
fn impostor(booth: &Booth, certificate: &[u8]) -> std::thread::JoinHandle<()> {
    let socket = booth.data().join("gate.sock");
    let _gone = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("bind");
    let certificate = serde_json::to_string(std::str::from_utf8(certificate).expect("text"));
    let offer = format!(
        "{{\"answer\":\"alone\",\"token\":\"1.1\",\"certificate\":{}}}\n",
        certificate.expect("JSON")
    );
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a gate");
        let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
        let mut stream = stream;
        for answer in [offer.as_str(), "{\"answer\":\"taken\"}\n"] {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            stream.write_all(answer.as_bytes()).expect("write");
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_the_wrong_hands_starts_nobody() {
    let (world, index) = declared("n1", "n1");
    let certificate = world.certificate(index);
    // The fenced one is handed the survivor's certificate.
    let mut fenced = Booth::open(&world, "n2", "").await;
    fenced.close().await;
    let agent = impostor(&fenced, &certificate);
    let refused = fenced.decide(Ask::Alone).await.expect_err("it is fenced");
    assert!(matches!(refused, Refusal::DeclaredDead { .. }), "{refused}");
    agent.join().expect("the stand-in");
    // The survivor used it, and is handed it again by an agent that does not know.
    let mut booth = Booth::open(&world, "n1", "").await;
    booth.close().await;
    let agent = impostor(&booth, &certificate);
    assert!(is_alone(&booth.decide(Ask::Alone).await), "the stand-in plays an honest agent");
    agent.join().expect("the stand-in");
    let agent = impostor(&booth, &certificate);
    assert_eq!(why(booth.decide(Ask::Alone).await), "used");
    agent.join().expect("the stand-in");
    // A record of uses that cannot be read may hold any token.
    fs::write(booth.data().join("gate.used"), "nonsense").expect("write");
    let agent = impostor(&booth, &certificate);
    assert_eq!(why(booth.decide(Ask::Alone).await), "record");
    agent.join().expect("the stand-in");
    fs::remove_file(booth.data().join("gate.used")).expect("it is there");
    // Handed over when its time is over, though the head is fresh.
    let mut later = world;
    later.now = decision_at(&later, index).0.expires.saturating_add(Span::from_millis(1));
    booth.serve();
    booth.learn(&later).await;
    booth.close().await;
    let agent = impostor(&booth, &certificate);
    assert_eq!(why(booth.decide(Ask::Alone).await), "expired");
    agent.join().expect("the stand-in");
    assert!(!booth.data().join("gate.used").exists(), "nothing was used");
}

#[test]
fn each_thing_that_does_not_hold_is_a_refusal_of_its_own() {
    let (world, index) = declared("n1", "n1");
    let certificate = world.certificate(index);
    let view = world.trust().view();
    let judge = |member: &str, now| judge_alone(&who(member), &view, &certificate, None, now);
    let refused = |judged: Result<_, AloneRefused>| judged.expect_err("refused").why();
    assert!(judge("n1", world.now).is_ok());
    assert_eq!(refused(judge("n2", world.now)), "named");
    let decision = decision_at(&world, index).0;
    let early = decision.not_before.saturating_sub(Span::from_millis(2_001));
    let mut early_world = declared("n1", "n1").0;
    early_world.now = early;
    let early_view = early_world.trust().view();
    let judged = judge_alone(&who("n1"), &early_view, &early_world.certificate(index), None, early);
    assert_eq!(refused(judged), "window");
    // Within the window, and the head is older than the charter allows.
    let stale = world.now.saturating_add(Span::from_secs(300));
    let mut old = declared("n1", "n1").0;
    old.now = world.now.saturating_sub(Span::from_secs(400));
    let old_view = old.trust().view();
    let judged = judge_alone(&who("n1"), &old_view, &old.certificate(index), None, stale);
    assert_eq!(refused(judged), "head");
    let nothing = quorate_node::trust::View::default();
    let judged = judge_alone(&who("n1"), &nothing, &certificate, None, world.now);
    assert_eq!(refused(judged), "head");
    // Of its own token, and of a higher one.
    for number in [1, 2] {
        let used = Some(common::token(number));
        let judged = judge_alone(&who("n1"), &view, &certificate, used, world.now);
        assert_eq!(refused(judged), "used");
    }
    // Any byte of the certificate.
    for at in (0..certificate.len()).step_by(certificate.len() / 60) {
        let mut flipped = certificate.clone();
        flipped[at] ^= 1;
        let judged = judge_alone(&who("n1"), &view, &flipped, None, world.now);
        let why = judged.map(|_| ()).map_err(|refused| refused.why());
        assert!(matches!(why, Err("certificate" | "origin")), "byte {at}: {why:?}");
    }
    // Too few coordinators.
    let one = String::from_utf8(certificate.clone()).expect("text");
    let lines: Vec<&str> = one.lines().collect();
    let cut = format!("{}\n", lines[..lines.len() - 1].join("\n"));
    let judged = judge_alone(&who("n1"), &view, cut.as_bytes(), None, world.now);
    assert_eq!(refused(judged), "certificate");
}

#[test]
fn only_the_declaration_under_way_permits_a_start_alone() {
    let refused = |judged: Result<_, AloneRefused>| judged.expect_err("refused").why();
    // A restart declares nobody dead.
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
    let index = world.decide(&proposal, None);
    let view = world.trust().view();
    let judged = judge_alone(&who("n1"), &view, &world.certificate(index), None, world.now);
    assert_eq!(refused(judged), "declaration");
    // The agent that asks is not the one that acts.
    let (world, index) = declared("n1", "n2");
    let view = world.trust().view();
    let judged = judge_alone(&who("n1"), &view, &world.certificate(index), None, world.now);
    assert_eq!(refused(judged), "token");
    // The charter has changed since.
    let (mut world, index) = declared("n1", "n1");
    world.amend();
    let view = world.trust().view();
    let judged = judge_alone(&who("n1"), &view, &world.certificate(index), None, world.now);
    assert_eq!(refused(judged), "epoch");
    // The log contradicts itself.
    let (world, index) = declared("n1", "n1");
    let heads = [world.head(2, world.now), world.head(3, world.now)];
    let view = world.trust().alarmed(heads).view();
    let judged = judge_alone(&who("n1"), &view, &world.certificate(index), None, world.now);
    assert_eq!(refused(judged), "token");
}

#[tokio::test]
async fn the_journal_gives_one_permission_for_each_declaration() {
    let (world, index) = declared("n1", "n1");
    let booth = Booth::new(&world, "n1", "");
    let cluster = who("n1").cluster;
    let token = common::token(1);
    let consume = async || {
        let (cluster, now) = (cluster.clone(), world.now);
        let consumed = booth.journal.with(move |journal| journal.consume(&cluster, token, now));
        consumed.await.expect("the journal")
    };
    let no_entry = consume().await.expect_err("nothing is known of it");
    assert!(matches!(no_entry, JournalError::Refused(StepRefused::NoEntry { .. })));
    booth.started(&world, index).await;
    consume().await.expect("once");
    let twice = consume().await.expect_err("never twice");
    assert!(matches!(twice, JournalError::Refused(StepRefused::Consumed { .. })));
    // After a crash its outcome is unknown: nothing starts alone under it any more.
    let (world, index) = declared("n1", "n1");
    let booth = Booth::new(&world, "n1", "");
    booth.started(&world, index).await;
    let (of, now) = (cluster.clone(), world.now);
    let after = booth.journal.with(move |journal| {
        journal.unknown(&of, token)?;
        journal.consume(&of, token, now)
    });
    let refused = after.await.expect("the journal").expect_err("it is unknown");
    assert!(
        matches!(
            refused,
            JournalError::Refused(StepRefused::NotUnderWay { phase: Phase::Unknown, .. })
        ),
        "{refused}"
    );
}
