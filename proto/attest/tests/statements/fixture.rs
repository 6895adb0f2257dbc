//! A deployment to test with: the example charter, whose keys are derived from public strings.

use std::collections::BTreeSet;

use quorate_attest::agent_statement::{Answer, Effect, Report};
use quorate_attest::charter::Charter;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::head::CosignedHead;
use quorate_attest::history::{History, LeafRefused, Recorded};
use quorate_attest::id::{Digest, KeyName, Nonce};
use quorate_attest::key::{CosignSigner, NoteSigner, SecretKey};
use quorate_attest::leaf::{Decision, Leaf, Outcome, Void, VoidCause};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::merkle::{MemoryHashes, prove_inclusion};
use quorate_attest::number::{DecisionNumber, LeafIndex};
use quorate_attest::operator_statement::{Act, ActKind, Override, Pause};
use quorate_attest::proof::TlogProof;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::{Signatures, Signed};
use quorate_attest::text::Statement;
use quorate_attest::vote::{Verdict, Veto, Vote};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub(crate) const NETWORK: &str = "quorate.example/testnet";
pub(crate) const CHARTER: &[u8] = include_bytes!("../vectors/examples/charter.leaf");
pub(crate) const T0: u64 = 1_790_000_000_000;

/// Log time `seconds` after the start.
pub(crate) fn at(seconds: u64) -> LogTime {
    LogTime::new(T0 + seconds * 1_000).unwrap()
}

fn secret(name: &str, key_type: u8) -> SecretKey {
    let mut hash = Sha256::new();
    hash.update(b"quorate test key, do not use: ");
    hash.update(name);
    hash.update([key_type]);
    SecretKey::from_seed(Zeroizing::new(hash.finalize().into()))
}

/// `operator/ana`, `agent/neo-1`, ...
pub(crate) fn key_name(short: &str) -> KeyName {
    KeyName::new(format!("{NETWORK}/{short}")).unwrap()
}

pub(crate) fn signer(short: &str) -> NoteSigner {
    let name = key_name(short);
    NoteSigner::new(name.clone(), secret(name.as_str(), 1))
}

pub(crate) fn coordinator(id: u8) -> CosignSigner {
    let name = key_name(&format!("coordinator/{id}"));
    CosignSigner::new(name.clone(), secret(name.as_str(), 4))
}

pub(crate) fn signed<S: Statement>(statement: S, by: &[&str]) -> Signed<S> {
    let lines = by.iter().map(|short| signer(short).sign(&statement)).collect();
    Signed::new(statement, lines)
}

/// The example charter.
pub(crate) fn charter() -> Charter {
    Signed::<Charter>::parse(CHARTER).unwrap().statement
}

pub(crate) const OPERATORS: [&str; 3] = ["operator/ana", "operator/ben", "operator/chen"];
/// Enough for the cluster class: three domains of three.
pub(crate) const DOMAINS: [&str; 4] = ["agent/neo-1", "agent/neo-2", "agent/neo-3", "agent/neo-4"];

