//! `partition-not-death`: who only does not answer is not dead (*floor*).
//!
//! A declaration needs every member it lists as dead to be silent for the grace, with any sign of
//! life aborting it, and a fresh report of every other member's agent, so that nobody declares from
//! the wrong side of a cut. A removal or a failover needs its target to be known gone, known alive
//! (then the floors judge it), or silent for the grace.

use quorate_attest::declaration::Declaration;
use quorate_attest::id::MemberId;
use quorate_attest::log_time::Span;
use quorate_attest::remediation::Kind;

use crate::observation::{Health, Seen, seen};
use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    if Declaration::declares(scene.proposal) {
        for member in listed(scene, "dead") {
            no_sign_of_life(scene, &member)?;
            silent(scene, &member)?;
        }
        return every_other_agent_has_reported(scene);
    }
    if !matches!(scene.proposal.kind, Kind::RemoveMember | Kind::Failover) {
        return Ok(());
    }
    let Some(member) = scene.proposal.target_member() else { return Ok(()) };
    match scene.health(&member) {
        Health::Healthy | Health::Down => Ok(()),
        Health::Unreachable | Health::Unknown => silent(scene, &member),
    }
}

fn listed(scene: &Scene<'_>, set: &str) -> Vec<MemberId> {
    scene.proposal.params(set).filter_map(|param| param.value.as_str().parse().ok()).collect()
}

fn no_sign_of_life(scene: &Scene<'_>, member: &MemberId) -> Result<(), Refused> {
    let cluster = &scene.proposal.cluster;
    let mut fresh = scene.observations.fresh(cluster, scene.freshness(), scene.now);
    match fresh.find(|observe| seen(observe, member) == Some(Seen::Up)) {
        Some(observe) => {
            let stale = observe
                .observed
                .saturating_add(scene.freshness())
                .saturating_add(Span::from_millis(1));
            Err(Refused::because("who", member)
                .and("seen_by", &observe.agent)
                .and("when", observe.observed.utc())
                .until(stale))
        }
        None => Ok(()),
    }
}

fn silent(scene: &Scene<'_>, member: &MemberId) -> Result<(), Refused> {
    let grace = scene.grace();
    let Some(since) = scene.observations.silent_since(&scene.proposal.cluster, member) else {
        return Err(Refused::because("who", member).and("silent_since", "never watched"));
    };
    let allowed = since.saturating_add(grace);
    if scene.now >= allowed {
        return Ok(());
    }
    Err(Refused::because("who", member)
        .and("silent_since", since.utc())
        .and("grace", grace.words())
        .until(allowed))
}

fn every_other_agent_has_reported(scene: &Scene<'_>) -> Result<(), Refused> {
    let cluster = &scene.proposal.cluster;
    let dead = listed(scene, "dead");
    let tombstoned = scene.ledger.tombstoned(cluster);
    for agent in scene.charter().agents(cluster) {
        if dead.contains(&agent.member) || tombstoned.contains(&agent.member) {
            continue;
        }
        let reported = scene
            .observations
            .fresh(cluster, scene.freshness(), scene.now)
            .any(|observe| observe.agent == *agent.key.name());
        if !reported {
            return Err(Refused::because("who", &agent.member)
                .and("missing", "a fresh report of its agent"));
        }
    }
    Ok(())
}
