//! `ban-cap`: never more than so many bans of one cluster at once.

use quorate_attest::remediation::Kind;

use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(word) = scene.word("ban-cap") else { return Ok(()) };
    if scene.proposal.kind != Kind::BanPeer {
        return Ok(());
    }
    let Ok(cap) = word.parse::<usize>() else { return Err(Refused::because("unreadable", word)) };
    let others: Vec<_> = scene
        .outages
        .of(&scene.proposal.cluster, scene.now)
        .filter(|(target, outage)| {
            outage.kind == Kind::BanPeer && **target != scene.proposal.target
        })
        .collect();
    if others.len() < cap {
        return Ok(());
    }
    let refused = Refused::because("bans", others.len()).and("cap", cap);
    // The ban whose end leaves room: all but `cap - 1` of them have to end.
    let mut ends: Vec<_> = others.iter().filter_map(|(_, outage)| outage.until).collect();
    ends.sort_unstable();
    let permanent = others.len() - ends.len();
    let room = cap.checked_sub(1 + permanent).and_then(|stay| ends.len().checked_sub(stay + 1));
    Err(match room.and_then(|at| ends.get(at)) {
        Some(end) => refused.until(*end),
        None => refused,
    })
}
