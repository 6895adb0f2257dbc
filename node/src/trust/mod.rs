//! Trust: what must hold before this agent believes anything a coordinator says.
//!
//! The agent pins a charter. It tails the log from every coordinator, judges each leaf by
//! `attest::History`, which is the only code that does, and believes a leaf once a head of exactly
//! that size is cosigned by the threshold of the charter in force there. Nothing is done on the
//! word of one coordinator, and nothing on a leaf that is not below a verified head.
//!
//! * Two heads of one size with two roots, both properly cosigned, are a split view: alarm, both
//!   are kept, and this agent starts nothing any more (*log-append-only*).
//! * A properly cosigned head that the leaves under it do not lead to is in doubt: it is kept, and
//!   nothing starts until it is shown to follow from what is believed, or becomes an alarm.
//! * A coordinator whose leaves do not hold, or do not give the cosigned root, is left; the others
//!   go on.
//! * Charters and incarnations are leaves: epochs are walked one by one by the leaves themselves,
//!   and where the log reaches the pinned epoch its charter must be the pinned one.
//!
//! No IO here: bytes and *now* in, progress or a refusal out.

mod anchor;
mod doubt;
mod source;
mod view;

use std::collections::{BTreeMap, VecDeque};

use quorate_attest::head::{CosignedHead, HeadPolicyError, HeadRefused, VerifiedHead};
use quorate_attest::history::{History, LeafRefused};
use quorate_attest::id::{CharterId, Digest, KeyName, Origin};
use quorate_attest::log_time::{CosignTime, LogTime};
use quorate_attest::merkle::Hash;
use quorate_attest::number::{Epoch, LeafIndex, TreeSize};
use thiserror::Error;

pub use self::anchor::Anchor;
use self::doubt::Doubt;
pub use self::doubt::Doubted;
use self::source::Source;
pub use self::view::{Alarm, Ordered, Standing, View};
use crate::journal::Pinned;

/// Sizes whose roots are remembered to compare late heads with.
const ROOTS_MAX: usize = 4_096;

/// Why something a coordinator sent is not believed. What was believed before stays.
#[derive(Debug, Error)]
pub enum TrustRefused {
    /// A leaf breaks a rule of the log.
    #[error("leaf {index} of coordinator {source_id} breaks a rule: {source}")]
    Leaf {
        /// Its index.
        index: LeafIndex,
        /// Who sent it.
        source_id: u64,
        /// The rule.
        source: Box<LeafRefused>,
    },
    /// A leaf is missing before it.
    #[error("coordinator {source_id} sent leaf {found} where {expected} comes next")]
    Gap {
        /// Who sent it.
        source_id: u64,
        /// The next one.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// Too many leaves above the newest head.
    #[error("coordinator {source_id} sent {bytes} bytes of leaves that no head covers")]
    Uncovered {
        /// Who sent them.
        source_id: u64,
        /// How many.
        bytes: usize,
    },
    /// A head cannot be read or is not cosigned by enough.
    #[error("a head of coordinator {source_id} is not believed: {source}")]
    Head {
        /// Who sent it.
        source_id: u64,
        /// Why.
        source: Box<HeadRefused>,
    },
    /// The leaves sent do not give the head's root.
    #[error(
        "coordinator {source_id} sent leaves with root {found} under a head with root {signed}"
    )]
    Root {
        /// Who sent them.
        source_id: u64,
        /// Of the leaves.
        found: Hash,
        /// Of the head.
        signed: Hash,
    },
    /// The keys of the charter in force cannot judge a head.
    #[error("the charter in force cannot judge heads: {0}")]
    Policy(#[from] HeadPolicyError),
    /// The log's charter of the pinned epoch is another one.
    #[error("the log has charter {found} in epoch {epoch}, pinned is {pinned}")]
    OtherCharter {
        /// The epoch.
        epoch: Epoch,
        /// In the log.
        found: CharterId,
        /// Pinned.
        pinned: CharterId,
    },
    /// The log is of another network.
    #[error("the log is {found}, pinned is {pinned}")]
    OtherOrigin {
        /// In the log.
        found: Origin,
        /// Pinned.
        pinned: Origin,
    },
    /// Two heads contradict each other: this agent stops starting anything.
    #[error("{0}")]
    Alarm(Alarm),
}

/// What newly believed leaves say besides what the history holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advance {
    /// Evidence leaves: digest of the leaf, and whose key it speaks against.
    pub evidence: Vec<(Digest, KeyName)>,
    /// Whether the history grew or only became fresher.
    pub grew: Growth,
}

