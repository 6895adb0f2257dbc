//! E5, *budget*: a service that crashes again right after each start, seen by five coordinators and
//! five agents, is started three times with the pause between, and then people are asked once;
//! through the loss of the leader, and of an agent.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_attest::ladder::Rung;
use quorate_attest::log_time::Span;
use quorate_proto::pb::v1::{DecisionState, Incident, ListIncidentsRequest};
use quorate_tests::deployment::{Deployment, Options};
use quorate_tests::log::WholeLog;
use quorate_tests::{settings, wait};
use toml::Value;

/// The pause of the shipped playbook is 30 s.
const PAUSE: Span = Span::from_secs(3);
const WITHIN: Duration = Duration::from_secs(90);
/// Longer than any pause, and than the time after which an agent may ask again.
const QUIET_TO_SEE: Duration = Duration::from_secs(8);

/// The shipped playbook with a shorter pause: everything else is as operators get it.
fn scaled_playbook(folder: &Path) -> PathBuf {
    let shipped = include_str!("../../deploy/playbooks/s35-node-crash.toml");
    let pause = format!("pause = \"{}\"", PAUSE.words());
    assert!(shipped.contains("pause = \"30s\""));
    let path = folder.join("s35-node-crash.toml");
    std::fs::write(&path, shipped.replace("pause = \"30s\"", &pause)).expect("it is written");
    path
}

/// What agents start instead of the member: it notes the start, and crashes.
fn crashing(deployment: &Deployment, member: &str) -> PathBuf {
    let program = deployment.root.join("crashing");
    let starts = deployment.root.join("crashed-starts");
    let text = format!("#!/bin/sh\ndate +%s%3N >> '{}'\nsleep 0.2\nexit 1\n", starts.display());
    std::fs::write(&program, text).expect("it is written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("it is executable");
    settings::edit(&deployment.agents[member].folder.join("agent.toml"), |table| {
        let command = Value::Array(vec![Value::String(program.display().to_string())]);
        settings::sub(table, "member_process").insert("command".to_owned(), command);
    });
    starts
}

fn starts(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("milliseconds")).collect()
}

/// The incidents that this coordinator says people are asked about.
async fn escalated(deployment: &Deployment, id: u64) -> Option<Vec<Incident>> {
    let request = ListIncidentsRequest { page_size: 100, ..ListIncidentsRequest::default() };
    let client = deployment.reader_of(id).client;
    let answer = client.with_deadline(Duration::from_secs(2)).list_incidents(request).await.ok()?;
    Some(answer.incidents.into_iter().filter(|one| one.escalated.is_some()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_is_started_three_times_and_people_are_asked_once() {
    let folder = tempfile::tempdir().expect("a directory");
    let playbooks = vec![scaled_playbook(folder.path())];
    let mut deployment = Options { members: 5, playbooks, ..Options::of(5) }.build();
    let starts_of = crashing(&deployment, "n3");
    deployment.start().await;
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        deployment.member_answers(name, WITHIN).await;
    }
    deployment.members.get_mut("n3").expect("n3").kill();

    // After the first attempt the leader is lost, and an agent that may have opened it.
    let person = deployment.operator("o1");
    let first = person.ends(&deployment.cluster, 1, DecisionState::Ineffective, WITHIN).await;
    assert_eq!((first.kind.as_str(), first.target.as_str()), ("restart", "member:n3"));
    let lost = deployment.leader().await;
    deployment.kill_coordinators(&[lost]);
    deployment.agents.get_mut("n1").expect("n1").process.kill();
    deployment.leader().await;
    deployment.agents.get_mut("n1").expect("n1").process.start();

    let third = person.ends(&deployment.cluster, 3, DecisionState::Ineffective, WITHIN).await;
    deployment.coordinators.get_mut(&lost).expect("the lost one").process.start();
    deployment.certified(third.leaf_index + 2).await;

    // Every coordinator says the same, the one that was away too.
    let mut told: Vec<Incident> = Vec::new();
    for id in deployment.coordinators.keys() {
        let what = format!("coordinator {id} says that people are asked\n{}", deployment.logs());
        let mut said = wait::until(&what, WITHIN, async || {
            escalated(&deployment, *id).await.filter(|said| !said.is_empty())
        })
        .await;
        assert_eq!(said.len(), 1, "coordinator {id}: {said:?}");
        told.append(&mut said);
    }
    let one = told.first().expect("an incident").clone();
    assert_eq!((one.severity.as_str(), one.playbook.as_str()), ("p2", "s35"));
    for other in &told {
        assert_eq!((&other.id, &other.escalated), (&one.id, &one.escalated));
    }
    let listed = deployment.stdout("o1", &["incident", "list", "--escalated", "-o", "json"]);
    assert!(String::from_utf8_lossy(&listed).contains(&one.id), "the command shows it");
    let status = deployment.stdout("o1", &["status"]);
    assert!(String::from_utf8_lossy(&status).contains("escalated"), "status shows it");

    // Nothing else happens, however long the service is down.
    let more = wait::until_or(QUIET_TO_SEE, async || (starts(&starts_of).len() > 3).then_some(()));
    assert!(more.await.is_none(), "a fourth start: {:?}", starts(&starts_of));
    let log = WholeLog::read(&person).await;
    drop(log.verify(&deployment.charter.statement));
    let (decisions, outcomes) = (log.decisions(), log.outcomes());
    assert_eq!((decisions.len(), outcomes.len()), (3, 3), "{decisions:?}");
    for (at, (_, decision)) in decisions.iter().enumerate() {
        let rung = Rung::of(&decision.proposal).expect("it reads").expect("a rung");
        assert_eq!((rung.step, rung.attempt as usize), (1, at + 1));
        if let Some(before) = at.checked_sub(1) {
            let apart = decision.time.since(outcomes[before].time);
            assert!(apart >= PAUSE, "attempt {} came {} after the last", at + 1, apart.words());
        }
    }
    let found = starts(&starts_of);
    assert_eq!(found.len(), 3, "started {found:?}");
    for pair in found.windows(2) {
        assert!(pair[1] - pair[0] >= PAUSE.get(), "starts at {found:?}");
    }
    let line = format!("escalated: {} {}", deployment.cluster, one.id);
    let logs = deployment.coordinators.values().map(|one| one.process.log_text());
    let lines: usize = logs.map(|log| log.matches(&line).count()).sum();
    assert_eq!(lines, 1, "one line, in the log of whoever led\n{}", deployment.logs());
}
