//! The named rules: facts → clear, or refused with the facts, the next allowed time and what would
//! lift it. One file per rule; the name is the same in the charter, in overrides and in refusals.
//!
//! A rule never forbids to *ask*: a proposal opens, collects votes and waits. It is judged when the
//! approval would become a decision, by the facts of that moment. A missing or stale fact refuses.
//!
//! The charter gives every number as one word, `rule <cluster|*> <name> <word>`. Rules that need no
//! number are always in force; a rule whose number is missing is not.
//!
//! | rule | word | refuses |
//! |--|--|--|
//! | `abandon-wait` | | an abandon before nobody can start what it abandons |
//! | `backup-pinned` | | deleting what a waiting decision needs; restoring what nobody named |
//! | `ban-cap` | `<bans>` | more banned peers than that at once |
//! | `fail-closed` | | declare-dead where the gates fail open |
//! | `freshness` | `<ms>` | (how old a fact may be; the charter's max-age where missing) |
//! | `gap` | `<ms>` | two decisions of one cluster in quicker succession |
//! | `grace` | `<ms>` | (how long silence must last before it may count; max-age where missing) |
//! | `hold` | `<ms>` | an automatic action so soon after it was proposed |
//! | `ladder` | | an attempt of a playbook out of its order, before its pause, or after people were asked |
//! | `min-healthy` | `<members>` or `<share>%` | taking a healthy member out below that |
//! | `one-survivor` | | a second survivor, unless the first is listed dead |
//! | `partition-not-death` | | treating a member as dead that only does not answer, or was heard |
//! | `pause` | | anything not yet started, while operators paused |
//! | `quorum-floor` | | leaving fewer live members than a majority |
//! | `retry-cap` | `<kind>/<target>/<ms>` | more attempts than that; then the breaker is open |
//! | `stuck` | `<ms>` | (when a held slot raises an alarm; the decision's expiry where missing) |
//! | `storm` | `<percent>/<ms>` | automation, while more are ill than that, and a while after |
//! | `veto-window` | | a decision before its class's veto span is over |
//! | `view-forward` | | forcing a view that is not ahead of every reported one |

mod abandon_wait;
mod backup_pinned;
mod ban_cap;
mod fail_closed;
mod floor;
mod gap;
mod hold;
mod ladder;
mod min_healthy;
mod one_survivor;
mod partition_not_death;
mod pause;
mod quorum_floor;
mod scene;
mod storm;
mod superseded;
mod veto_window;
mod view_forward;

pub(crate) use scene::{Circumstances, Scene};
pub use storm::freshness;
pub(crate) use storm::is_stormy;
pub(crate) use superseded::{Need, already_so, need};

use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::operator_statement::Override;

use crate::rejection::{Lift, Rejection, RuleRefused};

/// A rule: its name, and its judgement of a scene.
type Rule = (&'static str, fn(&Scene<'_>) -> Result<(), Refused>);

/// What a rule says no with; the name and the scene are added by [`refusals`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    facts: Vec<(String, String)>,
    next_allowed: Option<LogTime>,
}

impl Refused {
    fn because(name: &str, value: impl ToString) -> Self {
        Self::default().and(name, value)
    }

    fn and(mut self, name: &str, value: impl ToString) -> Self {
        self.facts.push((name.to_owned(), value.to_string()));
        self
    }

    fn until(mut self, next_allowed: LogTime) -> Self {
        self.next_allowed = Some(next_allowed);
        self
    }
}

/// All rules, in the order in which refusals are shown: what needs a person first.
const RULES: &[Rule] = &[
    ("fail-closed", fail_closed::judge),
    ("one-survivor", one_survivor::judge),
    ("partition-not-death", partition_not_death::judge),
    ("quorum-floor", quorum_floor::judge),
    ("min-healthy", min_healthy::judge),
    ("ban-cap", ban_cap::judge),
    ("backup-pinned", backup_pinned::judge),
    ("view-forward", view_forward::judge),
    ("storm", storm::judge),
    ("pause", pause::judge),
    ("ladder", ladder::judge),
    ("abandon-wait", abandon_wait::judge),
    ("veto-window", veto_window::judge),
    ("hold", hold::judge),
    ("gap", gap::judge),
];

/// The rules that judge what was observed: a fresher fact may turn their answer.
const ON_FACTS: &[&str] = &["partition-not-death", "quorum-floor", "min-healthy", "view-forward"];

/// The rules no passing of time, report or operator turns: refused when a proposal is opened.
const AT_THE_DOOR: &[&str] = &["fail-closed", "view-forward"];

/// Whether the word of a charter's `rule` line reads; names of other crates' rules always do.
pub(crate) fn reads(rule: &str, word: &str) -> bool {
    match rule {
        "ban-cap" => word.parse::<usize>().is_ok(),
        "freshness" | "gap" | "grace" | "hold" | "stuck" => word.parse::<Span>().is_ok(),
        "min-healthy" => min_healthy::reads(word),
        "retry-cap" => crate::ledger::reads_retry_cap(word),
        "storm" => storm::reads(word),
        _ => true,
    }
}

/// Every rule that refuses the scene and is not overridden for it.
pub(crate) fn refusals(scene: &Scene<'_>) -> Vec<Rejection> {
    judge(scene, |_| true)
}

/// Only the rules that judge observations.
pub(crate) fn refusals_on_facts(scene: &Scene<'_>) -> Vec<Rejection> {
    judge(scene, |name| ON_FACTS.contains(&name))
}

/// Only the rules that refuse already the opening.
pub(crate) fn refusals_at_the_door(scene: &Scene<'_>) -> Vec<Rejection> {
    judge(scene, |name| AT_THE_DOOR.contains(&name))
}

fn judge(scene: &Scene<'_>, applies: impl Fn(&str) -> bool) -> Vec<Rejection> {
    RULES
        .iter()
        .filter(|(name, _)| applies(name))
        .filter_map(|(name, judge)| Some((*name, judge(scene).err()?)))
        .filter(|(name, _)| !scene.ledger.is_overridden(&scene.id, name, scene.now))
        .map(|(name, refused)| Rejection::from(named(scene, name, refused)))
        .collect()
}

fn named(scene: &Scene<'_>, name: &'static str, refused: Refused) -> RuleRefused {
    RuleRefused {
        rule: rule_name(name),
        cluster: scene.proposal.cluster.clone(),
        proposal: Some(scene.id),
        facts: refused.facts,
        next_allowed: refused.next_allowed.filter(|next| *next > scene.now),
        lifted_by: lift(name),
    }
}

#[expect(clippy::expect_used, reason = "the names are the constants above; a test reads them all")]
pub(crate) fn rule_name(name: &'static str) -> quorate_attest::id::RuleName {
    name.parse().expect("a rule's name is a label")
}

/// Who may lift a rule. A veto window or an abandon's wait protects others and cannot be lifted.
pub(crate) fn lift(name: &'static str) -> Lift {
    match name {
        "veto-window" | "abandon-wait" => Lift::Nothing,
        other => match Override::operators_needed(&rule_name(other)) {
            Some(operators) => Lift::Override(operators),
            None => Lift::Nothing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_that_an_override_can_spell() {
        for (name, _) in RULES {
            assert_eq!(rule_name(name).as_str(), *name);
        }
        for name in ON_FACTS.iter().chain(AT_THE_DOOR) {
            assert!(RULES.iter().any(|(rule, _)| rule == name), "{name}");
        }
        assert_eq!(lift("one-survivor"), Lift::Nothing);
        assert_eq!(lift("quorum-floor"), Lift::Override(2));
        assert_eq!(lift("min-healthy"), Lift::Override(1));
    }
}
