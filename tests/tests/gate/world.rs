//! A small deployment with real keys: a charter, and a log whose every leaf is judged and cosigned.

use quorate_attest::charter::Charter;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::head::CosignedHead;
use quorate_attest::history::History;
use quorate_attest::id::{ClusterId, KeyName, Nonce, Origin};
use quorate_attest::key::{CosignSigner, NoteSigner, SecretKey};
use quorate_attest::leaf::{Decision, Leaf};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::merkle::{MemoryHashes, prove_inclusion};
use quorate_attest::number::{DecisionNumber, Epoch, LeafIndex};
use quorate_attest::proof::TlogProof;
use quorate_attest::proposal::{Param, Proposal};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::{Signatures, Signed};
use quorate_attest::text::Statement as _;
use quorate_attest::vote::{Verdict, Vote};
use quorate_node::plan::{ROLLBACK_PARAM, plan};
use quorate_node::trust::{Anchor, Trust};
use zeroize::Zeroizing;

pub(crate) const NETWORK: &str = "quorate.example/testnet";
pub(crate) const CLUSTER: &str = "demo";

fn secret(tag: &str) -> SecretKey {
    let digest = quorate_attest::id::Digest::of(tag.as_bytes());
    SecretKey::from_seed(Zeroizing::new(*digest.as_bytes()))
}

fn key_name(role: &str, id: &str) -> KeyName {
    format!("{NETWORK}/{role}/{id}").parse().expect("a key name")
}

fn note_signer(role: &str, id: &str) -> NoteSigner {
    NoteSigner::new(key_name(role, id), secret(&format!("{role}/{id}")))
}

/// The whole deployment and its log.
pub(crate) struct World {
    pub(crate) charter: Signed<Charter>,
    history: History,
    hashes: MemoryHashes,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub coordinators: Vec<CosignSigner>,
    pub(crate) now: LogTime,
    nonce: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        let coordinators: Vec<_> = ["1", "2", "3"]
            .map(|id| CosignSigner::new(key_name("coordinator", id), secret(&format!("c/{id}"))))
            .into();
        let charter = charter(&coordinators);
        let leaf = Leaf::Charter(charter.clone());
        let (history, _) = History::found(&leaf, Signatures::Verify).expect("a founding charter");
        let mut hashes = MemoryHashes::new();
        hashes.append(&leaf.to_bytes());
        Self {
            charter,
            history,
            hashes,
            leaves: vec![leaf.to_bytes()],
            coordinators,
            now: super::time(0),
            nonce: 0,
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        self.history.origin().clone()
    }

    /// Appends a leaf; the log's own judge must accept it.
    pub(crate) fn append(&mut self, leaf: &Leaf) -> LeafIndex {
        let recorded = self.history.append(leaf, Signatures::Verify).expect("a lawful leaf");
        self.hashes.append(&leaf.to_bytes());
        self.leaves.push(leaf.to_bytes());
        recorded.index
    }

    /// A head of the whole log, cosigned by the first `k` coordinators at `at`.
    pub(crate) fn head(&self, k: usize, at: LogTime) -> Vec<u8> {
        let checkpoint = Checkpoint::new(self.origin(), self.history.head());
        let sign =
            |signer: &CosignSigner| signer.cosign(&checkpoint, at.to_cosign_time()).to_line();
        let lines = self.coordinators[..k].iter().map(sign);
        let policy = self.history.charter().head_policy().expect("a policy");
        CosignedHead::assemble(checkpoint.clone(), lines, &policy).to_bytes()
    }

    /// The certificate of the leaf at `index`, under a fresh head.
    pub(crate) fn certificate(&self, index: LeafIndex) -> Vec<u8> {
        let head = CosignedHead::parse(&self.head(2, self.now)).expect("a head");
        let path = prove_inclusion(&self.hashes, index, self.history.size()).expect("a path");
        let at = usize::try_from(index.get()).expect("small");
        TlogProof::new(self.leaves[at].clone(), index, path, head).expect("a proof").to_bytes()
    }

    /// A trust that has tailed the whole log.
    pub(crate) fn trust(&self) -> Trust {
        let mut trust = Trust::new(Anchor::of(&self.charter));
        for (index, leaf) in self.leaves.iter().enumerate() {
            trust.leaf(1, index as u64, leaf, self.now).expect("a leaf");
        }
        trust.head(1, &self.head(2, self.now), self.now).expect("a head");
        trust
    }

