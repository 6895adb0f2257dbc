//! A void of a decision needs n − k + 1 + f distinct, genuine refusals (R14): here 3 of 4.

use quorate_attest::number::LeafIndex;
use quorate_attest::refusal::{Cause, Refusal};
use quorate_attest::signed::Signed;
use quorate_core::{Body, Command, Outcome};
use quorate_tests::client::{now, random};
use quorate_tests::liar::branch::Branch;

use crate::stage::{HONEST, Stage};
use crate::withheld::restart_of_n3;

fn refusal(stage: &Stage, branch: &Branch) -> Refusal {
    let (index, decision) = branch.decision();
    Refusal {
        origin: decision.origin.clone(),
        epoch: decision.epoch,
        cluster: stage.deployment.cluster.clone(),
        number: decision.number,
        leaf: LeafIndex::new(index).expect("a small log"),
        cause: Cause::Clock,
    }
}

/// A refusal in the name of an honest coordinator, whose signature somebody made up.
fn forged(stage: &Stage, statement: &Refusal, by: u64) -> Signed<Refusal> {
    let mut signed = stage.liar.refuses(statement.clone());
    let name = stage.name(by);
    let charter = &stage.deployment.charter.statement;
    let key = charter.coordinator.iter().find(|key| *key.name() == name).expect("its key");
    signed.lines[0].name = name.to_string();
    signed.lines[0].key_id = key.id();
    signed.lines[0].payload[8..].copy_from_slice(&random::<64>());
    signed
}

/// n − k + 1 = 2 would let a decision be certified *and* void.
#[tokio::test(flavor = "multi_thread")]
async fn two_refusals_of_four_void_nothing() {
    let stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    let statement = refusal(&stage, &branch);
    let two = vec![stage.liar.refuses(statement.clone()), forged(&stage, &statement, 2)];
    let one_short = |outcome: &Outcome| {
        matches!(outcome, Outcome::Refused { have: 2, need: 3, index: None, .. })
    };
    let first = branch.take(Body::Refuse(two));
    assert!(one_short(&first), "{first:?}");
    let twice = vec![forged(&stage, &statement, 2), stage.liar.refuses(statement)];
    let again = branch.take(Body::Refuse(twice));
    assert!(one_short(&again), "the same two again: {again:?}");
    stage.liar.feed(&HONEST, &branch).await;
    stage.cosigned(&branch.checkpoint(2), &HONEST).await;
    assert_eq!(stage.status(2).await.log_size, 2, "charter and decision, no void");
}

/// The machine counts names; whoever cosigns counts signatures.
#[tokio::test(flavor = "multi_thread")]
async fn a_void_on_forged_refusals_is_cosigned_by_nobody() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    let statement = refusal(&stage, &branch);
    let three = [2, 3, 4].map(|id| forged(&stage, &statement, id)).to_vec();
    let applied = branch.push(Command::internal(now(), Body::Refuse(three)));
    assert!(applied.outcome.is_ok(), "{:?}", applied.outcome);
    assert_eq!(branch.size(), 3, "charter, decision, void");
    stage.liar.feed(&HONEST, &branch).await;
    stage.applied(3, &HONEST).await;
    // The decision itself is good and gets its certificate; the void behind it never does.
    stage.cosigned(&branch.checkpoint(2), &HONEST).await;
    stage.liar.shows(&branch, index).await.expect("the decision is certified");
    let both = branch.checkpoint(3);
    stage.liar.cosigns(&both).await;
    stage.diverged("leaf-2", &HONEST).await;
    stage.only(&both, &[1]).await;
}

/// A certified decision may have been started: no void takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_certified_decision_is_never_void() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    stage.liar.feed(&HONEST, &branch).await;
    let alone = branch.checkpoint(2);
    stage.cosigned(&alone, &HONEST).await;
    let statement = refusal(&stage, &branch);
    let three = [2, 3, 4].map(|id| forged(&stage, &statement, id)).to_vec();
    drop(branch.take(Body::Refuse(three)));
    stage.liar.feed(&HONEST, &branch).await;
    stage.applied(3, &HONEST).await;
    let both = branch.checkpoint(3);
    stage.liar.cosigns(&both).await;
    stage.diverged("leaf-2", &HONEST).await;
    stage.only(&both, &[1]).await;
}

/// Three genuine refusals free the slot, and who had cosigned the decision alone believes the void
/// too: also after a restart, when it trusts what it cosigned without looking again.
#[tokio::test(flavor = "multi_thread")]
async fn a_void_on_genuine_refusals_is_believed_by_all() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = restart_of_n3(&stage, &mut branch);
    drop(stage.tells(&[2, 3], "n3", 2, &[("n3", "up")]).await);
    stage.liar.feed(&HONEST, &branch).await;
    stage.refused(index, Cause::Contradicted, &[2, 3]).await;
    let alone = branch.checkpoint(branch.size());
    stage.cosigned(&alone, &[4]).await;
    stage.only(&alone, &[4]).await;

    let coordinator = stage.deployment.coordinators.get_mut(&4).expect("it");
    coordinator.process.kill();
    coordinator.process.start();
    let own = stage.liar.refuses(refusal(&stage, &branch));
    let mut three = stage.refusals_of(index);
    assert_eq!(three.len(), 2, "of 2 and 3");
    three.push(own.clone());
    let voided = branch.take(Body::Refuse(three));
    let is_void = matches!(voided, Outcome::Refused { have: 3, need: 3, index: Some(_), .. });
    assert!(is_void, "{voided:?}");
    stage.liar.tells_refusal(&own).await;
    stage.liar.feed(&HONEST, &branch).await;
    let both = branch.checkpoint(branch.size());
    stage.cosigned(&both, &HONEST).await;
    // The decision is in that head, and so is its end: nobody who reads the log starts it.
    stage.certified(branch.size(), &HONEST).await;
}
