//! What happens, as the coordinators tell it: watched like anybody with a reader's rights could,
//! told on the screen, and kept for the audit.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quorate_proto::client::Client;
use quorate_proto::pb::v1::watch_decisions_response::Event as DecisionEvent;
use quorate_proto::pb::v1::watch_log_response::Event as LogEvent;
use quorate_proto::pb::v1::watch_proposals_response::Event as ProposalEvent;
use quorate_proto::pb::v1::{
    Decision, DecisionState, Leaf, LeafKind, Proposal, ProposalState, View, WatchDecisionsRequest,
    WatchLogRequest, WatchProposalsRequest,
};
use tokio::task::JoinSet;

use super::screen::{Beat, Screen};
use crate::view::{last, lasts, ms, progress, short, word};

/// Everything seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Proposals by id, as they were last.
    pub(super) proposals: BTreeMap<String, Proposal>,
    /// Decisions by number, as they were last.
    pub(super) decisions: BTreeMap<u64, Decision>,
    /// Leaves by index.
    pub(super) leaves: BTreeMap<u64, Leaf>,
    /// Roots of certified heads by size; a second root at one size is a fork.
    pub(super) heads: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    /// Every (number, token, leaf index) a coordinator ever told.
    pub(super) told: BTreeSet<(u64, String, u64)>,
}

impl Seen {
    /// The size of the largest certified head.
    pub(super) fn certified(&self) -> u64 {
        self.heads.keys().next_back().copied().unwrap_or(0)
    }
}

/// Watches until it is dropped.
pub(super) struct Observer {
    seen: Rc<RefCell<Seen>>,
    // Aborts the watches with the demo.
    _watches: JoinSet<()>,
}

impl Observer {
    /// Starts the three watches. They follow whoever leads, and resume where they broke.
    pub(super) fn start(client: &Client, screen: &Screen) -> Self {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let mut watches = JoinSet::new();
        watches.spawn_local(proposals(client.clone(), Rc::clone(&seen), screen.clone()));
        watches.spawn_local(decisions(client.clone(), Rc::clone(&seen), screen.clone()));
        watches.spawn_local(log(client.clone(), Rc::clone(&seen)));
        Self { seen, _watches: watches }
    }

    /// Looks at what was seen.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.borrow())
    }
}

async fn proposals(client: Client, seen: Rc<RefCell<Seen>>, screen: Screen) {
    let mut watch =
        client.watch(WatchProposalsRequest { view: View::Basic.into(), ..Default::default() });
    loop {
        // A watch that found nobody goes on where it was: killing leaders is part of the story.
        let Ok(event) = watch.next().await else { continue };
        if let Some(ProposalEvent::Proposal(now)) = event.event {
            let before = seen.borrow_mut().proposals.insert(now.id.clone(), now.clone());
            tell_proposal(&screen, before.as_ref(), &now);
        }
    }
}

/// Names of the validators that approve a proposal.
pub(super) fn approvers(proposal: &Proposal) -> BTreeSet<String> {
    let tally = proposal.tally.as_ref();
    let approved = tally.map(|tally| tally.approved.as_slice()).unwrap_or_default();
    approved.iter().map(|voter| voter.name.clone()).collect()
}

fn act(proposal: &Proposal) -> String {
    format!("{} {}", proposal.kind.to_uppercase(), last(&proposal.target))
}

fn tell_proposal(screen: &Screen, before: Option<&Proposal>, now: &Proposal) {
    let id = short(&now.id);
    let votes = now.tally.as_ref().map(progress).unwrap_or_default();
    let facts = serde_json::json!({
        "proposal": now.id, "kind": now.kind, "target": now.target, "votes": votes,
    });
    // The screen fails only when standard output is gone; the story itself will notice.
    let tell = |beat, text: String| drop(screen.tell_with(beat, text, facts.clone()));
    if before.is_none() {
        let proposer = last(&now.proposer);
        tell(Beat::Proposed, format!("{proposer} proposes {}  {id}  ({})", act(now), now.reason));
    }
    let known = before.map(approvers).unwrap_or_default();
    for voter in approvers(now).difference(&known) {
        tell(Beat::Vote, format!("{} ✔  votes {votes}  {id}", last(voter)));
    }
    let changed = before.is_some_and(|before| before.state != now.state);
    let is_end = !matches!(
        ProposalState::try_from(now.state),
        Ok(ProposalState::Open | ProposalState::Approved | ProposalState::Decided)
    );
    if changed && is_end {
        let state = word!(ProposalState, now.state, "PROPOSAL_STATE_");
        tell(Beat::Proposal, format!("{} {id}: {state}", act(now)));
    }
}

