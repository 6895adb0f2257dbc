//! `/livez`, `/readyz`, `/leaderz`: for kubelets and load balancers, without a certificate.
//!
//! Liveness never depends on a quorum, or a lost quorum would restart every process at once.

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
};

use super::HttpState;

/// A replica that trails the commit by more than this is not ready.
const TRAILS_MAX: u64 = 1_000;

type Answer = (StatusCode, String);

/// 200 while this process turns and its store takes writes.
pub(super) async fn livez(State(state): State<HttpState>) -> Answer {
    match state.handle.faulted() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("fault: {fault}\n")),
    }
}

/// 200 on the leader.
pub(super) async fn leaderz(State(state): State<HttpState>) -> Answer {
    match (state.handle.leads(), state.handle.leader()) {
        (true, _) => (StatusCode::OK, "leader\n".to_owned()),
        (false, Some(leader)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("coordinator {leader} leads\n"))
        }
        (false, None) => (StatusCode::SERVICE_UNAVAILABLE, "no leader\n".to_owned()),
    }
}

/// 200 when a leader is known and this replica is current. `?verbose` lists the checks,
/// `?exclude=NAME` drops one, `?noleader` drops the leader's.
pub(super) async fn readyz(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let words: Vec<&str> = query.split('&').collect();
    let is_excluded = |name: &str| {
        words.iter().any(|word| *word == format!("exclude={name}"))
            || (name == "leader" && words.contains(&"noleader"))
    };
    let trails = state.handle.trails_commit();
    let checks = [
        ("serving", state.readiness.is_ready()),
        ("store", state.handle.faulted().is_none()),
        ("leader", state.handle.leader().is_some()),
        ("raft", trails <= TRAILS_MAX),
    ];
    let mut page = String::new();
    let mut ready = true;
    for (name, good) in checks {
        if is_excluded(name) {
            page += &format!("[+]{name} excluded\n");
            continue;
        }
        ready &= good;
        let mark = if good { "[+]" } else { "[-]" };
        let word = if good { "ok" } else { "failed" };
        page += &format!("{mark}{name} {word}\n");
    }
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = words.iter().any(|word| *word == "verbose" || word.starts_with("verbose="));
    match (verbose, ready) {
        (true, _) | (false, false) => (code, page),
        (false, true) => (code, "ok\n".to_owned()),
    }
}
