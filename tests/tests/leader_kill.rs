//! kill -9 of the leader in the middle of voting, again and again, then of everybody at once.
//!
//! Seven operators vote on `halt` proposals, five approvals decide; real agents carry each decision
//! out on a target that counts. Clients keep a history with ok, fail and unknown. Afterwards nothing
//! acknowledged is missing (*acknowledged-never-lost*), tokens rise (*token-monotone*), each decision
//! was carried out once (*no-double-execution*), and all heads lie on one log (*log-append-only*).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use quorate_attest::certificate::verify_certificate;
use quorate_attest::id::KeyName;
use quorate_attest::note::Note;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::vote::Verdict;
use quorate_node::journal::Phase;
use quorate_proto::client::CallError;
use quorate_proto::pb::v1::{DecisionState, OpenProposalResponse, SubmitVoteResponse};
use quorate_tests::client::{Draft, Party, now};
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::history::{Act, Answer, History};
use quorate_tests::log::{Heads, WholeLog};
use quorate_tests::seed::Seed;
use quorate_tests::settings::Budgets;
use quorate_tests::{effects, journals, wait};

/// How long a decision may take, through an election and a restart.
const WITHIN: Duration = Duration::from_secs(40);
/// Votes that are acknowledged before the leader may die.
const VOTES_BEFORE: usize = 2;

/// What a round does while votes come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// kill -9 of the leader, which starts again once the votes are in.
    KillLeader,
    /// kill -9 of all at once, which start again at once.
    KillAll,
}

struct Run {
    deployment: Deployment,
    operators: Vec<Party>,
    agents: Vec<KeyName>,
    history: History,
    heads: Heads,
    seed: Seed,
    round: usize,
    /// Rounds with a kill.
    kills: usize,
    /// Those with votes under way at that moment.
    in_the_middle: usize,
    longest: Duration,
}

impl Run {
    async fn start(coordinators: u16, name: &str) -> Self {
        let options = Options {
            operators: 7,
            adapter: Adapter::Counted,
            budgets: Budgets::Generous,
            ..Options::of(coordinators)
        };
        let mut deployment = options.build();
        deployment.start().await;
        Self {
            operators: deployment.operators.iter().map(|id| deployment.operator(id)).collect(),
            agents: deployment.agents.values().map(|agent| agent.name.clone()).collect(),
            deployment,
            history: History::default(),
            heads: Heads::default(),
            seed: Seed::of_this_run(name),
            round: 0,
            kills: 0,
            in_the_middle: 0,
            longest: Duration::ZERO,
        }
    }

    /// One proposal from its opening to its verified effect.
    async fn round(&mut self, fault: Fault) {
        let begin = Instant::now();
        self.round += 1;
        let (proposal, opened) = self.open().await;
        assert!(
            opened.is_some(),
            "round {}: nobody opens a proposal\n{}",
            self.round,
            self.deployment.logs()
        );
        let (before, after) = (&self.operators[..VOTES_BEFORE], &self.operators[VOTES_BEFORE..]);
        for operator in before {
            let answered = operator.vote(&proposal, Verdict::Approve).await;
            self.history.note(vote(operator, &proposal), &answered);
        }
        let leader = self.deployment.leader().await;
        let voting = after.iter().zip(0_u64..).map(|(operator, at)| {
            let (operator, proposal) = (operator.clone(), proposal.clone());
            tokio::spawn(votes(operator, proposal, Duration::from_millis(2 * at)))
        });
        let voting: Vec<_> = voting.collect();
        let all = self.deployment.coordinators.keys().copied();
        let doomed: Vec<u64> = match fault {
            Fault::None => Vec::new(),
            Fault::KillLeader => vec![leader],
            Fault::KillAll => all.collect(),
        };
        tokio::time::sleep(Duration::from_millis(self.seed.below(25))).await;
        let killed = Instant::now();
        self.deployment.kill_coordinators(&doomed);
        if fault == Fault::KillAll {
            self.deployment.start_coordinators();
        }
        let mut last = begin;
        for vote in voting {
            let (act, answers, at) = vote.await.expect("a vote's task");
            answers.iter().for_each(|answered| self.history.note(act.clone(), answered));
            last = last.max(at);
        }
        if fault == Fault::KillLeader {
            self.deployment.coordinators.get_mut(&leader).expect("it").process.start();
        }
        if fault != Fault::None {
            self.kills += 1;
            self.in_the_middle += usize::from(killed < last);
        }
        self.finish(&proposal).await;
        self.longest = self.longest.max(begin.elapsed());
    }

    /// Opens a proposal; an unknown outcome is settled by looking.
    async fn open(&mut self) -> (Proposal, Option<OpenProposalResponse>) {
        let executor = [self.agents[self.round % self.agents.len()].clone()];
        let target = format!("service:s{}", self.round);
        let draft = Draft { kind: Kind::Halt, target: &target, executors: &executor };
        let first = &self.operators[0];
        let charter = &self.deployment.charter.statement;
        let proposal = first.draft(charter, &self.deployment.cluster, &draft);
        let answered = first.open_proposal(&proposal).await;
        self.history.note(Act::Open(proposal.id()), &answered);
        (proposal, answered.ok())
    }

