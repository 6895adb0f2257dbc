//! Whole courses of events that several tests need.

use std::time::Duration;

use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_proto::pb::v1::DecisionState;

use crate::client::Draft;
use crate::deployment::Deployment;

/// How long one course may take on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(40);

/// Has every operator approve `halt` of `target` by `member`'s agent, and answers the decision.
///
/// # Panics
/// It does not come about.
pub async fn decide(deployment: &Deployment, target: &str, member: &str) -> (Proposal, u64) {
    let executors = [deployment.agents[member].name.clone()];
    let first = deployment.operator(&deployment.operators[0]);
    let draft = Draft { kind: Kind::Halt, target, executors: &executors };
    let proposal = first.draft(&deployment.charter.statement, &deployment.cluster, &draft);
    if let Err(error) = first.open_proposal(&proposal).await {
        panic!("{target} is not proposed: {error}\n{}", deployment.logs());
    }
    let need = deployment.operators.len() * 2 / 3 + 1;
    for id in &deployment.operators[..need] {
        if let Err(error) = deployment.operator(id).vote(&proposal, Verdict::Approve).await {
            panic!("the vote of {id} is not counted: {error}\n{}", deployment.logs());
        }
    }
    let number = first.decided(&proposal.id(), WITHIN).await;
    (proposal, number)
}

/// The same, and waits until its effect is verified and on record.
///
/// # Panics
/// It does not come about.
pub async fn carry_out(deployment: &Deployment, target: &str, member: &str) -> (Proposal, u64) {
    let (proposal, number) = decide(deployment, target, member).await;
    let first = deployment.operator(&deployment.operators[0]);
    let effective = DecisionState::Effective;
    drop(first.ends(&deployment.cluster, number, effective, WITHIN).await);
    (proposal, number)
}

/// Copies a folder with everything in it.
///
/// # Panics
/// It cannot be read or written.
pub fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("the new folder");
    for entry in std::fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            // What is neither is an agent's socket, which no backup holds.
            // Keeps the mode: keys that others may read are refused.
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

/// Puts a copy in a folder's place: a disk restored from a backup.
///
/// # Panics
/// It cannot be read or written.
pub fn restore_folder(copy: &std::path::Path, folder: &std::path::Path) {
    std::fs::remove_dir_all(folder).expect("the folder is removed");
    copy_folder(copy, folder);
}
