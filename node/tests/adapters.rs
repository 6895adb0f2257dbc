//! Adapters against real child processes: deadlines, exit codes, process groups, stability.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::adapter::{order, prepare};
use common::executable::executable;
use common::{eventually, proposal};
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    Adapter, ExecAdapter, ExecConfig, Held, Prepared, ProcessAdapter, ProcessConfig, kill_orphans,
};
use quorate_node::probe::Probe;
use quorate_node::witness::{Measure, Witness};

const SOON: Duration = Duration::from_secs(5);

fn script(directory: &Path, name: &str, body: &str) -> PathBuf {
    let path = directory.join(name);
    executable(&path, &format!("#!/bin/sh\n{body}"));
    path
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

fn process(directory: &Path, command: &[&str]) -> ProcessConfig {
    ProcessConfig {
        command: command.iter().map(ToString::to_string).collect(),
        pid_file: directory.join("pid"),
        directory: None,
        log_file: None,
        environment: std::collections::BTreeMap::new(),
        stop_grace_ms: 300,
        stable_ms: 400,
        start_ms: 1_000,
    }
}

/// Kills what a test has started, also when it fails.
struct Reaper(ProcessAdapter);

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(running) = self.0.supervisor().find() {
            let pid = rustix::process::Pid::from_raw(running.pid).expect("a pid");
            let _sent = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

fn adapter(directory: &Path, command: &[&str], health: Option<Probe>) -> Reaper {
    let member = format!("n-{}", directory.file_name().expect("name").to_string_lossy());
    let config = process(directory, command);
    Reaper(ProcessAdapter::new("demo", &member, config, health))
}

fn target(directory: &Path) -> String {
    format!("member:n-{}", directory.file_name().expect("name").to_string_lossy())
}

#[tokio::test]
async fn a_dead_process_is_started_once_and_its_restart_is_effective() {
    let directory = tempfile::tempdir().expect("directory");
    let reaper = adapter(directory.path(), &["/bin/sleep", "300"], None);
    let prepared = prepare(&reaper.0, Kind::Restart, &target(directory.path())).await;
    assert_eq!(prepared.unmet(), None, "it does not run: a restart is due");
    let first = reaper.0.execute(&prepared, &order(SOON)).await;
    assert_eq!(first.answer, Answer::Applied, "{first:?}");
    let running = reaper.0.supervisor().find().expect("it runs");
    let verdict = reaper.0.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
    let again = reaper.0.execute(&prepared, &order(SOON)).await;
    assert_eq!(again.answer, Answer::AlreadyApplied, "proven by probe: {again:?}");
    assert_eq!(reaper.0.supervisor().find(), Some(running), "not started twice");
}

#[tokio::test]
async fn a_process_that_works_is_not_restarted() {
    let directory = tempfile::tempdir().expect("directory");
    let reaper = adapter(directory.path(), &["/bin/sleep", "300"], None);
    let running = reaper.0.supervisor().start().await.expect("started");
    let prepared = prepare(&reaper.0, Kind::Restart, &target(directory.path())).await;
    assert_eq!(prepared.unmet().map(|unmet| unmet.held), Some(Held::No));
    let refused = reaper.0.execute(&prepared, &order(SOON)).await;
    assert_eq!(refused.answer, Answer::RefusedPrecondition, "{refused:?}");
    assert_eq!(reaper.0.supervisor().find(), Some(running));
}

#[tokio::test]
async fn a_crash_loop_is_ineffective_even_if_it_ran_for_most_of_the_window() {
    let directory = tempfile::tempdir().expect("directory");
    let reaper = adapter(directory.path(), &["/bin/sleep", "0.3"], None);
    let prepared = prepare(&reaper.0, Kind::Restart, &target(directory.path())).await;
    let executed = reaper.0.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let verdict = reaper.0.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_failed_and_nothing_runs() {
    let directory = tempfile::tempdir().expect("directory");
    let reaper = adapter(directory.path(), &["/nonexistent/program"], None);
    let prepared = prepare(&reaper.0, Kind::Restart, &target(directory.path())).await;
    let executed = reaper.0.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Failed, "{executed:?}");
    assert_eq!(reaper.0.verify(&prepared, SOON).await.effect, Effect::Ineffective);
}

#[tokio::test]
async fn a_hung_process_that_ignores_sigterm_is_killed_with_its_children() {
    let directory = tempfile::tempdir().expect("directory");
    let child_file = directory.path().join("child");
    let body =
        format!("trap '' TERM\nsleep 300 &\necho $! > {}\nwait\nsleep 300\n", child_file.display());
    let hung = script(directory.path(), "hung", &body);
    // It runs and does not answer: its health probe finds nobody.
    let silent: Probe = "tcp://127.0.0.1:1".parse().expect("a probe");
    let reaper = adapter(directory.path(), &[&hung.to_string_lossy()], Some(silent));
    let before = reaper.0.supervisor().start().await.expect("started");
    eventually("the child runs", || fs::read_to_string(&child_file).is_ok_and(|s| !s.is_empty()))
        .await;
    let child: i32 = fs::read_to_string(&child_file).expect("read").trim().parse().expect("pid");
    let prepared = prepare(&reaper.0, Kind::Restart, &target(directory.path())).await;
    let executed = reaper.0.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let after = reaper.0.supervisor().find().expect("another runs");
    assert_ne!(before, after);
    assert!(!is_alive(before.pid), "the old one is dead");
    eventually("its child is dead too", || !is_alive(child)).await;
}

#[tokio::test]
async fn a_process_is_found_by_its_marker_when_the_pid_file_was_never_written() {
    let directory = tempfile::tempdir().expect("directory");
    let reaper = adapter(directory.path(), &["/bin/sleep", "300"], None);
    let running = reaper.0.supervisor().start().await.expect("started");
    fs::remove_file(directory.path().join("pid")).expect("remove");
    assert_eq!(reaper.0.supervisor().find(), Some(running));
    fs::write(directory.path().join("pid"), format!("{} 1\n", std::process::id())).expect("write");
    assert_eq!(reaper.0.supervisor().find(), Some(running), "a used id is somebody else");
}

#[tokio::test]
async fn a_member_of_the_same_name_in_another_deployment_is_not_ours() {
    let (ours, theirs) = (tempfile::tempdir().expect("ours"), tempfile::tempdir().expect("theirs"));
    let beside = |directory: &Path| {
        let config = process(directory, &["/bin/sleep", "300"]);
        Reaper(ProcessAdapter::new("demo", "n1", config, None))
    };
    let (ours, theirs) = (beside(ours.path()), beside(theirs.path()));
    let running = theirs.0.supervisor().start().await.expect("started");
    assert_eq!(ours.0.supervisor().find(), None);
    assert_eq!(theirs.0.supervisor().find(), Some(running));
}

fn exec(command: &Path) -> ExecAdapter {
    let command = vec![command.to_string_lossy().into_owned()];
    let kinds = vec!["quiesce".into(), "drill".into()];
    ExecAdapter::new(ExecConfig { command, kinds, directory: None }).expect("an adapter")
}

fn quiesce() -> Prepared {
    Prepared {
        witness: Witness::default().with("lines", Measure::Value("0".into())),
        ..common::prepared(Kind::Quiesce, "service:a")
    }
}

#[tokio::test]
async fn an_answer_counts_only_with_exit_code_zero() {
    let directory = tempfile::tempdir().expect("directory");
    for (body, wanted) in [
        (r#"cat > /dev/null; echo '{"answer":"applied"}'"#, Answer::Applied),
        (r#"cat > /dev/null; echo '{"answer":"failed","detail":"no"}'"#, Answer::Failed),
        (r#"cat > /dev/null; echo '{"answer":"applied"}'; exit 3"#, Answer::Unknown),
        (r#"cat > /dev/null; echo 'applied'"#, Answer::Unknown),
        (r#"cat > /dev/null; echo '{"answer":"surely"}'"#, Answer::Unknown),
        (r#"exec true"#, Answer::Unknown),
        (r#"kill -9 $$"#, Answer::Unknown),
        (r#"head -c 2000000 /dev/zero"#, Answer::Unknown),
        (r#"cat > /dev/null; printf '\377\376'"#, Answer::Unknown),
        (r#"cat > /dev/null; echo '{"answer":"applied"} {"answer":"applied"}'"#, Answer::Unknown),
    ] {
        let adapter = exec(&script(directory.path(), "program", body));
        let executed = adapter.execute(&quiesce(), &order(SOON)).await;
        assert_eq!(executed.answer, wanted, "{body}: {executed:?}");
    }
    let missing = exec(&directory.path().join("missing"));
    let executed = missing.execute(&quiesce(), &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Failed, "nothing ran: {executed:?}");
}

#[tokio::test]
async fn the_program_sees_the_order_and_the_witness() {
    let directory = tempfile::tempdir().expect("directory");
    let seen = directory.path().join("seen");
    let body = format!("cat > {}; echo '{{\"answer\":\"applied\"}}'", seen.display());
    let adapter = exec(&script(directory.path(), "program", &body));
    let order = order(SOON);
    adapter.execute(&quiesce(), &order).await;
    let request: serde_json::Value =
        serde_json::from_slice(&fs::read(&seen).expect("read")).expect("json");
    assert_eq!(request["call"], "execute");
    assert_eq!(request["kind"], "quiesce");
    assert_eq!(request["target"], "service:a");
    assert_eq!(request["order"]["proposal"], order.proposal.to_string());
    assert_eq!(request["order"]["token"], "1.1");
    assert_eq!(request["witness"]["lines"], "0");
}

#[tokio::test]
async fn at_the_deadline_the_whole_process_group_is_killed() {
    let directory = tempfile::tempdir().expect("directory");
    let child_file = directory.path().join("child");
    let body = format!("sleep 300 &\necho $! > {}\nwait\n", child_file.display());
    let adapter = exec(&script(directory.path(), "program", &body));
    let begun = Instant::now();
    let executed = adapter.execute(&quiesce(), &order(Duration::from_millis(500))).await;
    assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
    assert!(begun.elapsed() < Duration::from_secs(4));
    let child: i32 = fs::read_to_string(&child_file).expect("read").trim().parse().expect("pid");
    eventually("the grandchild is dead", || !is_alive(child)).await;
}

#[tokio::test]
async fn a_child_that_left_the_process_group_dies_with_the_deadline_too() {
    let directory = tempfile::tempdir().expect("directory");
    let child_file = directory.path().join("child");
    let body =
        format!("setsid sh -c 'echo $$ > {}; exec sleep 300' &\nwait\n", child_file.display());
    let adapter = exec(&script(directory.path(), "program", &body));
    let executed = adapter.execute(&quiesce(), &order(Duration::from_secs(3))).await;
    assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
    let child: i32 = fs::read_to_string(&child_file).expect("read").trim().parse().expect("pid");
    eventually("the escaped child is dead", || !is_alive(child)).await;
}

#[tokio::test]
async fn an_answer_after_the_deadline_counts_for_nothing_and_nothing_is_executed_twice() {
    let directory = tempfile::tempdir().expect("directory");
    let effects = directory.path().join("effects");
    let pid_file = directory.path().join("pid");
    let body = format!(
        "cat > /dev/null\necho $$ > {1}\necho effect >> {0}\nsleep 30\necho late >> {0}\necho '{{\"answer\":\"applied\"}}'\n",
        effects.display(),
        pid_file.display()
    );
    let adapter = exec(&script(directory.path(), "program", &body));
    let executed = adapter.execute(&quiesce(), &order(Duration::from_secs(3))).await;
    assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
    let pid: i32 = fs::read_to_string(&pid_file).expect("read").trim().parse().expect("pid");
    eventually("it is dead", || !is_alive(pid)).await;
    assert_eq!(fs::read_to_string(&effects).expect("read"), "effect\n", "killed in the middle");
}

#[tokio::test]
async fn a_child_that_keeps_the_pipe_open_cannot_hold_the_answer_beyond_the_deadline() {
    let directory = tempfile::tempdir().expect("directory");
    let body = "cat > /dev/null\nsleep 300 &\necho '{\"answer\":\"applied\"}'\nexit 0\n";
    let adapter = exec(&script(directory.path(), "program", body));
    let begun = Instant::now();
    let executed = adapter.execute(&quiesce(), &order(Duration::from_secs(1))).await;
    assert_eq!(executed.answer, Answer::Unknown, "its answer never ended: {executed:?}");
    assert!(begun.elapsed() < SOON);
}

/// Exit 0, "applied", "effective", and nothing done: its own measurements betray it.
#[tokio::test]
async fn a_program_that_says_effective_is_believed_only_if_its_witness_shows_it() {
    let directory = tempfile::tempdir().expect("directory");
    let says = |effect: &str, witness: &str| {
        let body = format!(
            r#"case "$(cat)" in
*'"verify"'*) echo '{{"effect":"{effect}","witness":{witness},"difference":"surely"}}' ;;
*) echo '{{"answer":"applied"}}' ;;
esac"#
        );
        exec(&script(directory.path(), "program", &body))
    };
    for (witness, wanted) in [
        (r#"{"lines":"0"}"#, Effect::Ineffective),
        (r#"{}"#, Effect::Inconclusive),
        (r#"{"lines":null}"#, Effect::Inconclusive),
        (r#"{"lines":"1"}"#, Effect::Effective),
    ] {
        let adapter = says("effective", witness);
        assert_eq!(adapter.execute(&quiesce(), &order(SOON)).await.answer, Answer::Applied);
        let verdict = adapter.verify(&quiesce(), SOON).await;
        assert_eq!(verdict.effect, wanted, "{witness}: {verdict:?}");
    }
    let harmful = says("harmful", r#"{"lines":"0"}"#).verify(&quiesce(), SOON).await;
    assert_eq!(harmful.effect, Effect::Harmful, "{harmful:?}");
}

#[tokio::test]
async fn an_abandoned_action_is_killed_at_once() {
    let directory = tempfile::tempdir().expect("directory");
    let child_file = directory.path().join("child");
    let body = format!("sleep 300 &\necho $! > {}\nwait\n", child_file.display());
    let adapter = exec(&script(directory.path(), "program", &body));
    let order = order(Duration::from_secs(60));
    let stop = order.stop.clone();
    let stopper = async {
        eventually("it runs", || fs::read_to_string(&child_file).is_ok_and(|s| !s.is_empty()))
            .await;
        stop.cancel();
    };
    let prepared = quiesce();
    let (executed, ()) = tokio::join!(adapter.execute(&prepared, &order), stopper);
    assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
    let child: i32 = fs::read_to_string(&child_file).expect("read").trim().parse().expect("pid");
    eventually("the grandchild is dead", || !is_alive(child)).await;
}

#[tokio::test]
async fn what_a_killed_agent_left_running_is_found_by_its_proposal_and_killed() {
    let other = proposal("another");
    let mine = proposal("orphan");
    let start = |id: &quorate_attest::id::ProposalId| {
        std::process::Command::new("/bin/sleep")
            .arg("300")
            .env("QUORATE_ORDER", id.to_string())
            .spawn()
            .expect("a child")
    };
    let (mut orphan, mut stranger) = (start(&mine), start(&other));
    eventually("it is found", || {
        kill_orphans(&mine) == 1 || orphan.try_wait().is_ok_and(|s| s.is_some())
    })
    .await;
    assert!(orphan.wait().expect("wait").code().is_none(), "killed by a signal");
    assert!(stranger.try_wait().expect("wait").is_none(), "the other proposal's goes on");
    stranger.kill().expect("kill");
    stranger.wait().expect("wait");
}

#[tokio::test]
async fn unmeasured_preconditions_are_unknown_and_unmet() {
    let directory = tempfile::tempdir().expect("directory");
    let body = r#"cat > /dev/null
echo '{"witness":{"a":"1","b":null},"preconditions":[{"name":"alive","held":null,"fact":"?"}]}'"#;
    let adapter = exec(&script(directory.path(), "program", body));
    let prepared = prepare(&adapter, Kind::Quiesce, "service:a").await;
    assert_eq!(prepared.unmet().map(|unmet| unmet.held), Some(Held::Unknown));
    assert_eq!(prepared.witness.get("a"), &Measure::Value("1".into()));
    assert_eq!(prepared.witness.get("b"), &Measure::Absent);
    assert_eq!(prepared.witness.get("c"), &Measure::Unreachable);
}
