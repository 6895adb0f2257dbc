//! The charter of a deployment under test.

use std::collections::BTreeMap;

use quorate_attest::{
    charter::{
        AgentLine, AgentMode, BudgetLimit, BudgetLine, Charter, ClassLine, ClassPolicy,
        ClusterLine, Gate, Limited, MemberLine, OperatorLine, RuleLine,
    },
    id::Origin,
    key::{NoteSigner, VerifierKey},
    log_time::Span,
    number::{Epoch, Incarnation},
    operator_statement::Scope,
    remediation::Class,
};

use super::{MEMBERS, cluster, network};

/// The charter of coordinators with these keys: three members, thresholds as `quorate init` writes them,
/// budgets wide enough not to be met by accident.
pub(super) fn of(
    coordinators: &[VerifierKey],
    faults: u32,
    operators: &BTreeMap<String, NoteSigner>,
    agents: &BTreeMap<String, NoteSigner>,
) -> Charter {
    let span = Span::from_millis;
    let class = |class, numerator, denominator, operators, veto, start| ClassLine {
        scope: Scope::All,
        class,
        policy: ClassPolicy {
            numerator,
            denominator,
            min: 2,
            operators,
            veto: span(veto),
            start: span(start),
        },
    };
    let budget = |limited, burst, period| BudgetLine {
        scope: Scope::All,
        limited,
        limit: BudgetLimit { burst, period: span(period), cooldown: span(0) },
    };
    let rule = |rule: &str, value: &str| RuleLine {
        scope: Scope::All,
        rule: rule.parse().unwrap(),
        value: value.parse().unwrap(),
    };
    let n = u32::try_from(coordinators.len()).unwrap();
    Charter {
        origin: Origin { network: network(), incarnation: Incarnation::MIN, salt: [7; 16] },
        epoch: Epoch::MIN,
        previous: None,
        faults,
        threshold: (n + faults) / 2 + 1,
        skew: span(2_000),
        max_age: span(600_000),
        coordinator: coordinators.to_vec(),
        log: Vec::new(),
        operator: operators
            .values()
            .map(|signer| OperatorLine { domain: None, key: signer.vkey().clone() })
            .collect(),
        cluster: vec![ClusterLine {
            name: cluster(),
            adapter: "process".parse().unwrap(),
            gate: Gate::Closed,
        }],
        member: MEMBERS
            .iter()
            .map(|member| MemberLine {
                cluster: cluster(),
                member: member.parse().unwrap(),
                domain: None,
            })
            .collect(),
        agent: MEMBERS
            .iter()
            .map(|member| AgentLine {
                cluster: cluster(),
                member: member.parse().unwrap(),
                mode: AgentMode::Observer,
                key: agents[*member].vkey().clone(),
            })
            .collect(),
        class: vec![
            class(Class::Charter, 1, 2, 2, 0, 0),
            class(Class::Cluster, 2, 3, 0, 0, 600_000),
            class(Class::Irreversible, 2, 3, 2, 1_000, 600_000),
            class(Class::Local, 1, 3, 0, 0, 600_000),
        ],
        budget: vec![
            budget(Limited::Class(Class::Cluster), 100, 1_000),
            budget(Limited::Global, 1_000, 1_000),
            budget(Limited::Class(Class::Irreversible), 10, 1_000),
            budget(Limited::Class(Class::Local), 1_000, 1_000),
            budget(Limited::Target, 1_000, 1_000),
        ],
        rule: vec![rule("freshness", "15000"), rule("min-healthy", "1")],
        playbook: Vec::new(),
    }
}
