//! The etcd adapter against real etcd, with the traps in which a naive one would say success.

use std::path::PathBuf;
use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::{ProposalId, Word};
use quorate_attest::number::{DecisionNumber, FencingToken, Incarnation};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    Action, Adapter as _, EtcdAdapter, EtcdConfig, Order, Prepared, ProcessConfig, Supervisor,
};
use quorate_node::gate::Permits;
use quorate_node::plan::plan_of;
use quorate_tests::etcd::{self, Seat};
use quorate_tests::process::{Process, Spec};
use quorate_tests::scenario::WITHIN;
use quorate_tests::{ports, wait};
use tokio_util::sync::CancellationToken;

/// How long one measurement may take.
const MEASURE: Duration = Duration::from_secs(6);

/// Three real members, and an adapter beside the first; a fourth seat is free.
struct Stage {
    seats: Vec<Seat>,
    members: Vec<Process>,
    supervisor: Supervisor,
    adapter: EtcdAdapter,
    /// Removed when it is dropped.
    _root: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let first = ports::block(8);
        let seat = |at: u16| Seat {
            name: format!("n{}", at + 1),
            host: "127.0.0.1".to_owned(),
            client: first + at,
            peer: first + 4 + at,
            data: root.path().join(format!("n{}", at + 1)),
        };
        let seats: Vec<Seat> = (0..4).map(seat).collect();
        let voters: Vec<&Seat> = seats.iter().take(3).collect();
        let process = ProcessConfig {
            command: seats[0].command(&voters, "new"),
            pid_file: root.path().join("n1.pid"),
            directory: None,
            log_file: Some(root.path().join("n1.log")),
            environment: std::collections::BTreeMap::new(),
            stop_grace_ms: 10_000,
            stable_ms: 1_000,
            start_ms: 10_000,
        };
        let supervisor = Supervisor::new(process, &format!("adapter-{first}/n1"));
        let config = EtcdConfig {
            url: seats[0].client_url(),
            data_dir: seats[0].data.clone(),
            forensic_dir: root.path().join("forensic"),
            peers: seats[1..].iter().map(|s| (s.name.clone(), s.client_url())).collect(),
        };
        let permits = Permits::default();
        let adapter = EtcdAdapter::new("n1", config, Some(supervisor.clone()), permits);
        let mut members: Vec<Process> = seats[1..3]
            .iter()
            .map(|seat| process_of(seat, &seat.command(&voters, "new")))
            .collect();
        let _running = supervisor.start().await.expect("n1 starts");
        members.iter_mut().for_each(Process::start);
        let stage =
            Self { members, supervisor, adapter: adapter.expect("an adapter"), _root: root, seats };
        for at in 0..3 {
            stage.has_leader(at).await;
        }
        for key in 0..20 {
            assert!(etcd::put(&stage.seats[0].client_url(), &format!("k{key}"), "x").await);
        }
        stage
    }

    async fn has_leader(&self, at: usize) {
        let url = self.seats[at].client_url();
        let what = format!("n{} knows a leader", at + 1);
        wait::until(&what, WITHIN, async || etcd::has_leader(&url).await.then_some(())).await;
    }

    async fn prepare(&self, action: &Action) -> Prepared {
        let plan = plan_of(&"etcd".parse().expect("a name"), action);
        let prepared = self.adapter.prepare(action, &plan, MEASURE).await;
        prepared.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// n2 and n3 are gone; n1 knows no leader.
    async fn lose_two(&mut self) {
        self.members.iter_mut().for_each(Process::kill);
        let url = self.seats[0].client_url();
        wait::until("n1 knows no leader", WITHIN, async || {
            etcd::status(&url).await.filter(|status| status.leader == 0).map(drop)
        })
        .await;
    }

    async fn kill_own(&self) {
        if let Some(running) = self.supervisor.find() {
            self.supervisor.kill(running).await.expect("n1 is killed");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid =
            self.supervisor.find().and_then(|found| rustix::process::Pid::from_raw(found.pid));
        if let Some(pid) = pid {
            let _sent = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

fn process_of(seat: &Seat, command: &[String]) -> Process {
    Process::new(Spec {
        name: seat.name.clone(),
        program: PathBuf::from(&command[0]),
        arguments: command[1..].to_vec(),
        environment: Vec::new(),
        log: seat.data.with_extension("log"),
    })
}

fn action(kind: Kind, target: &str, params: &[&str]) -> Action {
    let target: Word = target.parse().expect("a target");
    let params = params.iter().map(|param| param.parse().expect("a parameter")).collect();
    Action { kind, target, params }
}

fn declaration() -> Action {
    let params = [
        "method force-new-cluster",
        "survivor n1",
        "dead n2 attest:off",
        "dead n3 attest:off",
        "identity n2 -",
        "identity n3 -",
    ];
    action(Kind::DeclareDead, "cluster:c", &params)
}

fn order(deadline: Duration) -> Order {
    Order {
        proposal: ProposalId::of_text("a proposal"),
        token: FencingToken { incarnation: Incarnation::MIN, number: DecisionNumber::MIN },
        deadline,
        stop: CancellationToken::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server; .ci/run installs it and runs this"]
async fn members_and_leadership_change_only_where_a_quorum_stays_and_it_is_seen_after() {
    if !etcd::is_installed("etcd_adapter") {
        return;
    }
    let mut stage = Stage::start().await;
    let url = stage.seats[0].client_url();
    let leader = etcd::status(&url).await.expect("a status").leader;
    let members = etcd::members(&url).await.expect("the members");
    let other = members.iter().find(|member| member.id != leader).expect("a follower");
    let lead = action(Kind::TransferLeader, &format!("member:{}", other.name), &[]);
    let prepared = stage.prepare(&lead).await;
    assert_eq!(prepared.unmet(), None);
    let done = stage.adapter.execute(&prepared, &order(WITHIN)).await;
    assert_eq!(done.answer, Answer::Applied, "{done:?}");
    let verdict = stage.adapter.verify(&prepared, WITHIN).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");

    // What is no member is not removed, whatever anybody would answer to it.
    let nobody = stage.prepare(&action(Kind::RemoveMember, "member:n9", &[])).await;
    assert_eq!(nobody.unmet().map(|unmet| unmet.name.as_str()), Some("is-member"));
    stage.members[1].kill();
    let healthy = stage.prepare(&action(Kind::RemoveMember, "member:n2", &[])).await;
    assert_eq!(healthy.unmet().map(|unmet| unmet.name.as_str()), Some("quorum-floor"));
    let refused = stage.adapter.execute(&healthy, &order(WITHIN)).await;
    assert_eq!(refused.answer, Answer::RefusedPrecondition, "{refused:?}");
    assert_eq!(etcd::members(&url).await.map(|members| members.len()), Some(3));

    // The dead one may have led.
    wait::until("a write", WITHIN, async || etcd::put(&url, "k", "y").await.then_some(())).await;
    stage.has_leader(1).await;
    let dead = stage.prepare(&action(Kind::RemoveMember, "member:n3", &[])).await;
    assert_eq!(dead.unmet(), None);
    let done = stage.adapter.execute(&dead, &order(WITHIN)).await;
    assert_eq!(done.answer, Answer::Applied, "{done:?}");
    let verdict = stage.adapter.verify(&dead, WITHIN).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
    let again = stage.adapter.execute(&dead, &order(WITHIN)).await;
    assert_eq!(again.answer, Answer::AlreadyApplied, "by probe: {again:?}");

    let param = format!("peer-url {}", stage.seats[3].peer_url());
    let fresh = stage.prepare(&action(Kind::AddMember, "member:n4", &[&param])).await;
    assert_eq!(fresh.unmet(), None);
    // Nobody starts it: it stays a learner, without a vote, and that is not called success.
    let waited = stage.adapter.execute(&fresh, &order(Duration::from_secs(12))).await;
    assert_eq!(waited.answer, Answer::Failed, "{waited:?}");
    let verdict = stage.adapter.verify(&fresh, Duration::ZERO).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
    let seats = [&stage.seats[0], &stage.seats[1], &stage.seats[3]];
    let mut joining = process_of(&stage.seats[3], &stage.seats[3].command(&seats, "existing"));
    joining.start();
    let done = stage.adapter.execute(&fresh, &order(WITHIN)).await;
    assert_eq!(done.answer, Answer::Applied, "{done:?}");
    let verdict = stage.adapter.verify(&fresh, WITHIN).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
}

/// T13: two survivors, each forced into a cluster of its own, show one cluster id. A check by it would
/// find nothing wrong.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server; .ci/run installs it and runs this"]
async fn a_second_survivor_is_found_by_asking_it_and_never_by_the_cluster_id() {
    if !etcd::is_installed("etcd_adapter") {
        return;
    }
    let mut stage = Stage::start().await;
    stage.lose_two().await;
    let prepared = stage.prepare(&declaration()).await;
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    assert!(!prepared.witness.text().contains("cluster"), "{}", prepared.witness.text());

    // Somebody else, at the same moment, forces another one.
    let voters: Vec<&Seat> = stage.seats.iter().take(3).collect();
    let forced = |at: usize, peer: u16| {
        let mut command = stage.seats[at].command(&voters, "new");
        // Where the others look for it nobody listens: the two cannot see each other.
        let listen = command.iter().position(|word| word == "--listen-peer-urls").expect("it");
        command[listen + 1] = format!("http://127.0.0.1:{peer}");
        command.push("--force-new-cluster".to_owned());
        process_of(&stage.seats[at], &command)
    };
    let mut second = forced(1, stage.seats[3].peer);
    second.start();
    stage.has_leader(1).await;
    let refused = stage.adapter.execute(&prepared, &order(WITHIN)).await;
    assert_eq!(refused.answer, Answer::RefusedPrecondition, "{refused:?}");
    assert!(refused.detail.contains("silent:n2"), "{refused:?}");
    assert!(stage.supervisor.find().is_some(), "the survivor was not even stopped");

    // By hand it would have worked, and looked well: two leaders, one cluster id.
    stage.kill_own().await;
    let mut first = forced(0, stage.seats[3].client);
    first.start();
    stage.has_leader(0).await;
    let mut ids = Vec::new();
    for seat in &stage.seats[..2] {
        assert!(etcd::leads(&seat.client_url()).await);
        let status = etcd::status(&seat.client_url()).await.expect("a status");
        ids.push(status.header.expect("a header").cluster_id);
    }
    assert_eq!(ids[0], ids[1], "the trap itself");
}

/// T4 in etcd: an emptied directory gives a healthy leader with nothing in it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server; .ci/run installs it and runs this"]
async fn a_healthy_leader_without_the_keys_is_harmful_and_the_copy_goes_back() {
    if !etcd::is_installed("etcd_adapter") {
        return;
    }
    let mut stage = Stage::start().await;
    stage.lose_two().await;
    let prepared = stage.prepare(&declaration()).await;
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    let order = order(WITHIN);
    // Without a permission nothing starts alone: it is stopped, copied, and left so.
    let refused = stage.adapter.execute(&prepared, &order).await;
    assert_eq!(refused.answer, Answer::RefusedPrecondition, "{refused:?}");
    assert_eq!(stage.supervisor.find(), None);
    let verdict = stage.adapter.verify(&prepared, Duration::ZERO).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
    let db = stage.seats[0].data.join("member/snap/db");
    let before = std::fs::read(&db).expect("its keys");

    std::fs::remove_dir_all(&stage.seats[0].data).expect("somebody empties it");
    let mut empty = process_of(&stage.seats[0], &stage.seats[0].command(&[&stage.seats[0]], "new"));
    empty.start();
    stage.has_leader(0).await;
    let verdict = stage.adapter.verify(&prepared, WITHIN).await;
    assert_eq!(verdict.effect, Effect::Harmful, "{verdict:?}");
    empty.kill();
    let back = stage.adapter.rollback(&prepared, &order).await;
    assert_eq!(back.answer, Answer::Applied, "{back:?}");
    assert!(std::fs::read(&db).expect("its keys") == before, "the keys are back");
}
