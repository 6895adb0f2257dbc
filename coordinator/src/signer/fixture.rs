//! A charter and a proposal under it, for tests of the signer's parts.

use quorate_attest::{
    charter::{
        AgentLine, AgentMode, BudgetLimit, BudgetLine, Charter, ClassLine, ClassPolicy,
        ClusterLine, Gate, Limited, MemberLine, OperatorLine, RuleLine,
    },
    history::History,
    id::{ClusterId, Digest, KeyName, NetworkName, Nonce, Origin},
    key::{CosignSigner, NoteSigner, SecretKey},
    leaf::{Decision, Leaf, Void, VoidCause},
    log_time::{CosignTime, LogTime, Span},
    number::{DecisionNumber, Epoch, Incarnation, LeafIndex},
    operator_statement::Scope,
    proposal::Proposal,
    refusal::{Cause, Refusal},
    remediation::{Class, Kind},
    signed::{Signatures, Signed},
    vote::{Verdict, Veto, Vote},
};
use zeroize::Zeroizing;

pub(super) const NETWORK: &str = "quorate.test/net";

fn secret(role: u8, id: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([role * 16 + id; 32]))
}

fn name(role: &str, id: &str) -> KeyName {
    KeyName::new(format!("{NETWORK}/{role}/{id}")).unwrap()
}

pub(super) fn operator(id: &str) -> NoteSigner {
    NoteSigner::new(name("operator", id), secret(1, id.as_bytes()[0] % 16))
}

pub(super) fn agent(id: &str) -> NoteSigner {
    NoteSigner::new(name("agent", id), secret(3, id.as_bytes()[1] % 16))
}

fn coordinator(id: u8) -> CosignSigner {
    CosignSigner::new(name("coordinator", &id.to_string()), secret(5, id))
}

pub(super) fn cluster() -> ClusterId {
    "db".parse().unwrap()
}

pub(super) fn origin() -> Origin {
    let network: NetworkName = NETWORK.parse().unwrap();
    Origin { network, incarnation: Incarnation::MIN, salt: [7; 16] }
}

pub(super) fn charter() -> Charter {
    let members = ["n1", "n2", "n3"];
    Charter {
        origin: origin(),
        epoch: Epoch::MIN,
        previous: None,
        faults: 1,
        threshold: 3,
        skew: Span::from_millis(2_000),
        max_age: Span::from_millis(600_000),
        coordinator: (1..=4).map(|id| coordinator(id).vkey().clone()).collect(),
        log: Vec::new(),
        operator: ["ana", "bob", "cyd"]
            .map(|id| OperatorLine { domain: None, key: operator(id).vkey().clone() })
            .to_vec(),
        cluster: vec![ClusterLine {
            name: cluster(),
            adapter: "process".parse().unwrap(),
            gate: Gate::Closed,
        }],
        member: members
            .map(|member| MemberLine {
                cluster: cluster(),
                member: member.parse().unwrap(),
                domain: None,
            })
            .to_vec(),
        agent: members
            .map(|member| AgentLine {
                cluster: cluster(),
                member: member.parse().unwrap(),
                mode: AgentMode::Observer,
                key: agent(member).vkey().clone(),
            })
            .to_vec(),
        class: vec![
            class(Class::Charter, 1, 2, 2, 0, 0),
            class(Class::Cluster, 2, 3, 0, 0, 600_000),
            class(Class::Irreversible, 2, 3, 2, 1_000, 600_000),
            class(Class::Local, 1, 3, 0, 0, 600_000),
        ],
        budget: vec![
            budget(Limited::Class(Class::Cluster)),
            budget(Limited::Global),
            budget(Limited::Class(Class::Irreversible)),
            budget(Limited::Class(Class::Local)),
            budget(Limited::Target),
        ],
        rule: vec![RuleLine {
            scope: Scope::All,
            rule: "min-healthy".parse().unwrap(),
            value: "1".parse().unwrap(),
        }],
        playbook: Vec::new(),
    }
}

fn class(
    class: Class,
    numerator: u32,
    denominator: u32,
    operators: u32,
    veto: u64,
    start: u64,
) -> ClassLine {
    let (veto, start) = (Span::from_millis(veto), Span::from_millis(start));
    let policy = ClassPolicy { numerator, denominator, min: 2, operators, veto, start };
    ClassLine { scope: Scope::All, class, policy }
}

