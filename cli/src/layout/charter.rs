//! The first charter of a deployment: every number written out.

use quorate_attest::charter::{
    AgentLine, AgentMode, BudgetLimit, BudgetLine, Charter, ClassLine, ClassPolicy, ClusterLine,
    Gate, Limited, MemberLine, OperatorLine, RuleLine,
};
use quorate_attest::id::{IdError, Origin};
use quorate_attest::key::VerifierKey;
use quorate_attest::log_time::Span;
use quorate_attest::number::Epoch;
use quorate_attest::operator_statement::Scope;
use quorate_attest::remediation::Class;

use super::{Deployment, Patience};

/// One budget: units at once, one more every `period_ms`, `cooldown_ms` of quiet after each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Units at once.
    pub burst: u32,
    /// Milliseconds until one more.
    pub period_ms: u64,
    /// Quiet after a completion, in milliseconds.
    pub cooldown_ms: u64,
}

/// The numbers of a charter.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// How far two honest clocks may be apart, in milliseconds.
    pub skew_ms: u64,
    /// How old a head may be for a start, in milliseconds.
    pub max_age_ms: u64,
    /// How long after its not-before a decision may be started, in milliseconds.
    pub start_window_ms: u64,
    /// How long operators may veto an approved irreversible act, in milliseconds.
    pub veto_ms: u64,
    /// Local acts of a cluster.
    pub local: Budget,
    /// Acts on a whole cluster.
    pub cluster: Budget,
    /// Irreversible acts of a cluster.
    pub irreversible: Budget,
    /// Acts on one target.
    pub target: Budget,
    /// All acts.
    pub global: Budget,
    /// Named rules and their values.
    pub rules: Vec<(&'static str, String)>,
}

impl Policy {
    /// The numbers `init` writes for a cluster of `members`.
    pub(crate) fn real(members: usize) -> Policy {
        const MINUTE: u64 = 60_000;
        let budget = |burst, period_ms, cooldown_ms| Budget { burst, period_ms, cooldown_ms };
        Policy {
            skew_ms: 2_000,
            max_age_ms: 10 * MINUTE,
            start_window_ms: 10 * MINUTE,
            veto_ms: 5 * MINUTE,
            local: budget(3, MINUTE, MINUTE / 2),
            cluster: budget(2, 10 * MINUTE, 5 * MINUTE),
            irreversible: budget(1, 1_440 * MINUTE, 60 * MINUTE),
            target: budget(2, 60 * MINUTE, 10 * MINUTE),
            global: budget(4, 10 * MINUTE, 0),
            rules: vec![
                ("ban-cap", "1".to_owned()),
                ("freshness", Patience::REAL.freshness_ms.to_string()),
                ("grace", (10 * MINUTE).to_string()),
                ("min-healthy", (members / 2 + 1).to_string()),
                ("retry-cap", format!("3/5/{}", 60 * MINUTE)),
                ("storm", format!("50/{MINUTE}")),
            ],
        }
    }
}

/// k = ⌊(n+f)/2⌋ + 1.
pub(crate) fn coordinator_threshold(count: usize, faults: u32) -> u32 {
    let n = u32::try_from(count).unwrap_or(u32::MAX);
    n.saturating_add(faults) / 2 + 1
}

/// f for n coordinators unless said otherwise: ⌊(n-1)/3⌋, but 5 prefer to survive two crashes.
pub(crate) fn faults_default(count: u16) -> u32 {
    match count {
        5 => 0,
        n => u32::from(n.saturating_sub(1)) / 3,
    }
}

/// The keys of a deployment, in the order of its coordinators, operators and members.
pub(super) struct Keys {
    pub(super) coordinators: Vec<VerifierKey>,
    pub(super) operators: Vec<VerifierKey>,
    pub(super) agents: Vec<VerifierKey>,
}

/// The charter of epoch 1, unsigned.
pub(super) fn first(
    deployment: &Deployment,
    origin: Origin,
    keys: &Keys,
) -> Result<Charter, IdError> {
    let (class, budget, rule, skew) = numbers(&deployment.policy)?;
    let members = deployment.members.iter();
    Ok(Charter {
        origin,
        epoch: Epoch::MIN,
        previous: None,
        faults: deployment.faults,
        threshold: coordinator_threshold(deployment.coordinators.len(), deployment.faults),
        skew,
        max_age: span(deployment.policy.max_age_ms),
        coordinator: keys.coordinators.clone(),
        log: Vec::new(),
        operator: keys
            .operators
            .iter()
            .map(|key| OperatorLine { domain: None, key: key.clone() })
            .collect(),
        cluster: vec![ClusterLine {
            name: deployment.cluster.clone(),
            adapter: deployment.adapter.clone(),
            gate: Gate::Closed,
        }],
        member: members
            .clone()
            .map(|member| MemberLine {
                cluster: deployment.cluster.clone(),
                member: member.name.clone(),
                domain: member.domain.clone(),
            })
            .collect(),
        agent: members
            .zip(&keys.agents)
            .map(|(member, key)| AgentLine {
                cluster: deployment.cluster.clone(),
                member: member.name.clone(),
                mode: AgentMode::Observer,
                key: key.clone(),
            })
            .collect(),
        class,
        budget,
        rule,
        playbook: deployment.playbooks.iter().map(|pinned| pinned.playbook.pinned_by()).collect(),
    })
}

fn span(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn numbers(policy: &Policy) -> Result<super::Numbers, IdError> {
    let class = |class, numerator, denominator, operators, veto_ms, start_ms| ClassLine {
        scope: Scope::All,
        class,
        policy: ClassPolicy {
            numerator,
            denominator,
            min: 2,
            operators,
            veto: span(veto_ms),
            start: span(start_ms),
        },
    };
    let start = policy.start_window_ms;
    let classes = vec![
        class(Class::Charter, 1, 2, 2, 0, 0),
        class(Class::Cluster, 2, 3, 0, 0, start),
        class(Class::Irreversible, 2, 3, 2, policy.veto_ms, start),
        class(Class::Local, 1, 3, 0, 0, start),
    ];
    let budget = |limited, budget: Budget| BudgetLine {
        scope: Scope::All,
        limited,
        limit: BudgetLimit {
            burst: budget.burst,
            period: span(budget.period_ms),
            cooldown: span(budget.cooldown_ms),
        },
    };
    let budgets = vec![
        budget(Limited::Class(Class::Cluster), policy.cluster),
        budget(Limited::Global, policy.global),
        budget(Limited::Class(Class::Irreversible), policy.irreversible),
        budget(Limited::Class(Class::Local), policy.local),
        budget(Limited::Target, policy.target),
    ];
    let rules = policy
        .rules
        .iter()
        .map(|(rule, value)| {
            Ok(RuleLine { scope: Scope::All, rule: rule.parse()?, value: value.parse()? })
        })
        .collect::<Result<_, IdError>>()?;
    Ok((classes, budgets, rules, span(policy.skew_ms)))
}
