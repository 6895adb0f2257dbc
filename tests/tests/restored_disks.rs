//! Disks that come back from a copy: an agent's journal (*no-double-execution*), a clone of it, and a
//! coordinator's data directory (*sign-once*). Each is refused before it can act on what it forgot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_attest::agent_statement::Claim;
use quorate_attest::cosignature::Cosignature;
use quorate_attest::head::CosignedHead;
use quorate_attest::number::{DecisionNumber, Sequence};
use quorate_node::journal::Phase;
use quorate_proto::error_code::ErrorCode;
use quorate_proto::pb::v1::{CoordinatorRole, DecisionState};
use quorate_tests::client::reason;
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::process::code_of;
use quorate_tests::scenario::{WITHIN, carry_out, copy_folder, decide, restore_folder};
use quorate_tests::{disks, effects, journals, wait};

/// Decisions between the copy and its return: the copy's sequence must lie well below the recorded one.
const BETWEEN: u64 = 4;

async fn counted() -> Deployment {
    let mut deployment = Options { adapter: Adapter::Counted, ..Options::of(3) }.build();
    deployment.start().await;
    deployment
}

/// What an agent says when its claim is refused.
const REFUSED: &str = "this journal may not start anything";

/// How often the target was acted on for a decision.
fn times(deployment: &Deployment, number: u64) -> usize {
    let token = format!("1.{number}");
    effects::all(&deployment.root).iter().filter(|effect| effect.token == token).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_disk_was_restored_starts_nothing() {
    let mut deployment = counted().await;
    drop(carry_out(&deployment, "service:first", "n1").await);
    let copy = deployment.root.join("copy");
    let data = deployment.agents["n1"].folder.join("data");
    let agent = &mut deployment.agents.get_mut("n1").expect("n1").process;
    agent.kill();
    copy_folder(&data, &copy);
    agent.start();
    for at in 0..BETWEEN {
        drop(carry_out(&deployment, &format!("service:between-{at}"), "n1").await);
    }

    deployment.agents.get_mut("n1").expect("n1").process.kill();
    restore_folder(&copy, &data);
    deployment.agents.get_mut("n1").expect("n1").process.start();
    let (_, number) = decide(&deployment, "service:after", "n1").await;
    let agent = &deployment.agents["n1"];
    wait::until_true("the claim is refused", WITHIN, || agent.process.log_text().contains(REFUSED))
        .await;

    // Nobody has started it, by the journal, the target and the coordinators.
    let first = deployment.operator("o1");
    let decision = first.decision(&deployment.cluster, number).await.expect("the decision");
    assert_eq!(decision.state(), DecisionState::Certified, "{decision:?}");
    let agent = deployment.agents.get_mut("n1").expect("n1");
    agent.process.kill();
    let entries = journals::entries(&agent.folder, &agent.name, &deployment.cluster);
    let started = entries.iter().filter(|entry| entry.started.is_some());
    let numbers: Vec<u64> = started.map(|entry| entry.token.number.get()).collect();
    assert_eq!(numbers, [1], "what the restored journal has started");
    for earlier in 1..number {
        assert_eq!(times(&deployment, earlier), 1, "decision {earlier}");
    }
    assert_eq!(times(&deployment, number), 0, "the refused decision was carried out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_agent_directory_never_doubles_an_effect() {
    let mut deployment = counted().await;
    drop(carry_out(&deployment, "service:first", "n1").await);
    let folder = deployment.agents["n1"].folder.clone();
    let clone = deployment.root.join("agent-clone");
    deployment.agents.get_mut("n1").expect("n1").process.kill();
    copy_folder(&folder, &clone);
    deployment.agents.get_mut("n1").expect("n1").process.start();
    for at in 0..BETWEEN {
        drop(carry_out(&deployment, &format!("service:between-{at}"), "n1").await);
    }

    // The clone runs beside the agent it was copied from, with the same keys and the same target.
    let mut process = deployment.agent_process("clone", &clone);
    process.start();
    let (_, number) = carry_out(&deployment, "service:both", "n1").await;
    wait::until_true("the clone's claim is refused", WITHIN, || {
        process.log_text().contains(REFUSED)
    })
    .await;
    process.kill();
    for decision in 1..=number {
        assert_eq!(times(&deployment, decision), 1, "decision {decision}");
    }
    let name = deployment.agents["n1"].name.clone();
    let entries = journals::entries(&clone, &name, &deployment.cluster);
    let refused = entries.iter().find(|entry| entry.token.number.get() == number);
    // Abandoned: it has seen in the log meanwhile that the decision has ended.
    let rests = |phase| matches!(phase, Phase::Accepted | Phase::Abandoned);
    assert!(
        refused.is_none_or(|entry| entry.started.is_none() && rests(entry.phase)),
        "the clone went on: {refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_below_the_recorded_sequence_or_of_another_journal_is_refused() {
    let mut deployment = counted().await;
    drop(carry_out(&deployment, "service:first", "n1").await);
    let agent = deployment.agents.get_mut("n1").expect("n1");
    agent.process.kill();
    let journal = journals::open(&agent.folder, &agent.name, &deployment.cluster);
    let (instance, name) = (journal.instance(), agent.name.clone());
    drop(journal);
    let (_, number) = decide(&deployment, "service:second", "n1").await;
    let charter = &deployment.charter.statement;
    let thief = deployment.agent_party("n1");
    let claim = Claim {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: deployment.cluster.clone(),
        number: DecisionNumber::new(number).expect("a number"),
        agent: name,
        instance,
        sequence: Sequence::MIN,
        nonce: quorate_attest::id::Nonce::from_bytes([7; 16]),
    };
    let old = thief.claim(claim.clone()).await.expect_err("an old journal");
    assert_eq!(reason(&old), Some(ErrorCode::JournalRolledBack), "{old}");
    let problem = old.problem().expect("a problem");
    assert!(problem.fact("recorded").is_some() && problem.fact("have").is_some(), "{problem:?}");

    let other = quorate_attest::id::JournalInstance::from_bytes([7; 16]);
    let made_anew = Claim { instance: other, sequence: Sequence::MAX, ..claim };
    let refused = thief.claim(made_anew).await.expect_err("another journal");
    assert_eq!(reason(&refused), Some(ErrorCode::JournalRolledBack), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_whose_disk_was_restored_ends_before_it_signs_or_votes() {
    let mut deployment = counted().await;
    drop(carry_out(&deployment, "service:first", "n1").await);
    let leader = deployment.leader().await;
    let mut followers = deployment.coordinators.keys().copied().filter(|id| *id != leader);
    let (id, other) = (followers.next().expect("one"), followers.next().expect("another"));
    let data = deployment.coordinators[&id].folder.join("data");
    let copy = deployment.root.join("copy");
    stop(&mut deployment, id).await;
    copy_folder(&data, &copy);
    deployment.coordinators.get_mut(&id).expect("it").process.start();
    deployment.certified(1).await;
    // Without the other one, no head is certified that it has not signed.
    stop(&mut deployment, other).await;
    let (_, number) = carry_out(&deployment, "service:second", "n2").await;
    deployment.coordinators.get_mut(&other).expect("it").process.start();
    let leaf = deployment.operator("o1").decision(&deployment.cluster, number).await;
    deployment.certified(leaf.expect("the decision").leaf_index + 1).await;
    stop(&mut deployment, id).await;
    let stopped = posix_now();
    let newest = disks::last_signed(&deployment, id, &data).await;
    let copied = disks::last_signed(&deployment, id, &copy).await;
    assert!(copied.size < newest.size, "it has signed since it was copied: {newest:?}");
    restore_folder(&copy, &data);

    let process = &mut deployment.coordinators.get_mut(&id).expect("it").process;
    process.start();
    let status = process.ended(Duration::from_secs(30)).await;
    assert_eq!(code_of(status), 1, "{}", process.log_tail());
    assert!(process.log_text().contains("rolled back"), "{}", process.log_tail());
    let signed = disks::last_signed(&deployment, id, &data).await;
    assert_eq!(signed, copied, "it signed with what it had forgotten");

    // The others go on without it, and nothing of it is newer than its stop.
    drop(carry_out(&deployment, "service:third", "n3").await);
    let key = &deployment.charter.statement.coordinator;
    let own = key.iter().find(|key| key.name().as_str().ends_with(&format!("/coordinator/{id}")));
    let own = own.expect("its key").name().to_string();
    for status in deployment.statuses().await.into_values() {
        assert_ne!(status.leader_id, id);
        assert_ne!(status.role(), CoordinatorRole::Unspecified);
        let head = CosignedHead::parse(&status.head.expect("a head").note).expect("a head");
        for line in head.lines.iter().filter(|line| line.name == own) {
            let time = Cosignature::from_line(line).expect("a cosignature").time.get();
            assert!(time <= stopped, "coordinator {id} cosigned at {time}, after {stopped}");
        }
    }
}

async fn stop(deployment: &mut Deployment, id: u64) {
    let process = &mut deployment.coordinators.get_mut(&id).expect("it").process;
    let status = process.stop(Duration::from_secs(20)).await;
    assert_eq!(code_of(status), 0, "an orderly end\n{}", process.log_tail());
}

fn posix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}
