//! `storm`: when nearly everything is ill, the cause is not a member. Automation stops, and waits
//! for a quiet period after it looks well again, because reports arrive late.

use quorate_attest::charter::Charter;
use quorate_attest::id::{ClusterId, Word};
use quorate_attest::log_time::{LogTime, Span};

use crate::ledger::Ledger;
use crate::observation::{Health, Observations};
use crate::rule::scene::{believed, roster};
use crate::rule::{Refused, Scene};

/// Whether the charter's word reads.
pub(super) fn reads(word: &str) -> bool {
    numbers(word).is_some()
}

/// `<percent>/<quiet ms>`
fn numbers(word: &str) -> Option<(usize, Span)> {
    let (percent, quiet) = word.split_once('/')?;
    Some((percent.parse().ok()?, quiet.parse().ok()?))
}

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(word) = scene.word("storm") else { return Ok(()) };
    if !scene.is_automatic() || scene.has_operator() {
        return Ok(());
    }
    let Some((percent, quiet)) = numbers(word) else {
        return Err(Refused::because("unreadable", word));
    };
    let cluster = &scene.proposal.cluster;
    if is_stormy(scene.ledger, cluster, scene.observations, scene.now) {
        return Err(Refused::because("unhealthy_over_percent", percent));
    }
    match scene.observations.last_storm(cluster).map(|last| (last, last.saturating_add(quiet))) {
        Some((last, over)) if scene.now < over => {
            Err(Refused::because("last_storm", last.utc()).and("quiet", quiet.words()).until(over))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether more than the charter's share of the roster is known to be ill.
pub(crate) fn is_stormy(
    ledger: &Ledger,
    cluster: &ClusterId,
    observations: &Observations,
    now: LogTime,
) -> bool {
    let word = ledger.charter().rule(cluster, "storm").map(Word::as_str);
    let Some((percent, _)) = word.and_then(numbers) else { return false };
    let members = roster(ledger, cluster);
    let ill = members
        .iter()
        .filter(|member| match believed(ledger, observations, cluster, member, now) {
            Health::Down | Health::Unreachable => true,
            Health::Healthy | Health::Unknown => false,
        })
        .count();
    ill * 100 > members.len() * percent
}

/// How old a fact of a cluster may be.
pub fn freshness(charter: &Charter, cluster: &ClusterId) -> Span {
    let word = charter.rule(cluster, "freshness").map(Word::as_str);
    word.and_then(|word| word.parse().ok()).unwrap_or(charter.max_age)
}
