//! A system that heals itself was faster: a real Redis with three Sentinels promotes its replica while a
//! `failover` of ours still waits for votes. Our proposal ends as superseded, without any effect, and the
//! late votes change nothing (*veto-final*, *budget*). The control has the Sentinels stopped: then the
//! same votes have the failover carried out, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_proto::pb::v1::{
    Budget, DecisionState, ListBudgetsRequest, MemberState, ProposalState,
};
use quorate_tests::client::{Draft, reason};
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::log::WholeLog;
use quorate_tests::process::{Process, Spec, write_executable};
use quorate_tests::scenario::WITHIN;
use quorate_tests::{effects, ports, settings, wait};
use rustix::process::Signal;
use toml::Value;

/// How long the Sentinels wait before they call the master down: time enough to propose something.
const DOWN_AFTER_MS: u32 = 5_000;

/// A master, its replica, and three Sentinels that watch them.
struct Redis {
    master: Process,
    replica: Process,
    sentinels: Vec<Process>,
    port: u16,
}

impl Redis {
    fn new(root: &Path) -> Self {
        let port = ports::block(5);
        let spec = |name: &str, arguments: Vec<String>| Spec {
            name: name.to_owned(),
            program: PathBuf::from("redis-server"),
            arguments,
            environment: Vec::new(),
            log: root.join(format!("{name}.log")),
        };
        let server = |name: &str, own: u16, more: &[&str]| {
            let own = own.to_string();
            let fixed = ["--port", &own, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            let arguments = fixed.iter().chain(more).map(|word| (*word).to_owned()).collect();
            Process::new(spec(name, arguments))
        };
        let sentinels = (2..5).map(|at| {
            let file = root.join(format!("sentinel-{at}.conf"));
            let text = format!(
                "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor cache 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds cache {DOWN_AFTER_MS}\n\
                 sentinel failover-timeout cache 10000\n",
                port + at,
                root.display()
            );
            std::fs::write(&file, text).expect("a Sentinel's configuration");
            let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
            Process::new(spec(&format!("sentinel-{at}"), arguments))
        });
        let of = port.to_string();
        Self {
            master: server("redis-master", port, &[]),
            replica: server("redis-replica", port + 1, &["--replicaof", "127.0.0.1", &of]),
            sentinels: sentinels.collect(),
            port,
        }
    }

    /// Starts all of it and waits until the Sentinels know the replica and each other.
    async fn start(&mut self) {
        self.master.start();
        self.replica.start();
        self.sentinels.iter_mut().for_each(Process::start);
        wait::until("the Sentinels know the replica and each other", WITHIN, async || {
            let known = |at: u16| {
                let master = redis(self.port + at, &["sentinel", "master", "cache"]);
                let field = |name: &str| {
                    let mut lines = master.lines().skip_while(|line| *line != name);
                    lines.nth(1).map(str::to_owned)
                };
                field("num-slaves").as_deref() == Some("1")
                    && field("num-other-sentinels").as_deref() == Some("2")
            };
            (2..5).all(known).then_some(())
        })
        .await;
    }

    /// The port of the master by the word of a Sentinel.
    fn named_master(&self) -> Option<u16> {
        let named = redis(self.port + 2, &["sentinel", "get-master-addr-by-name", "cache"]);
        named.lines().nth(1)?.parse().ok()
    }

    /// A program that says whether the *service* works: whoever the Sentinels name takes a write.
    fn check(&self, root: &Path) -> PathBuf {
        let path = root.join("check-redis");
        let text = format!(
            "#!/bin/sh\nset -- $(timeout 1 redis-cli -p {} sentinel get-master-addr-by-name cache)\n\
             [ \"$(timeout 1 redis-cli -h \"$1\" -p \"$2\" set checked yes)\" = OK ] || exit 1\n",
            self.port + 2
        );
        write_executable(&path, &text);
        path
    }
}

/// What a Redis answers; nothing if it does not.
fn redis(port: u16, words: &[&str]) -> String {
    let port = port.to_string();
    let output = Command::new("timeout").args(["2", "redis-cli", "-p", &port]).args(words).output();
    String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
}

/// Three members: the service itself, the replica and a Sentinel. What is done to them is counted.
fn guarding(redis: &Redis) -> Deployment {
    let options = Options { adapter: Adapter::Counted, ..Options::of(3) };
    let deployment = options.build();
    let check = format!("command://{}", redis.check(&deployment.root).display());
    let tcp = |at: u16| format!("tcp://127.0.0.1:{}", redis.port + at);
    let probe = |member: &str| match member {
        "n1" => check.clone(),
        "n2" => tcp(1),
        _ => tcp(2),
    };
    for (member, agent) in &deployment.agents {
        settings::edit(&agent.folder.join("agent.toml"), |table| {
            table.insert("automation".to_owned(), Value::String("off".to_owned()));
            let own = settings::sub(table, "probe");
            own.insert("address".to_owned(), Value::String(probe(member)));
            let exec = settings::sub(settings::sub(table, "adapter"), "exec");
            let kinds = vec![Value::String("failover".to_owned())];
            exec.insert("kinds".to_owned(), Value::Array(kinds));
            for peer in table.get_mut("peer").and_then(Value::as_array_mut).into_iter().flatten() {
                let peer = peer.as_table_mut().expect("a peer");
                let name = peer["member"].as_str().expect("its name").to_owned();
                peer.insert("probe".to_owned(), Value::String(probe(&name)));
            }
        });
    }
    deployment
}

/// Waits until the coordinators believe this of the service.
async fn service_is(deployment: &Deployment, wanted: MemberState) {
    let what = format!("the service is {wanted:?}\n{}", deployment.logs());
    wait::until(&what, WITHIN, async || {
        let statuses = deployment.statuses().await;
        let clusters = &statuses.get(&deployment.leader().await)?.clusters;
        let mut members = clusters.iter().flat_map(|cluster| &cluster.members);
        members.find(|member| member.member == "n1" && member.state() == wanted).map(drop)
    })
    .await;
}

/// The master dies; one of the two votes that are needed is given.
async fn half_approved(deployment: &Deployment, redis: &mut Redis) -> Proposal {
    service_is(deployment, MemberState::Up).await;
    assert_eq!(redis.named_master(), Some(redis.port));
    redis.master.kill();
    service_is(deployment, MemberState::Down).await;
    let executors = [deployment.agents["n2"].name.clone()];
    let draft = Draft { kind: Kind::Failover, target: "member:n1", executors: &executors };
    let first = deployment.operator("o1");
    let proposal = first.draft(&deployment.charter.statement, &deployment.cluster, &draft);
    first.open_proposal(&proposal).await.expect("it opens");
    let tally = first.vote(&proposal, Verdict::Approve).await.expect("its vote").tally;
    let tally = tally.unwrap_or_default();
    assert_eq!((tally.have, tally.need), (1, 2), "it waits for votes");
    proposal
}

async fn budgets(deployment: &Deployment) -> Vec<Budget> {
    let client = deployment.operator("o1").client;
    client.list_budgets(ListBudgetsRequest::default()).await.expect("the budgets").budgets
}

#[ignore = "needs redis-server of Debian's packages; .ci/run installs and runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn what_sentinel_has_healed_is_superseded_with_no_effect() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut redis = Redis::new(directory.path());
    redis.start().await;
    let mut deployment = guarding(&redis);
    deployment.start_coordinators();
    deployment.start_agents();
    deployment.certified(1).await;
    let before = budgets(&deployment).await;
    let proposal = half_approved(&deployment, &mut redis).await;

