//! Proposals, vetoes and charters that are refused.

use quorate_attest::charter::Charter;
use quorate_attest::id::Digest;
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Veto};
use quorate_proto::pb::v1::charters_client::ChartersClient;
use quorate_proto::pb::v1::proposals_client::ProposalsClient;
use quorate_proto::pb::v1::{
    AmendCharterRequest, Expectations, OpenProposalRequest, OpenProposalResponse,
    VetoProposalRequest, VetoProposalResponse,
};
use quorate_tests::client::Party;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::site::{After, Refusal, Site, refusal};

type Opened = Result<Response<OpenProposalResponse>, Status>;

async fn open(channel: Channel, text: Vec<u8>) -> Opened {
    let request = OpenProposalRequest { text, ..Default::default() };
    ProposalsClient::new(channel).open_proposal(request).await
}

fn with(site: &Site, change: impl Fn(&mut Proposal)) -> Vec<u8> {
    let mut proposal = site.halt("service:a");
    change(&mut proposal);
    proposal.text().into_bytes()
}

/// The text of a proposal with one word in the place of its target.
fn with_target(site: &Site, target: &str) -> Vec<u8> {
    let text = site.halt("service:a").text();
    text.replace("target service:a\n", &format!("target {target}\n")).into_bytes()
}

const MALFORMED: Refusal = refusal("MALFORMED", Code::InvalidArgument, 2, &["field"]);
const CANONICAL: Refusal = refusal("NOT_CANONICAL", Code::InvalidArgument, 2, &["field"]);
const UNKNOWN_TARGET: Refusal = refusal("UNKNOWN_TARGET", Code::NotFound, 1, &["name"]);

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_could_never_be_decided_is_not_opened() {
    let mut site = Site::begin().await;
    let other = site.operators[1].name.clone();
    let not_yours = refusal("NOT_YOURS", Code::PermissionDenied, 8, &["owner"]);
    let rows: Vec<(&str, Vec<u8>, After, Refusal)> = vec![
        ("no text", Vec::new(), After::Untouched, CANONICAL),
        ("9 kB of text", vec![b'a'; 9_000], After::Untouched, MALFORMED),
        ("not UTF-8", vec![0xc0, 0x80], After::Untouched, MALFORMED),
        ("an empty target", with_target(&site, ""), After::Untouched, MALFORMED),
        ("a NUL in the target", with_target(&site, "service:\0a"), After::Untouched, MALFORMED),
        (
            "a bidi mark in the target",
            with_target(&site, "service:\u{202e}a"),
            After::Untouched,
            MALFORMED,
        ),
        ("a blank in the target", with_target(&site, "service:a b"), After::Untouched, MALFORMED),
        (
            "a kind that does not exist",
            replaced(&site, "kind halt", "kind explode"),
            After::Untouched,
            MALFORMED,
        ),
        (
            "another's name",
            with(&site, |p| p.proposer = other.clone()),
            After::Untouched,
            not_yours,
        ),
        (
            "another network",
            with(&site, |p| p.origin.network = "other.example/net".parse().expect("a network")),
            After::Untouched,
            refusal("WRONG_ORIGIN", Code::InvalidArgument, 3, &["have", "want"]),
        ),
        (
            "another charter of the same epoch",
            with(&site, |p| p.charter = Digest::of(b"another").to_string().parse().expect("an id")),
            After::Untouched,
            refusal("EPOCH_MISMATCH", Code::FailedPrecondition, 7, &["have", "want"]),
        ),
        (
            "a cluster that the charter has not",
            with(&site, |p| p.cluster = "nowhere".parse().expect("a cluster")),
            After::Untouched,
            UNKNOWN_TARGET,
        ),
        (
            "a member that the charter has not",
            with(&site, |p| p.target = "member:n9".parse().expect("a target")),
            After::Untouched,
            UNKNOWN_TARGET,
        ),
        (
            "an executor that the charter has not",
            with(&site, |p| {
                let name = format!("{}/agent/n9", p.origin.network);
                p.executor = vec![name.parse().expect("a name")];
            }),
            After::Untouched,
            UNKNOWN_TARGET,
        ),
        (
            "nobody to carry it out",
            with(&site, |p| p.executor.clear()),
            After::Untouched,
            MALFORMED,
        ),
    ];
    for (what, text, after, expected) in rows {
        site.refuses(what, after, expected, open(site.operator(0), text)).await;
    }
    // 1 MiB and more never reaches the service: tonic's own answer, without details.
    let large = open(site.operator(0), vec![b'a'; 1_100_000]).await.expect_err("too large");
    assert_eq!(large.code(), Code::OutOfRange, "{large:?}");

    let expect = Expectations { epoch: Some(5), ..Default::default() };
    let text = site.halt("service:a").text().into_bytes();
    let request = OpenProposalRequest { text, expect: Some(expect), ..Default::default() };
    let call = async { ProposalsClient::new(site.operator(0)).open_proposal(request).await };
    let expected = refusal("EXPECTATION_FAILED", Code::Aborted, 7, &["field", "have", "want"]);
    site.refuses("an expectation that does not hold", After::Untouched, expected, call).await;

    // Asked only: the answer is there, the state is what it was.
    let before = site.status().await;
    let text = site.halt("service:a").text().into_bytes();
    let request = OpenProposalRequest { text, validate_only: true, ..Default::default() };
    let asked = ProposalsClient::new(site.operator(0)).open_proposal(request).await;
    assert!(asked.expect("an assessment").into_inner().assessment.is_some());
    site.left("validate_only", After::Untouched, &before).await;
    site.is_well().await;
}

