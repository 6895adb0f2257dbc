//! The history: what the leaves of one log determine, and **the only code that judges a leaf**.
//!
//! The decision machine, cosigners, agents and auditors all append to a [`History`], so they cannot
//! disagree about what may follow. [`History::append`] is all or nothing; it grows the Merkle
//! frontier, so two equal histories have equal roots (*log-append-only*, *replay-equal*).
//!
//! What a leaf cannot prove is not judged here: that votes came after an override, that a dead member
//! was silent, that no veto was withheld. Cosigners see to it
//! (`docs/reference/formats.md` section 8).
//!
//! Memory is bounded by what is open: ended proposals, operators' texts and equivocations are
//! forgotten once the log's time has passed their expiry, after which they are refused for that
//! reason anyway.

mod amend;
mod authority;
mod cluster;
mod decision;
mod evidence;
mod incident;
mod last;
mod operator;
mod outcome;
mod pause;
mod read;
mod refused;
mod refusers;
mod until;
mod void;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

pub use authority::{effect_of_veto, excludes, judge_authority, judge_proposal};
pub use cluster::{ClusterHistory, Orders, Slot, Standing, Survivor};
pub use incident::{Attempt, AttemptEnd, Escalation, Incident, RungNotDue};
pub use last::LastOn;
pub(crate) use pause::Pauses;
pub use refused::LeafRefused;
pub use refusers::{RefusalTally, Refusers};

use incident::Incidents;
use until::Until;

use crate::charter::Charter;
use crate::id::{CharterId, ClusterId, Digest, KeyName, ProposalId, Word};
use crate::leaf::{Leaf, VoidCause};
use crate::log_time::LogTime;
use crate::merkle::{Frontier, Hash, Node, leaf_hash};
use crate::number::{DecisionNumber, LeafIndex};
use crate::operator_statement::{IncarnationStatement, Override, Pause};
use crate::signed::{Signatures, Signed};

/// How a proposal ended.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ended {
    /// Whose it was.
    pub cluster: ClusterId,
    /// Decision or void.
    pub end: End,
}

/// Decision or void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum End {
    /// It became that decision.
    Decided(DecisionNumber),
    /// It ended without effect (*veto-final*).
    Void(VoidCause),
}

/// What the leaves of one log determine.
///
/// Invariants: at most one slot per cluster; numbers rise by one; a proposal is in `ended` once;
/// `frontier` has exactly the leaves that were judged.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct History {
    frontier: Frontier,
    charter: Charter,
    charter_id: CharterId,
    /// The charter before this one: open proposals of its epoch still end in voids.
    previous: Option<Charter>,
    time: LogTime,
    clusters: BTreeMap<ClusterId, ClusterHistory>,
    ended: Until<ProposalId, Ended>,
    equivocators: Until<ProposalId, BTreeSet<KeyName>>,
    overrides: Until<Digest, Override>,
    /// Texts that made their one leaf.
    texts: Until<Digest, ()>,
    pauses: Pauses,
    /// The newest decision of every target that an armed undo may still restore.
    last: Until<(ClusterId, Word), LastOn>,
    /// What follows a playbook and is not over.
    incidents: Incidents,
    /// An incarnation whose charter must come next.
    incarnation: Option<Signed<IncarnationStatement>>,
}

/// A leaf that was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where.
    pub index: LeafIndex,
    /// Its hash.
    pub hash: Hash,
    /// Every full subtree it completed, for a store to persist.
    pub nodes: Vec<Node>,
    /// The decision whose slot it freed: by a terminal outcome, an abandon or a void.
    pub freed: Option<DecisionNumber>,
}

/// What a judged leaf does. Judging makes one and changes nothing.
#[allow(clippy::large_enum_variant, reason = "lives for one append")]
enum Change {
    Charter(Charter),
    Incarnation(Signed<IncarnationStatement>),
    Cluster {
        cluster: ClusterId,
        history: ClusterHistory,
        ended: Option<(ProposalId, LogTime, End)>,
        changed: Option<last::Changed>,
    },
    Evidence {
        question: Digest,
        until: LogTime,
        voter: Option<(ProposalId, KeyName)>,
    },
    Override {
        digest: Digest,
        statement: Override,
    },
    Pause {
        digest: Digest,
        statement: Pause,
        signers: BTreeSet<KeyName>,
    },
    Act {
        digest: Digest,
        expires: LogTime,
    },
}

impl History {
    /// Begins a log with its first charter, which its own operators signed.
    ///
    /// # Errors
    /// The leaf is no charter of epoch 1, or its own threshold is not met.
    pub fn found(leaf: &Leaf, signatures: Signatures) -> Result<(Self, Recorded), LeafRefused> {
        let Leaf::Charter(signed) = leaf else {
            return Err(LeafRefused::NotFounding { found: leaf.kind() });
        };
        let bytes = Self::canonical(leaf)?;
        let charter = amend::judge_founding(signed, signatures)?;
        let mut frontier = Frontier::new();
        let (index, hash) = (frontier.size().next_index(), leaf_hash(&bytes));
        let nodes = frontier.append(hash);
        let history = Self {
            frontier,
            charter_id: charter.id(),
            charter,
            previous: None,
            time: LogTime::MIN,
            clusters: BTreeMap::new(),
            ended: Until::default(),
            equivocators: Until::default(),
            overrides: Until::default(),
            texts: Until::default(),
            pauses: Pauses::default(),
            last: Until::default(),
            incidents: Incidents::default(),
            incarnation: None,
        };
        Ok((history, Recorded { index, hash, nodes, freed: None }))
    }

