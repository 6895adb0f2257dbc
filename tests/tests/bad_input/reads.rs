//! Questions about what is not there.

use quorate_proto::pb::v1::agents_client::AgentsClient;
use quorate_proto::pb::v1::log_client::LogClient;
use quorate_proto::pb::v1::proposals_client::ProposalsClient;
use quorate_proto::pb::v1::{
    Consistency, DecisionRef, GetCertificateRequest, GetConsistencyProofRequest,
    GetDecisionRequest, GetInclusionProofRequest, GetLeafRequest, GetProposalRequest,
    ListAgentsRequest, ListLeavesRequest, ListProposalsRequest, WatchDecisionsRequest,
    WatchLogRequest, get_certificate_request,
};
use tonic::Code;

use crate::site::{After, Refusal, Site, refusal};

const MALFORMED: Refusal = refusal("MALFORMED", Code::InvalidArgument, 2, &["field"]);
const RANGE: Refusal = refusal("INDEX_OUT_OF_RANGE", Code::OutOfRange, 2, &["size"]);
const TOKEN: Refusal = refusal("PAGE_TOKEN_INVALID", Code::InvalidArgument, 2, &["field"]);
const UNKNOWN_DECISION: Refusal = refusal("UNKNOWN_DECISION", Code::NotFound, 1, &["name"]);

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_nothing_is_answered_by_its_reason() {
    let mut site = Site::begin().await;
    let log = || LogClient::new(site.operator(0));
    let proposals = || ProposalsClient::new(site.operator(0));

    let id = site.halt("service:a").id().to_string();
    let unknown = refusal("UNKNOWN_PROPOSAL", Code::NotFound, 1, &["name"]);
    for (what, id, expected) in
        [("an unknown proposal", id.as_str(), unknown), ("no id", "p1", MALFORMED)]
    {
        let request = GetProposalRequest { id: id.to_owned(), ..Default::default() };
        let call = async { proposals().get_proposal(request).await };
        site.refuses(what, After::Untouched, expected, call).await;
    }
    let of = |cluster: &str, number| Some(DecisionRef { cluster: cluster.to_owned(), number });
    let own = site.deployment.cluster.to_string();
    for (what, decision, expected) in [
        ("an unknown decision", of(&own, 9), UNKNOWN_DECISION),
        ("a decision of an unknown cluster", of("nowhere", 1), UNKNOWN_DECISION),
        ("no decision at all", None, MALFORMED),
    ] {
        let request = GetDecisionRequest { decision, ..Default::default() };
        let call = async { log().get_decision(request).await };
        site.refuses(what, After::Untouched, expected, call).await;
    }
    for (what, of, expected) in [
        (
            "the certificate of an unknown decision",
            of(&own, 9).map(get_certificate_request::Of::Decision),
            UNKNOWN_DECISION,
        ),
        (
            "the certificate of a leaf beyond the end",
            Some(get_certificate_request::Of::LeafIndex(99)),
            RANGE,
        ),
        ("a certificate of nothing", None, MALFORMED),
    ] {
        let request = GetCertificateRequest { of, ..Default::default() };
        let call = async { log().get_certificate(request).await };
        site.refuses(what, After::Untouched, expected, call).await;
    }

    for index in [1, 99, u64::MAX] {
        let request = GetLeafRequest { index, ..Default::default() };
        let call = async { log().get_leaf(request).await };
        site.refuses(&format!("leaf {index}"), After::Untouched, RANGE, call).await;
        let request = GetInclusionProofRequest { index, ..Default::default() };
        let call = async { log().get_inclusion_proof(request).await };
        site.refuses(&format!("inclusion of {index}"), After::Untouched, RANGE, call).await;
    }
    for (from_size, to_size) in [(0, 1), (2, 1), (1, 99), (u64::MAX, u64::MAX)] {
        let request = GetConsistencyProofRequest { from_size, to_size, ..Default::default() };
        let call = async { log().get_consistency_proof(request).await };
        let what = format!("consistency of {from_size} and {to_size}");
        site.refuses(&what, After::Untouched, RANGE, call).await;
    }
    for from_index in [2, u64::MAX] {
        let request = WatchLogRequest { from_index, ..Default::default() };
        let call = async { log().watch_log(request).await };
        site.refuses("a watch beyond the end", After::Untouched, RANGE, call).await;
        let request = WatchDecisionsRequest { from_index, ..Default::default() };
        let call = async { log().watch_decisions(request).await };
        site.refuses("a watch of decisions beyond the end", After::Untouched, RANGE, call).await;
    }
    let request = GetLeafRequest { view: 99, ..Default::default() };
    let call = async { log().get_leaf(request).await };
    site.refuses("a view that nobody knows", After::Untouched, MALFORMED, call).await;
    let request = GetLeafRequest { consistency: 77, ..Default::default() };
    let call = async { log().get_leaf(request).await };
    site.refuses("a consistency that nobody knows", After::Untouched, MALFORMED, call).await;
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_continued_by_its_own_query_only() {
    let mut site = Site::begin().await;
    site.decide("service:a").await;
    let log = || LogClient::new(site.operator(0));
    let list = |page_size, page_token: &str, cluster: &str| ListLeavesRequest {
        page_size,
        page_token: page_token.to_owned(),
        cluster: cluster.to_owned(),
        ..Default::default()
    };
    let first = log().list_leaves(list(1, "", "")).await.expect("a page").into_inner();
    assert_eq!(first.leaves.len(), 1);
    let token = first.next_page_token;
    assert!(!token.is_empty(), "there are two leaves");
    let all = log().list_leaves(list(i32::MAX, "", "")).await.expect("all").into_inner();
    assert_eq!(all.leaves.len(), 2, "the largest page size is cut, not refused");

    let upper = token.to_uppercase();
    let rows = [
        ("a negative page size", list(-1, "", ""), MALFORMED),
        ("the smallest page size", list(i32::MIN, "", ""), MALFORMED),
        ("a token of nobody", list(1, "00ff", ""), TOKEN),
        ("a token of another query", list(1, &token, "other"), TOKEN),
        ("half a token", list(1, &token[..token.len() / 2], ""), TOKEN),
        ("a token in capitals", list(1, &upper, ""), TOKEN),
        ("a token of 10 kB", list(1, &"0".repeat(10_000), ""), TOKEN),
    ];
    for (what, request, expected) in rows {
        if request.page_token == token && request.cluster.is_empty() {
            continue;
        }
        let call = async { log().list_leaves(request).await };
        site.refuses(what, After::Untouched, expected, call).await;
    }
    let request = ListProposalsRequest { page_token: token.clone(), ..Default::default() };
    let call = async { ProposalsClient::new(site.operator(0)).list_proposals(request).await };
    site.refuses("a token of another list", After::Untouched, TOKEN, call).await;
    let consistency = Consistency::Stale.into();
    let request = ListAgentsRequest { page_size: -7, consistency, ..Default::default() };
    let call = async { AgentsClient::new(site.operator(0)).list_agents(request).await };
    site.refuses("a negative page of agents", After::Untouched, MALFORMED, call).await;
    crate::proposals::release(&site).await;
    site.is_well().await;
}
