//! Two decisions for one number: shown to different followers, or to an agent alone.

use quorate_attest::leaf::Leaf;
use quorate_core::Body;

use crate::stage::{HONEST, Stage};

/// (a) Two different decisions to two followers.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_decisions_for_two_followers_at_most_one_is_certified() {
    let mut stage = Stage::begin().await;
    let (mut first, mut second) = (stage.base.clone(), stage.base.clone());
    let index = stage.decide(&mut first, &stage.halt("service:a"), &stage.operators);
    assert_eq!(index, stage.decide(&mut second, &stage.halt("service:b"), &stage.operators));
    let size = first.size();
    let heads = [first.checkpoint(size), second.checkpoint(size)];
    assert_ne!(heads[0].root, heads[1].root);

    stage.liar.feed(&[2], &first).await;
    stage.liar.feed(&[3], &second).await;
    stage.applied(size, &[2, 3]).await;
    for head in &heads {
        stage.liar.cosigns(head).await;
    }
    // Each of the two signs what it has; neither signs for the other.
    stage.cosigned(&heads[0], &[1, 2]).await;
    stage.cosigned(&heads[1], &[1, 3]).await;
    stage.only(&heads[0], &[1, 2]).await;
    stage.only(&heads[1], &[1, 3]).await;
    stage.is_not_certified(&first, index).await;
    stage.is_not_certified(&second, index).await;
    // Whoever hears of both heads keeps the proof of the liar's two signatures.
    for id in HONEST {
        stage.keeps_evidence(id, &format!("head-{size}-")).await;
    }

    // The last follower makes k for one of them, and then never for the other.
    stage.liar.feed(&[4], &first).await;
    stage.cosigned(&heads[0], &[1, 2, 4]).await;
    stage.only(&heads[1], &[1, 3]).await;
    let certificate = stage.liar.shows(&first, index).await.expect("the first is certified");
    assert_eq!(certificate.decision, first.decision().1);
    stage.is_not_certified(&second, index).await;
    // Three good signatures contradict the tree of coordinator 3: it says so and signs no more.
    stage.diverged(&format!("head-{size}-"), &[3]).await;
}

/// (e) A re-used number.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_never_used_twice() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.cosigned(&head, &[1, 2, 3, 4]).await;
    let accepted = stage.liar.shows(&branch, index).await.expect("the first is certified");

    // The machine gives no number twice, so the liar writes the leaf itself, properly approved.
    let mut other = stage.base.clone();
    stage.decide(&mut other, &stage.halt("service:b"), &stage.operators);
    let (_, mut decision) = other.decision();
    assert_eq!(decision.number, accepted.decision.number, "the same token");
    decision.time = accepted.decision.time;
    decision.approved = decision.time;
    decision.not_before = decision.time;
    decision.expires = accepted.decision.expires;
    let mut honest = branch.clone();
    branch.graft(&Leaf::Decision(decision));
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    // The others go on and sign their own head of that size.
    let proposal = stage.halt("service:c");
    drop(honest.take(Body::Open(proposal.clone())));
    drop(honest.take(Body::Veto(stage.veto(&stage.operators[1], &proposal))));
    stage.liar.feed(&HONEST, &honest).await;
    assert_eq!(honest.size(), branch.size());
    stage.cosigned(&honest.checkpoint(honest.size()), &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index + 1).await;

    // And if all coordinators lied: an agent that has accepted the first one's token sees the fork
    // by the other leaf under it.
    let forged = stage.liar.shows_with(&branch, index + 1, &stage.deployment.stolen_keys());
    let forged = forged.expect("its own signatures are all good");
    assert_eq!(forged.token, accepted.token);
    assert_ne!(forged.leaf, accepted.leaf);
}
