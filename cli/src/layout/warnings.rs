//! What a charter cannot bear to lose, in one line for each class and cause.

use std::collections::{BTreeMap, BTreeSet};

use quorate_attest::charter::{CharterWarning, Missing};

use crate::view::last;

const OPERATORS: &str = "another operator (`init --operators`) avoids it";
const MEMBERS: &str = "another member with an agent (`init --members`) avoids it";

/// The warnings of a charter, for people: who must not be lost, what that would block, and what
/// avoids it.
pub(crate) fn warning_lines(warnings: &BTreeSet<CharterWarning>) -> Vec<String> {
    // Whoever blocks the same things is named in one line.
    let mut blocked: BTreeMap<(&'static str, String), BTreeSet<String>> = BTreeMap::new();
    for warning in warnings {
        let (who, what) = match warning {
            CharterWarning::ClassFragile { cluster, class, missing, .. } => {
                (who(missing), format!("{class} acts on {cluster}"))
            }
            CharterWarning::CharterFragile { missing } => (
                (OPERATORS, last(missing.as_str()).to_owned()),
                "every change of the charter".to_owned(),
            ),
        };
        blocked.entry(who).or_default().insert(what);
    }
    let mut lines: BTreeMap<(BTreeSet<String>, &'static str), Vec<String>> = BTreeMap::new();
    for ((remedy, who), what) in blocked {
        lines.entry((what, remedy)).or_default().push(who);
    }
    let line = |((what, remedy), who): ((BTreeSet<String>, &str), Vec<String>)| {
        let what: Vec<String> = what.into_iter().collect();
        let subject = match who.as_slice() {
            [one] => format!("losing {one}"),
            several => format!("losing one of {}", several.join(", ")),
        };
        format!("{subject} blocks {}; {remedy}", what.join(" and "))
    };
    lines.into_iter().map(line).collect()
}

fn who(missing: &Missing) -> (&'static str, String) {
    match missing {
        Missing::Member(member) => (MEMBERS, format!("member {member}")),
        Missing::Operator(name) => (OPERATORS, last(name.as_str()).to_owned()),
    }
}
