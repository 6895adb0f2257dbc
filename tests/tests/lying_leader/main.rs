//! With n = 4, f = 1, k = 3, a coordinator that lies as Raft's leader gets no certificate that an
//! agent accepts (*authority*, *veto-final*, *log-append-only*).
//!
//! The honest ones are three real processes. Each test shows first that the lie has arrived: it was
//! applied, or refused at the door in so many words.

mod clock;
mod follower;
mod forged;
mod forks;
mod refusals;
mod snapshot;
mod stage;
mod withheld;

use stage::{HONEST, Stage};

/// The same rig, no lie: without this the other tests would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_does_not_lie_gets_its_certificate() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let proposal = stage.halt("service:a");
    let index = stage.decide(&mut branch, &proposal, &stage.operators);
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.cosigned(&head, &stage.everybody()).await;
    let certificate = stage.liar.shows(&branch, index).await.expect("a good certificate");
    assert_eq!(certificate.decision.proposal.id(), proposal.id());
    assert_eq!(certificate.token.number.get(), 1);
}
