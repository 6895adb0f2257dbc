//! Votes that are none.

use quorate_attest::id::Nonce;
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::Span;
use quorate_attest::number::Epoch;
use quorate_attest::proposal::Proposal;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Vote};
use quorate_proto::key_file;
use quorate_proto::pb::v1::proposals_client::ProposalsClient;
use quorate_proto::pb::v1::votes_client::VotesClient;
use quorate_proto::pb::v1::{
    OpenProposalRequest, SubmitVoteRequest, SubmitVoteResponse, TallyState,
};
use quorate_tests::client::{Party, random, vote_note};
use quorate_tests::wait;
use tonic::{Code, Response, Status};

use crate::site::{After, Refusal, Site, WITHIN, in_seconds, refusal};

async fn submit(site: &Site, note: Vec<u8>) -> Result<Response<SubmitVoteResponse>, Status> {
    let request = SubmitVoteRequest { note, ..Default::default() };
    VotesClient::new(site.operator(0)).submit_vote(request).await
}

/// The order of the group, little-endian: what is added to make a signature malleable.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// S + L: the same equation, another encoding.
fn malleated(mut vote: Signed<Vote>) -> Vec<u8> {
    let scalar = &mut vote.lines[0].payload[32..64];
    let mut carry = 0_u16;
    for (byte, add) in scalar.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "S + L fits in 32 bytes");
    vote.to_bytes()
}

/// A key that nobody knows, under a validator's name.
fn stranger(site: &Site, named: &Party) -> NoteSigner {
    let path = site.deployment.root.join(format!("stranger-{}", u64::from_le_bytes(random())));
    let output = quorate_tests::binary::run(
        &["key", "generate", "--name", named.name.as_str(), "--out", path.to_str().expect("UTF-8")],
        None,
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    NoteSigner::new(named.name.clone(), key_file::load(&path).expect("a key"))
}

const SIGNATURE: Refusal = refusal("SIGNATURE_INVALID", Code::InvalidArgument, 3, &["key_id"]);
const MALFORMED: Refusal = refusal("MALFORMED", Code::InvalidArgument, 2, &["field"]);
const CANONICAL: Refusal = refusal("NOT_CANONICAL", Code::InvalidArgument, 2, &["field"]);
const UNKNOWN: Refusal = refusal("UNKNOWN_VALIDATOR", Code::PermissionDenied, 8, &["epoch"]);

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_proves_nothing_changes_nothing() {
    let mut site = Site::begin().await;
    let proposal = site.halt("service:a");
    site.open(&proposal).await;
    let voter = site.operators[1].clone();
    let good = vote_note(&voter, &proposal, Verdict::Approve);
    let text = String::from_utf8(good.to_bytes()).expect("text");

    let mut flipped = good.clone();
    flipped.lines[0].payload[40] ^= 1;
    let mut small_order = good.clone();
    small_order.lines[0].payload[..32].copy_from_slice(&[
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ]);
    let mut weak_key = small_order.clone();
    let vkey = crate::proposals::weak_key(voter.name.as_str());
    weak_key.lines[0].key_id = vkey.split('+').nth(1).expect("an id").parse().expect("an id");
    let mut unknown_name = good.clone();
    unknown_name.lines[0].name = format!("{}/operator/nobody", site.deployment.network);
    let impostor = stranger(&site, &voter).signed(good.statement.clone());
    let with = |change: &dyn Fn(&mut Vote)| {
        let mut vote = good.statement.clone();
        change(&mut vote);
        voter.signer().signed(vote).to_bytes()
    };
    let other_origin =
        |network: &str| with(&|vote| vote.origin.network = network.parse().expect("a network"));
    let veto = text.replacen("quorate-vote/v1", "quorate-veto/v1", 1);
    let past =
        text.replace(&format!("expires {}", proposal.expires), "expires -9223372036854775808");

    let rows: Vec<(&str, Vec<u8>, Refusal)> = vec![
        ("nothing at all", Vec::new(), MALFORMED),
        ("no note", b"approve, please\n".to_vec(), MALFORMED),
        ("bytes that are no text", vec![0xff; 300], MALFORMED),
        ("a note of 40 kB", [text.as_bytes(), &vec![b'x'; 40_000]].concat(), MALFORMED),
        ("a text without a signature", good.statement.text().into_bytes(), MALFORMED),
        ("a veto in the place of a vote", veto.into_bytes(), MALFORMED),
        ("an expiry below every number", past.into_bytes(), MALFORMED),
        ("CR before LF", text.replacen('\n', "\r\n", 1).into_bytes(), MALFORMED),
        ("two lines in another order", swapped(&text), CANONICAL),
        ("one flipped bit", flipped.to_bytes(), SIGNATURE),
        ("S + L", malleated(good.clone()), SIGNATURE),
        ("R of small order", small_order.to_bytes(), SIGNATURE),
        ("a key under another's name", impostor.to_bytes(), UNKNOWN),
        ("a weak key under a validator's name", weak_key.to_bytes(), UNKNOWN),
        ("a name that is not in the charter", unknown_name.to_bytes(), UNKNOWN),
        (
            "another network",
            other_origin("other.example/testnet"),
            refusal("WRONG_ORIGIN", Code::InvalidArgument, 3, &["have", "want"]),
        ),
        (
            "another life of this log",
            with(&|vote| {
                vote.origin.incarnation = vote.origin.incarnation.next().expect("a next one")
            }),
            refusal("WRONG_ORIGIN", Code::InvalidArgument, 3, &["have", "want"]),
        ),
        (
            "a drill's vote",
            other_origin(&format!("{}/drill", site.deployment.network)),
            refusal("DRILL_MISMATCH", Code::InvalidArgument, 3, &["have", "want"]),
        ),
        (
            "the next epoch",
            with(&|vote| vote.epoch = Epoch::new(2).expect("an epoch")),
            refusal("EPOCH_MISMATCH", Code::FailedPrecondition, 7, &["have", "want"]),
        ),
    ];
    for (what, note, expected) in rows {
        site.refuses(what, After::Untouched, expected, submit(&site, note)).await;
    }
    let tally = tally_of(&site, &proposal).await;
    assert_eq!((tally.have, tally.state()), (0, TallyState::Pending), "nothing was counted");
    site.is_well().await;
}

/// Two lines of the text, exchanged.
fn swapped(text: &str) -> Vec<u8> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.swap(2, 3);
    lines.join("\n").into_bytes()
}