    /// Judges a leaf and appends it, or changes nothing.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn append(&mut self, leaf: &Leaf, signatures: Signatures) -> Result<Recorded, LeafRefused> {
        let bytes = Self::canonical(leaf)?;
        self.record(leaf, &bytes, signatures)
    }

    /// Parses, judges and appends a leaf, or changes nothing.
    ///
    /// # Errors
    /// Not a canonical leaf, or the first rule it breaks.
    pub fn append_bytes(
        &mut self,
        bytes: &[u8],
        signatures: Signatures,
    ) -> Result<(Leaf, Recorded), LeafRefused> {
        let leaf = Leaf::parse(bytes)?;
        let recorded = self.record(&leaf, bytes, signatures)?;
        Ok((leaf, recorded))
    }

    /// Judges a leaf as the next one, without appending it.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn judge(&self, leaf: &Leaf, signatures: Signatures) -> Result<(), LeafRefused> {
        let bytes = Self::canonical(leaf)?;
        self.change(leaf, leaf_hash(&bytes), signatures).map(drop)
    }

    /// A leaf built by hand must parse, or it would poison the log for everybody else.
    fn canonical(leaf: &Leaf) -> Result<Vec<u8>, LeafRefused> {
        let bytes = leaf.to_bytes();
        Leaf::parse(&bytes)?;
        Ok(bytes)
    }

    fn record(
        &mut self,
        leaf: &Leaf,
        bytes: &[u8],
        signatures: Signatures,
    ) -> Result<Recorded, LeafRefused> {
        let hash = leaf_hash(bytes);
        let change = self.change(leaf, hash, signatures)?;
        let index = self.frontier.size().next_index();
        let freed = self.freed_by(&change);
        if let Some(time) = leaf.time() {
            self.time = time;
            self.forget();
        }
        let slot = leaf.cluster().and_then(|cluster| self.clusters.get(cluster)?.slot());
        self.incidents.take(leaf, slot, freed.is_some());
        self.apply(change);
        let nodes = self.frontier.append(hash);
        Ok(Recorded { index, hash, nodes, freed })
    }

    fn change(
        &self,
        leaf: &Leaf,
        hash: Hash,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        if let Some(incarnation) = &self.incarnation
            && !matches!(leaf, Leaf::Charter(_))
        {
            return Err(LeafRefused::CharterExpected { expected: incarnation.statement.charter });
        }
        match leaf {
            Leaf::Charter(signed) => self.judge_charter(signed, signatures),
            Leaf::Incarnation(signed) => self.judge_incarnation(signed, signatures),
            Leaf::Decision(decision) => {
                self.check_header(leaf)?;
                self.judge_decision(decision, hash, signatures)
            }
            Leaf::Void(void) => {
                self.check_header(leaf)?;
                self.judge_void(void, signatures)
            }
            Leaf::Outcome(outcome) => {
                self.check_header(leaf)?;
                self.judge_outcome(outcome, signatures)
            }
            Leaf::Evidence(evidence) => {
                self.check_header(leaf)?;
                self.judge_evidence(evidence)
            }
            Leaf::Override(signed) => {
                self.check_header(leaf)?;
                self.judge_override(signed, signatures)
            }
            Leaf::Pause(signed) => {
                self.check_header(leaf)?;
                self.judge_pause(signed, signatures)
            }
            Leaf::Act(signed) => {
                self.check_header(leaf)?;
                self.judge_act(signed, signatures)
            }
        }
    }

    /// R1: origin and epoch in force, and time never falls.
    fn check_header(&self, leaf: &Leaf) -> Result<(), LeafRefused> {
        authority::check_in_force(&self.charter, leaf.origin(), leaf.epoch())?;
        match leaf.time() {
            Some(found) if found < self.time => {
                Err(LeafRefused::TimeFell { last: self.time, found })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn freed_by(&self, change: &Change) -> Option<DecisionNumber> {
        let Change::Cluster { cluster, history, .. } = change else { return None };
        let before = self.clusters.get(cluster)?.slot()?;
        history.slot().is_none().then_some(before.token.number)
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Charter(charter) => {
                self.charter_id = charter.id();
                self.previous = Some(std::mem::replace(&mut self.charter, charter));
                self.incarnation = None;
            }
            Change::Incarnation(signed) => self.incarnation = Some(signed),
            Change::Cluster { cluster, history, ended, changed } => {
                if let Some(last::Changed { target, until, last }) = changed {
                    self.last.insert((cluster.clone(), target), until, last);
                }
                if let Some((proposal, until, end)) = ended {
                    self.ended.insert(proposal, until, Ended { cluster: cluster.clone(), end });
                }
                self.clusters.insert(cluster, history);
            }
            Change::Evidence { question, until, voter } => {
                self.texts.insert(question, until, ());
                if let Some((proposal, name)) = voter {
                    let mut names = self.equivocators(&proposal);
                    names.insert(name);
                    self.equivocators.insert(proposal, until, names);
                }
            }
            Change::Override { digest, statement } => {
                self.texts.insert(digest, statement.expires, ());
                self.overrides.insert(digest, statement.expires, statement);
            }
            Change::Pause { digest, statement, signers } => {
                self.texts.insert(digest, statement.expires, ());
                self.pauses.take(&statement, &signers);
            }
            Change::Act { digest, expires } => self.texts.insert(digest, expires, ()),
        }
    }

    fn forget(&mut self) {
        let now = self.time;
        self.ended.forget(now);
        self.equivocators.forget(now);
        self.overrides.forget(now);
        self.texts.forget(now);
        self.last.forget(now);
        self.pauses.forget(now);
        self.incidents.forget(now);
    }
}
