//! A running quorum of three, callers of every role, and what an answer has to look like.

use std::path::Path;
use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::id::KeyName;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::Verdict;
use quorate_proto::authority::Authority;
use quorate_proto::client::{ChannelOptions, Endpoint, Transport, channel, tcp};
use quorate_proto::identity::{Identity, Role};
use quorate_proto::pb::v1::proposals_client::ProposalsClient;
use quorate_proto::pb::v1::votes_client::VotesClient;
use quorate_proto::pb::v1::{GetStatusResponse, OpenProposalRequest, SubmitVoteRequest};
use quorate_proto::problem::Problem;
use quorate_proto::tls::TlsMaterial;
use quorate_tests::client::{Draft, Party, now, vote_note};
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::wait;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// How long the quorum may take for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// An idle quorum appends nothing for so long.
const QUIET: Duration = Duration::from_millis(1_500);

/// What is left of the state after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Not one bit differs, not even the time: what changes nothing needs no entry.
    Untouched,
    /// The row says so: this many leaves more.
    Leaves(u64),
}

/// The documented answer to one bad input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) code: Code,
    pub(crate) exit: u8,
    /// Facts it must carry.
    pub(crate) facts: &'static [&'static str],
    /// Whether time heals it.
    pub(crate) retry: Retry,
}

/// Whether an answer must say when to ask again, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    Timed,
}

/// A refusal that no time heals.
pub(crate) const fn refusal(
    reason: &'static str,
    code: Code,
    exit: u8,
    facts: &'static [&'static str],
) -> Refusal {
    Refusal { reason, code, exit, facts, retry: Retry::Never }
}

/// Three coordinators and nobody else: the test speaks for agents and people.
pub(crate) struct Site {
    pub(crate) deployment: Deployment,
    pub(crate) operators: Vec<Party>,
    pub(crate) leader: u64,
}

impl Site {
    pub(crate) async fn begin() -> Self {
        let mut deployment =
            Options { adapter: Adapter::Counted, operators: 4, ..Options::of(3) }.build();
        deployment.start_coordinators();
        let leader = deployment.leader().await;
        deployment.certified(1).await;
        let operators = deployment.operators.iter().map(|id| deployment.operator(id)).collect();
        let site = Self { deployment, operators, leader };
        site.settled().await;
        site
    }

    /// Waits until an idle quorum appends nothing more: that can only be seen by looking for a while.
    async fn settled(&self) {
        let mut last = u64::MAX;
        for _ in 0..20 {
            let now = applied(&self.status().await);
            if now == last {
                return;
            }
            last = now;
            tokio::time::sleep(QUIET).await;
        }
        panic!("an idle quorum goes on appending\n{}", self.deployment.logs());
    }

    pub(crate) fn charter(&self) -> &Charter {
        &self.deployment.charter.statement
    }

    /// The leader's state, hashes included.
    pub(crate) async fn status(&self) -> GetStatusResponse {
        let answered = self.operators[0].client.status_of(self.leader, true).await;
        answered.unwrap_or_else(|error| panic!("{error}\n{}", self.deployment.logs()))
    }

    /// A connection of an operator to the leader, without the client's own patience.
    pub(crate) fn operator(&self, at: usize) -> Channel {
        let folder = self.deployment.root.join("operators").join(&self.deployment.operators[at]);
        self.connect(&material(&folder), self.leader)
    }

    /// A connection of an agent to the leader.
    pub(crate) fn agent(&self, member: &str) -> Channel {
        let folder = self.deployment.root.join(format!("agent-{member}"));
        self.connect(&material(&folder), self.leader)
    }

    /// A connection to a coordinator with this certificate.
    pub(crate) fn connect(&self, material: &TlsMaterial, to: u64) -> Channel {
        self.over(&Transport::tls(material).expect("TLS"), to)
    }

    /// A connection to a coordinator.
    pub(crate) fn over(&self, transport: &Transport, to: u64) -> Channel {
        let endpoint: &Endpoint = &self.deployment.coordinators[&to].endpoint;
        channel(endpoint, transport, ChannelOptions::default(), &tcp()).expect("an address")
    }

    /// A certificate of this deployment's authority for any identity.
    pub(crate) fn issue(&self, role: Role, id: &str) -> TlsMaterial {
        let identity = Identity::new(self.deployment.network.clone(), role, id);
        self.authority().material(&identity.expect("an identity")).expect("a certificate")
    }

    pub(crate) fn authority(&self) -> Authority {
        let read = |name: &str| std::fs::read_to_string(self.deployment.root.join(name));
        let (certificate, key) = (read("ca.pem").expect("it"), read("ca.key").expect("its key"));
        Authority::from_pem(&certificate, &key).expect("the deployment's authority")
    }

    /// `halt` of a target: three of the four operators have to approve.
    pub(crate) fn halt(&self, target: &str) -> Proposal {
        let executors = [self.agent_name("n1")];
        let draft = Draft { kind: Kind::Halt, target, executors: &executors };
        self.operators[0].draft(self.charter(), &self.deployment.cluster, &draft)
    }