/// A log under test, and the time of its next leaf.
pub(crate) struct World {
    pub(crate) history: History,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) now: LogTime,
    nonce: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(charter())
    }

    pub(crate) fn with(charter: Charter) -> Self {
        let leaf = Leaf::Charter(signed(charter, &OPERATORS));
        let (history, _) = History::found(&leaf, Signatures::Verify).unwrap();
        Self { history, leaves: vec![leaf.to_bytes()], now: at(10), nonce: 0 }
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now.saturating_add(Span::from_secs(seconds));
    }

    pub(crate) fn append(&mut self, leaf: &Leaf) -> Result<Recorded, LeafRefused> {
        let before = self.history.hash();
        let result = self.history.append(leaf, Signatures::Verify);
        match &result {
            Ok(_) => self.leaves.push(leaf.to_bytes()),
            Err(_) => assert_eq!(self.history.hash(), before, "a refusal changes nothing"),
        }
        result
    }

    /// Appends a leaf that must be refused, and says why it was.
    pub(crate) fn refuse(&mut self, leaf: &Leaf) -> LeafRefused {
        self.append(leaf).expect_err("the leaf must be refused")
    }

    /// A proposal to restart neo-4, carried out by neo-1; expires ten minutes from now.
    pub(crate) fn proposal(&mut self, kind: Kind) -> Proposal {
        self.nonce = self.nonce.wrapping_add(1);
        let charter = self.history.charter();
        Proposal {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            charter: self.history.charter_id(),
            cluster: "neo-testnet".parse().unwrap(),
            incident: "test-1".parse().unwrap(),
            kind,
            target: "member:neo-4".parse().unwrap(),
            proposer: key_name("agent/neo-1"),
            executor: vec![key_name("agent/neo-1")],
            param: Vec::new(),
            plan: Digest::of(b"plan"),
            reason: "a test".parse().unwrap(),
            evidence: Vec::new(),
            expires: self.now.saturating_add(Span::from_secs(600)),
            nonce: Nonce::from_bytes([self.nonce; 16]),
        }
    }

    /// The decision of a proposal by these voters, next in number.
    pub(crate) fn decision(&self, proposal: &Proposal, by: &[&str]) -> Decision {
        let history = self.history.cluster(&proposal.cluster);
        let number =
            history.map_or(Some(DecisionNumber::MIN), |history| history.next_number()).unwrap();
        Decision {
            origin: self.history.origin().clone(),
            epoch: self.history.epoch(),
            time: self.now,
            cluster: proposal.cluster.clone(),
            number,
            continues: None,
            approved: self.now,
            not_before: self.now,
            expires: proposal.expires,
            proposal: proposal.clone(),
            votes: signed(Vote::on(proposal, Verdict::Approve), by),
        }
    }

    /// Decides a restart that all observers approve, and returns it.
    pub(crate) fn decide(&mut self) -> Decision {
        let proposal = self.proposal(Kind::Restart);
        self.decide_on(&proposal)
    }

    pub(crate) fn decide_on(&mut self, proposal: &Proposal) -> Decision {
        let decision = self.decision(proposal, &DOMAINS);
        self.append(&Leaf::Decision(decision.clone())).unwrap();
        decision
    }

    pub(crate) fn outcome(
        &self,
        decision: &Decision,
        agent: &str,
        answer: Answer,
        effect: Effect,
    ) -> Outcome {
        let report = Report {
            origin: self.history.origin().clone(),
            epoch: decision.epoch,
            cluster: decision.cluster.clone(),
            number: decision.number,
            proposal: decision.proposal.id(),
            agent: key_name(agent),
            answer,
            effect,
            witness: Digest::of(b"before"),
            evidence: Vec::new(),
            started: Some(self.now),
            finished: self.now,
        };
        Outcome {
            origin: self.history.origin().clone(),
            epoch: self.history.epoch(),
            time: self.now,
            cluster: decision.cluster.clone(),
            number: decision.number,
            agent: key_name(agent),
            report: signed(report, &[agent]),
        }
    }

    /// The one executor of `decision` reports success.
    pub(crate) fn finish(&mut self, decision: &Decision) -> Recorded {
        let outcome = self.outcome(decision, "agent/neo-1", Answer::Applied, Effect::Effective);
        self.append(&Leaf::Outcome(outcome)).unwrap()
    }

    pub(crate) fn void(&self, proposal: &Proposal, cause: VoidCause) -> Void {
        Void {
            origin: self.history.origin().clone(),
            epoch: self.history.epoch(),
            time: self.now,
            cluster: proposal.cluster.clone(),
            cause,
            detail: "-".parse().unwrap(),
            proposal: proposal.clone(),
            approve: None,
            reject: None,
            veto: None,
        }
    }

    pub(crate) fn veto(&self, proposal: &Proposal, by: &[&str]) -> Signed<Veto> {
        let veto = Veto {
            origin: proposal.origin.clone(),
            epoch: proposal.epoch,
            proposal: proposal.id(),
            reason: "no".parse().unwrap(),
        };
        signed(veto, by)
    }

    pub(crate) fn lift(&self, rule: &str, proposal: &Proposal) -> Override {
        Override {
            origin: self.history.origin().clone(),
            epoch: self.history.epoch(),
            cluster: proposal.cluster.clone(),
            rule: rule.parse().unwrap(),
            scope: proposal.id(),
            reason: "CHG-1".parse().unwrap(),
            expires: self.now.saturating_add(Span::from_secs(600)),
            nonce: Nonce::from_bytes([0xaa; 16]),
        }
    }

    pub(crate) fn pause(&self, cluster: &str, automation: &str, until: Option<LogTime>) -> Pause {
        let text = format!(
            "quorate-pause/v1\norigin {}\nepoch {}\ncluster {cluster}\nautomation {automation}\n\
             until {}\nreason CHG-1\nexpires {}\nnonce {:032x}\n",
            self.history.origin(),
            self.history.epoch(),
            until.map_or_else(|| "0".to_owned(), |until| until.to_string()),
            self.now.saturating_add(Span::from_secs(600)),
            self.leaves.len(),
        );
        Pause::parse(&text).unwrap()
    }

    pub(crate) fn act(&self, act: ActKind, subject: &str) -> Act {
        Act {
            origin: self.history.origin().clone(),
            epoch: self.history.epoch(),
            cluster: "neo-testnet".parse().unwrap(),
            act,
            subject: subject.parse().unwrap(),
            reason: "CHG-1".parse().unwrap(),
            expires: self.now.saturating_add(Span::from_secs(600)),
            nonce: Nonce::from_bytes([0xbb; 16]),
        }
    }

    /// A head over everything, cosigned by these coordinators at `now`.
    pub(crate) fn head(&self, by: &[u8]) -> CosignedHead {
        let checkpoint = Checkpoint::new(self.history.origin().clone(), self.history.head());
        let lines: Vec<_> = by
            .iter()
            .map(|id| coordinator(*id).cosign(&checkpoint, self.now.to_cosign_time()).to_line())
            .collect();
        let policy = self.history.charter().head_policy().unwrap();
        CosignedHead::assemble(checkpoint, lines, &policy)
    }

    /// The certificate of the leaf at `index` in the newest head.
    pub(crate) fn certificate(&self, index: u64, by: &[u8]) -> Vec<u8> {
        self.certificate_of(&self.leaves, index, by)
    }

    /// The certificate of a leaf in a log that lying coordinators made of `leaves`.
    pub(crate) fn certificate_of(&self, leaves: &[Vec<u8>], index: u64, by: &[u8]) -> Vec<u8> {
        let mut hashes = MemoryHashes::default();
        for leaf in leaves {
            hashes.append(leaf);
        }
        let head = hashes.head();
        let checkpoint = Checkpoint::new(self.history.origin().clone(), head);
        let lines: Vec<_> = by
            .iter()
            .map(|id| coordinator(*id).cosign(&checkpoint, self.now.to_cosign_time()).to_line())
            .collect();
        let head = CosignedHead { checkpoint, lines };
        let index = LeafIndex::new(index).unwrap();
        let path = prove_inclusion(&hashes, index, head.checkpoint.size).unwrap();
        let entry = leaves[usize::try_from(index.get()).unwrap()].clone();
        TlogProof::new(entry, index, path, head).unwrap().to_bytes()
    }
}

pub(crate) fn names(shorts: &[&str]) -> BTreeSet<KeyName> {
    shorts.iter().map(|short| key_name(short)).collect()
}
