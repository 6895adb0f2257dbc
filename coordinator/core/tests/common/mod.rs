//! A small world to apply commands in: a charter with fixed test keys, and a machine that is
//! checked after every entry. The keys derive from public strings and protect nothing.

#![allow(dead_code, reason = "each test binary uses its part")]

mod charter;
mod statements;
pub(crate) mod times;

use std::collections::BTreeMap;

use quorate_attest::agent_statement::Observe;
use quorate_attest::charter::Charter;
use quorate_attest::id::{Digest, IncidentId, KeyName, Nonce, Origin, Sentence};
use quorate_attest::key::{CosignSigner, NoteSigner, SecretKey};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::number::{Epoch, LeafIndex};
use quorate_attest::proposal::{Param, Proposal};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::{Signatures, Signed};
use quorate_attest::text::Statement;
use quorate_core::{Applied, Body, Command, Grounds, Ledger, LogId, Machine, Request};
use zeroize::Zeroizing;

use charter::charter_text;

/// Log time at which every world begins.
pub(crate) const START: u64 = 1_790_000_000_000;
/// The network of all test keys.
pub(crate) const NETWORK: &str = "quorate.example/test";

const OPERATORS: [&str; 3] = ["ana", "ben", "chen"];

fn secret(name: &str) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new(*Digest::of(name.as_bytes()).as_bytes()))
}

pub(crate) fn key_name(role: &str, id: &str) -> KeyName {
    format!("{NETWORK}/{role}/{id}").parse().expect("a key name")
}

/// A validator or agent of the test charter.
pub(crate) fn signer(id: &str) -> NoteSigner {
    let role = if OPERATORS.contains(&id) { "operator" } else { "agent" };
    let name = key_name(role, id);
    let secret = secret(name.as_str());
    NoteSigner::new(name, secret)
}

pub(crate) fn coordinator(id: &str) -> CosignSigner {
    let name = key_name("coordinator", id);
    let secret = secret(name.as_str());
    CosignSigner::new(name, secret)
}

pub(crate) fn origin() -> Origin {
    format!("{NETWORK}/1-000102030405060708090a0b0c0d0e0f").parse().expect("an origin")
}

pub(crate) fn at(ms: u64) -> LogTime {
    LogTime::new(START + ms).expect("a time")
}

/// A proposal in the making, with what most of them have in common.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) cluster: String,
    pub(crate) kind: Kind,
    pub(crate) target: String,
    pub(crate) by: String,
    pub(crate) executors: Vec<String>,
    pub(crate) params: Vec<String>,
    pub(crate) incident: String,
    pub(crate) expires: u64,
}

impl Draft {
    pub(crate) fn new(kind: &str, target: &str, by: &str) -> Self {
        let kind: Kind = kind.parse().expect("a kind");
        let executor = target.strip_prefix("member:").unwrap_or("a");
        let executors = if kind == Kind::Abandon { vec![] } else { vec![executor.to_owned()] };
        Self {
            cluster: "c".to_owned(),
            kind,
            target: target.to_owned(),
            by: by.to_owned(),
            executors,
            params: vec![],
            incident: "incident-1".to_owned(),
            expires: 3_600_000,
        }
    }
}

/// A machine, the leaves it made, and the names a script gives to things.
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) now: u64,
    pub(crate) index: u64,
    pub(crate) leaves: Vec<Vec<u8>>,
    /// Rebuilt from the leaves alone, with every signature verified.
    pub(crate) replay: Option<Ledger>,
    pub(crate) proposals: BTreeMap<String, Proposal>,
    pub(crate) charter_changes: Vec<String>,
    pub(crate) checked: Checked,
}

/// How much is checked after every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Snapshot, replay with verification, considering, deadlines.
    Everything,
    /// Replay without verifying signatures.
    Quickly,
}

impl World {
    pub(crate) fn new(checked: Checked) -> Self {
        Self {
            machine: Machine::new(),
            now: 0,
            index: 0,
            leaves: vec![],
            replay: None,
            proposals: BTreeMap::new(),
            charter_changes: vec![],
            checked,
        }
    }

    /// A world whose log has begun.
    pub(crate) fn founded(checked: Checked, changes: &[&str]) -> Self {
        let mut world = Self::new(checked);
        world.charter_changes = changes.iter().map(ToString::to_string).collect();
        let applied = world.apply(Body::Found(world.first_charter()));
        applied.outcome.expect("founded");
        world
    }

    pub(crate) fn first_charter(&self) -> Signed<Charter> {
        let text = charter_text(1, "none", &self.charter_changes);
        sign_charter(&text, &["ana", "ben"])
    }

    pub(crate) fn charter(&self) -> &Charter {
        self.machine.state().ledger().expect("founded").charter()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.machine.state().ledger().map_or(Epoch::MIN, |ledger| ledger.charter().epoch)
    }

    pub(crate) fn time(&self) -> LogTime {
        at(self.now)
    }

    /// Applies one entry, as the Raft log would carry it, and checks what must hold always.
    pub(crate) fn apply(&mut self, body: Body) -> Applied {
        self.apply_request(body, None)
    }

