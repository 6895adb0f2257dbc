//! What the liar writes itself: votes nobody cast, times nobody computed, a charter nobody pinned.

use quorate_attest::certificate::CertificateRefused;
use quorate_attest::history::LeafRefused;
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::vote::Verdict;
use quorate_core::Body;
use quorate_tests::client::vote_note;
use quorate_tests::liar::branch::Branch;

use crate::stage::{HONEST, Stage};

/// (b) A decision with M − 1 votes; the last one is made up.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_vote_is_applied_by_all_and_cosigned_by_none() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let proposal = stage.halt("service:a");
    drop(branch.take(Body::Open(proposal.clone())));
    for voter in &stage.operators[..2] {
        drop(branch.take(Body::Vote(vote_note(voter, &proposal, Verdict::Approve))));
    }
    drop(branch.take(Body::Vote(stage.forged_vote(&stage.operators[2], &proposal))));
    let (index, decision) = branch.decision();
    assert_eq!(decision.votes.lines.len(), 3, "M = 3, one of them forged");
    stage.liar.feed(&HONEST, &branch).await;
    stage.applied(branch.size(), &HONEST).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    stage.diverged(&format!("leaf-{index}"), &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;

    // Equal entries, equal state: the forged vote divides nobody.
    let mut hashes = Vec::new();
    for id in HONEST {
        hashes.push(stage.status(id).await.state_hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0] && !hash.is_empty()), "{hashes:?}");
    // However many coordinators lie: with M − 1 real votes there is no authority.
    match stage.liar.shows_with(&branch, index, &stage.deployment.stolen_keys()) {
        Err(refused @ CertificateRefused::Judged(LeafRefused::Lines { .. })) => {
            assert_eq!(refused.step(), 6);
        }
        other => panic!("{other:?}"),
    }
}

/// (b) The same without the forged line: nobody's machine makes that leaf.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_with_one_vote_too_few_is_the_liars_alone() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let proposal = stage.halt("service:a");
    let index = stage.decide(&mut branch, &proposal, &stage.operators);
    let (_, mut decision) = branch.decision();
    decision.votes.lines.pop();
    let honest = branch.checkpoint(branch.size());
    branch.replace_last(&Leaf::Decision(decision));
    stage.liar.feed(&HONEST, &branch).await;
    let head = branch.checkpoint(branch.size());
    stage.liar.cosigns(&head).await;
    // What their own machines made of the same entries is another head of that size.
    stage.cosigned(&honest, &HONEST).await;
    stage.only(&head, &[1]).await;
    stage.is_not_certified(&branch, index).await;
    match stage.liar.shows_with(&branch, index, &stage.deployment.stolen_keys()) {
        Err(refused @ CertificateRefused::Judged(LeafRefused::TooFewApprovals { .. })) => {
            assert_eq!(refused.step(), 6);
        }
        other => panic!("{other:?}"),
    }
}

/// (c) A re-dated not-before: what the machine computes is not the leader's to choose.
#[tokio::test(flavor = "multi_thread")]
async fn a_redated_leaf_is_the_liars_alone() {
    let mut stage = Stage::begin().await;
    let mut branch = stage.base.clone();
    let index = stage.decide(&mut branch, &stage.halt("service:a"), &stage.operators);
    stage.liar.feed(&HONEST, &branch).await;
    let (_, honest) = branch.decision();
    stage.cosigned(&branch.checkpoint(branch.size()), &HONEST).await;
    for minutes in [-1_i64, 1] {
        let mut redated = honest.clone();
        let span = Span::from_secs(60);
        redated.not_before = match minutes {
            -1 => honest.not_before.saturating_sub(span),
            _ => honest.not_before.saturating_add(span),
        };
        let mut branch = branch.clone();
        branch.replace_last(&Leaf::Decision(redated));
        let head = branch.checkpoint(branch.size());
        stage.liar.cosigns(&head).await;
        stage.only(&head, &[1]).await;
        stage.is_not_certified(&branch, index).await;
    }
}

/// A first leader could begin the log with a charter of its own making.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_begins_with_another_charter_is_cosigned_by_nobody() {
    let mut stage = Stage::unfounded(3).await;
    // Its operators are the liar's: here simply other budgets, signed by the same people.
    let pinned = &stage.deployment.charter.statement;
    let mut other = pinned.clone();
    other.max_age = Span::from_millis(pinned.max_age.get() + 1);
    let lines = stage.operators.iter().map(|party| party.signer().sign(&other)).collect();
    let other = quorate_attest::signed::Signed::new(other, lines);
    let branch = Branch::founded(1, &other);
    stage.liar.feed(&HONEST, &branch).await;
    stage.applied(1, &HONEST).await;
    let head = branch.checkpoint(1);
    stage.liar.cosigns(&head).await;
    stage.diverged("leaf-0", &HONEST).await;
    stage.only(&head, &[1]).await;
}
