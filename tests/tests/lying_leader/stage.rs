//! Four coordinators, one of which lies and leads; no agents, so that the test speaks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_attest::agent_statement::{Fact, Observe};
use quorate_attest::certificate::CertificateRefused;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::id::{KeyName, Nonce};
use quorate_attest::log_time::Span;
use quorate_attest::number::Sequence;
use quorate_attest::proposal::Proposal;
use quorate_attest::refusal::{Cause, Refusal};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Veto, Vote};
use quorate_core::Body;
use quorate_proto::client::Route;
use quorate_proto::pb::v1::agents_client::AgentsClient;
use quorate_proto::pb::v1::{CoordinatorRole, GetStatusResponse, ObserveRequest};
use quorate_tests::client::{Party, now, random, vote_note};
use quorate_tests::deployment::{Adapter, Deployment, Options};
use quorate_tests::liar::branch::Branch;
use quorate_tests::liar::{LIAR, Liar, cosigners};
use quorate_tests::{settings, wait};
use toml::Value;

/// The coordinators that do not lie.
pub(crate) const HONEST: [u64; 3] = [2, 3, 4];
/// How long honest coordinators may take to do what they do.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
/// The term in which the liar leads.
const TERM: u64 = 1;

/// The liar, its honest followers and everybody's keys.
pub(crate) struct Stage {
    pub(crate) deployment: Deployment,
    pub(crate) liar: Liar,
    /// The log that everybody has: the charter.
    pub(crate) base: Branch,
    pub(crate) operators: Vec<Party>,
}

impl Stage {
    /// The liar leads, and a head of the charter is cosigned by all who are honest.
    pub(crate) async fn begin() -> Self {
        let stage = Self::unfounded(3).await;
        let honest = stage.deployment.charter.clone();
        let base = Branch::founded(TERM, &honest);
        let stage = Self { base, ..stage };
        stage.liar.feed(&HONEST, &stage.base).await;
        stage.cosigned(&stage.base.checkpoint(1), &HONEST).await;
        stage
    }

    /// The liar leads a log in which nothing stands.
    pub(crate) async fn unfounded(operators: usize) -> Self {
        let options = Options { adapter: Adapter::Counted, operators, ..Options::of(4) };
        let mut deployment = options.build();
        for coordinator in deployment.coordinators.values() {
            be_patient(&coordinator.folder.join("coordinator.toml"));
        }
        for id in HONEST {
            deployment.coordinators.get_mut(&id).expect("it").process.start();
        }
        let mut liar = Liar::of(&deployment).await;
        liar.is_elected(TERM).await;
        Self {
            operators: deployment.operators.iter().map(|id| deployment.operator(id)).collect(),
            base: Branch::unfounded(TERM, &deployment.charter.statement),
            liar,
            deployment,
        }
    }

    /// `halt` of a target, which needs the approval of all three operators (M = 3).
    pub(crate) fn halt(&self, target: &str) -> Proposal {
        self.draft(&self.operators[0], Kind::Halt, target)
    }

    /// A proposal in the name of `proposer`.
    pub(crate) fn draft(&self, proposer: &Party, kind: Kind, target: &str) -> Proposal {
        let charter = &self.deployment.charter.statement;
        let proposal = Proposal {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            charter: charter.id(),
            cluster: self.deployment.cluster.clone(),
            incident: "i-1".parse().expect("an incident"),
            kind,
            target: target.parse().expect("a target"),
            proposer: proposer.name.clone(),
            executor: vec![self.agent("n1").name],
            param: Vec::new(),
            plan: quorate_attest::id::Digest::of(target.as_bytes()),
            reason: "the test asks for it".parse().expect("a sentence"),
            evidence: Vec::new(),
            expires: now().saturating_add(Span::from_secs(3 * 3_600)),
            nonce: Nonce::from_bytes(random()),
        };
        Proposal::parse(&proposal.text()).expect("a canonical proposal")
    }

    /// The agent beside a member, in the hands of the test.
    pub(crate) fn agent(&self, member: &str) -> Party {
        self.deployment.agent_party(member)
    }

