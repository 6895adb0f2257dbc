//! k of n, with names.

use quorate_proto::pb::v1::{Tally, Voter};

use super::last;
use crate::output::{Paper, Tone};

fn names(voters: &[Voter]) -> String {
    voters.iter().map(|voter| last(&voter.name)).collect::<Vec<_>>().join(" ")
}

/// `votes 2/3 (of 4)`, with the operators where the class asks for some.
pub(crate) fn progress(tally: &Tally) -> String {
    let mut text = format!("{}/{} (of {})", tally.have, tally.need, tally.voices);
    if tally.operators_need > 0 {
        text += &format!(", operators {}/{}", tally.operators_have, tally.operators_need);
    }
    text
}

/// Who approved, who rejected, who is missing, who does not count and why.
pub(crate) fn tally_lines(paper: &mut Paper, tally: &Tally) {
    let mut facts = vec![("votes", progress(tally))];
    if !tally.approved.is_empty() {
        facts.push(("approved", paper.tone(Tone::Good, format!("✔ {}", names(&tally.approved)))));
    }
    if !tally.rejected.is_empty() {
        facts.push(("rejected", paper.tone(Tone::Bad, format!("✖ {}", names(&tally.rejected)))));
    }
    facts.push(("missing", names(&tally.missing)));
    let excluded: Vec<String> = tally
        .excluded
        .iter()
        .map(|voter| format!("{} ({})", last(&voter.name), voter.excluded))
        .collect();
    facts.push(("not counted", excluded.join(", ")));
    paper.facts(&facts);
}
