//! Votes: from an observer's own evidence only.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::name;
use common::scene::{Play, Target, open_journal};
use common::stand_in::StandIn;
use common::world::{CLUSTER, World, note_signer};
use quorate_attest::id::{Digest, KeyName, MemberId};
use quorate_attest::log_time::Span;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_node::adapters::Adapters;
use quorate_node::clock::Clock;
use quorate_node::config::Automation;
use quorate_node::detect::{Agreement, Liveness, PeerFact, Settings};
use quorate_node::journal::JournalHandle;
use quorate_node::playbook::Shelf;
use quorate_node::probe::Reading;
use quorate_node::quorum::{OpenProposal, Stage as ProposalStage};
use quorate_node::vote::{Abstains, Ballot, Bench, Guard};
use quorate_node::watchman::Watchman;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const SETTINGS: Settings = Settings { failures: 3, freshness: Span::from_millis(15_000) };

fn member(id: &str) -> MemberId {
    id.parse().expect("a member")
}

/// What an agent believes after these readings, three times each.
fn seen(world: &World, readings: &[(&str, Reading)]) -> Liveness {
    let mut liveness = Liveness::new(SETTINGS);
    for (id, reading) in readings {
        for _ in 0..3 {
            liveness.observe(&member(id), *reading, world.now);
        }
    }
    liveness
}

fn judge(
    world: &World,
    by: &str,
    readings: &[(&str, Reading)],
    proposal: &Proposal,
) -> Result<Ballot, Abstains> {
    let (name, cluster): (KeyName, _) = (name(by), CLUSTER.parse().expect("a cluster"));
    let liveness = seen(world, readings);
    let history = &world.history;
    let bench = Bench {
        history,
        name: &name,
        cluster: &cluster,
        liveness: &liveness,
        agreement: &Agreement::default(),
        freshness: SETTINGS.freshness,
        shelf: &Shelf::default(),
        now: world.now,
    };
    bench.judge(proposal)
}

use Reading::{Down, Unreachable, Up};

#[test]
fn a_restart_is_approved_exactly_if_the_own_probes_say_so() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart, "member:n4", &["n4"], &[]);
    let judge = |readings: &[(&str, Reading)]| judge(&world, "n1", readings, &proposal);
    assert_eq!(judge(&[("n4", Down), ("n2", Up)]), Ok(Ballot::Approve));
    assert_eq!(judge(&[("n4", Unreachable), ("n2", Up), ("n3", Up)]), Ok(Ballot::Approve));
    assert!(matches!(judge(&[("n4", Up)]), Err(Abstains::NotSuspected { .. })));
    assert!(matches!(judge(&[]), Err(Abstains::NotSuspected { .. })));
    let cut_off = judge(&[("n4", Unreachable), ("n2", Unreachable), ("n3", Unreachable)]);
    assert_eq!(cut_off, Err(Abstains::CutOff), "partition is not death");
}

#[test]
fn a_false_plan_another_executor_and_an_expired_proposal_get_no_vote() {
    let mut world = World::new();
    let down = [("n4", Down)];
    let mut wrong_plan = world.proposal(Kind::Restart, "member:n4", &["n4"], &[]);
    wrong_plan.plan = Digest::of(b"something else");
    assert!(matches!(judge(&world, "n1", &down, &wrong_plan), Err(Abstains::Plan(_))));
    let elsewhere = world.proposal(Kind::Restart, "member:n4", &["n2"], &[]);
    assert!(matches!(judge(&world, "n1", &down, &elsewhere), Err(Abstains::Executors { .. })));
    let mut late = world.proposal(Kind::Restart, "member:n4", &["n4"], &[]);
    late.expires = world.now;
    assert_eq!(judge(&world, "n1", &down, &late), Err(Abstains::Expired));
    let mut foreign = world.proposal(Kind::Restart, "member:n4", &["n4"], &[]);
    foreign.charter = quorate_attest::id::CharterId(Digest::of(b"another charter"));
    assert!(matches!(judge(&world, "n1", &down, &foreign), Err(Abstains::NotInForce { .. })));
}

#[test]
fn who_has_no_voice_and_what_has_no_probe_get_no_vote() {
    let mut world = World::new();
    let ban = world.proposal(Kind::BanPeer, "member:n4", &["n1"], &["ttl-ms 600000"]);
    assert_eq!(judge(&world, "n4", &[], &ban), Err(Abstains::NoVoice), "the target's own");
    assert_eq!(judge(&world, "n1", &[], &ban), Ok(Ballot::ByEvidence(member("n4"))));
    assert_eq!(judge(&world, "stranger", &[], &ban), Err(Abstains::NoVoice));
    let halt = world.proposal(Kind::Halt, "member:n4", &["n4"], &[]);
    assert!(matches!(judge(&world, "n1", &[], &halt), Err(Abstains::NoProbe { .. })));
    let quiesce = world.proposal(Kind::Quiesce, "service:a", &["n1"], &[]);
    assert!(matches!(judge(&world, "n1", &[], &quiesce), Ok(Ballot::ByAdapter(_))));
}

struct Watch {
    directory: tempfile::TempDir,
    stand_in: StandIn,
    readings: mpsc::Sender<(MemberId, Reading)>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    journal: JournalHandle,
}

