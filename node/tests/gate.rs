//! The gate in front of a member: who may start, who never, and what is refused when nobody can
//! know (*dead-stays-dead*). Starts alone are in `gate_alone.rs`.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use common::booth::{Ask, Booth};
use common::world::{World, note_signer};
use quorate_attest::charter::Gate as Fails;
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_node::gate::{GateState, NotKnown, Refusal, Start};

/// The charter's max-age.
const MAX_AGE: Span = Span::from_secs(600);

fn open_gates(world: &mut World) {
    let mut charter = world.history.charter().clone();
    charter.epoch = charter.epoch.next().expect("an epoch");
    charter.previous = Some(world.history.charter_id());
    for cluster in &mut charter.cluster {
        cluster.gate = Fails::Open;
    }
    let operators = ["ana", "ben", "chen"].map(|id| note_signer("operator", id));
    let lines = operators.iter().map(|operator| operator.sign(&charter)).collect();
    world.append(&Leaf::Charter(Signed::new(charter, lines)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_starts_with_its_agent_and_without_it() {
    let world = World::new();
    let mut booth = Booth::open(&world, "n1", "").await;
    let allowed = booth.decide(Ask::Alone).await.expect("it may start");
    assert_eq!((allowed.start, allowed.warnings.len()), (Start::Ordinary, 0));
    let mode = |name: &str| {
        let found = fs::metadata(booth.data().join(name)).expect("a file");
        found.permissions().mode() & 0o777
    };
    assert_eq!((mode("gate.sock"), mode("gate.state")), (0o600, 0o600));
    booth.close().await;
    assert!(!booth.data().join("gate.sock").exists());
    let allowed = booth.decide(Ask::Alone).await.expect("it may start");
    assert_eq!(allowed.start, Start::Ordinary);
    assert!(allowed.warnings[0].starts_with("no agent answered"), "{:?}", allowed.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_knows_nothing_is_closed() {
    let world = World::new();
    let booth = Booth::new(&world, "n1", "");
    let unknown = |decided: Result<_, Refusal>| match decided {
        Err(Refusal::NothingKnown { source, .. }) => source,
        other => panic!("it is closed: {other:?}"),
    };
    assert!(matches!(unknown(booth.decide(Ask::Ordinary).await), NotKnown::Missing { .. }));
    let path = GateState::path(&booth.data());
    for garbage in [&b""[..], b"\n", b"quorate-gate-state/v1\n", &[0xff; 4_096]] {
        fs::write(&path, garbage).expect("write");
        assert!(matches!(unknown(booth.decide(Ask::Ordinary).await), NotKnown::Damaged { .. }));
    }
    // Another member's state, and a state with any byte of it changed.
    let other = Booth::open(&world, "n2", "").await;
    let state = fs::read(GateState::path(&other.data())).expect("a state");
    fs::write(&path, &state).expect("write");
    assert!(matches!(unknown(booth.decide(Ask::Ordinary).await), NotKnown::Other { .. }));
    let path = GateState::path(&other.data());
    let mut other = other;
    other.close().await;
    for at in (0..state.len()).step_by(state.len() / 40) {
        let mut flipped = state.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).expect("write");
        let _closed = unknown(other.decide(Ask::Ordinary).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_log_or_with_too_few_cosignatures_is_not_believed() {
    let world = World::new();
    let booth = Booth::open(&world, "n1", "").await;
    let path = GateState::path(&booth.data());
    let who = common::booth::who("n1");
    let good = GateState::read(&path, &who.cluster, &who.member).expect("a state");
    let mut booth = booth;
    booth.close().await;
    let mut one = good.clone();
    one.pinned.head = world.head(1, world.now);
    let mut grown = World::new();
    let proposal = grown.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
    grown.decide(&proposal, None);
    let mut other_root = good.clone();
    other_root.pinned.head = grown.head(2, grown.now);
    for forged in [one, other_root] {
        forged.write(&path).expect("write");
        let refused = booth.decide(Ask::Ordinary).await.expect_err("it is closed");
        assert!(
            matches!(refused, Refusal::NothingKnown { source: NotKnown::Refused { .. }, .. }),
            "{refused}"
        );
    }
    // A head from tomorrow would be fresh for ever.
    let mut tomorrow = good.clone();
    tomorrow.pinned.head = world.head(2, world.now.saturating_add(Span::from_secs(86_400)));
    tomorrow.write(&path).expect("write");
    let refused = booth.decide(Ask::Ordinary).await.expect_err("it is closed");
    assert!(
        matches!(refused, Refusal::NothingKnown { source: NotKnown::Future { .. }, .. }),
        "{refused}"
    );
    good.write(&path).expect("write");
    assert!(booth.decide(Ask::Ordinary).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_head_closes_the_gate_unless_the_charter_says_it_fails_open() {
    for fails in [Fails::Closed, Fails::Open] {
        let mut world = World::new();
        if fails == Fails::Open {
            open_gates(&mut world);
        }
        let mut booth = Booth::open(&world, "n1", "").await;
        booth.now = world.now.saturating_add(MAX_AGE);
        assert!(booth.decide(Ask::Ordinary).await.is_ok(), "at max-age it is fresh");
        booth.now = booth.now.saturating_add(Span::from_secs(1));
        for agent in ["answers", "is gone"] {
            let decided = booth.decide(Ask::Ordinary).await;
            match (fails, decided) {
                (Fails::Closed, Err(Refusal::Stale { .. })) => {}
                (Fails::Open, Ok(allowed)) => {
                    assert!(allowed.warnings[0].contains("cosigned at"), "{:?}", allowed.warnings);
                }
                (_, other) => panic!("{fails:?}, the agent {agent}: {other:?}"),
            }
            booth.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_and_the_fenced_never_start_whatever_else_holds() {
    let mut world = World::new();
    let mut booth = Booth::open(&world, "n2", "").await;
    world.advance(Span::from_secs(1));
    world.declare_dead("n1");
    let dead = |decided: Result<_, Refusal>| match decided {
        Err(Refusal::DeclaredDead { decision, dead_since, .. }) => {
            assert_eq!((decision.get(), dead_since), (1, Some(common::time(1_000))));
        }
        other => panic!("it is dead: {other:?}"),
    };
    booth.learn(&world).await;
    dead(booth.decide(Ask::Ordinary).await);
    dead(booth.decide(Ask::Alone).await);
    booth.close().await;
    dead(booth.decide(Ask::Ordinary).await);
    // Long after: what is known to be dead is said before what is too old.
    booth.now = booth.now.saturating_add(Span::from_secs(86_400));
    dead(booth.decide(Ask::Ordinary).await);
    // Also where the charter says later that gates fail open.
    open_gates(&mut world);
    booth.serve();
    booth.learn(&world).await;
    dead(booth.decide(Ask::Ordinary).await);
    booth.close().await;
    booth.now = booth.now.saturating_add(Span::from_secs(86_400));
    dead(booth.decide(Ask::Ordinary).await);
    // The survivor starts as ever.
    let survivor = Booth::open(&world, "n1", "").await;
    assert_eq!(survivor.decide(Ask::Alone).await.expect("it may").start, Start::Ordinary);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_charter_does_not_start() {
    let world = World::new();
    let booth = Booth::open(&world, "n9", "").await;
    let refused = booth.decide(Ask::Ordinary).await.expect_err("it is closed");
    assert!(matches!(refused, Refusal::NotMember { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_contradicts_itself_closes_the_gate() {
    let world = World::new();
    let booth = Booth::open(&world, "n1", "").await;
    let heads = [world.head(2, world.now), world.head(3, world.now)];
    booth.view.send_replace(world.trust().alarmed(heads).view());
    let refused = booth.decide(Ask::Ordinary).await.expect_err("it is closed");
    assert!(matches!(refused, Refusal::Alarm { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_disk_starts_under_no_name() {
    let base = tempfile::tempdir().expect("directory");
    let at = |name: &str| format!("directory = {:?}\n", base.path().join(name));
    let mut world = World::new();
    fs::create_dir(base.path().join("n2")).expect("a directory");
    let booth = Booth::open(&world, "n2", &at("n2")).await;
    let identity = booth.decide(Ask::Ordinary).await.expect("it may").identity;
    let identity = identity.expect("the gate has marked it");
    world.declare("n1", "n1", &[("n2", identity)]);
    fs::rename(base.path().join("n2"), base.path().join("n1")).expect("it is moved");
    let survivor = Booth::open(&world, "n1", &at("n1")).await;
    match survivor.decide(Ask::Ordinary).await {
        Err(Refusal::DeadIdentity { identity: found, decision, .. }) => {
            assert_eq!((found, decision.get()), (identity, 1));
        }
        other => panic!("the disk is dead: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_readmitted_member_starts_on_that_host_and_that_empty_directory_only() {
    let base = tempfile::tempdir().expect("directory");
    let data = base.path().join("n2");
    let gate = |host: &str, name: &str| {
        format!("host = {host:?}\ndirectory = {:?}\n", base.path().join(name))
    };
    let mut world = World::new();
    let index = world.declare_dead("n1");
    settle(&mut world, index);
    let directory = format!("directory {}", data.display());
    let params = [directory.as_str(), "host host-b", "member n2"];
    let proposal = world.proposal(Kind::Readmit, "member:n2", &["n1"], &params);
    world.decide(&proposal, None);
    let decide = async |host: &str, name: &str| {
        let booth = Booth::open(&world, "n2", &gate(host, name)).await;
        booth.decide(Ask::Ordinary).await
    };
    let elsewhere = |decided: Result<_, Refusal>| match decided {
        Err(Refusal::NotReadmittedHere { what, .. }) => what,
        other => panic!("it is not re-admitted here: {other:?}"),
    };
    assert_eq!(elsewhere(decide("host-a", "n2").await), "host");
    assert_eq!(elsewhere(decide("host-b", "n3").await), "directory");
    let without = Booth::open(&world, "n2", "host = \"host-b\"\n").await;
    assert_eq!(elsewhere(without.decide(Ask::Ordinary).await), "directory");
    // The old disk is still there.
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("old"), "data").expect("a file");
    assert_eq!(elsewhere(decide("host-b", "n2").await), "empty directory");
    fs::remove_dir_all(&data).expect("it is wiped");
    assert!(decide("host-b", "n2").await.is_ok());
    // It is filled, and starts again and again.
    fs::write(data.join("new"), "data").expect("a file");
    assert!(decide("host-b", "n2").await.is_ok());
    // The old disk comes back in its place: it carries no mark of this re-admission.
    fs::rename(&data, base.path().join("aside")).expect("it is moved");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("old"), "data").expect("a file");
    assert_eq!(elsewhere(decide("host-b", "n2").await), "empty directory");
    // The others stay dead.
    let other = Booth::open(&world, "n3", "").await;
    let refused = other.decide(Ask::Ordinary).await.expect_err("it is dead");
    assert!(matches!(refused, Refusal::DeclaredDead { .. }), "{refused}");
}

/// Its executor reports that it is done.
fn settle(world: &mut World, index: quorate_attest::number::LeafIndex) {
    use quorate_attest::agent_statement::{Answer, Effect};
    let (decision, _) = common::booth::decision_at(world, index);
    let outcome = quorate_node::report::Outcome {
        answer: Answer::Applied,
        effect: Effect::Effective,
        witness: quorate_attest::id::Digest::of(b"witness"),
        after: Some(quorate_attest::id::Digest::of(b"after")),
        started: Some(decision.not_before),
    };
    world.now = world.now.max(decision.not_before);
    let agent = decision.proposal.executor[0].clone();
    let report = outcome.report(&decision, &agent, world.now);
    world.outcome(&note_signer("agent", "n1").signed(report));
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_that_talk_nonsense_or_nothing_stop_neither_the_agent_nor_other_gates() {
    let world = World::new();
    let booth = Booth::open(&world, "n1", "").await;
    let socket = booth.data().join("gate.sock");
    for garbage in [&b"\n"[..], b"{}\n", b"{\"ask\":\"start\"}\n", b"\xff\xfe\n", &[b'x'; 1 << 16]]
    {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        // It may be hung up on before all of it is written.
        let _written = stream.write_all(garbage);
    }
    let taken = b"{\"ask\":\"take\",\"token\":\"1.1\"}\n";
    let mut stream = UnixStream::connect(&socket).expect("it listens");
    stream.write_all(taken).expect("it reads");
    // More gates than there are places, all silent: the real one still goes by the state at least.
    let silent: Vec<_> =
        (0..32).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    assert_eq!(booth.decide(Ask::Alone).await.expect("it may").start, Start::Ordinary);
    drop(silent);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !booth.decide(Ask::Alone).await.expect("it may").warnings.is_empty() {
        assert!(std::time::Instant::now() < end, "the agent serves again");
    }
}

/// A gate that has asked its question.
fn heard(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().expect("a gate");
    let mut question = String::new();
    let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
    lines.read_line(&mut question).expect("it asks");
    assert!(question.contains("start"), "{question}");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_or_talks_nonsense_is_no_agent() {
    let world = World::new();
    let mut booth = Booth::open(&world, "n1", "").await;
    booth.close().await;
    let socket = booth.data().join("gate.sock");
    let flood = [b'x'; 1 << 16];
    let answers: [&'static [u8]; 4] =
        [b"", b"nonsense\n", b"{\"answer\":\"taken\"}\n", b"{\"answer\":\"alone\"}\n"];
    for answer in answers {
        let _gone = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("bind");
        let agent = std::thread::spawn(move || {
            let mut stream = heard(&listener);
            let _written = stream.write_all(answer);
            if answer.is_empty() {
                // A STAND-IN that hangs with the connection open, until the gate has gone.
                let _ended = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        let begun = std::time::Instant::now();
        let allowed = booth.decide(Ask::Alone).await.expect("it may");
        assert_eq!((allowed.start, allowed.warnings.len()), (Start::Ordinary, 1));
        assert!(begun.elapsed() < Duration::from_secs(20));
        agent.join().expect("the stand-in");
    }
    let _gone = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("bind");
    let agent = std::thread::spawn(move || {
        let mut stream = heard(&listener);
        while stream.write_all(&flood).is_ok() {}
    });
    assert_eq!(booth.decide(Ask::Alone).await.expect("it may").start, Start::Ordinary);
    agent.join().expect("the stand-in");
    // One that cannot write down what it knows closes the gate.
    let _gone = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("bind");
    let agent = std::thread::spawn(move || {
        let mut stream = heard(&listener);
        stream.write_all(b"{\"answer\":\"failed\",\"why\":\"disk full\"}\n").expect("write");
    });
    let refused = booth.decide(Ask::Alone).await.expect_err("it is closed");
    assert!(matches!(refused, Refusal::AgentFailed { .. }), "{refused}");
    agent.join().expect("the stand-in");
}
