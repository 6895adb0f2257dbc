//! A snapshot brings leaves and a state; the state may say what no leaf does.

use borsh::to_vec;
use quorate_attest::id::{JournalInstance, KeyName};
use quorate_core::Machine;

use crate::stage::{HONEST, Stage};

/// The state in which the journal of `agent` is enrolled as `instance`, though no operator signed so:
/// a copy of its disk could claim. Enrolments are the last thing in a ledger, and there are none.
fn with_false_enrolment(machine: &Machine, agent: &KeyName, instance: JournalInstance) -> Vec<u8> {
    let ledger = machine.state().ledger().expect("it has begun");
    let (honest, state) = (to_vec(ledger).expect("bytes"), machine.snapshot());
    let at = state.windows(honest.len()).position(|part| part == honest).expect("the ledger");
    let end = at + honest.len();
    assert_eq!(state[end - 4..end], 0_u32.to_le_bytes(), "nobody is enrolled");
    let enrolled = to_vec(&vec![(agent.clone(), instance)]).expect("bytes");
    let forged = [&state[..end - 4], &enrolled, &state[end..]].concat();
    let machine = Machine::restore(&forged).expect("a state that can be restored");
    assert_eq!(
        machine.state().ledger().map(|it| it.history().head()),
        Some(ledger.history().head())
    );
    forged
}

/// The same way, no lie: the snapshot is taken, and what it ends in is cosigned.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_fits_its_leaves_is_taken_and_cosigned() {
    let stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    let state = branch.machine().snapshot();
    stage.liar.sends_snapshot(2, &branch, &state).await.expect("it is taken");
    stage.applied(branch.size(), &[2]).await;
    stage.cosigned(&branch.checkpoint(branch.size()), &[2]).await;
}

/// Leaves and root are true, and the ledger says more than they do.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_got_a_ledger_that_its_leaves_do_not_make_cosigns_no_more() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    let instance = JournalInstance::from_bytes([7; 16]);
    let forged = with_false_enrolment(branch.machine(), &stage.agent("n1").name, instance);
    for id in HONEST {
        stage.liar.sends_snapshot(id, &branch, &forged).await.expect("it is taken");
    }
    stage.applied(branch.size(), &HONEST).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.diverged(&format!("state-{}", branch.size()), &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
    // Nor after a restart, with that snapshot on its disk.
    let coordinator = stage.deployment.coordinators.get_mut(&2).expect("it");
    coordinator.process.kill();
    coordinator.process.start();
    stage.diverged(&format!("state-{}", branch.size()), &[2]).await;
    stage.only(&head, &[1]).await;
}