fn replaced(site: &Site, what: &str, by: &str) -> Vec<u8> {
    site.halt("service:a").text().replace(what, by).into_bytes()
}

async fn veto(site: &Site, note: Vec<u8>) -> Result<Response<VetoProposalResponse>, Status> {
    let request = VetoProposalRequest { note, ..Default::default() };
    ProposalsClient::new(site.operator(0)).veto_proposal(request).await
}

fn veto_by(party: &Party, proposal: &Proposal) -> Vec<u8> {
    let statement = Veto {
        origin: proposal.origin.clone(),
        epoch: proposal.epoch,
        proposal: proposal.id(),
        reason: "not now".parse().expect("a sentence"),
    };
    party.signer().signed(statement).to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_veto_comes_in_time_and_from_somebody_who_may() {
    let mut site = Site::begin().await;
    let closed = refusal("PROPOSAL_CLOSED", Code::FailedPrecondition, 7, &["state"]);
    let (decided, _) = site.decide("service:a").await;
    let late = veto_by(&site.operators[1], &decided);
    site.refuses("a veto of what is decided", After::Untouched, closed, veto(&site, late)).await;

    let proposal = site.halt("service:b");
    site.open(&proposal).await;
    let agent = site.deployment.agent_party("n2");
    let expected = refusal("NOT_YOURS", Code::PermissionDenied, 8, &["owner"]);
    let what = "a veto by an agent that did not propose";
    site.refuses(what, After::Untouched, expected, veto(&site, veto_by(&agent, &proposal))).await;
    let expected = refusal("UNKNOWN_PROPOSAL", Code::NotFound, 1, &["name"]);
    let unknown = veto_by(&site.operators[1], &site.halt("service:c"));
    site.refuses("a veto of nothing", After::Untouched, expected, veto(&site, unknown)).await;

    let before = site.status().await;
    veto(&site, veto_by(&site.operators[1], &proposal)).await.expect("a veto");
    site.left("a good veto", After::Leaves(1), &before).await;
    let again = veto_by(&site.operators[2], &proposal);
    site.refuses("a veto of what is vetoed", After::Untouched, closed, veto(&site, again)).await;
    let vote = quorate_tests::client::vote_note(&site.operators[2], &proposal, Verdict::Approve);
    let request =
        quorate_proto::pb::v1::SubmitVoteRequest { note: vote.to_bytes(), ..Default::default() };
    let votes = quorate_proto::pb::v1::votes_client::VotesClient::new(site.operator(2));
    let call = async { votes.clone().submit_vote(request).await };
    site.refuses("a vote on what is vetoed", After::Untouched, closed, call).await;
    // The decision above holds the slot; `is_well` needs only that another one is certified.
    release(&site).await;
    site.is_well().await;
}

/// Frees the slot that the first decision holds.
pub(crate) async fn release(site: &Site) {
    let report = crate::agents::report(site, "n1", 1).await;
    let request = quorate_proto::pb::v1::ReportRequest { note: report, ..Default::default() };
    let agents = quorate_proto::pb::v1::agents_client::AgentsClient::new(site.agent("n1"));
    let answered = agents.clone().report(request).await;
    answered.unwrap_or_else(|status| panic!("the slot is not freed: {status}"));
}

async fn amend(
    site: &Site,
    note: Vec<u8>,
) -> Result<Response<quorate_proto::pb::v1::AmendCharterResponse>, Status> {
    let request = AmendCharterRequest { note, ..Default::default() };
    ChartersClient::new(site.operator(0)).amend_charter(request).await
}

/// The charter of the next epoch, changed and signed by these.
fn next(site: &Site, signers: &[Party], change: impl Fn(String) -> String) -> Vec<u8> {
    let charter = site.charter();
    let mut next: Charter = charter.clone();
    next.epoch = charter.epoch.next().expect("an epoch");
    next.previous = Some(charter.id());
    let text = change(next.text());
    // Signed as it is, if it is a charter at all: the point is what stands in it.
    let lines = signers.iter().map(|party| party.signer().sign(&next)).collect();
    let signed = Signed::new(next, lines).note();
    quorate_attest::note::Note { text, lines: signed.lines }.to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charter_with_keys_that_prove_nothing_is_refused() {
    let mut site = Site::begin().await;
    let all = site.operators.clone();
    let first = site.charter().operator[0].key.to_string();
    let second = site.charter().operator[1].key.to_string();
    let weak = weak_key(&first);
    let rows: Vec<(&str, Vec<u8>, After, Refusal)> = vec![
        ("no charter", b"charter".to_vec(), After::Untouched, MALFORMED),
        (
            "a key of small order",
            next(&site, &all, |text| text.replace(&first, &weak)),
            After::Untouched,
            refusal("WEAK_KEY", Code::InvalidArgument, 3, &["name"]),
        ),
        (
            "one key under two names",
            next(&site, &all, |text| text.replace(&second, &renamed(&first, &second))),
            After::Untouched,
            refusal("DUPLICATE_KEY", Code::InvalidArgument, 2, &["field"]),
        ),
        (
            "a stranger's signature",
            next(&site, &[site.deployment.agent_party("n1")], |text| text),
            After::Untouched,
            refusal("UNKNOWN_VALIDATOR", Code::PermissionDenied, 8, &["epoch"]),
        ),
    ];
    for (what, note, after, expected) in rows {
        site.refuses(what, after, expected, amend(&site, note)).await;
    }
    site.is_well().await;
}

/// The name of `first` with the public key of all zeros, and the key id that belongs to it.
pub(crate) fn weak_key(first: &str) -> String {
    let name = first.split('+').next().expect("a name");
    rebuilt(name, &[0; 32])
}

/// The key of `first` under the name of `second`.
fn renamed(first: &str, second: &str) -> String {
    let key = first.splitn(3, '+').nth(2).expect("a key");
    let bytes = decode(key);
    rebuilt(second.split('+').next().expect("a name"), &bytes[1..])
}

/// A vkey made by hand: `name+id+base64(0x01 || key)`, id = the first four bytes of a SHA-256.
fn rebuilt(name: &str, key: &[u8]) -> String {
    let mut typed = vec![1];
    typed.extend_from_slice(key);
    let mut hashed = format!("{name}\n").into_bytes();
    hashed.extend_from_slice(&typed);
    let id: String =
        Digest::of(&hashed).as_bytes()[..4].iter().map(|b| format!("{b:02x}")).collect();
    format!("{name}+{id}+{}", encode(&typed))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(word) << 8 >> 8;
        for at in 0..4_usize {
            let six = (bits >> (18 - 6 * at)) & 63;
            let letter = char::from(ALPHABET[six as usize]);
            text.push(if at > three.len() { '=' } else { letter });
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let mut bits = Vec::new();
    for letter in text.trim_end_matches('=').bytes() {
        let at = ALPHABET.iter().position(|known| *known == letter).expect("base64");
        bits.extend((0..6).rev().map(|bit| u8::from((at >> bit) & 1 == 1)));
    }
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect()
}