    pub(crate) fn apply_request(&mut self, body: Body, request: Option<Request>) -> Applied {
        self.index += 1;
        let version = self.machine.state().versions().in_force();
        let command = Command { version, time: self.time(), request, body };
        let bytes = command.encode();
        let command = Command::decode(&bytes).expect("a command reads back");
        let considered = (self.checked == Checked::Everything && command.request.is_none())
            .then(|| self.machine.consider(self.time(), &command.body));
        let at = LogId { term: 1, index: self.index };
        let mut idle = command.request.is_none().then(|| self.machine.clone());
        let tick = Command { request: None, body: Body::Tick, ..command.clone() };
        let applied = self.machine.apply(at, command);
        if let Some(idle) = idle.as_mut().filter(|_| !applied.is_worth_an_entry()) {
            // The leader answers it without an entry: nothing may be lost by that.
            drop(idle.apply(at, tick));
            assert_eq!(*idle, self.machine, "not worth an entry, and it changed something");
        }
        if let Some(considered) = considered {
            assert_eq!(considered, applied, "considering and applying differ");
        }
        self.check(&applied);
        applied
    }

    fn check(&mut self, applied: &Applied) {
        let signatures = match self.checked {
            Checked::Everything => Signatures::Verify,
            Checked::Quickly => Signatures::Trust,
        };
        for (index, bytes) in applied.leaves() {
            assert_eq!(index, LeafIndex::new(self.leaves.len() as u64).expect("an index"));
            self.leaves.push(bytes.to_vec());
            let leaf = Leaf::parse(bytes).expect("a leaf of our own reads back");
            match &mut self.replay {
                None => self.replay = Some(Ledger::found(&leaf, signatures).expect("founded")),
                Some(ledger) => drop(ledger.append(&leaf, signatures).expect("replayed")),
            }
        }
        self.machine.state().validate().expect("the invariants hold");
        let replayed = self.replay.as_ref().map(Ledger::hash);
        assert_eq!(replayed, self.machine.ledger_hash(), "replay-equal");
        if let Some(deadline) = self.machine.next_deadline() {
            assert!(deadline > self.machine.state().time(), "a tick would ask for itself");
        }
        if self.checked == Checked::Everything {
            self.check_grounds();
            let bytes = self.machine.snapshot();
            let restored = Machine::restore(&bytes).expect("a snapshot restores");
            assert_eq!(restored, self.machine);
            assert_eq!(restored.snapshot(), bytes);
            assert_eq!(restored.state_hash(), self.machine.state_hash());
            self.machine = restored;
        }
    }

    /// Whoever holds no more than the leader told contradicts no decision on signed facts.
    fn check_grounds(&self) {
        let Some(ledger) = self.machine.state().ledger() else { return };
        for (cluster, running) in ledger.all_running() {
            let number = running.newest();
            let facts: Vec<_> = self
                .machine
                .grounds(cluster, number)
                .into_iter()
                .flat_map(Grounds::facts)
                .collect();
            let signed = |fact: &&Signed<Observe>| {
                let agent = fact.statement.agent.as_str();
                let id = agent.rsplit('/').next().expect("a name");
                fact.lines == [signer(id).sign(&fact.statement)]
            };
            if !facts.iter().all(signed) {
                continue;
            }
            let held: Vec<Observe> = facts.iter().map(|fact| fact.statement.clone()).collect();
            for held in [&held[..0], &held] {
                let found = self.machine.contradiction(self.time(), cluster, number, held);
                assert_eq!(found, None, "decision {number} of {cluster}");
            }
        }
    }

    pub(crate) fn draft(&self, draft: &Draft, nonce: u8) -> Proposal {
        let ledger = self.machine.state().ledger().expect("founded");
        let role = if OPERATORS.contains(&draft.by.as_str()) { "operator" } else { "agent" };
        let proposal = Proposal {
            origin: origin(),
            epoch: self.epoch(),
            charter: ledger.history().charter_id(),
            cluster: draft.cluster.parse().expect("a cluster"),
            incident: draft.incident.parse::<IncidentId>().expect("an incident"),
            kind: draft.kind,
            target: draft.target.parse().expect("a target"),
            proposer: key_name(role, &draft.by),
            executor: draft.executors.iter().map(|id| key_name("agent", id)).collect(),
            param: draft
                .params
                .iter()
                .map(|line| line.parse::<Param>().expect("a parameter"))
                .collect(),
            plan: Digest::of(b"plan"),
            reason: sentence("a test"),
            evidence: vec![],
            expires: self.time().saturating_add(Span::from_millis(draft.expires)),
            nonce: Nonce::from_bytes([nonce; 16]),
        };
        Proposal::parse(&proposal.text()).expect("a proposal")
    }
}

pub(crate) fn sign_charter(text: &str, by: &[&str]) -> Signed<Charter> {
    let charter = Charter::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let lines = by.iter().map(|id| signer(id).sign(&charter)).collect();
    Signed::new(charter, lines)
}

pub(crate) fn sentence(text: &str) -> Sentence {
    text.parse().expect("a sentence")
}