async fn tally_of(site: &Site, proposal: &Proposal) -> quorate_proto::pb::v1::Tally {
    let found = site.operators[0].proposal(&proposal.id()).await.expect("an answer");
    found.and_then(|found| found.tally).expect("a tally")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_does_not_belong_is_answered_by_the_machine() {
    let mut site = Site::begin().await;
    let proposal = site.halt("service:a");
    site.open(&proposal).await;
    let voter = site.operators[1].clone();

    let never_opened = vote_note(&voter, &site.halt("service:b"), Verdict::Approve);
    let expected = refusal("UNKNOWN_PROPOSAL", Code::NotFound, 1, &["name"]);
    let what = "a vote on a proposal that was never opened";
    site.refuses(what, After::Untouched, expected, submit(&site, never_opened.to_bytes())).await;

    // Only operators have a voice on `halt`.
    let agent = site.deployment.agent_party("n1");
    let expected = refusal("ROLE_NOT_ALLOWED", Code::PermissionDenied, 8, &["role", "admits"]);
    let note = vote_note(&agent, &proposal, Verdict::Approve).to_bytes();
    site.refuses("a validator without a voice", After::Untouched, expected, submit(&site, note))
        .await;

    for (what, expires) in [
        ("an hour ago", in_seconds(0).saturating_sub(Span::from_secs(3_600))),
        ("year 9999", in_seconds(250_000_000_000)),
    ] {
        let mut vote = Vote::on(&proposal, Verdict::Approve);
        vote.expires = expires;
        let note = voter.signer().signed(vote).to_bytes();
        let expected =
            refusal("EXPIRY_OUT_OF_RANGE", Code::InvalidArgument, 2, &["field", "min", "max"]);
        let what = format!("a vote that expires {what}");
        site.refuses(&what, After::Untouched, expected, submit(&site, note)).await;
    }

    // A proposal that ran out of time ends in its void, once, and stays ended.
    let mut short = site.halt("service:short");
    short.expires = in_seconds(3);
    short.nonce = Nonce::from_bytes(random());
    site.open(&short).await;
    let note = vote_note(&voter, &short, Verdict::Approve).to_bytes();
    wait::until_true("the short proposal expires", WITHIN, || in_seconds(0) > short.expires).await;
    wait::until("its void", WITHIN, || async {
        let found = site.operators[0].proposal(&short.id()).await.ok().flatten()?;
        (found.state() == quorate_proto::pb::v1::ProposalState::Expired).then_some(())
    })
    .await;
    let expected = refusal("PROPOSAL_CLOSED", Code::FailedPrecondition, 7, &["state", "proposal"]);
    site.refuses("an expired vote", After::Untouched, expected, submit(&site, note)).await;
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_again_is_no_second_vote() {
    let mut site = Site::begin().await;
    let proposal = site.halt("service:a");
    site.open(&proposal).await;
    let voter = &site.operators[1];
    let good = vote_note(voter, &proposal, Verdict::Approve);
    let first = submit(&site, good.to_bytes()).await.expect("a vote").into_inner();
    assert_eq!(first.tally.as_ref().map(|tally| tally.have), Some(1));

    // Replayed, by whomever: equal answers, and not one entry more.
    for _ in 0..20 {
        let before = site.status().await;
        let again = submit(&site, good.to_bytes()).await;
        let again = again.unwrap_or_else(|status| panic!("{status}")).into_inner();
        assert_eq!(again.tally, first.tally);
        assert_eq!(again.proposal_id, first.proposal_id);
        assert!(again.already_counted.contains(&voter.name.to_string()));
        site.left("a replayed vote", After::Untouched, &before).await;
    }
    let mut thrice = good.clone();
    thrice.lines = vec![good.lines[0].clone(), good.lines[0].clone(), good.lines[0].clone()];
    let what = "one line three times in one note";
    site.refuses(what, After::Untouched, CANONICAL, submit(&site, thrice.to_bytes())).await;

    // One request id has one answer; for another request it is refused.
    let id = quorate_proto::client::request_id();
    let request = |note: Vec<u8>, request_id: &str| SubmitVoteRequest {
        note,
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let votes = || VotesClient::new(site.operator(0));
    let third = vote_note(&site.operators[2], &proposal, Verdict::Approve).to_bytes();
    let counted = votes().submit_vote(request(third.clone(), &id)).await.expect("a vote");
    let repeated = votes().submit_vote(request(third.clone(), &id)).await.expect("the same");
    assert_eq!(counted.get_ref().tally, repeated.get_ref().tally);
    let expected = refusal("REQUEST_ID_REUSED", Code::InvalidArgument, 2, &["request_id"]);
    let other = request(good.to_bytes(), &id);
    let call = async { votes().submit_vote(other).await };
    site.refuses("a request id used for another request", After::Untouched, expected, call).await;
    let call = async { votes().submit_vote(request(third, "not-a-uuid")).await };
    site.refuses("a request id that is none", After::Untouched, MALFORMED, call).await;

    // Approve, then reject, both signed: evidence, and neither counts.
    let second = vote_note(voter, &proposal, Verdict::Reject).to_bytes();
    let expected = refusal("EQUIVOCATION", Code::FailedPrecondition, 7, &["evidence", "key"]);
    let what = "a second verdict";
    site.refuses(what, After::Leaves(1), expected, submit(&site, second.clone())).await;
    let tally = tally_of(&site, &proposal).await;
    assert_eq!(tally.have, 1, "only the third operator's vote is left");
    assert!(tally.approved.iter().all(|one| one.name != voter.name.as_str()), "{tally:?}");
    for (what, note) in [("the second one again", second), ("the first one again", good.to_bytes())]
    {
        site.refuses(what, After::Untouched, expected, submit(&site, note)).await;
    }
    site.is_well().await;
}

/// Opens a proposal with any expiry.
async fn open_until(
    site: &Site,
    expires: quorate_attest::log_time::LogTime,
) -> Result<Response<quorate_proto::pb::v1::OpenProposalResponse>, Status> {
    let mut proposal = site.halt("service:late");
    proposal.expires = expires;
    let request = OpenProposalRequest { text: proposal.text().into_bytes(), ..Default::default() };
    ProposalsClient::new(site.operator(0)).open_proposal(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_expires_within_its_bounds() {
    let mut site = Site::begin().await;
    let expected =
        refusal("EXPIRY_OUT_OF_RANGE", Code::InvalidArgument, 2, &["field", "min", "max"]);
    for (what, expires) in [
        ("over for an hour", in_seconds(0).saturating_sub(Span::from_secs(3_600))),
        ("in a fortnight", in_seconds(14 * 86_400)),
        ("in the year 9999", in_seconds(250_000_000_000)),
    ] {
        site.refuses(what, After::Untouched, expected, open_until(&site, expires)).await;
    }
    site.is_well().await;
}
