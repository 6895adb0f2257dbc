//! Claims, reports and facts that are not the agent's, not true, or too late.

use quorate_attest::agent_statement::{Answer, Claim, Effect, Fact, Observe, Report};
use quorate_attest::id::{Digest, JournalInstance, Nonce};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::number::{DecisionNumber, Sequence};
use quorate_proto::pb::v1::agents_client::AgentsClient;
use quorate_proto::pb::v1::{
    ClaimRequest, ClaimResponse, ObserveRequest, ObserveResponse, ReportRequest, ReportResponse,
};
use quorate_tests::client::now;
use tonic::{Code, Response, Status};

use crate::site::{After, Refusal, Site, in_seconds, refusal};

const NOT_YOURS: Refusal = refusal("NOT_YOURS", Code::PermissionDenied, 8, &["owner"]);
const UNKNOWN_DECISION: Refusal = refusal("UNKNOWN_DECISION", Code::NotFound, 1, &["name"]);

/// A report of `member`'s agent that its decision was effective, signed.
pub(crate) async fn report(site: &Site, member: &str, number: u64) -> Vec<u8> {
    let cluster = &site.deployment.cluster;
    let decision = site.operators[0].decision(cluster, number).await.expect("the decision");
    let party = site.deployment.agent_party(member);
    let charter = site.charter();
    let statement = Report {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: cluster.clone(),
        number: DecisionNumber::new(number).expect("a number"),
        proposal: decision.proposal_id.parse().expect("an id"),
        agent: party.name.clone(),
        answer: Answer::Applied,
        effect: Effect::Effective,
        witness: Digest::of(b"before"),
        evidence: Vec::new(),
        started: Some(LogTime::new(now().get() / 1_000 * 1_000).expect("a time")),
        finished: LogTime::new(now().get() / 1_000 * 1_000).expect("a time"),
    };
    party.signer().signed(statement).to_bytes()
}