/// Whether the history grew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Growth {
    /// Nothing new is believed.
    #[default]
    None,
    /// The same size, cosigned later.
    Fresher,
    /// More leaves.
    Larger,
}

/// The trust of one agent. One task owns it.
#[derive(Debug)]
pub struct Trust {
    anchor: Anchor,
    believed: Option<Believed>,
    sources: BTreeMap<u64, Source>,
    roots: VecDeque<(TreeSize, Hash)>,
    doubt: Option<Doubt>,
    alarm: Option<Alarm>,
}

#[derive(Debug, Clone)]
pub(super) struct Believed {
    pub(super) history: History,
    pub(super) head: CosignedHead,
    pub(super) verified: VerifiedHead,
}

impl Trust {
    /// Nothing is believed but the anchor.
    #[must_use]
    pub fn new(anchor: Anchor) -> Self {
        Self {
            anchor,
            believed: None,
            sources: BTreeMap::new(),
            roots: VecDeque::new(),
            doubt: None,
            alarm: None,
        }
    }

    /// Takes up what was pinned before a restart. It was verified before it was written, and is
    /// verified again now but for its age.
    ///
    /// # Errors
    /// [`TrustRefused`] if the pinned head is not what it was.
    pub fn resume(anchor: Anchor, pinned: &Pinned) -> Result<Self, TrustRefused> {
        const OWN: u64 = 0;
        let head = CosignedHead::parse(&pinned.head).map_err(|source| refused_head(OWN, source))?;
        let unreadable = |_| TrustRefused::Head {
            source_id: OWN,
            source: Box::new(HeadRefused::OriginMismatch {
                expected: anchor.origin.clone(),
                found: head.checkpoint.origin.clone(),
            }),
        };
        let history: History = borsh::from_slice(&pinned.history).map_err(unreadable)?;
        let verified = verify(&history, &head, CosignTime::MAX, OWN)?;
        check_root(&history, &head, OWN)?;
        let mut trust = Self::new(anchor);
        trust.check_anchor(&history)?;
        trust.adopt(Believed { history, head, verified });
        Ok(trust)
    }

    /// Takes up an alarm from before a restart: nothing is started.
    #[must_use]
    pub fn alarmed(mut self, heads: [Vec<u8>; 2]) -> Self {
        self.alarm = Some(Alarm::new(heads));
        self
    }