    /// What the agent of `member` says of members.
    pub(crate) fn observation(
        &self,
        by: &str,
        sequence: u64,
        facts: &[(&str, &str)],
    ) -> Signed<Observe> {
        let agent = self.agent(by);
        let charter = &self.deployment.charter.statement;
        let fact = |(member, seen): &(&str, &str)| Fact {
            key: "member".parse().expect("a key"),
            value: member.parse().expect("a word"),
            extra: Some(seen.parse().expect("a word")),
        };
        let mut fact: Vec<Fact> = facts.iter().map(fact).collect();
        fact.sort();
        agent.signer().signed(Observe {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            cluster: self.deployment.cluster.clone(),
            agent: agent.name.clone(),
            sequence: Sequence::new(sequence).expect("a sequence"),
            observed: now(),
            fact,
        })
    }

    /// Hands an observation to these coordinators, as agents do to all. The liar keeps it to itself.
    pub(crate) async fn tells(
        &self,
        to: &[u64],
        by: &str,
        sequence: u64,
        facts: &[(&str, &str)],
    ) -> Signed<Observe> {
        let observation = self.observation(by, sequence, facts);
        let note = observation.to_bytes();
        let client = &self.agent(by).client;
        for id in to {
            let request = ObserveRequest { note: note.clone() };
            let told = client.call(Route::Only(*id), "", request, |channel, request| async move {
                AgentsClient::new(channel).observe(request).await
            });
            let answer = told.await.unwrap_or_else(|error| panic!("{id}: {error}"));
            assert!(answer.held, "it is held even where nobody leads it into the log");
        }
        observation
    }

    /// The honest way from a proposal to its decision: opened, approved by these.
    pub(crate) fn decide(&self, branch: &mut Branch, proposal: &Proposal, voters: &[Party]) -> u64 {
        drop(branch.take(Body::Open(proposal.clone())));
        for voter in voters {
            drop(branch.take(Body::Vote(vote_note(voter, proposal, Verdict::Approve))));
        }
        branch.decision().0
    }

    /// A veto, signed.
    pub(crate) fn veto(&self, by: &Party, proposal: &Proposal) -> Signed<Veto> {
        by.signer().signed(Veto {
            origin: proposal.origin.clone(),
            epoch: proposal.epoch,
            proposal: proposal.id(),
            reason: "not now".parse().expect("a sentence"),
        })
    }

    /// A vote in the name of `voter`, whose signature somebody made up.
    pub(crate) fn forged_vote(&self, voter: &Party, proposal: &Proposal) -> Signed<Vote> {
        let mut vote = vote_note(voter, proposal, Verdict::Approve);
        for line in &mut vote.lines {
            line.payload = random::<64>().to_vec();
        }
        vote
    }

    /// What one honest coordinator says of itself.
    pub(crate) async fn status(&self, id: u64) -> GetStatusResponse {
        let answered = self.operators[0].client.status_of(id, true).await;
        answered.unwrap_or_else(|error| panic!("{id}: {error}\n{}", self.deployment.logs()))
    }

    /// The honest coordinator that leads once the liar does not.
    pub(crate) async fn honest_leader(&self) -> u64 {
        let what = format!("an honest leader\n{}", self.deployment.logs());
        wait::until(&what, WITHIN, || async {
            for id in HONEST {
                let status = self.status(id).await;
                if status.role() == CoordinatorRole::Leader {
                    return Some(id);
                }
            }
            None
        })
        .await
    }

    /// Waits until these have a certified head of `size` or more.
    pub(crate) async fn certified(&self, size: u64, by: &[u64]) {
        for id in by {
            let what = format!("coordinator {id} certifies {size}\n{}", self.deployment.logs());
            wait::until(&what, WITHIN, || async {
                let head = self.status(*id).await.head;
                head.filter(|head| head.size >= size).map(drop)
            })
            .await;
        }
    }

    /// Waits until these have applied `size` leaves: the lie has arrived.
    pub(crate) async fn applied(&self, size: u64, by: &[u64]) {
        for id in by {
            let what =
                format!("coordinator {id} applies {size} leaves\n{}", self.deployment.logs());
            wait::until(&what, WITHIN, || async {
                (self.status(*id).await.log_size >= size).then_some(())
            })
            .await;
        }
    }