async fn hand_in(site: &Site, by: &str, note: Vec<u8>) -> Result<Response<ReportResponse>, Status> {
    let request = ReportRequest { note, ..Default::default() };
    AgentsClient::new(site.agent(by)).report(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_the_executors_own_and_final() {
    let mut site = Site::begin().await;
    let (_, number) = site.decide("service:a").await;
    let good = report(&site, "n1", number).await;

    let what = "a report handed in by another agent";
    site.refuses(what, After::Untouched, NOT_YOURS, hand_in(&site, "n2", good.clone())).await;
    let others = report(&site, "n2", number).await;
    let what = "a report by an agent that was not ordered";
    site.refuses(what, After::Untouched, NOT_YOURS, hand_in(&site, "n2", others)).await;
    let never = altered(&site, &good, |report| report.number = DecisionNumber::new(9).expect("it"));
    let what = "a report on a decision that was never made";
    site.refuses(what, After::Untouched, UNKNOWN_DECISION, hand_in(&site, "n1", never)).await;
    let other = altered(&site, &good, |report| {
        report.proposal = Digest::of(b"another").to_string().parse().expect("an id");
    });
    let expected = refusal("WRONG_PROPOSAL", Code::InvalidArgument, 3, &["have", "want"]);
    let what = "a report on another proposal";
    site.refuses(what, After::Untouched, expected, hand_in(&site, "n1", other)).await;

    let before = site.status().await;
    let taken = hand_in(&site, "n1", good.clone()).await.expect("the report").into_inner();
    assert!(taken.terminal && taken.slot_freed, "{taken:?}");
    site.left("the outcome", After::Leaves(1), &before).await;
    let before = site.status().await;
    let again = hand_in(&site, "n1", good.clone()).await.expect("the same report").into_inner();
    assert!(again.terminal, "{again:?}");
    site.left("the same report again", After::Untouched, &before).await;

    // Two different ends by one key: evidence against itself, once.
    let second = altered(&site, &good, |report| report.effect = Effect::Ineffective);
    let expected = refusal("REPORT_CONFLICT", Code::FailedPrecondition, 7, &["recorded", "have"]);
    let what = "another end of the same decision";
    site.refuses(what, After::Leaves(1), expected, hand_in(&site, "n1", second.clone())).await;
    site.refuses("the same again", After::Untouched, expected, hand_in(&site, "n1", second)).await;
    site.is_well().await;
}

/// A changed report, properly signed by the agent of n1.
fn altered(site: &Site, note: &[u8], change: impl Fn(&mut Report)) -> Vec<u8> {
    let signed = quorate_attest::signed::Signed::<Report>::parse(note).expect("a report");
    let mut statement = signed.statement;
    change(&mut statement);
    site.deployment.agent_party("n1").signer().signed(statement).to_bytes()
}

fn claim(site: &Site, member: &str, number: u64, instance: u8, sequence: u64) -> Vec<u8> {
    claim_by_process(1, site, member, number, (instance, sequence))
}

fn claim_by_process(
    process: u8,
    site: &Site,
    member: &str,
    number: u64,
    (instance, sequence): (u8, u64),
) -> Vec<u8> {
    let party = site.deployment.agent_party(member);
    let charter = site.charter();
    let statement = Claim {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: site.deployment.cluster.clone(),
        number: DecisionNumber::new(number).expect("a number"),
        agent: party.name.clone(),
        instance: JournalInstance::from_bytes([instance; 16]),
        sequence: Sequence::new(sequence).expect("a sequence"),
        nonce: Nonce::from_bytes([process; 16]),
    };
    party.signer().signed(statement).to_bytes()
}

async fn claims(site: &Site, by: &str, note: Vec<u8>) -> Result<Response<ClaimResponse>, Status> {
    let request = ClaimRequest { note, ..Default::default() };
    AgentsClient::new(site.agent(by)).claim(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_made_once_by_one_journal() {
    let mut site = Site::begin().await;
    let (_, number) = site.decide("service:a").await;
    let what = "a claim on a decision that was never made";
    let never = claims(&site, "n1", claim(&site, "n1", 9, 1, 1));
    site.refuses(what, After::Untouched, UNKNOWN_DECISION, never).await;
    let what = "a claim by an agent that was not ordered";
    let others = claims(&site, "n2", claim(&site, "n2", number, 1, 1));
    site.refuses(what, After::Untouched, NOT_YOURS, others).await;
    let what = "a claim handed in by another agent";
    let stolen = claims(&site, "n2", claim(&site, "n1", number, 1, 5));
    site.refuses(what, After::Untouched, NOT_YOURS, stolen).await;

    let first = claims(&site, "n1", claim(&site, "n1", number, 1, 5)).await.expect("the claim");
    assert!(first.get_ref().fresh);
    let again = claims(&site, "n1", claim(&site, "n1", number, 1, 5)).await.expect("the same");
    assert!(again.get_ref().fresh, "the process that holds it has not started");
    let copied = claim_by_process(2, &site, "n1", number, (1, 5));
    let copied = claims(&site, "n1", copied).await.expect("an answer");
    assert!(!copied.get_ref().fresh, "whether the first process started is not known");
    let expected = refusal(
        "JOURNAL_ROLLED_BACK",
        Code::FailedPrecondition,
        7,
        &["instance", "recorded", "have", "command"],
    );
    let rows = [("a cloned journal", 2, 9), ("a journal of yesterday", 1, 4)];
    for (what, instance, sequence) in rows {
        let call = claims(&site, "n1", claim(&site, "n1", number, instance, sequence));
        site.refuses(what, After::Untouched, expected, call).await;
    }
    let note = report(&site, "n1", number).await;
    hand_in(&site, "n1", note).await.expect("its end");
    let what = "a claim on a decision that has ended";
    let late = claims(&site, "n1", claim(&site, "n1", number, 1, 6));
    site.refuses(what, After::Untouched, UNKNOWN_DECISION, late).await;
    site.is_well().await;
}

fn observation(site: &Site, member: &str, sequence: u64, observed: LogTime) -> Vec<u8> {
    let party = site.deployment.agent_party(member);
    let charter = site.charter();
    let fact = Fact {
        key: "member".parse().expect("a key"),
        value: member.parse().expect("a word"),
        extra: Some("up".parse().expect("a word")),
    };
    let statement = Observe {
        origin: charter.origin.clone(),
        epoch: charter.epoch,
        cluster: site.deployment.cluster.clone(),
        agent: party.name.clone(),
        sequence: Sequence::new(sequence).expect("a sequence"),
        observed,
        fact: vec![fact],
    };
    party.signer().signed(statement).to_bytes()
}

async fn observe(
    site: &Site,
    by: &str,
    note: Vec<u8>,
) -> Result<Response<ObserveResponse>, Status> {
    AgentsClient::new(site.agent(by)).observe(ObserveRequest { note }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_is_of_the_agent_that_tells_it() {
    let mut site = Site::begin().await;
    let good = observation(&site, "n1", 1, in_seconds(0));
    let what = "an observation handed in by another agent";
    site.refuses(what, After::Untouched, NOT_YOURS, observe(&site, "n2", good.clone())).await;
    let mut flipped = quorate_attest::signed::Signed::<Observe>::parse(&good).expect("it");
    flipped.lines[0].payload[0] ^= 1;
    let expected = refusal("SIGNATURE_INVALID", Code::InvalidArgument, 3, &["key_id"]);
    let what = "an observation with a false signature";
    site.refuses(what, After::Untouched, expected, observe(&site, "n1", flipped.to_bytes())).await;

    // Held by whom it is sent to, whatever it says; a stale or early one never enters the log.
    let before = site.status().await;
    let hour = Span::from_secs(3_600);
    for (what, observed) in [
        ("an hour old", in_seconds(0).saturating_sub(hour)),
        ("an hour ahead", in_seconds(0).saturating_add(hour)),
    ] {
        let held = observe(&site, "n1", observation(&site, "n1", 2, observed)).await;
        assert!(held.unwrap_or_else(|status| panic!("{what}: {status}")).into_inner().held);
        site.left(what, After::Untouched, &before).await;
    }
    site.is_well().await;
}
