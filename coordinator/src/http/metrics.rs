//! `/metrics`: what is read from the replicated state is set at the moment it is asked for.

use axum::{extract::State, http::header, response::IntoResponse};
use metrics::{counter, gauge};
use quorate_attest::{log_time::LogTime, remediation::Kind};
use quorate_core::{Machine, OpenProposal, Rejection};

use super::HttpState;
use crate::telemetry;

/// Prometheus text.
pub(super) async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    state.handle.record_raft();
    gauge!("quorate_log_applied_size").set(float(state.handle.leaves().size().get()));
    let usage = state.store.usage();
    gauge!("quorate_store_bytes").set(float(usage.used));
    gauge!("quorate_store_quota_bytes").set(float(usage.quota));
    let now = state.handle.clock().now();
    // A replica that has stopped still shows what it last recorded.
    drop(state.handle.machine(move |machine| record(machine, now)).await);
    for (cluster, open) in state.catalog.unacknowledged() {
        gauge!("quorate_decisions_unacknowledged", "cluster" => cluster)
            .set(float(open.len() as u64));
    }
    for cluster in state.handle.in_force().iter().flat_map(|known| &known.charter.cluster) {
        let name = cluster.name.to_string();
        let own = state.catalog.paused_ms(&name);
        let since = own.max(state.catalog.paused_ms("*")).map_or(0.0, |ms| float(ms) / 1_000.0);
        gauge!("quorate_automation_paused_timestamp_seconds", "cluster" => name).set(since);
    }
    let recorder = telemetry::recorder();
    recorder.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], recorder.render())
}

/// Counts as Prometheus wants them; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn float(count: u64) -> f64 {
    count as f64
}

fn seconds(time: LogTime) -> f64 {
    float(time.get()) / 1_000.0
}

fn record(machine: &Machine, now: LogTime) {
    let Some(ledger) = machine.state().ledger() else { return };
    for line in &ledger.charter().cluster {
        let cluster = &line.name;
        let name = cluster.to_string();
        let running = ledger.running(cluster);
        let held = running.map_or(0.0, |running| seconds_since(now, running.since()));
        let stuck = ledger.stuck_at(cluster);
        let deadline =
            running.zip(stuck).map_or(0.0, |(running, at)| seconds_since(at, running.since()));
        gauge!("quorate_slot_held_seconds", "cluster" => name.clone()).set(held);
        gauge!("quorate_slot_deadline_seconds", "cluster" => name.clone()).set(deadline);
        let number = ledger.history().cluster(cluster).and_then(|history| history.number);
        counter!("quorate_decisions_total", "cluster" => name.clone())
            .absolute(number.map_or(0, |number| number.get()));
        let open: Vec<_> = machine
            .state()
            .open()
            .values()
            .filter(|open| open.proposal().cluster == *cluster)
            .collect();
        gauge!("quorate_open_proposals", "cluster" => name.clone()).set(float(open.len() as u64));
        let escalated = ledger
            .history()
            .incidents()
            .filter(|(of, _, incident)| *of == cluster && incident.escalated.is_some());
        gauge!("quorate_escalations", "cluster" => name.clone())
            .set(float(escalated.count() as u64));
        let paused = ledger.history().paused(cluster, now).is_some();
        gauge!("quorate_automation_paused", "cluster" => name.clone()).set(if paused {
            1.0
        } else {
            0.0
        });
        let waits = open.iter().filter_map(|open| Some((open.id(), open.approved()?)));
        let oldest = waits.min_by_key(|(_, approved)| *approved);
        for word in ["slot", "budget", "rule", "veto"] {
            let waiting = oldest
                .filter(|(id, _)| {
                    machine.standing(now, id).is_some_and(|standing| {
                        standing.waiting_for.first().is_some_and(|reason| waits_for(reason) == word)
                    })
                })
                .map_or(0.0, |(_, approved)| seconds_since(now, approved));
            let labels = [("cluster", name.clone()), ("waiting_for", word.to_owned())];
            gauge!("quorate_approval_waiting_seconds", &labels).set(waiting);
        }
        let drill = running.is_some_and(|running| running.proposal().kind == Kind::Drill);
        gauge!("quorate_drill_running", "cluster" => name.clone()).set(if drill {
            1.0
        } else {
            0.0
        });
        for open in &open {
            record_waiting(machine, open, now);
        }
        for agent in ledger.charter().agents(cluster) {
            if let Some(seen) = machine.state().observations().latest(agent.key.name()) {
                let labels = [("agent", agent.key.name().to_string())];
                gauge!("quorate_agent_last_seen_timestamp_seconds", &labels)
                    .set(seconds(seen.observed));
            }
        }
    }
}

/// Budgets and breakers that hold an open proposal back.
fn record_waiting(machine: &Machine, open: &OpenProposal, now: LogTime) {
    let Some(standing) = machine.standing(now, &open.id()) else { return };
    let is_broken =
        standing.waiting_for.iter().any(|reason| matches!(reason, Rejection::BreakerOpen { .. }));
    let labels = [
        ("cluster", open.proposal().cluster.to_string()),
        ("target", open.proposal().target.to_string()),
    ];
    gauge!("quorate_breaker_open", &labels).set(if is_broken { 1.0 } else { 0.0 });
    for reason in &standing.waiting_for {
        if let Rejection::BudgetExhausted { key, next_allowed, .. } = reason {
            gauge!("quorate_budget_next_allowed_timestamp_seconds", "key" => key.to_string())
                .set(seconds(*next_allowed));
        }
    }
}

fn seconds_since(now: LogTime, since: LogTime) -> f64 {
    float(now.since(since).get()) / 1_000.0
}

/// The word of the alert for what an approval waits for.
fn waits_for(reason: &Rejection) -> &'static str {
    match reason.reason() {
        "SLOT_BUSY" => "slot",
        "BUDGET_EXHAUSTED" | "COOLDOWN" => "budget",
        "RULE_REFUSED" if reason.rule().is_some_and(|rule| rule.as_str() == "veto-window") => {
            "veto"
        }
        _ => "rule",
    }
}
