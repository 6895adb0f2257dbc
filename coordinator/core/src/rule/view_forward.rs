//! `view-forward`: a view change goes ahead of every view that was reported, never back.

use quorate_attest::remediation::Kind;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    if scene.proposal.kind != Kind::ForceViewChange {
        return Ok(());
    }
    let asked = scene.proposal.single("view").and_then(|param| param.value.as_str().parse().ok());
    let Some(asked): Option<u64> = asked else {
        return Err(Refused::because("missing", "param view <number>"));
    };
    let reported = scene
        .observations
        .fresh(&scene.proposal.cluster, scene.freshness(), scene.now)
        .flat_map(|observe| &observe.fact)
        .filter(|fact| fact.key.as_str() == "view")
        .filter_map(|fact| fact.value.as_str().parse::<u64>().ok())
        .max();
    match reported {
        Some(reported) if asked > reported => Ok(()),
        Some(reported) => Err(Refused::because("view", asked).and("reported", reported)),
        None => Err(Refused::because("view", asked).and("reported", "nothing fresh")),
    }
}
