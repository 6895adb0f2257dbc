//! Leaves as messages, and finding them: by scanning backwards or forwards, always bounded.

use quorate_attest::{
    id::ProposalId,
    leaf::{Leaf, LeafKind as Kind},
    merkle::{leaf_hash, prove_inclusion},
    number::{LeafIndex, TreeSize},
    proof::TlogProof,
    proposal::Proposal,
};
use quorate_proto::{
    error_code::ErrorCode,
    pb::v1::{self as pb, LeafKind, ProposalState},
    problem::Problem,
};
use quorate_store::LeavesView;
use tonic::Status;

use super::{Context, show};
use crate::signer::Certified;

/// Leaves looked at for one answer.
pub(crate) const SCAN_MAX: u64 = 20_000;
/// Leaves and bytes read in one go.
const STEP: u64 = 512;
const STEP_BYTES: usize = 4 << 20;

/// The kind as a message says it.
pub(crate) fn kind(kind: Kind) -> LeafKind {
    match kind {
        Kind::Charter => LeafKind::Charter,
        Kind::Decision => LeafKind::Decision,
        Kind::Void => LeafKind::Void,
        Kind::Outcome => LeafKind::Outcome,
        Kind::Evidence => LeafKind::Evidence,
        Kind::Override => LeafKind::Override,
        Kind::Pause => LeafKind::Pause,
        Kind::Act => LeafKind::Act,
        Kind::Incarnation => LeafKind::Incarnation,
    }
}

/// A leaf with as much as `view` asks for.
pub(crate) fn leaf(index: u64, bytes: &[u8], view: pb::View, certified: u64) -> pb::Leaf {
    let parsed = Leaf::parse(bytes).ok();
    let full = matches!(view, pb::View::Full | pb::View::WithProof);
    pb::Leaf {
        index,
        kind: parsed.as_ref().map_or(LeafKind::Unspecified, |leaf| kind(leaf.kind())).into(),
        cluster: parsed.as_ref().and_then(cluster).unwrap_or_default(),
        time: parsed.as_ref().and_then(Leaf::time).map(Into::into),
        hash: leaf_hash(bytes).as_bytes().to_vec(),
        summary: parsed.as_ref().map(summary).unwrap_or_default(),
        certified: index < certified,
        content: if full { bytes.to_vec() } else { Vec::new() },
        proof: Vec::new(),
    }
}

fn cluster(leaf: &Leaf) -> Option<String> {
    leaf.cluster().map(ToString::to_string)
}

/// One line for people.
fn summary(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Charter(charter) => format!("charter of epoch {}", charter.statement.epoch),
        Leaf::Decision(decision) => {
            let proposal = &decision.proposal;
            format!("decision {}: {} {}", decision.token(), proposal.kind, proposal.target)
        }
        Leaf::Void(void) => {
            format!("{} {} ended: {}", void.proposal.kind, void.proposal.target, void.cause)
        }
        Leaf::Outcome(outcome) => {
            let effect = outcome.report.statement.effect;
            format!("outcome of decision {} by {}: {effect}", outcome.number, outcome.agent)
        }
        Leaf::Evidence(_) => "evidence: two signed texts for one question".to_owned(),
        Leaf::Override(signed) => {
            format!("override of {} for {}", signed.statement.rule, signed.statement.scope)
        }
        Leaf::Pause(signed) => format!("automation {}", signed.statement.automation),
        Leaf::Act(signed) => format!("{} {}", signed.statement.act, signed.statement.subject),
        Leaf::Incarnation(signed) => format!("incarnation {}", signed.statement.origin),
    }
}

/// The certificate of a leaf: entry, path and the certified head.
pub(crate) fn certificate(
    view: &LeavesView,
    index: u64,
    entry: Vec<u8>,
    certified: &Certified,
) -> Result<Vec<u8>, Status> {
    let failed = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let leaf = LeafIndex::new(index).map_err(|error| failed(&error))?;
    let size = TreeSize::new(certified.size).map_err(|error| failed(&error))?;
    let path = prove_inclusion(view, leaf, size).map_err(|error| failed(&error))?;
    let proof = TlogProof::new(entry, leaf, path, certified.head.clone());
    proof.map(|proof| proof.to_bytes()).map_err(|error| failed(&error))
}

/// A leaf that exists but has no k cosignatures yet.
pub(crate) fn not_certified(context: &Context, index: u64) -> Status {
    let need = context.handle.in_force().map_or(0, |known| known.charter.threshold);
    let state = context.signer.state().borrow().clone();
    let have = state.cosigned.values().filter(|size| **size > index).count();
    let what = format!("leaf {index} is applied, and {have} of {need} coordinators cosigned it");
    Problem::new(ErrorCode::NotCertifiedYet, what)
        .with("have", have)
        .with("need", need)
        .retry_after(std::time::Duration::from_millis(100))
        .into()
}