    /// Waits for decision, certificate and effect, and until all coordinators are level again.
    async fn finish(&mut self, proposal: &Proposal) {
        let (first, cluster) = (&self.operators[0], &self.deployment.cluster);
        let number = first.decided(&proposal.id(), WITHIN).await;
        let decision = first.ends(cluster, number, DecisionState::Effective, WITHIN).await;
        let leaf = decision.leaf_index;
        self.history.saw(Act::Decide { proposal: proposal.id(), number, leaf });
        self.history.saw(Act::Outcome { number });
        let trusted = WholeLog::trusted(&self.deployment.charter.statement);
        let verified = verify_certificate(&decision.certificate, &trusted, now());
        let certificate = verified.unwrap_or_else(|refused| panic!("decision {number}: {refused}"));
        assert_eq!(certificate.token.number.get(), number);
        self.deployment.certified(leaf + 1).await;
        for status in self.deployment.statuses().await.into_values() {
            self.heads.keep(&status.head.unwrap_or_default().note);
        }
    }

    /// Everything that must hold, whatever was killed.
    async fn check(&mut self) {
        let log = self.logs().await;
        drop(log.verify(&self.deployment.charter.statement));
        self.heads.all_on(&log);
        self.tokens_rise(&log);
        self.nothing_acknowledged_is_lost(&log).await;
        self.hashes_are_equal().await;
        for agent in self.deployment.agents.values_mut() {
            agent.process.kill();
        }
        self.each_decision_ran_once(&log);
        self.deployment.start_agents();
    }

    /// The log of every coordinator: one is a prefix of the other.
    async fn logs(&mut self) -> WholeLog {
        let mut longest: Option<WholeLog> = None;
        for id in self.deployment.coordinators.keys() {
            let log = WholeLog::read(&self.deployment.reader_of(*id)).await;
            self.heads.keep(&log.head);
            let (short, long) = match longest.take() {
                None => (log.clone(), log),
                Some(before) if before.leaves.len() < log.leaves.len() => (before, log),
                Some(before) => (log, before),
            };
            assert!(long.leaves.starts_with(&short.leaves), "coordinator {id} holds another log");
            longest = Some(long);
        }
        longest.expect("a coordinator")
    }

    fn tokens_rise(&self, log: &WholeLog) {
        let decisions = log.decisions();
        let tokens: Vec<_> = decisions.iter().map(|(_, decision)| decision.token()).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b), "tokens do not rise: {tokens:?}");
        let proposals: BTreeSet<_> = decisions.iter().map(|(_, d)| d.proposal.id()).collect();
        assert_eq!(proposals.len(), decisions.len(), "a proposal was decided twice");
        let executed = log.outcomes().len();
        assert_eq!(executed, decisions.len(), "each decision has one outcome");
    }

    async fn nothing_acknowledged_is_lost(&self, log: &WholeLog) {
        let decisions = log.decisions();
        let decided: BTreeMap<_, _> =
            decisions.iter().map(|(index, d)| (d.proposal.id(), (*index, d))).collect();
        let outcomes: BTreeSet<u64> = log.outcomes().iter().map(|o| o.number.get()).collect();
        for act in self.history.acknowledged() {
            match act {
                Act::Open(id) => {
                    let first = &self.operators[0];
                    let there = decided.contains_key(id)
                        || first.proposal(id).await.expect("an answer").is_some();
                    assert!(there, "the acknowledged proposal {id} is lost");
                }
                Act::Vote { proposal, voter, verdict } => {
                    assert_eq!(*verdict, Verdict::Approve);
                    let counted = match decided.get(proposal) {
                        Some((_, decision)) => names(&decision.votes.note()),
                        None => BTreeSet::new(),
                    };
                    let is_there =
                        counted.contains(voter.as_str()) || self.is_held(proposal, voter).await;
                    assert!(is_there, "the acknowledged vote of {voter} on {proposal} is lost");
                }
                Act::Decide { proposal, number, leaf } => {
                    let (index, decision) = decided[proposal];
                    assert_eq!((index, decision.number.get()), (*leaf, *number));
                }
                Act::Outcome { number } => {
                    assert!(outcomes.contains(number), "the outcome of decision {number} is lost");
                }
            }
        }
    }

    /// Whether the coordinators hold a vote that no decision carries.
    async fn is_held(&self, proposal: &quorate_attest::id::ProposalId, voter: &KeyName) -> bool {
        let found = self.operators[0].proposal(proposal).await.expect("an answer");
        let note = found.map(|found| found.approve_note).unwrap_or_default();
        Note::parse(&note).is_ok_and(|note| names(&note).contains(voter.as_str()))
    }

    async fn hashes_are_equal(&self) {
        let client = &self.operators[0].client;
        let level = wait::until_or(WITHIN, async || {
            let mut found = BTreeSet::new();
            for id in self.deployment.coordinators.keys() {
                let status = client.status_of(*id, true).await.ok()?;
                let applied = status.read.map(|read| read.applied_index);
                found.insert((applied, status.ledger_hash, status.state_hash));
            }
            (found.len() == 1).then_some(found)
        })
        .await;
        let level = level.unwrap_or_else(|| panic!("states differ\n{}", self.deployment.logs()));
        assert!(level.iter().all(|(_, ledger, state)| !ledger.is_empty() && !state.is_empty()));
    }

    /// By the agents' own journals, and by what the target counted.
    fn each_decision_ran_once(&self, log: &WholeLog) {
        let decisions = log.decisions();
        let mut started: BTreeMap<u64, usize> = BTreeMap::new();
        for agent in self.deployment.agents.values() {
            let entries = journals::entries(&agent.folder, &agent.name, &self.deployment.cluster);
            for entry in entries.iter().filter(|entry| entry.started.is_some()) {
                *started.entry(entry.token.number.get()).or_default() += 1;
                assert_eq!(entry.phase, Phase::Done, "decision {} on {}", entry.token, agent.name);
            }
        }
        let done = effects::all(&self.deployment.root);
        for (_, decision) in &decisions {
            let number = decision.number.get();
            assert_eq!(started.get(&number), Some(&1), "journals that started decision {number}");
            let id = decision.proposal.id().to_string();
            let times: Vec<_> = done.iter().filter(|effect| effect.proposal == id).collect();
            assert_eq!(times.len(), 1, "decision {number} was carried out {} times", times.len());
            assert_eq!(times[0].token, decision.token().to_string());
        }
        assert_eq!(done.len(), decisions.len(), "something was done without a decision");
        assert_eq!(started.len(), decisions.len(), "something was started without a decision");
    }

    fn report(&self) {
        let (shown, sizes) = self.heads.count();
        eprintln!(
            "{} coordinators, {} kills, {} with votes under way; clients: {}; {shown} heads of {sizes} \
             sizes, 0 inconsistent; longest round {:?}",
            self.deployment.coordinators.len(),
            self.kills,
            self.in_the_middle,
            self.history,
            self.longest,
        );
    }
}

