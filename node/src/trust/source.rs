//! One coordinator as a source: the leaves it sent above what is believed, and the head they are
//! judged up to.

use std::collections::VecDeque;

use quorate_attest::head::CosignedHead;
use quorate_attest::history::{History, LeafRefused};
use quorate_attest::id::{Digest, KeyName};
use quorate_attest::leaf::Leaf;
use quorate_attest::merkle::Hash;
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_attest::signed::Signatures;

use super::{ROOTS_MAX, TrustRefused};

/// Most bytes of leaves that no head covers yet.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// Most evidence leaves that one advance reports.
const EVIDENCE_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct Source {
    /// The next leaf it has to send.
    next: u64,
    pending: VecDeque<Vec<u8>>,
    pending_bytes: usize,
    /// The head that is judged up to; a newer one waits until this one is reached.
    target: Option<CosignedHead>,
    newest: Option<CosignedHead>,
    ahead: Option<Ahead>,
}

/// What was judged above what is believed. Provisional until its head is verified.
#[derive(Debug)]
struct Ahead {
    history: History,
    roots: VecDeque<(TreeSize, Hash)>,
    evidence: Vec<(Digest, KeyName)>,
}

/// The leaves up to a head, all judged.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) history: History,
    pub(super) head: CosignedHead,
    pub(super) roots: VecDeque<(TreeSize, Hash)>,
    pub(super) evidence: Vec<(Digest, KeyName)>,
}

impl Source {
    pub(super) fn new(size: TreeSize) -> Self {
        Self {
            next: size.get(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            target: None,
            newest: None,
            ahead: None,
        }
    }

    /// Takes a leaf; one that is believed already is skipped. Only the next one is taken, whatever is
    /// believed: a source that goes back could make this agent lose count of what it holds.
    pub(super) fn push(
        &mut self,
        source_id: u64,
        index: u64,
        bytes: &[u8],
        believed: TreeSize,
    ) -> Result<(), TrustRefused> {
        let expected = self.next;
        if index != expected {
            return Err(TrustRefused::Gap { source_id, expected, found: index });
        }
        self.next = index.saturating_add(1);
        if index < believed.get() {
            return Ok(());
        }
        self.pending_bytes = self.pending_bytes.saturating_add(bytes.len());
        self.pending.push_back(bytes.to_vec());
        if self.target.is_none() && self.pending_bytes > PENDING_BYTES_MAX {
            return Err(TrustRefused::Uncovered { source_id, bytes: self.pending_bytes });
        }
        Ok(())
    }

    /// Judges up to `head`, or after the present target up to the newest head there is then.
    pub(super) fn aim(&mut self, head: CosignedHead) {
        let larger = |other: &CosignedHead| head.checkpoint.size > other.checkpoint.size;
        if self.target.is_none() {
            self.target = Some(head);
        } else if self.newest.as_ref().is_none_or(larger) {
            self.newest = Some(head);
        }
    }

    /// The head that is judged up to.
    pub(super) fn target(&self) -> Option<&CosignedHead> {
        self.target.as_ref()
    }

    /// Judges what is there. Returns the whole once the target is reached.
    pub(super) fn judge(
        &mut self,
        source_id: u64,
        base: Option<&History>,
    ) -> Result<Option<Reached>, TrustRefused> {
        let Some(target) = &self.target else { return Ok(None) };
        let size = target.checkpoint.size;
        while self.judged(base) < size {
            let Some(bytes) = self.pending.pop_front() else { return Ok(None) };
            self.pending_bytes = self.pending_bytes.saturating_sub(bytes.len());
            let index = LeafIndex::new(self.judged(base).get()).unwrap_or(LeafIndex::MAX);
            self.record(base, &bytes).map_err(|source| TrustRefused::Leaf {
                index,
                source_id,
                source: Box::new(source),
            })?;
        }
        let head = self.target.take();
        self.target = self.newest.take();
        Ok(self.ahead.take().zip(head).map(|(ahead, head)| Reached {
            history: ahead.history,
            head,
            roots: ahead.roots,
            evidence: ahead.evidence,
        }))
    }

    fn judged(&self, base: Option<&History>) -> TreeSize {
        let ahead = self.ahead.as_ref().map(|ahead| &ahead.history);
        ahead.or(base).map_or(TreeSize::MIN, History::size)
    }

    fn record(&mut self, base: Option<&History>, bytes: &[u8]) -> Result<(), LeafRefused> {
        let ahead = match (&mut self.ahead, base) {
            (Some(ahead), _) => ahead,
            (none, Some(base)) => none.insert(Ahead::on(base.clone())),
            (none, None) => {
                let leaf = Leaf::parse(bytes)?;
                let (history, _) = History::found(&leaf, Signatures::Verify)?;
                *none = Some(Ahead::on(history));
                return Ok(());
            }
        };
        let (leaf, _) = ahead.history.append_bytes(bytes, Signatures::Verify)?;
        let head = ahead.history.head();
        ahead.roots.push_back((head.size, head.root));
        if ahead.roots.len() > ROOTS_MAX {
            ahead.roots.pop_front();
        }
        if let Leaf::Evidence(evidence) = leaf
            && ahead.evidence.len() < EVIDENCE_MAX
        {
            ahead.evidence.push((Digest::of(bytes), evidence.key.name().clone()));
        }
        Ok(())
    }

    /// Another source was believed up to `size`: what this one sent below is not needed.
    pub(super) fn overtaken(&mut self, size: TreeSize) {
        let first = self.next.saturating_sub(self.pending.len() as u64);
        let old = size.get().saturating_sub(first);
        for _ in 0..old {
            let Some(bytes) = self.pending.pop_front() else { break };
            self.pending_bytes = self.pending_bytes.saturating_sub(bytes.len());
        }
        // What it judged ahead started from less than is believed now: its leaves in between are
        // gone, so it begins again where the belief ends.
        if self.ahead.take().is_some() && first > size.get() {
            self.pending.clear();
            self.pending_bytes = 0;
            self.next = size.get();
        }
        self.target = self.target.take().filter(|head| head.checkpoint.size > size);
        self.newest = self.newest.take().filter(|head| head.checkpoint.size > size);
    }
}

impl Ahead {
    fn on(history: History) -> Self {
        Self { history, roots: VecDeque::new(), evidence: Vec::new() }
    }
}