    /// How many leaves are believed: where a watch starts.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.believed.as_ref().map_or(TreeSize::MIN, |believed| believed.history.size())
    }

    /// What is believed, for everybody else in this agent. A doubt stops what an alarm stops.
    #[must_use]
    pub fn view(&self) -> View {
        let doubted = || self.doubt.as_ref().map(|doubt| doubt.alarm.clone());
        View::new(self.believed.as_ref(), self.alarm.clone().or_else(doubted))
    }

    /// What to write down, if anything is believed.
    #[must_use]
    pub fn pinned(&self) -> Option<Pinned> {
        let believed = self.believed.as_ref()?;
        let history = borsh::to_vec(&believed.history).ok()?;
        Some(Pinned { head: believed.head.to_bytes(), history })
    }

    /// A coordinator begins to send, from the size that is believed now.
    pub fn begin(&mut self, source: u64) {
        self.sources.insert(source, Source::new(self.size()));
    }

    /// Takes the next leaf of a coordinator.
    ///
    /// # Errors
    /// [`TrustRefused`]; the caller leaves that coordinator and begins again.
    pub fn leaf(
        &mut self,
        source: u64,
        index: u64,
        bytes: &[u8],
        now: LogTime,
    ) -> Result<Advance, TrustRefused> {
        let size = self.size();
        self.sources
            .entry(source)
            .or_insert_with(|| Source::new(size))
            .push(source, index, bytes, size)?;
        self.pump(source, now)
    }

    /// Takes a head of a coordinator.
    ///
    /// # Errors
    /// [`TrustRefused`]; after [`TrustRefused::Alarm`] nothing is started any more.
    pub fn head(
        &mut self,
        source: u64,
        note: &[u8],
        now: LogTime,
    ) -> Result<Advance, TrustRefused> {
        let head = CosignedHead::parse(note).map_err(|refused| refused_head(source, refused))?;
        if head.checkpoint.size <= self.size() {
            return self.compare(source, head, now);
        }
        let size = self.size();
        self.sources.entry(source).or_insert_with(|| Source::new(size)).aim(head);
        self.pump(source, now)
    }

    /// A head no larger than what is believed: the same root, or a split view.
    fn compare(
        &mut self,
        source: u64,
        head: CosignedHead,
        now: LogTime,
    ) -> Result<Advance, TrustRefused> {
        let Some(believed) = &mut self.believed else { return Ok(Advance::default()) };
        let size = head.checkpoint.size;
        let known = self.roots.iter().find(|(known, _)| *known == size).map(|(_, root)| *root);
        // A head from before all that is remembered says nothing new.
        let Some(root) = known else { return Ok(Advance::default()) };
        if head.checkpoint.origin != *believed.history.origin() {
            return Ok(Advance::default());
        }
        let latest = latest(&believed.history, now);
        let verified = verify(&believed.history, &head, latest, source)?;
        if root != head.checkpoint.root {
            let alarm = Alarm::new([believed.head.to_bytes(), head.to_bytes()]);
            self.alarm.get_or_insert(alarm.clone());
            return Err(TrustRefused::Alarm(alarm));
        }
        if size == believed.history.size() && verified.as_of() > believed.verified.as_of() {
            believed.head = head;
            believed.verified = verified;
            return Ok(Advance { grew: Growth::Fresher, ..Advance::default() });
        }
        Ok(Advance::default())
    }

    /// Judges what a source has sent up to the head it aims at; believes it if all of it holds.
    fn pump(&mut self, id: u64, now: LogTime) -> Result<Advance, TrustRefused> {
        let base = self.believed.as_ref().map(|believed| &believed.history);
        let Some(source) = self.sources.get_mut(&id) else { return Ok(Advance::default()) };
        let reached = match source.judge(id, base) {
            Ok(Some(reached)) => reached,
            Ok(None) => return Ok(Advance::default()),
            // The leaves of a fork seldom follow from these: its head may be cosigned all the same.
            Err(refused) => {
                let head = source.target().cloned();
                let judges = base.cloned();
                if let (Some(head), Some(history)) = (head, judges) {
                    self.doubt(&history, &head, now);
                }
                return Err(refused);
            }
        };
        // The signatures first: what k keys signed is evidence, whatever came with it.
        let latest = latest(&reached.history, now);
        let verified = verify(&reached.history, &reached.head, latest, id)?;
        if let Err(refused) = check_root(&reached.history, &reached.head, id) {
            self.doubt(&reached.history, &reached.head, now);
            return Err(refused);
        }
        self.check_anchor(&reached.history)?;
        self.roots.extend(reached.roots);
        self.adopt(Believed { history: reached.history, head: reached.head, verified });
        self.judge_doubt()?;
        Ok(Advance { evidence: reached.evidence, grew: Growth::Larger })
    }

    fn adopt(&mut self, believed: Believed) {
        let head = believed.history.head();
        if self.roots.back() != Some(&(head.size, head.root)) {
            self.roots.push_back((head.size, head.root));
        }
        while self.roots.len() > ROOTS_MAX {
            self.roots.pop_front();
        }
        self.believed = Some(believed);
        for source in self.sources.values_mut() {
            source.overtaken(head.size);
        }
    }

    /// Where the log reaches the pinned epoch, its charter is the pinned one; every charter before
    /// it is named by the digests within, so the chain holds backwards too.
    fn check_anchor(&self, history: &History) -> Result<(), TrustRefused> {
        let pinned = self.anchor.origin.clone();
        let found = history.origin().clone();
        if found.network != pinned.network || found.incarnation < pinned.incarnation {
            return Err(TrustRefused::OtherOrigin { found, pinned });
        }
        if history.epoch() == self.anchor.epoch && history.charter_id() != self.anchor.id {
            return Err(TrustRefused::OtherCharter {
                epoch: history.epoch(),
                found: history.charter_id(),
                pinned: self.anchor.id,
            });
        }
        Ok(())
    }
}

fn refused_head(source_id: u64, source: HeadRefused) -> TrustRefused {
    TrustRefused::Head { source_id, source: Box::new(source) }
}

/// The latest time a cosignature may carry.
fn latest(history: &History, now: LogTime) -> CosignTime {
    now.saturating_add(history.charter().skew).to_cosign_time()
}

fn check_root(history: &History, head: &CosignedHead, source_id: u64) -> Result<(), TrustRefused> {
    let (found, signed) = (history.root(), head.checkpoint.root);
    if found == signed { Ok(()) } else { Err(TrustRefused::Root { source_id, found, signed }) }
}

/// Verifies a head by the charter in force at its size.
fn verify(
    history: &History,
    head: &CosignedHead,
    latest: CosignTime,
    source_id: u64,
) -> Result<VerifiedHead, TrustRefused> {
    let policy = history.charter().head_policy()?;
    head.verify(&policy, latest).map_err(|source| refused_head(source_id, source))
}