    /// Waits until these, whoever else, have cosigned a head.
    pub(crate) async fn cosigned(&self, checkpoint: &Checkpoint, by: &[u64]) {
        let found = wait::until_or(WITHIN, || async {
            let names = cosigners(&self.liar.gathers(checkpoint).await);
            by.iter().all(|id| names.contains(&self.name(*id))).then_some(())
        })
        .await;
        let size = checkpoint.size;
        assert!(
            found.is_some(),
            "{by:?} have not cosigned size {size}\n{}",
            self.deployment.logs()
        );
    }

    /// Asserts that nobody but these has cosigned a head.
    pub(crate) async fn only(&self, checkpoint: &Checkpoint, by: &[u64]) {
        let found = cosigners(&self.liar.gathers(checkpoint).await);
        let expected: BTreeSet<KeyName> = by.iter().map(|id| self.name(*id)).collect();
        assert_eq!(found, expected, "cosigners of the head of {}", checkpoint.size);
        assert!(found.len() < 3, "k = 3");
    }

    /// Asserts that the liar's best certificate of a leaf is refused for lack of cosignatures.
    pub(crate) async fn is_not_certified(&self, branch: &Branch, index: u64) {
        match self.liar.shows(branch, index).await {
            Err(refused @ CertificateRefused::Proof(_)) => {
                assert_eq!(refused.step(), 3, "{refused}")
            }
            Err(refused) => panic!("refused for another reason: {refused}"),
            Ok(certificate) => panic!("an agent accepts {}", certificate.token),
        }
    }

    /// Waits until these say that they have stopped cosigning, and kept `evidence`.
    pub(crate) async fn diverged(&self, evidence: &str, by: &[u64]) {
        for id in by {
            let what = format!("coordinator {id} raises divergence\n{}", self.deployment.logs());
            wait::until(&what, WITHIN, || async {
                let alarms = self.status(*id).await.alarms;
                alarms.iter().any(|alarm| alarm.name == "divergence").then_some(())
            })
            .await;
            self.keeps_evidence(*id, evidence).await;
        }
    }

    /// Waits until a coordinator has kept a proof whose name begins so.
    pub(crate) async fn keeps_evidence(&self, id: u64, beginning: &str) {
        let folder = self.deployment.coordinators[&id].folder.join("data").join("heads");
        let what = format!("{} keeps {beginning}*.evidence", folder.display());
        wait::until_true(&what, WITHIN, || {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.any(|name| name.starts_with(beginning) && name.ends_with(".evidence"))
        })
        .await;
    }

    /// Waits until each of these has signed a refusal of the leaf, for this cause.
    pub(crate) async fn refused(&self, leaf: u64, cause: Cause, by: &[u64]) {
        let ring = self.deployment.charter.statement.coordinator_ring();
        let expected: BTreeSet<KeyName> = by.iter().map(|id| self.name(*id)).collect();
        let found = wait::until_or(WITHIN, || async {
            let mut signers = BTreeMap::new();
            for refusal in self.refusals_of(leaf) {
                let signer = refusal.signer(|line| ring.of_line(line)).expect("a good refusal");
                signers.insert(signer.name().clone(), refusal.statement.cause);
            }
            expected.iter().all(|name| signers.get(name) == Some(&cause)).then_some(())
        })
        .await;
        assert!(found.is_some(), "{by:?} have not refused leaf {leaf}\n{}", self.deployment.logs());
    }

    /// Every refusal of a leaf that has been told.
    pub(crate) fn refusals_of(&self, leaf: u64) -> Vec<Signed<Refusal>> {
        let mut refusals = self.liar.refusals();
        refusals.retain(|refusal| refusal.statement.leaf.get() == leaf);
        refusals
    }

    /// A coordinator's key name.
    pub(crate) fn name(&self, id: u64) -> KeyName {
        self.deployment.coordinator_name(id)
    }

    /// Everybody, the liar included.
    pub(crate) fn everybody(&self) -> Vec<u64> {
        [LIAR].into_iter().chain(HONEST).collect()
    }
}

/// Election timeouts at which no honest coordinator deposes the liar because the machine is busy.
fn be_patient(config: &std::path::Path) {
    settings::edit(config, |table| {
        let raft = settings::sub(table, "raft");
        for (key, ms) in
            [("heartbeat_ms", 100), ("election_min_ms", 2_000), ("election_max_ms", 3_000)]
        {
            raft.insert(key.to_owned(), Value::Integer(ms));
        }
    });
}