async fn decisions(client: Client, seen: Rc<RefCell<Seen>>, screen: Screen) {
    let mut watch =
        client.watch(WatchDecisionsRequest { view: View::Basic.into(), ..Default::default() });
    loop {
        let Ok(event) = watch.next().await else { continue };
        if let Some(DecisionEvent::Decision(now)) = event.event {
            let before = {
                let mut seen = seen.borrow_mut();
                seen.told.insert((now.number, now.token.clone(), now.leaf_index));
                seen.decisions.insert(now.number, now.clone())
            };
            tell_decision(&screen, before.as_ref(), &now);
        }
    }
}

fn tell_decision(screen: &Screen, before: Option<&Decision>, now: &Decision) {
    if before.is_some_and(|before| before.state == now.state) {
        return;
    }
    let state = word!(DecisionState, now.state, "DECISION_STATE_");
    // The votes that decided are in the leaf: whoever voted last was too quick for the watch.
    let votes = match before {
        None => format!(", votes {}", lasts(&now.approved_by)),
        Some(_) => String::new(),
    };
    let act = format!("{} {}", now.kind.to_uppercase(), last(&now.target));
    let what = match DecisionState::try_from(now.state) {
        Ok(DecisionState::Decided) => {
            format!(
                "decision {}: {act}, fencing token {}, leaf {}{votes}",
                now.number, now.token, now.leaf_index
            )
        }
        Ok(DecisionState::Certified) => {
            format!("decision {} certified: {act}, fencing token {}{votes}", now.number, now.token)
        }
        Ok(DecisionState::Executing) => {
            let agents: Vec<&str> = now
                .executions
                .iter()
                .filter(|one| one.claimed)
                .map(|one| last(&one.agent))
                .collect();
            format!("{}'s agent claimed token {} and starts", agents.join(", "), now.token)
        }
        Ok(DecisionState::Effective) => {
            format!("{act}: verified EFFECTIVE (decision {}, token {})", now.number, now.token)
        }
        Ok(
            DecisionState::Ineffective
            | DecisionState::Harmful
            | DecisionState::Inconclusive
            | DecisionState::Abandoned
            | DecisionState::Voided
            | DecisionState::Continued
            | DecisionState::None
            | DecisionState::Unspecified,
        )
        | Err(_) => format!("decision {} ({act}) is {state}", now.number),
    };
    let facts = serde_json::json!({
        "number": now.number, "token": now.token, "state": state, "leafIndex": now.leaf_index,
    });
    drop(screen.tell_with(Beat::Decision, what, facts));
}

async fn log(client: Client, seen: Rc<RefCell<Seen>>) {
    let mut watch = client.watch(WatchLogRequest { from_index: 0, view: View::Basic.into() });
    loop {
        let Ok(event) = watch.next().await else { continue };
        let mut seen = seen.borrow_mut();
        match event.event {
            Some(LogEvent::Leaf(leaf)) => drop(seen.leaves.insert(leaf.index, leaf)),
            Some(LogEvent::Head(head)) => {
                seen.heads.entry(head.size).or_default().insert(head.root);
            }
            Some(LogEvent::Heartbeat(_)) | None => {}
        }
    }
}

/// The index of the first evidence leaf.
pub(super) fn evidence(seen: &Seen) -> Option<u64> {
    let is_evidence = |leaf: &&Leaf| leaf.kind == i32::from(LeafKind::Evidence);
    seen.leaves.values().find(is_evidence).map(|leaf| leaf.index)
}

/// When an approved proposal is next allowed, if its budget is what it waits for.
pub(super) fn next_allowed(proposal: &Proposal) -> Option<u64> {
    let waits = proposal.waiting_for.iter().find(|refusal| refusal.reason == "BUDGET_EXHAUSTED");
    waits.and_then(|refusal| ms(refusal.next_allowed.as_ref()))
}