/// What the answers to one operator's vote were, and when the last one came. Whoever gets none votes again.
async fn votes(
    operator: Party,
    proposal: Proposal,
    after: Duration,
) -> (Act, Vec<Result<SubmitVoteResponse, CallError>>, Instant) {
    tokio::time::sleep(after).await;
    let begin = Instant::now();
    let mut answers = Vec::new();
    loop {
        let answered = operator.vote(&proposal, Verdict::Approve).await;
        // A refusal that no time heals is an answer, and so is a good one.
        let is_settled = answered.as_ref().map_or_else(
            |error| error.problem().is_some_and(|problem| problem.delay().is_none()),
            |_| true,
        );
        answers.push(answered);
        if is_settled || begin.elapsed() > WITHIN {
            return (vote(&operator, &proposal), answers, Instant::now());
        }
    }
}

fn vote(operator: &Party, proposal: &Proposal) -> Act {
    Act::Vote { proposal: proposal.id(), voter: operator.name.clone(), verdict: Verdict::Approve }
}

fn names(note: &Note) -> BTreeSet<String> {
    note.lines.iter().map(|line| line.name.clone()).collect()
}

async fn leaders_die_and_nothing_is_lost(coordinators: u16, kills: usize, name: &str) {
    let mut run = Run::start(coordinators, name).await;
    run.round(Fault::None).await;
    for _ in 0..kills {
        run.round(Fault::KillLeader).await;
    }
    run.check().await;
    // Everybody at once: in the middle of voting, and at rest.
    for _ in 0..kills.div_ceil(10) {
        run.round(Fault::KillAll).await;
    }
    run.check().await;
    let everybody: Vec<u64> = run.deployment.coordinators.keys().copied().collect();
    run.deployment.kill_coordinators(&everybody);
    run.deployment.start_coordinators();
    run.deployment.leader().await;
    run.check().await;
    // Alive afterwards: one more decision, and the same once more.
    run.round(Fault::None).await;
    run.check().await;
    run.report();
    // A kill that met no vote is no proof.
    let in_time = run.in_the_middle;
    assert!(in_time * 2 > run.kills, "only {in_time} of {} kills were in time", run.kills);
    assert!(run.history.count(Answer::Ok) > kills * 5, "hardly any traffic: {}", run.history);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_die_while_votes_come_in() {
    leaders_die_and_nothing_is_lost(3, 2, "leader_kill").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "50 kills take minutes; run by .ci/run"]
async fn fifty_leaders_of_three_die_while_votes_come_in() {
    leaders_die_and_nothing_is_lost(3, 50, "leader_kill of 3").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "50 kills take minutes; run by .ci/run"]
async fn fifty_leaders_of_four_die_while_votes_come_in() {
    leaders_die_and_nothing_is_lost(4, 50, "leader_kill of 4").await;
}