fn budget(limited: Limited) -> BudgetLine {
    let (period, cooldown) = (Span::from_millis(1_000), Span::from_millis(0));
    let limit = BudgetLimit { burst: 100, period, cooldown };
    BudgetLine { scope: Scope::All, limited, limit }
}

/// A charter signed by all operators, as a leaf.
pub(super) fn founding(charter: Charter) -> Leaf {
    let lines = ["ana", "bob", "cyd"].map(|id| operator(id).sign(&charter)).to_vec();
    Leaf::Charter(Signed::new(charter, lines))
}

/// The log of that charter alone.
pub(super) fn history() -> History {
    History::found(&founding(charter()), Signatures::Verify).unwrap().0
}

/// The log after an amendment of it.
pub(super) fn amended(change: impl FnOnce(&mut Charter)) -> History {
    let mut history = history();
    let mut next = charter();
    next.epoch = next.epoch.next().unwrap();
    next.previous = Some(charter().id());
    change(&mut next);
    history.append(&founding(next), Signatures::Verify).unwrap();
    history
}

/// A decision of a proposal, as a leaf could hold it.
pub(super) fn decision(proposal: &Proposal, number: u64) -> Decision {
    let vote = Vote::on(proposal, Verdict::Approve);
    let lines = ["n1", "n2"].map(|id| agent(id).sign(&vote)).to_vec();
    let time = LogTime::new(1_790_000_000_000).unwrap();
    Decision {
        origin: origin(),
        epoch: Epoch::MIN,
        time,
        cluster: cluster(),
        number: DecisionNumber::new(number).unwrap(),
        continues: None,
        approved: time,
        not_before: time,
        expires: proposal.expires,
        proposal: proposal.clone(),
        votes: Signed::new(vote, lines),
    }
}

/// The void of a decision that was refused.
pub(super) fn void(decision: &Decision) -> Void {
    Void {
        origin: origin(),
        epoch: Epoch::MIN,
        time: decision.time,
        cluster: cluster(),
        cause: VoidCause::Superseded,
        detail: Void::refused_detail(decision.number),
        proposal: decision.proposal.clone(),
        approve: Some(decision.votes.clone()),
        reject: None,
        veto: None,
    }
}

/// A coordinator's refusal of the decision with this number at this leaf.
pub(super) fn refusal(by: u8, leaf: u64, number: u64) -> (KeyName, Signed<Refusal>) {
    let signer = coordinator(by);
    let refusal = Refusal {
        origin: origin(),
        epoch: Epoch::MIN,
        cluster: cluster(),
        number: DecisionNumber::new(number).unwrap(),
        leaf: LeafIndex::new(leaf).unwrap(),
        cause: Cause::Clock,
    };
    let line = signer.refuse(&refusal, CosignTime::new(1_790_000_000).unwrap());
    (signer.vkey().name().clone(), Signed::new(refusal, vec![line]))
}

/// `restart` of n3, opened by `proposer`.
pub(super) fn proposal(proposer: &NoteSigner, nonce: u8) -> Proposal {
    let charter = charter();
    Proposal {
        origin: origin(),
        epoch: charter.epoch,
        charter: charter.id(),
        cluster: cluster(),
        incident: "i-1".parse().unwrap(),
        kind: Kind::Restart,
        target: "member:n3".parse().unwrap(),
        proposer: proposer.vkey().name().clone(),
        executor: vec![agent("n3").vkey().name().clone()],
        param: Vec::new(),
        plan: Digest::of(b"plan"),
        reason: "a test".parse().unwrap(),
        evidence: Vec::new(),
        expires: LogTime::new(1_790_000_600_000).unwrap(),
        nonce: Nonce::from_bytes([nonce; 16]),
    }
}

/// A veto of a proposal, signed by all of these.
pub(super) fn veto(proposal: &Proposal, by: &[&NoteSigner]) -> Signed<Veto> {
    let statement = Veto {
        origin: origin(),
        epoch: Epoch::MIN,
        proposal: proposal.id(),
        reason: "no".parse().unwrap(),
    };
    let lines = by.iter().map(|signer| signer.sign(&statement)).collect();
    Signed::new(statement, lines)
}
