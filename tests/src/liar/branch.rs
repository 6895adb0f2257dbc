//! One history of the liar's making: a Raft log and the decision log that follows from it.
//!
//! A branch can be copied and continued in two ways, and each follower can be given another one. What
//! the honest machine makes of its commands is computed here by that same machine, so a branch has
//! the leaves that its followers have.

use quorate_attest::charter::Charter;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::head::CosignedHead;
use quorate_attest::leaf::{Decision, Leaf};
use quorate_attest::log_time::LogTime;
use quorate_attest::merkle::{Head, MemoryHashes, prove_inclusion, root_at};
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_attest::proof::TlogProof;
use quorate_attest::signed::Signed;
use quorate_core::{Applied, Body, Command, LogId, Machine, Outcome};

use super::wire::Payload;
use crate::client::now;

/// A Raft log with everything that follows from it.
#[derive(Debug, Clone)]
pub struct Branch {
    charter: Charter,
    term: u64,
    entries: Vec<(u64, Payload)>,
    machine: Machine,
    leaves: Vec<Vec<u8>>,
    hashes: MemoryHashes,
}

impl Branch {
    /// A log that begins in `term` with the voters of `charter`, and with that charter.
    ///
    /// # Panics
    /// The machine does not take the charter.
    #[must_use]
    pub fn founded(term: u64, charter: &Signed<Charter>) -> Self {
        let mut branch = Self::unfounded(term, &charter.statement);
        drop(branch.take(Body::Found(charter.clone())));
        branch
    }

    /// A log that begins in `term` with the voters of `charter`, and with nothing else.
    #[must_use]
    pub fn unfounded(term: u64, charter: &Charter) -> Self {
        let voter = |key: &quorate_attest::key::VerifierKey| {
            Some((charter.node_id(key.name())?, key.name().to_string()))
        };
        let mut voters: Vec<_> = charter.coordinator.iter().filter_map(voter).collect();
        voters.sort_unstable();
        Self {
            charter: charter.clone(),
            term,
            entries: vec![(term, Payload::Membership(voters))],
            machine: Machine::new(),
            leaves: Vec::new(),
            hashes: MemoryHashes::new(),
        }
    }

    /// Appends a command that the machine accepts.
    ///
    /// # Panics
    /// It rejects it.
    pub fn take(&mut self, body: Body) -> Outcome {
        self.take_at(now(), body)
    }

    /// The same, stamped with any time.
    ///
    /// # Panics
    /// The machine rejects it.
    pub fn take_at(&mut self, time: LogTime, body: Body) -> Outcome {
        let applied = self.push(Command::internal(time, body));
        applied.outcome.unwrap_or_else(|rejection| panic!("the machine rejects: {rejection}"))
    }

    /// Appends any command, whatever the machine makes of it.
    pub fn push(&mut self, command: Command) -> Applied {
        let at = LogId { term: self.term, index: self.entries.len() as u64 };
        let applied = self.machine.apply(at, command.clone());
        self.entries.push((self.term, Payload::Command(Box::new(command))));
        for (_, bytes) in applied.leaves() {
            self.hashes.append(bytes);
            self.leaves.push(bytes.to_vec());
        }
        applied
    }

    /// Appends a leaf that no command makes: only the liar's own tree has it.
    pub fn graft(&mut self, leaf: &Leaf) {
        let bytes = leaf.to_bytes();
        self.hashes.append(&bytes);
        self.leaves.push(bytes);
    }

    /// Takes the last leaf off and puts another one in its place, in the liar's own tree only.
    pub fn replace_last(&mut self, leaf: &Leaf) {
        let mut leaves = std::mem::take(&mut self.leaves);
        leaves.pop();
        self.hashes = MemoryHashes::new();
        for bytes in &leaves {
            self.hashes.append(bytes);
        }
        self.leaves = leaves;
        self.graft(leaf);
    }

    /// What the machine has come to.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The entries, each with its term.
    #[must_use]
    pub fn entries(&self) -> &[(u64, Payload)] {
        &self.entries
    }

    /// The leaves, from the first.
    #[must_use]
    pub fn leaves(&self) -> &[Vec<u8>] {
        &self.leaves
    }

    /// The last decision.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn decision(&self) -> (u64, Decision) {
        let mut found = None;
        for (bytes, index) in self.leaves.iter().zip(0_u64..) {
            if let Ok(Leaf::Decision(decision)) = Leaf::parse(bytes) {
                found = Some((index, decision));
            }
        }
        found.expect("a decision")
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The head of `size` leaves.
    ///
    /// # Panics
    /// There are not so many.
    #[must_use]
    pub fn checkpoint(&self, size: u64) -> Checkpoint {
        let size = TreeSize::new(size).expect("a small log");
        let root = root_at(&self.hashes, size).expect("a size of this log");
        Checkpoint::new(self.charter.origin.clone(), Head { size, root })
    }

    /// The certificate of a leaf under `head`, with whatever lines that has.
    ///
    /// # Panics
    /// The head is of another size.
    #[must_use]
    pub fn certificate(&self, index: u64, head: CosignedHead) -> Vec<u8> {
        let at = usize::try_from(index).expect("a small log");
        let index = LeafIndex::new(index).expect("a small log");
        let path = prove_inclusion(&self.hashes, index, head.checkpoint.size).expect("a path");
        let proof = TlogProof::new(self.leaves[at].clone(), index, path, head);
        proof.expect("a proof").to_bytes()
    }
}
