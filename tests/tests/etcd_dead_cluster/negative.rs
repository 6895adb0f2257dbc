//! What must not happen: nothing irreversible while members come back, nothing dead starts again.

use std::time::Duration;

use quorate_attest::charter::Gate;
use quorate_proto::pb::v1::ProposalState;
use quorate_tests::deployment::{Adapter, Holds, Options};
use quorate_tests::etcd;
use quorate_tests::etcd_stage::{Stage, WITHIN};
use quorate_tests::process::code_of;

/// How a gate says no: a precondition that does not hold.
const REFUSED: i32 = 7;
/// SIGTERM: its agent found it running although it is tombstoned.
const STOPPED: i32 = 128 + 15;

/// Two members die and come back within the grace: the approved declaration decides nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server; .ci/run installs it and runs this"]
async fn members_that_come_back_within_the_grace_end_nothing() {
    if !etcd::is_installed("etcd_dead_cluster") {
        return;
    }
    let mut stage = Stage::start(15_000).await;
    for name in ["n2", "n3"] {
        stage.deployment.members.get_mut(name).expect("it").kill();
    }
    stage.suspected(&["n2", "n3"]).await;
    let confirm = stage.irreversible(1);
    let mut declare = stage.declaration("n1", &["n2", "n3"]);
    declare.extend(confirm.iter().cloned());
    let id = stage.open(&declare).await;
    for operator in ["o1", "o2", "o3"] {
        stage.approve(operator, &id, &confirm).await;
    }
    for name in ["n2", "n3"] {
        stage.deployment.members.get_mut(name).expect("it").process.start();
    }
    stage.load.goes_on(20, WITHIN).await;
    // Longer than the silence would have had to last: it begins anew with each sign of life.
    let first = stage.deployment.operator("o1");
    let proposal = id.parse().expect("an id");
    let end = tokio::time::Instant::now() + Duration::from_secs(17);
    while tokio::time::Instant::now() < end {
        let found = first.proposal(&proposal).await.expect("it is held").expect("it is open");
        assert_eq!(found.decision_number, 0, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let found = first.proposal(&proposal).await.expect("it is held").expect("it is open");
    assert_eq!(found.state(), ProposalState::Approved, "{found:#?}");
    let rules = format!("{:?}", found.waiting_for);
    assert!(rules.contains("partition-not-death"), "{rules}");
    let why = ["--reason", "they are back", "-o", "json"].map(str::to_owned);
    let mut veto = ["proposal", "veto", &id].map(str::to_owned).to_vec();
    veto.extend(why);
    drop(stage.until_ok("o2", &veto).await);
    assert_eq!(stage.started_alone(), (0, 0));
    stage.load.end().await;
}

/// A member that comes back after the declaration is refused by its gate, until a decision re-admits it on
/// an empty directory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server; .ci/run installs it and runs this"]
async fn a_member_declared_dead_stays_dead_until_it_is_readmitted_with_nothing() {
    if !etcd::is_installed("etcd_dead_cluster") {
        return;
    }
    let mut stage = Stage::start(2_000).await;
    // Their disks survive them.
    for name in ["n2", "n3"] {
        stage.deployment.members.get_mut(name).expect("it").kill();
    }
    stage.suspected(&["n2", "n3"]).await;
    let confirm = stage.irreversible(1);
    let mut declare = stage.declaration("n1", &["n2", "n3"]);
    declare.extend(confirm.iter().cloned());
    let id = stage.open(&declare).await;
    for operator in ["o1", "o2"] {
        stage.approve(operator, &id, &confirm).await;
    }
    let number = stage.decided(&id).await;
    drop(stage.effective(number).await);

    for time in 0..3 {
        refused(&mut stage, "n2").await;
        let agent = &mut stage.deployment.agents.get_mut("n2").expect("n2").process;
        // With its agent, without it, and with a new one.
        if time == 0 {
            agent.kill()
        } else if time == 1 {
            agent.start()
        }
    }
    let data = stage.deployment.seat("n2").data.clone();
    let old = data.with_extension("old");
    std::fs::rename(&data, &old).expect("another disk is in its place");
    readmit(&stage, "n2").await;
    // Its old disk is refused all the same.
    std::fs::rename(&old, &data).expect("the old disk is back");
    refused(&mut stage, "n2").await;
    std::fs::remove_dir_all(&data).expect("the old disk is wiped");
    let seats = ["n1", "n2"].map(|name| stage.deployment.seat(name));
    let process = stage.deployment.returning_etcd("n2", &seats);
    stage.join_as("n2", "n1", process).await;
    stage.load.goes_on(20, WITHIN).await;
    refused(&mut stage, "n3").await;
    assert_eq!(stage.started_alone(), (1, 1));
    stage.load.end().await;
}

/// Starts a member through its gate: it ends without ever having become etcd.
async fn refused(stage: &mut Stage, name: &str) -> i32 {
    let starts = |text: String| text.matches("etcdmain: etcd Version").count();
    let member = stage.deployment.members.get_mut(name).expect("it");
    let before = starts(member.process.log_text());
    assert!(before > 0, "its first start is in the log");
    member.process.start();
    let code = code_of(member.process.ended(WITHIN).await);
    assert!(code == REFUSED || code == STOPPED, "{code}: {}", member.process.log_tail());
    assert_eq!(starts(member.process.log_text()), before, "it became etcd");
    code
}

async fn readmit(stage: &Stage, name: &str) {
    let directory = stage.deployment.seat(name).data.display().to_string();
    let mut words =
        ["proposal", "create", "readmit", &format!("member:{name}")].map(str::to_owned).to_vec();
    for param in
        [format!("member={name}"), format!("host=host-{name}"), format!("directory={directory}")]
    {
        words.extend(["--param".to_owned(), param]);
    }
    words.extend(["--reason", "a new disk is in it", "-o", "json"].map(str::to_owned));
    let confirm = stage.irreversible(1);
    words.extend(confirm.iter().cloned());
    let id = stage.open(&words).await;
    for operator in ["o1", "o2", "o3"] {
        stage.approve(operator, &id, &confirm).await;
    }
    let number = stage.decided(&id).await;
    drop(stage.effective(number).await);
}

/// Unreachable is not dead: without a stop, a proof or an attestation nothing is even opened. And where
/// gates fail open nobody is declared dead.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server; .ci/run installs it and runs this"]
async fn who_is_only_unreachable_is_not_declared_dead_and_nobody_where_gates_fail_open() {
    if !etcd::is_installed("etcd_dead_cluster") {
        return;
    }
    let stage = Stage::start(2_000).await;
    let mut declare = stage.declaration("n1", &["n2", "n3"]);
    for word in &mut declare {
        *word = word.replace(" attest:powered-off", "");
    }
    declare.extend(stage.irreversible(3));
    // The command line refuses it before the coordinators do.
    refuses(&stage, &declare, 2, "dead n2");
    stage.load.end().await;

    let holds = Holds::Short { grace_ms: 2_000 };
    let options = Options { adapter: Adapter::Etcd, holds, gate: Gate::Open, ..Options::of(3) };
    let mut deployment = options.build();
    deployment.start_coordinators();
    deployment.leader().await;
    deployment.certified(1).await;
    let stage = Stage::of(deployment);
    let mut declare = stage.declaration("n1", &["n2", "n3"]);
    declare.extend(stage.irreversible(0));
    refuses(&stage, &declare, 2, "fail open");
}

fn refuses(stage: &Stage, words: &[String], code: i32, rule: &str) {
    let output = stage.run("o1", words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code_of(output.status), code, "{said}");
    assert!(said.contains(rule), "{said}");
}
