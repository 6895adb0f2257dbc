//! Steps that several tests take: facts, a decision, its certificate, an orderly end.

use std::collections::BTreeMap;

use quorate_attest::{text::Statement as _, vote::Verdict};
use quorate_coordinator::Running;
use quorate_proto::{
    client::Client,
    identity::Role,
    pb::v1::{
        self as pb, GetCertificateRequest, GetStatusRequest, OpenProposalRequest, ProposalState,
        SubmitVoteRequest, get_certificate_request::Of,
    },
};

use super::{CLUSTER, Deployment, MEMBERS, until};

/// Everybody says that n1 is down; the others are up.
pub(crate) async fn observe_down(deployment: &Deployment, sequence: u64) {
    for member in MEMBERS {
        let own = if member == "n1" { "down" } else { "up" };
        let seen =
            [("n1", if member == "n1" { own } else { "unreachable" }), ("n2", "up"), ("n3", "up")];
        let note = deployment.observe(member, sequence, &seen);
        let client = deployment.client(Role::Agent, member);
        for (id, answer) in client.observe_everywhere(pb::ObserveRequest { note }).await {
            answer.unwrap_or_else(|error| panic!("coordinator {id}: {error}"));
        }
    }
}

pub(crate) async fn facts_known(client: &Client, count: usize) {
    until("facts are replicated", || async {
        let request = pb::ListFactsRequest { cluster: CLUSTER.to_owned(), ..Default::default() };
        let facts = client.list_facts(request).await.ok()?.facts;
        (facts.len() == count).then_some(())
    })
    .await;
}

/// Opens a restart of n1 and votes until it is decided.
pub(crate) async fn decide(deployment: &Deployment, client: &Client, nonce: u8) -> pb::Decision {
    let proposal = deployment.proposal("ana", "n1", nonce);
    let request = OpenProposalRequest { text: proposal.text().into_bytes(), ..Default::default() };
    let opened = client.open_proposal(request).await.unwrap();
    assert_eq!(opened.proposal.unwrap().id, proposal.id().to_string());
    let mut last = None;
    for voter in ["n2", "n3"] {
        let note = deployment.vote(&proposal, Verdict::Approve, voter);
        let request = SubmitVoteRequest { note, ..Default::default() };
        last = Some(client.submit_vote(request).await.unwrap());
    }
    let last = last.unwrap();
    assert_eq!(last.state, i32::from(ProposalState::Decided), "{:?}", last.waiting_for);
    last.decision.expect("the vote that decides answers with the decision")
}

pub(crate) async fn certificate(client: &Client, leaf_index: u64) -> Vec<u8> {
    let request =
        GetCertificateRequest { of: Some(Of::LeafIndex(leaf_index)), ..Default::default() };
    until("the decision is certified", || async {
        client.get_certificate(request.clone()).await.ok().map(|answer| answer.certificate)
    })
    .await
}

pub(crate) fn leader(running: &BTreeMap<u64, Running>) -> Option<u64> {
    running.values().find(|one| one.handle().leads()).map(|one| one.handle().own())
}

pub(crate) async fn stop_all(running: BTreeMap<u64, Running>) {
    for (_, coordinator) in running {
        coordinator.shutdown().await;
    }
}

/// Size and ledger of one coordinator once its state is, to the last bit, the leader's.
pub(crate) async fn until_equal(client: Client, id: u64) -> (u64, String) {
    until("caught up", || async {
        let leaders = client.get_status(with_hashes()).await.ok()?;
        let own = client.status_of(id, true).await.ok()?;
        let what = |status: pb::GetStatusResponse| {
            (status.log_size, status.ledger_hash, status.state_hash)
        };
        let (leaders, own) = (what(leaders), what(own));
        let (size, ledger, _) = own.clone();
        (leaders == own).then_some((size, ledger))
    })
    .await
}

fn with_hashes() -> GetStatusRequest {
    GetStatusRequest { with_hashes: true, ..Default::default() }
}
