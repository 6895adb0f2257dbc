//! The demo's story in miniature, with real processes: a member dies and is restarted once, a validator
//! says two things, a person votes on a machine without a network, an executor is lost for a while.

use std::time::Duration;

use quorate_attest::certificate::verify_certificate;
use quorate_attest::evidence::Evidence;
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_proto::error_code::ErrorCode;
use quorate_proto::pb::v1::{DecisionState, MemberState};
use quorate_tests::client::{Draft, now, reason};
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::log::WholeLog;
use quorate_tests::process::code_of;
use quorate_tests::scenario::{WITHIN, decide};
use quorate_tests::{effects, journals, wait};

/// Waits until the coordinators know that every member is up.
async fn all_up(deployment: &Deployment) {
    let what = format!("every member is known to be up\n{}", deployment.logs());
    wait::until(&what, WITHIN, async || {
        let statuses = deployment.statuses().await;
        let clusters = statuses.values().next()?.clusters.clone();
        let members: Vec<_> = clusters.into_iter().flat_map(|cluster| cluster.members).collect();
        let up = members.iter().filter(|member| member.state() == MemberState::Up).count();
        (up == deployment.members.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_member_is_restarted_exactly_once() {
    let mut deployment = Options::of(3).build();
    deployment.start().await;
    for name in ["n1", "n2", "n3"] {
        deployment.member_answers(name, WITHIN).await;
    }
    all_up(&deployment).await;
    assert_eq!(deployment.members["n3"].starts(), 1);
    deployment.members.get_mut("n3").expect("n3").kill();

    // Nobody asks for anything: suspicion, proposal, votes, decision and restart are the agents'.
    let first = deployment.operator("o1");
    let decision =
        first.ends(&deployment.cluster, 1, DecisionState::Effective, Duration::from_secs(60));
    let decision = decision.await;
    assert_eq!((decision.kind.as_str(), decision.target.as_str()), ("restart", "member:n3"));
    assert!(decision.approved_by.len() >= 2, "{decision:?}");
    deployment.member_answers("n3", WITHIN).await;
    assert_eq!(deployment.members["n3"].starts(), 2, "how often n3 was started");

    let charter = &deployment.charter.statement;
    let trusted = WholeLog::trusted(charter);
    let verified = verify_certificate(&decision.certificate, &trusted, now());
    let certificate = verified.unwrap_or_else(|refused| panic!("the certificate: {refused}"));
    assert_eq!(certificate.token.to_string(), decision.token);

    // The story is over: everybody is well, and nothing else was decided or started.
    all_up(&deployment).await;
    deployment.certified(decision.leaf_index + 2).await;
    let log = WholeLog::read(&first).await;
    drop(log.verify(charter));
    assert_eq!((log.decisions().len(), log.outcomes().len()), (1, 1));
    let started: usize = deployment.members.values().map(|member| member.starts()).sum();
    assert_eq!(started, 4, "three starts by the test, one by an agent");
    let agent = deployment.agents.get_mut("n3").expect("n3");
    agent.process.kill();
    let entries = journals::entries(&agent.folder, &agent.name, &deployment.cluster);
    assert_eq!(entries.iter().filter(|entry| entry.started.is_some()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_nobody_could_restart_for_long_is_restarted_as_soon_as_somebody_may() {
    let mut deployment = Options::of(3).build();
    deployment.start().await;
    all_up(&deployment).await;
    drop(deployment.stdout("o1", &["automation", "pause", "--reason", "the test", "--for", "10m"]));
    let killed = now();
    deployment.members.get_mut("n3").expect("n3").kill();
    // What the agents said of it when it died is stale by then, and nothing new can be said.
    let twice_the_freshness = Span::from_millis(6_000);
    wait::until_true("nobody's first word is fresh any more", WITHIN, || {
        now().since(killed) > twice_the_freshness
    })
    .await;
    let first = deployment.operator("o1");
    assert!(WholeLog::read(&first).await.decisions().is_empty(), "automation is paused");
    drop(deployment.stdout("o1", &["automation", "resume", "--reason", "go on"]));
    let effective = DecisionState::Effective;
    drop(first.ends(&deployment.cluster, 1, effective, Duration::from_secs(60)).await);
    deployment.member_answers("n3", WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_verdicts_of_one_validator_become_evidence_and_neither_counts() {
    let mut deployment = Options { adapter: Adapter::Counted, ..Options::of(4) }.build();
    deployment.start().await;
    let executors = [deployment.agents["n1"].name.clone()];
    let (first, liar) = (deployment.operator("o1"), deployment.operator("o2"));
    let charter = &deployment.charter.statement;
    let draft = Draft { kind: Kind::Halt, target: "service:x", executors: &executors };
    let proposal = first.draft(charter, &deployment.cluster, &draft);
    first.open_proposal(&proposal).await.expect("it opens");
    let tally = liar.vote(&proposal, Verdict::Approve).await.expect("its first word").tally;
    assert_eq!(tally.unwrap_or_default().have, 1);
    let second = liar.vote(&proposal, Verdict::Reject).await.expect_err("its second word");
    assert_eq!(reason(&second), Some(ErrorCode::Equivocation), "{second}");

    deployment.certified(2).await;
    let log = WholeLog::read(&first).await;
    drop(log.verify(charter));
    let evidence: Vec<Evidence> = log
        .parsed()
        .into_iter()
        .filter_map(|leaf| {
            let Leaf::Evidence(evidence) = leaf else { return None };
            Some(evidence)
        })
        .collect();
    let [evidence] = evidence.as_slice() else { panic!("evidence: {evidence:?}") };
    assert_eq!(*evidence.key.name(), liar.name);
    // Its approval does not count any more: two others are not three.
    for id in ["o1", "o3"] {
        let answered = deployment.operator(id).vote(&proposal, Verdict::Approve).await;
        let counted = answered.ok().and_then(|response| response.tally).map(|tally| tally.have);
        assert!(counted.is_none_or(|have| have < 3), "{counted:?} approvals");
    }
    assert!(log.decisions().is_empty() && effects::all(&deployment.root).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_signed_offline_counts_when_somebody_else_hands_it_in() {
    let mut deployment = Options { adapter: Adapter::Counted, ..Options::of(3) }.build();
    deployment.start().await;
    let create = [
        "proposal",
        "create",
        "halt",
        "service:x",
        "--executor",
        "n1",
        "--reason",
        "the test asks",
        "--confirm",
        "-o",
        "json",
    ];
    drop(deployment.stdout("o1", &create));
    let first = deployment.operator("o1");
    let listed =
        first.client.list_proposals(Default::default()).await.expect("proposals").proposals;
    let [proposal] = listed.as_slice() else { panic!("proposals: {listed:?}") };

    // o2 has the text and its key, and no network: no context, no endpoint.
    let text = deployment.root.join("p.txt");
    let shown = deployment.stdout("o1", &["proposal", "show", &proposal.id, "--text"]);
    std::fs::write(&text, shown).expect("the text is carried over");
    let mut notes = Vec::new();
    for id in ["o2", "o3"] {
        let key = deployment.root.join("operators").join(id).join("key.pem");
        let (text, key) = (text.display().to_string(), key.display().to_string());
        let note = quorate_tests::binary::stdout_of(&["vote", "sign", "--key", &key, &text], None);
        let file = deployment.root.join(format!("{id}.note"));
        std::fs::write(&file, note).expect("the note is carried back");
        notes.push(file.display().to_string());
        // The guard beside the key: the other verdict is never signed.
        let other = ["vote", "sign", "--reject", "--key", &key, &text];
        let refused = quorate_tests::binary::run(&other, None);
        assert_ne!(code_of(refused.status), 0, "{id} signed two verdicts");
        assert!(refused.stdout.is_empty(), "a refused vote leaves no note");
    }
    // o1 hands both in, with an own vote besides.
    drop(deployment.stdout("o1", &["vote", "approve", "--note", &notes[0], "--note", &notes[1]]));
    drop(deployment.stdout("o1", &["vote", "approve", &proposal.id]));
    let id = proposal.id.parse().expect("an id");
    let number = first.decided(&id, WITHIN).await;
    let effective = DecisionState::Effective;
    let decision = first.ends(&deployment.cluster, number, effective, WITHIN).await;
    for voter in ["operator/o1", "operator/o2", "operator/o3"] {
        assert!(decision.approved_by.iter().any(|name| name.ends_with(voter)), "{decision:?}");
    }
    let done = effects::all(&deployment.root);
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(done[0].proposal, proposal.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_executor_that_comes_back_goes_on_under_the_next_token() {
    let start = Some(Span::from_millis(10_000));
    let options = Options { adapter: Adapter::Counted, start, ..Options::of(3) };
    let mut deployment = options.build();
    deployment.start().await;
    let hold = deployment.root.join("effects-n1.hold");
    std::fs::write(&hold, "").expect("the target is told to hang");
    let (proposal, number) = decide(&deployment, "service:x", "n1").await;
    wait::until_true("the target was acted on", WITHIN, || {
        effects::all(&deployment.root).len() == 1
    })
    .await;
    let name = format!("{}/{number}", deployment.cluster);
    let reissue = ["action", "reissue", &name, "--confirm"];

    // Somebody could still start it: too early, and the answer says when.
    let early = deployment.quorate("o1", &reissue);
    let words = String::from_utf8_lossy(&early.stderr).into_owned();
    assert_eq!(code_of(early.status), 7, "{words}");
    assert!(words.contains("OUTSIDE_WINDOW") && words.contains("next allowed"), "{words}");

    // Its executor dies between `started` and `done`, and is away past the window.
    deployment.agents.get_mut("n1").expect("n1").process.kill();
    std::fs::remove_file(&hold).expect("the target hangs no longer");
    wait::until_or(WITHIN, async || {
        deployment.quorate("o1", &reissue).status.success().then_some(())
    })
    .await
    .unwrap_or_else(|| panic!("not re-issued\n{}", deployment.logs()));
    let first = deployment.operator("o1");
    let old = first.decision(&deployment.cluster, number).await.expect("the first decision");
    assert_eq!((old.state(), old.continued_by), (DecisionState::Continued, number + 1), "{old:?}");

    // It is back: the new token, the same action, which its journal says it has started.
    deployment.agents.get_mut("n1").expect("n1").process.start();
    let effective = DecisionState::Effective;
    let new = first.ends(&deployment.cluster, number + 1, effective, WITHIN).await;
    assert_eq!((new.continues, &new.proposal_id), (number, &proposal.id().to_string()));
    assert_eq!(new.executions[0].answer, "already-applied", "{new:?}");
    // Whoever waits for the first number is told the outcome of the last.
    let waited = deployment.stdout("o1", &["decision", "show", &name, "--wait=60s", "-o", "json"]);
    let waited: serde_json::Value = serde_json::from_slice(&waited).expect("JSON");
    assert_eq!(waited["decision"]["token"], new.token.as_str(), "{waited}");
    assert_eq!(effects::all(&deployment.root).len(), 1, "carried out twice");
    deployment.certified(new.leaf_index + 1).await;
    drop(WholeLog::read(&first).await.verify(&deployment.charter.statement));
}