/// The real watchman of agent n1 over the stand-in.
fn watchman(world: &World, automation: Automation) -> Watch {
    let directory = tempfile::tempdir().expect("directory");
    let stand_in = StandIn::default();
    let (journal, _thread) =
        JournalHandle::spawn(open_journal(directory.path())).expect("a thread");
    let (view, shown) = watch::channel(world.trust().view());
    let (stopped_by_us, stopped) = watch::channel(None);
    let (readings, seen) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let now = world.now;
    let target = Target { effects: directory.path().join("effects"), play: Play::Works };
    let watchman = Watchman {
        shelf: Shelf::default(),
        name: name("n1"),
        cluster: CLUSTER.parse().expect("a cluster"),
        member: member("n1"),
        signer: Arc::new(note_signer("agent", "n1")),
        guard: Guard::beside(&directory.path().join("vote.pem")),
        journal: journal.clone(),
        adapters: Adapters::none().with(Arc::new(target)),
        quorum: Arc::new(stand_in.clone()),
        view: shown,
        stopped,
        clock: Clock::new(move || now),
        settings: SETTINGS,
        interval: Duration::from_millis(20),
        automation,
    };
    let stopping = stop.clone();
    let running = tokio::spawn(async move {
        // Both stay open as long as it runs.
        let _kept = (view, stopped_by_us);
        watchman.run(seen, stopping).await.expect("no halt");
    });
    Watch { directory, stand_in, readings, stop, running, journal }
}

impl Watch {
    async fn see(&self, id: &str, reading: Reading) {
        for _ in 0..3 {
            self.readings.send((member(id), reading)).await.expect("it runs");
        }
    }

    async fn until<T>(&self, what: &str, ask: impl Fn(&common::stand_in::Told) -> Option<T>) -> T {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(answer) = ask(&*self.stand_in.0.lock().await) {
                return answer;
            }
            assert!(std::time::Instant::now() < end, "it never happened: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("it ended");
    }
}

#[tokio::test]
async fn a_suspicion_that_others_share_is_proposed_once_and_voted_for() {
    let world = World::new();
    let watch = watchman(&world, Automation::Restart);
    watch.see("n2", Up).await;
    watch.see("n4", Down).await;
    let observed = watch
        .until("its facts are sent", |told| {
            let sent = told.observations.iter();
            let facts = sent.map(|sent| sent.statement.fact.iter().map(ToString::to_string));
            facts
                .map(Iterator::collect::<Vec<_>>)
                .find(|facts| facts.contains(&"member n4 down".into()))
        })
        .await;
    assert!(observed.contains(&"member n2 up".to_owned()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(watch.stand_in.0.lock().await.opened.is_empty(), "nobody shares it yet");
    watch.stand_in.0.lock().await.facts = vec![PeerFact {
        agent: name("n2"),
        member: member("n4"),
        reading: Down,
        observed: world.now,
    }];
    let proposal = watch.until("a restart is proposed", |told| told.opened.first().cloned()).await;
    assert_eq!((proposal.kind, proposal.target.as_str()), (Kind::Restart, "member:n4"));
    assert_eq!(proposal.executor, [name("n4")]);
    let open = OpenProposal { proposal: proposal.clone(), stage: ProposalStage::Voting };
    watch.stand_in.0.lock().await.open = vec![open];
    let vote = watch.until("it votes", |told| told.votes.first().cloned()).await;
    assert_eq!(
        (vote.statement.proposal, vote.statement.verdict),
        (proposal.id(), Verdict::Approve)
    );
    vote.verify(&world.charter.statement.agent_ring()).expect("its own signature");
    tokio::time::sleep(Duration::from_millis(200)).await;
    {
        let told = watch.stand_in.0.lock().await;
        assert_eq!((told.opened.len(), told.votes.len()), (1, 1), "once each");
    }
    // The guard knows the vote: nobody can make this key say the opposite.
    let guard = Guard::beside(&watch.directory.path().join("vote.pem"));
    let reject = quorate_attest::vote::Vote::on(&proposal, Verdict::Reject);
    assert!(guard.sign_vote(&note_signer("agent", "n1"), reject).is_err());
    watch.end().await;
}

#[tokio::test]
async fn an_accused_peer_is_banned_only_by_evidence_verified_here() {
    let mut world = World::new();
    let leaf = Digest::of(b"an evidence leaf");
    let mut proposal = world.proposal(Kind::BanPeer, "member:n4", &["n1"], &["ttl-ms 600000"]);
    proposal.evidence = vec![leaf];
    let watch = watchman(&world, Automation::Off);
    let open = OpenProposal { proposal: proposal.clone(), stage: ProposalStage::Voting };
    watch.stand_in.0.lock().await.open = vec![open];
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(watch.stand_in.0.lock().await.votes.is_empty(), "an accusation is no evidence");
    let against =
        |who: &'static str| watch.journal.with(move |journal| journal.evidence_against(&leaf, who));
    against("n3").await.expect("the journal").expect("written");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(watch.stand_in.0.lock().await.votes.is_empty(), "it speaks against another");
    against("n4").await.expect("the journal").expect("written");
    let vote = watch.until("it votes", |told| told.votes.first().cloned()).await;
    assert_eq!(vote.statement.proposal, proposal.id());
    watch.end().await;
}

#[tokio::test]
async fn an_agent_that_is_cut_off_neither_proposes_nor_votes() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart, "member:n4", &["n4"], &[]);
    let watch = watchman(&world, Automation::Restart);
    {
        let mut told = watch.stand_in.0.lock().await;
        told.facts = vec![PeerFact {
            agent: name("n2"),
            member: member("n4"),
            reading: Unreachable,
            observed: world.now,
        }];
    }
    for id in ["n2", "n3", "n4"] {
        watch.see(id, Unreachable).await;
    }
    watch.until("its facts are sent", |told| told.observations.first().map(|_| ())).await;
    let open = OpenProposal { proposal, stage: ProposalStage::Voting };
    watch.stand_in.0.lock().await.open = vec![open];
    tokio::time::sleep(Duration::from_millis(400)).await;
    let told = watch.stand_in.0.lock().await;
    assert_eq!((told.opened.len(), told.votes.len()), (0, 0));
}