    // Nobody of ours does anything: the Sentinels agree and promote the replica.
    wait::until("Sentinel has promoted the replica", WITHIN, async || {
        (redis.named_master() == Some(redis.port + 1)).then_some(())
    })
    .await;
    service_is(&deployment, MemberState::Up).await;
    // The late vote would be enough, were there anything left to do.
    drop(deployment.operator("o2").vote(&proposal, Verdict::Approve).await);
    let first = deployment.operator("o1");
    let found = wait::until_or(WITHIN, async || {
        let found = first.proposal(&proposal.id()).await.ok().flatten()?;
        (found.state() == ProposalState::Superseded).then_some(())
    })
    .await;
    assert!(found.is_some(), "not superseded\n{}", deployment.logs());
    let late = deployment.operator("o3").vote(&proposal, Verdict::Approve).await;
    assert!(late.is_err_and(|error| reason(&error).is_some()), "a vote on what has ended");

    deployment.certified(2).await;
    let log = WholeLog::read(&first).await;
    drop(log.verify(&deployment.charter.statement));
    let voids: Vec<_> = log
        .parsed()
        .into_iter()
        .filter_map(|leaf| if let Leaf::Void(void) = leaf { Some(void) } else { None })
        .collect();
    assert_eq!(voids.len(), 1, "{voids:?}");
    assert_eq!((voids[0].cause, voids[0].proposal.id()), (VoidCause::Superseded, proposal.id()));
    assert!(log.decisions().is_empty(), "nothing was decided");
    assert!(effects::all(&deployment.root).is_empty(), "nothing was done");
    assert_eq!(budgets(&deployment).await, before, "nothing was paid");
}

#[ignore = "needs redis-server of Debian's packages; .ci/run installs and runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn with_the_sentinels_stopped_the_same_votes_have_it_carried_out_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut redis = Redis::new(directory.path());
    redis.start().await;
    let mut deployment = guarding(&redis);
    deployment.start_coordinators();
    deployment.start_agents();
    deployment.certified(1).await;
    service_is(&deployment, MemberState::Up).await;
    for sentinel in &redis.sentinels[1..] {
        sentinel.signal(Signal::STOP);
    }
    let proposal = half_approved(&deployment, &mut redis).await;
    drop(deployment.operator("o2").vote(&proposal, Verdict::Approve).await.expect("its vote"));
    let first = deployment.operator("o1");
    let number = first.decided(&proposal.id(), WITHIN).await;
    first.ends(&deployment.cluster, number, DecisionState::Effective, WITHIN).await;
    assert_eq!(effects::all(&deployment.root).len(), 1);
    assert_eq!(redis.named_master(), Some(redis.port), "nobody else was faster");
}
