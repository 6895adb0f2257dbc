//! The view: what the verified log says now of one order, one member, one moment (steps 8 and 10).

use std::fmt;
use std::sync::Arc;

use quorate_attest::certificate::judge_freshness;
use quorate_attest::head::{CosignedHead, VerifiedHead};
use quorate_attest::history::{History, Slot};
use quorate_attest::id::{ClusterId, KeyName, ProposalId};
use quorate_attest::leaf::Decision;
use quorate_attest::log_time::LogTime;
use quorate_attest::merkle::Hash;
use quorate_attest::number::FencingToken;

use super::Believed;
use crate::journal::Entry;

/// The rule that operators can lift for one proposal.
const PAUSE_RULE: &str = "pause";

/// Two cosigned heads contradict each other. This agent starts nothing until a person has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    heads: [Vec<u8>; 2],
}

impl Alarm {
    /// From the two heads, exact bytes.
    #[must_use]
    pub fn new(heads: [Vec<u8>; 2]) -> Self {
        Self { heads }
    }

    /// The two heads: evidence against whoever signed both.
    #[must_use]
    pub fn heads(&self) -> &[Vec<u8>; 2] {
        &self.heads
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("split view: two cosigned heads contradict each other")?;
        for head in &self.heads {
            match CosignedHead::parse(head) {
                Ok(head) => {
                    let checkpoint = head.checkpoint;
                    write!(out, "; size {} root {}", checkpoint.size, checkpoint.root)?;
                }
                Err(refused) => write!(out, "; one that cannot be read: {refused}")?,
            }
        }
        Ok(())
    }
}

/// What the verified log says of a decision now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It holds its cluster's slot and this agent's answer is awaited.
    InForce,
    /// It holds the slot, and the log has this agent's outcome already.
    Answered,
    /// A later decision continues the same action.
    Continued(FencingToken),
    /// It no longer holds the slot: abandoned, void, or settled by everybody.
    Ended,
    /// It holds the slot, but automation is paused and it has not started.
    Paused {
        /// Until when; `None` until somebody resumes it.
        until: Option<LogTime>,
    },
    /// The newest head is too old to say.
    Stale,
    /// The charter changed: a decision of an older epoch starts nothing.
    OtherEpoch,
    /// The log shows another leaf under this token.
    OtherLeaf,
    /// The log contradicts itself.
    SplitView,
    /// Nothing is believed yet.
    NothingKnown,
}

/// What is believed now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct View {
    history: Option<Arc<History>>,
    head: Option<Arc<VerifiedHead>>,
    note: Option<Arc<[u8]>>,
    alarm: Option<Arc<Alarm>>,
}

impl View {
    pub(super) fn new(believed: Option<&Believed>, alarm: Option<Alarm>) -> Self {
        Self {
            history: believed.map(|believed| Arc::new(believed.history.clone())),
            head: believed.map(|believed| Arc::new(believed.verified.clone())),
            note: believed.map(|believed| believed.head.to_bytes().into()),
            alarm: alarm.map(Arc::new),
        }
    }

    /// What the believed leaves determine.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// The newest head.
    #[must_use]
    pub fn head(&self) -> Option<&VerifiedHead> {
        self.head.as_deref()
    }

    /// The newest head, exact bytes.
    #[must_use]
    pub fn note(&self) -> Option<&[u8]> {
        self.note.as_deref()
    }

    /// The contradiction, if there is one.
    #[must_use]
    pub fn alarm(&self) -> Option<&Alarm> {
        self.alarm.as_deref()
    }

    /// The decision in the slot of `cluster`, if `agent` has to answer for it.
    #[must_use]
    pub fn order_for(&self, cluster: &ClusterId, agent: &KeyName) -> Option<&Slot> {
        self.slot(cluster).filter(|slot| slot.awaited.contains(agent))
    }

    /// Whether k coordinators cosigned the newest head within the charter's maximal age.
    #[must_use]
    pub fn is_fresh(&self, now: LogTime) -> bool {
        let (Some(history), Some(head)) = (&self.history, &self.head) else { return false };
        judge_freshness(history.charter(), head, now).is_ok()
    }

    /// Whether a decision may still be *started* now, by the log.
    #[must_use]
    pub fn standing(
        &self,
        decision: &Decision,
        leaf: Hash,
        agent: &KeyName,
        now: LogTime,
    ) -> Standing {
        let order = Ordered {
            cluster: &decision.cluster,
            token: decision.token(),
            proposal: decision.proposal.id(),
            leaf,
        };
        let held = self.held(&order, agent);
        if held != Standing::InForce {
            return held;
        }
        let Some(history) = &self.history else { return Standing::NothingKnown };
        if decision.epoch != history.epoch() || decision.origin != *history.origin() {
            return Standing::OtherEpoch;
        }
        if !self.is_fresh(now) {
            return Standing::Stale;
        }
        let overridden = history
            .overrides_for(&order.proposal, now)
            .any(|found| found.rule.as_str() == PAUSE_RULE);
        match history.paused(&decision.cluster, now) {
            // A pause never stops a continuation.
            Some(pause) if decision.continues.is_none() && !overridden => {
                Standing::Paused { until: pause.until }
            }
            Some(_) | None => Standing::InForce,
        }
    }

    /// Whether a decision still holds its slot, whatever may start now.
    #[must_use]
    pub fn held(&self, order: &Ordered<'_>, agent: &KeyName) -> Standing {
        if self.alarm.is_some() {
            return Standing::SplitView;
        }
        if self.history.is_none() {
            return Standing::NothingKnown;
        }
        match self.slot(order.cluster) {
            Some(slot) if slot.token == order.token && slot.hash != order.leaf => {
                Standing::OtherLeaf
            }
            Some(slot) if slot.token == order.token && slot.awaited.contains(agent) => {
                Standing::InForce
            }
            Some(slot) if slot.token == order.token => Standing::Answered,
            Some(slot) if slot.proposal == order.proposal && slot.token > order.token => {
                Standing::Continued(slot.token)
            }
            Some(_) | None => Standing::Ended,
        }
    }

    fn slot(&self, cluster: &ClusterId) -> Option<&Slot> {
        self.history.as_ref()?.cluster(cluster)?.slot()
    }
}

/// What a decision is known by.
#[derive(Debug, Clone)]
pub struct Ordered<'a> {
    /// Its cluster.
    pub cluster: &'a ClusterId,
    /// Its token.
    pub token: FencingToken,
    /// Its proposal.
    pub proposal: ProposalId,
    /// The hash of its leaf.
    pub leaf: Hash,
}

impl<'a> From<&'a Entry> for Ordered<'a> {
    fn from(entry: &'a Entry) -> Self {
        let Entry { cluster, token, proposal, leaf, .. } = entry;
        Self { cluster, token: *token, proposal: *proposal, leaf: *leaf }
    }
}