    /// A proposal with everything right about it.
    pub(crate) fn proposal(
        &mut self,
        kind: Kind,
        target: &str,
        executors: &[&str],
        params: &[&str],
    ) -> Proposal {
        self.nonce += 1;
        let target = target.parse().expect("a word");
        let mut param: Vec<Param> = params.iter().map(|p| p.parse().expect("a param")).collect();
        let plan = plan(&"process".parse().expect("adapter"), kind, &target, &param);
        if let Some(rollback) = plan.rollback {
            param.push(format!("{ROLLBACK_PARAM} {rollback}").parse().expect("a param"));
        }
        param.sort_by_key(ToString::to_string);
        let proposal = Proposal {
            origin: self.origin(),
            epoch: Epoch::MIN,
            charter: self.history.charter_id(),
            cluster: CLUSTER.parse().expect("a cluster"),
            incident: "incident-1".parse().expect("a label"),
            kind,
            target,
            proposer: key_name("operator", "ana"),
            executor: executors.iter().map(|id| key_name("agent", id)).collect(),
            param,
            plan: plan.digest,
            reason: "a test".parse().expect("a sentence"),
            evidence: Vec::new(),
            expires: self.now.saturating_add(Span::from_secs(600)),
            nonce: Nonce::from_bytes([self.nonce; 16]),
        };
        proposal.check().expect("a canonical proposal");
        proposal
    }

    /// Everybody who has a voice approves.
    pub(crate) fn votes(&self, proposal: &Proposal) -> Signed<Vote> {
        let own = proposal.target_member().map(|member| member.to_string());
        let local = proposal.kind == Kind::Restart;
        let observers = ["n1", "n2", "n3", "n4"]
            .into_iter()
            .filter(|id| local || own.as_deref() != Some(*id))
            .map(|id| note_signer("agent", id));
        let operators = ["ana", "ben", "chen"].map(|id| note_signer("operator", id));
        let vote = Vote::on(proposal, Verdict::Approve);
        let lines = observers.chain(operators).map(|signer| signer.sign(&vote)).collect();
        Signed::new(vote, lines)
    }

    fn decide(&mut self, proposal: &Proposal, not_before: LogTime) -> LeafIndex {
        let cluster: ClusterId = CLUSTER.parse().expect("a cluster");
        let number = match self.history.cluster(&cluster) {
            Some(known) => known.next_number().expect("a number"),
            None => DecisionNumber::MIN,
        };
        let decision = Decision {
            origin: self.origin(),
            epoch: Epoch::MIN,
            time: self.now,
            cluster,
            number,
            continues: None,
            approved: self.now,
            not_before,
            expires: not_before.saturating_add(Span::from_secs(300)),
            proposal: proposal.clone(),
            votes: self.votes(proposal),
        };
        self.append(&Leaf::Decision(decision))
    }

    /// Decides that `survivor` goes on alone, and that everybody else is fenced.
    pub(crate) fn declare_dead(&mut self, survivor: &str) -> LeafIndex {
        let others = ["n1", "n2", "n3", "n4"].into_iter().filter(|id| *id != survivor);
        let mut params = vec![format!("survivor {survivor}")];
        for id in others {
            params.push(format!("fenced {id} attest:power-off"));
            params.push(format!("identity {id} -"));
        }
        let params: Vec<&str> = params.iter().map(String::as_str).collect();
        let target = format!("cluster:{CLUSTER}");
        let mut proposal = self.proposal(Kind::DeclareDead, &target, &[survivor], &params);
        proposal.expires = proposal.expires.saturating_add(Span::from_secs(3_600));
        let not_before = self.history.charter().earliest_start(&proposal, self.now);
        self.decide(&proposal, not_before)
    }
}

fn charter(coordinators: &[CosignSigner]) -> Signed<Charter> {
    let mut text = format!(
        "quorate-charter/v1\norigin {NETWORK}/1-0f0e0d0c0b0a09080706050403020100\nepoch 1\n\
         previous none\nfaults 0\nthreshold 2\nskew 2000\nmax-age 600000\n"
    );
    for coordinator in coordinators {
        text.push_str(&format!("coordinator {}\n", coordinator.vkey()));
    }
    let operators = ["ana", "ben", "chen"].map(|id| note_signer("operator", id));
    for operator in &operators {
        text.push_str(&format!("operator - {}\n", operator.vkey()));
    }
    text.push_str(&format!("cluster {CLUSTER} process closed\n"));
    for member in ["n1", "n2", "n3", "n4"] {
        text.push_str(&format!("member {CLUSTER} {member} -\n"));
    }
    for member in ["n1", "n2", "n3", "n4"] {
        let vkey = note_signer("agent", member).vkey().to_string();
        text.push_str(&format!("agent {CLUSTER} {member} observer {vkey}\n"));
    }
    text.push_str(
        "class * charter 1/2 2 2 0 0\nclass * cluster 2/3 2 0 0 600000\n\
         class * irreversible 2/3 2 2 300000 600000\nclass * local 1/3 2 0 0 600000\n\
         budget * cluster 2 600000 300000\nbudget * global 4 600000 0\n\
         budget * irreversible 1 86400000 3600000\nbudget * local 3 60000 30000\n\
         budget * target 2 3600000 600000\nrule * ban-cap 1\nrule * grace 600000\n\
         rule * min-healthy 3\n",
    );
    let charter = Charter::parse(&text).expect("a charter");
    let lines = operators.iter().map(|operator| operator.sign(&charter)).collect();
    Signed::new(charter, lines)
}
