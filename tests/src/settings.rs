//! What the tests change in a directory that `quorate init` has written.
//!
//! The charter keeps its keys and thresholds and gets budgets that never get in the way of what is
//! tested, signed again by its own operators. The agents become impatient.

use std::path::Path;

use quorate_attest::charter::{BudgetLimit, Charter};
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::Span;
use quorate_attest::remediation::Class;
use quorate_attest::signed::Signed;
use toml::{Table, Value};

/// Budgets of a deployment under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budgets {
    /// Never exhausted, no cooldown.
    Generous,
    /// One unit for everything, another one after this many milliseconds.
    OneGlobal {
        /// Until the next unit.
        period_ms: u64,
    },
}

/// Reads a signed charter.
///
/// # Panics
/// It is none.
#[must_use]
pub fn read_charter(path: &Path) -> Signed<Charter> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Signed::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same charter with other budgets and, if one is given, another start window for every class
/// of decisions, signed by all `operators`.
#[must_use]
pub fn changed(
    mut charter: Charter,
    budgets: Budgets,
    start: Option<Span>,
    operators: &[NoteSigner],
) -> Signed<Charter> {
    let generous = BudgetLimit {
        burst: 100_000,
        period: Span::from_millis(10),
        cooldown: Span::from_millis(0),
    };
    for line in &mut charter.budget {
        line.limit = generous;
        if let Budgets::OneGlobal { period_ms } = budgets
            && line.limited == quorate_attest::charter::Limited::Global
        {
            line.limit.burst = 1;
            line.limit.period = Span::from_millis(period_ms);
        }
    }
    for line in charter.class.iter_mut().filter(|line| line.class != Class::Charter) {
        line.policy.start = start.unwrap_or(line.policy.start);
    }
    let lines = operators.iter().map(|operator| operator.sign(&charter)).collect();
    Signed::new(charter, lines)
}

/// Takes the holds out of what cannot be undone: no veto window, seconds of a head's age, and this
/// grace.
///
/// # Panics
/// Never: the word is one.
pub fn shorten(charter: &mut Charter, grace_ms: u64) {
    charter.max_age = Span::from_millis(4_000);
    charter.skew = Span::from_millis(500);
    for line in &mut charter.class {
        line.policy.veto = Span::ZERO;
    }
    for line in charter.rule.iter_mut().filter(|line| line.rule.as_str() == "grace") {
        line.value = grace_ms.to_string().parse().expect("a word");
    }
}

/// Changes a TOML file in place.
///
/// # Panics
/// It cannot be read or written.
pub fn edit(path: &Path, change: impl FnOnce(&mut Table)) {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut table: Table =
        text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    change(&mut table);
    std::fs::write(path, table.to_string())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The table `name` of `table`, made if it is not there.
///
/// # Panics
/// It is there and no table.
pub fn sub<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let value = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    value.as_table_mut().unwrap_or_else(|| panic!("{name} is no table"))
}

/// Probes that notice within a second or two.
pub fn hurry(probe: &mut Table) {
    for (key, ms) in
        [("interval_ms", 200), ("timeout_ms", 1_000), ("failures", 3), ("freshness_ms", 3_000)]
    {
        probe.insert(key.to_owned(), Value::Integer(ms));
    }
}