/// Reads leaves backwards from `before` until `look` answers, at most `max` of them.
pub(crate) fn backwards<T>(
    view: &LeavesView,
    before: u64,
    max: u64,
    mut look: impl FnMut(u64, &[u8]) -> Option<T>,
) -> Option<T> {
    let floor = before.saturating_sub(max);
    let mut end = before.min(view.size().get());
    while end > floor {
        let start = end.saturating_sub(STEP).max(floor);
        let leaves = whole(view, start, end)?;
        for (index, bytes) in leaves.iter().rev() {
            if let Some(found) = look(*index, bytes) {
                return Some(found);
            }
        }
        end = start;
    }
    None
}

/// Reads leaves forwards from `from` until `look` answers, at most `max` of them.
pub(crate) fn forwards<T>(
    view: &LeavesView,
    from: u64,
    max: u64,
    mut look: impl FnMut(u64, &[u8]) -> Option<T>,
) -> Option<T> {
    let end = view.size().get().min(from.saturating_add(max));
    let mut start = from;
    while start < end {
        let leaves = view.range(start..end.min(start + STEP), STEP_BYTES).ok()?;
        for (index, bytes) in &leaves {
            if let Some(found) = look(*index, bytes) {
                return Some(found);
            }
            start = index + 1;
        }
        if leaves.is_empty() {
            return None;
        }
    }
    None
}

/// All leaves of a short range, however many reads it takes.
fn whole(view: &LeavesView, start: u64, end: u64) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut leaves = Vec::new();
    let mut next = start;
    while next < end {
        let part = view.range(next..end, STEP_BYTES).ok()?;
        next = part.last()?.0 + 1;
        leaves.extend(part);
    }
    Some(leaves)
}

/// The kind of a leaf, read from its first line only.
pub(crate) fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let first = bytes.split(|byte| *byte == b'\n').next()?;
    Kind::ALL.into_iter().find(|kind| kind.first_line().as_bytes() == first)
}

/// An ended proposal, from the leaf that ended it.
pub(crate) fn ended_proposal(index: u64, bytes: &[u8], full: bool) -> Option<pb::Proposal> {
    let (proposal, state, token, number, notes) = match Leaf::parse(bytes).ok()? {
        // A continuation is the same proposal again.
        Leaf::Decision(decision) if decision.continues.is_none() => {
            let (token, number) = (decision.token().to_string(), decision.number.get());
            let votes = decision.votes.to_bytes();
            (decision.proposal, ProposalState::Decided, token, number, (votes, Vec::new()))
        }
        Leaf::Void(void) if void.refused().is_none() => {
            let note = |note: Option<quorate_attest::signed::Signed<_>>| {
                note.map(|note| note.to_bytes()).unwrap_or_default()
            };
            let state = void_state(void.cause);
            (void.proposal, state, String::new(), 0, (note(void.approve), note(void.reject)))
        }
        Leaf::Decision(_)
        | Leaf::Void(_)
        | Leaf::Charter(_)
        | Leaf::Outcome(_)
        | Leaf::Evidence(_)
        | Leaf::Override(_)
        | Leaf::Pause(_)
        | Leaf::Act(_)
        | Leaf::Incarnation(_) => return None,
    };
    let mut shown = show::proposal_text(&proposal, full);
    shown.state = state.into();
    shown.token = token;
    shown.decision_number = number;
    shown.leaf_index = Some(index);
    if full {
        (shown.approve_note, shown.reject_note) = notes;
    }
    Some(shown)
}

fn void_state(cause: quorate_attest::leaf::VoidCause) -> ProposalState {
    use quorate_attest::leaf::VoidCause;
    match cause {
        VoidCause::Rejected => ProposalState::Rejected,
        VoidCause::Vetoed => ProposalState::Vetoed,
        VoidCause::Withdrawn => ProposalState::Withdrawn,
        VoidCause::Expired => ProposalState::Expired,
        VoidCause::Superseded => ProposalState::Superseded,
        VoidCause::Epoch => ProposalState::EpochEnded,
    }
}

/// The leaf that ended a proposal, looking back from the newest.
pub(crate) fn find_ended(view: &LeavesView, id: &ProposalId, full: bool) -> Option<pb::Proposal> {
    let text = id.to_string();
    backwards(view, view.size().get(), SCAN_MAX, |index, bytes| match kind_of(bytes) {
        Some(Kind::Decision | Kind::Void) => {
            ended_proposal(index, bytes, full).filter(|shown| shown.id == text)
        }
        Some(_) | None => None,
    })
}

/// Whether a proposal matches a list's filter.
pub(crate) fn matches(proposal: &Proposal, cluster: &str, kind: &str, target: &str) -> bool {
    let same = |filter: &str, value: &dyn std::fmt::Display| {
        filter.is_empty() || filter == value.to_string()
    };
    same(cluster, &proposal.cluster) && same(kind, &proposal.kind) && same(target, &proposal.target)
}