    pub(crate) fn agent_name(&self, member: &str) -> KeyName {
        self.deployment.agents[member].name.clone()
    }

    /// Opens a proposal as the first operator.
    pub(crate) async fn open(&self, proposal: &Proposal) {
        let text = proposal.text().into_bytes();
        let request = OpenProposalRequest { text, ..Default::default() };
        let opened = ProposalsClient::new(self.operator(0)).open_proposal(request).await;
        opened.unwrap_or_else(|status| panic!("{status}\n{}", self.deployment.logs()));
    }

    /// Opens a proposal and decides it.
    pub(crate) async fn decide(&self, target: &str) -> (Proposal, u64) {
        let proposal = self.halt(target);
        self.open(&proposal).await;
        for party in &self.operators[..3] {
            let note = vote_note(party, &proposal, Verdict::Approve).to_bytes();
            let request = SubmitVoteRequest { note, ..Default::default() };
            let voted = VotesClient::new(self.operator(0)).submit_vote(request).await;
            voted.unwrap_or_else(|status| panic!("{status}\n{}", self.deployment.logs()));
        }
        let number = self.operators[0].decided(&proposal.id(), WITHIN).await;
        (proposal, number)
    }

    /// Makes a call and compares everything with the documented answer.
    pub(crate) async fn refuses<R: std::fmt::Debug>(
        &self,
        what: &str,
        after: After,
        expected: Refusal,
        call: impl Future<Output = Result<Response<R>, Status>>,
    ) {
        let before = self.status().await;
        let answered = tokio::time::timeout(WITHIN, call).await;
        let answered = answered.unwrap_or_else(|_| panic!("{what}: no answer"));
        let status = match answered {
            Err(status) => status,
            Ok(answer) => panic!("{what}: accepted: {answer:?}"),
        };
        expected.check(what, &status);
        self.left(what, after, &before).await;
    }

    /// Compares the state with what it was.
    pub(crate) async fn left(&self, what: &str, after: After, before: &GetStatusResponse) {
        let now = self.status().await;
        match after {
            After::Untouched => {
                assert_eq!(now.state_hash, before.state_hash, "{what}: state hash");
                assert_eq!(applied(&now), applied(before), "{what}: entries");
            }
            After::Leaves(more) => {
                assert_eq!(now.log_size, before.log_size + more, "{what}: leaves");
            }
        }
    }

    /// Everybody is alive, has the same state, and a new decision is certified.
    pub(crate) async fn is_well(&mut self) {
        let (_, number) = self.decide("service:afterwards").await;
        let cluster = self.deployment.cluster.clone();
        let decision = self.operators[0].decision(&cluster, number).await.expect("the decision");
        self.deployment.certified(decision.leaf_index + 1).await;
        for coordinator in self.deployment.coordinators.values_mut() {
            assert!(coordinator.process.is_running(), "{} has ended", coordinator.process.name());
        }
        let equal = wait::until_or(WITHIN, || async {
            let statuses = self.deployment.statuses().await;
            let mut hashes = Vec::new();
            for id in statuses.keys() {
                let status = self.operators[0].client.status_of(*id, true).await.ok()?;
                hashes.push(status.state_hash);
            }
            (hashes.len() == 3 && hashes.iter().all(|hash| *hash == hashes[0])).then_some(())
        })
        .await;
        assert!(equal.is_some(), "the replicas differ\n{}", self.deployment.logs());
    }
}

impl Refusal {
    /// The same, healed by time.
    pub(crate) const fn timed(mut self) -> Self {
        self.retry = Retry::Timed;
        self
    }

    pub(crate) fn check(&self, what: &str, status: &Status) {
        let problem = Problem::from_status(status)
            .unwrap_or_else(|| panic!("{what}: not one of our reasons: {status:?}"));
        assert_eq!(problem.code().reason(), self.reason, "{what}: {status:?}");
        assert_eq!(status.code(), self.code, "{what}: {status:?}");
        assert_eq!(problem.exit_code().code(), self.exit, "{what}");
        for fact in self.facts {
            assert!(problem.fact(fact).is_some(), "{what}: no fact `{fact}` in {problem:?}");
        }
        let timed = problem.delay().is_some();
        assert_eq!(timed, self.retry == Retry::Timed, "{what}: RetryInfo in {problem:?}");
        assert!(!problem.message().is_empty(), "{what}: a sentence for people");
    }
}

fn applied(status: &GetStatusResponse) -> u64 {
    status.read.as_ref().map_or(0, |read| read.applied_index)
}

/// The TLS files of a folder.
pub(crate) fn material(folder: &Path) -> TlsMaterial {
    let file = |name: &str| folder.join(name);
    let material = TlsMaterial::load(&file("tls.pem"), &file("tls.key"), &file("ca.pem"));
    material.unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// A log time so many seconds from now.
pub(crate) fn in_seconds(seconds: u64) -> LogTime {
    now().saturating_add(Span::from_secs(seconds))
}
