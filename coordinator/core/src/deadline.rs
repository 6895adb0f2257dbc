//! When time alone changes something: what the leader's next `Tick` is for.

use quorate_attest::log_time::LogTime;

use crate::judge;
use crate::rejection::Rejection;
use crate::state::State;

/// The next time at which something is due, or `None`.
///
/// Every time named lies ahead, so a tick at it never asks for another one at the same time.
pub(crate) fn next(state: &State) -> Option<LogTime> {
    let ledger = state.ledger.as_ref()?;
    let now = state.time;
    let expiries = state.open.values().map(|open| open.proposal().expires);
    let approvals =
        state.open.values().filter(|open| open.approved().is_some()).filter_map(|open| {
            let scene = judge::scene(state, ledger, &state.observations, open, now);
            let blockers = judge::blockers(&scene);
            // One that only another event can lift makes waiting for the others pointless.
            let times: Option<Vec<_>> = blockers.iter().map(Rejection::next_allowed).collect();
            times?.into_iter().max()
        });
    let stuck = ledger
        .all_running()
        .filter(|(cluster, running)| !state.stuck.contains(&((*cluster).clone(), running.newest())))
        .filter_map(|(cluster, _)| ledger.stuck_at(cluster));
    expiries.chain(approvals).chain(stuck).filter(|time| *time > now).min()
}
