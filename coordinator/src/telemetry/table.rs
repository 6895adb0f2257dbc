//! Every metric this process shows, in one table: name, kind, labels, whether only the leader has
//! it.
//!
//! `docs/reference/metrics.md` is generated from here by the test below (`UPDATE_REFERENCE=1`
//! writes it), and a metric that is recorded without a row fails `telemetry::tests`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, starts at 0 with the process.
    Counter,
    /// A present value.
    Gauge,
    /// Buckets in seconds.
    Histogram,
}

/// Which coordinator has a meaningful value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Each for itself.
    Each,
    /// The replicated state: equal everywhere, up to replication lag.
    Replicated,
    /// The leader only; absent or stale elsewhere.
    Leader,
}

/// One row of the reference.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The full name, unit last.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// Label names, in order; empty if none.
    pub labels: &'static [&'static str],
    /// Which coordinator has it.
    pub at: Where,
    /// One sentence.
    pub help: &'static str,
}

const fn row(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    at: Where,
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, at, help }
}

/// Histogram buckets in seconds: from a memory hit to a refused deadline.
pub(super) const BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

use self::{Kind::*, Where::*};

/// The table, alphabetical.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    row("quorate_agent_last_seen_timestamp_seconds", Gauge, &["agent"], Replicated, "Log time of the newest observation or report of an agent."),
    row("quorate_approval_waiting_seconds", Gauge, &["cluster", "waiting_for"], Replicated, "How long the oldest approved proposal has waited, by what it waits for (slot, budget, rule, veto)."),
    row("quorate_automation_paused", Gauge, &["cluster"], Replicated, "1 while automation is paused; cluster `*` is the whole deployment."),
    row("quorate_automation_paused_timestamp_seconds", Gauge, &["cluster"], Replicated, "When this coordinator learnt of the pause; 0 while none is in force."),
    row("quorate_breaker_open", Gauge, &["cluster", "target"], Replicated, "1 while a target's breaker refuses further attempts."),
    row("quorate_budget_next_allowed_timestamp_seconds", Gauge, &["key"], Replicated, "When a spent budget allows the next action."),
    row("quorate_call_seconds", Histogram, &["method"], Each, "Time from a call's headers to its answer's headers."),
    row("quorate_calls_limited_total", Counter, &["reason"], Each, "Calls refused before Raft: CALLER_LIMITED or OVERLOADED."),
    row("quorate_calls_total", Counter, &["method", "code"], Each, "Calls answered, by method and gRPC or HTTP code."),
    row("quorate_clock_calm_timestamp_seconds", Gauge, &[], Each, "When this coordinator last found the leader with nothing on its way: it refuses a decision of that leader dated more than 10 s before."),
    row("quorate_clock_jumps_total", Counter, &[], Each, "Jumps of the wall clock against the monotonic clock, backwards or by more than 2 s."),
    row("quorate_clock_offset_seconds", Gauge, &["peer"], Each, "The leader's clock minus this one's, over its newest entry, transfer time included; positive is ahead."),
    row("quorate_connections", Gauge, &[], Each, "Open connections, all listeners."),
    row("quorate_connections_refused_total", Counter, &[], Each, "Connections closed at once because a cap was reached."),
    row("quorate_cosign_refusals_total", Counter, &["cause"], Each, "Leaves this coordinator refused to cosign: vetoed, contradicted, clock, votes."),
    row("quorate_cosignatures_total", Counter, &[], Each, "Cosignatures this coordinator made, refreshes included."),
    row("quorate_decisions_total", Counter, &["cluster"], Replicated, "Decisions in the log, from the last number of each cluster."),
    row("quorate_decisions_unacknowledged", Gauge, &["cluster"], Replicated, "Decisions no operator has acknowledged, of the newest 1,000."),
    row("quorate_drill_running", Gauge, &["cluster"], Replicated, "1 while a drill is running."),
    row("quorate_equivocations_total", Counter, &[], Replicated, "Evidence leaves: two signed texts for one question."),
    row("quorate_escalations", Gauge, &["cluster"], Replicated, "Incidents whose ladder has ended without success: people are asked until an operator closes them."),
    row("quorate_log_applied_size", Gauge, &[], Each, "Leaves this coordinator's own state machine has applied."),
    row("quorate_log_certified_size", Gauge, &[], Each, "Size of the newest head with k cosignatures this coordinator knows."),
    row("quorate_log_certified_timestamp_seconds", Gauge, &[], Each, "Cosignature time of that head: the k-th newest of its lines."),
    row("quorate_log_divergence_total", Counter, &[], Each, "Heads whose root contradicts this coordinator's own tree."),
    row("quorate_open_proposals", Gauge, &["cluster"], Replicated, "Proposals that have not ended."),
    row("quorate_outcomes_total", Counter, &["verdict"], Replicated, "Outcome leaves, by verified effect."),
    row("quorate_raft_applied_index", Gauge, &[], Each, "Raft log index this coordinator has applied."),
    row("quorate_raft_clock_refusals_total", Counter, &["peer"], Each, "AppendEntries refused because their newest log time is more than 2 s ahead."),
    row("quorate_raft_dials_total", Counter, &["peer"], Each, "Connections opened to a peer, all lanes."),
    row("quorate_raft_has_leader", Gauge, &[], Each, "1 while this coordinator knows a leader."),
    row("quorate_raft_is_leader", Gauge, &[], Each, "1 on the leader."),
    row("quorate_raft_leader_changes_total", Counter, &[], Each, "Changes of the known leader."),
    row("quorate_raft_messages_refused_total", Counter, &["peer", "reason"], Each, "Messages of a peer refused before Raft saw them."),
    row("quorate_raft_term", Gauge, &[], Each, "Raft's present term."),
    row("quorate_raft_trails_leader_entries", Gauge, &["peer"], Leader, "Log entries a peer is behind the leader."),
    row("quorate_slot_deadline_seconds", Gauge, &["cluster"], Replicated, "Seconds after which a held slot counts as stuck: when nobody may start the decision any more, or the charter's rule `stuck`."),
    row("quorate_slot_held_seconds", Gauge, &["cluster"], Replicated, "How long the slot of a cluster has been held."),
    row("quorate_store_bytes", Gauge, &[], Each, "Bytes of the data directory."),
    row("quorate_store_fsync_seconds", Histogram, &[], Each, "Time of one durable commit of the Raft log."),
    row("quorate_store_quota_bytes", Gauge, &[], Each, "Bytes the data directory may use."),
    row("quorate_tls_certificate_not_after_timestamp_seconds", Gauge, &[], Each, "When this coordinator's TLS certificate expires."),
    row("quorate_tls_handshake_failures_total", Counter, &[], Each, "TLS handshakes that failed or took longer than 5 s."),
    row("quorate_votes_verified_total", Counter, &["answer"], Each, "Signed texts verified at the door, by answer: good or refused."),
    row("quorate_watches", Gauge, &[], Each, "Watches open."),
];

/// Tells the recorder each metric's unit and sentence.
pub(super) fn describe() {
    for metric in METRICS {
        let unit = unit(metric.name);
        match metric.kind {
            Counter => describe_counter!(metric.name, unit, metric.help),
            Gauge => describe_gauge!(metric.name, unit, metric.help),
            Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
    }
}

fn unit(name: &str) -> Unit {
    if name.ends_with("_seconds") {
        Unit::Seconds
    } else if name.ends_with("_bytes") {
        Unit::Bytes
    } else {
        Unit::Count
    }
}

/// The reference page, from the table.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n<!-- Generated from coordinator/src/telemetry/table.rs: \
         UPDATE_REFERENCE=1 cargo test -p quorate-coordinator reference -->\n\n\
         `GET /metrics` on the public port, role `reader` or above. *Where*: each coordinator for itself, \
         the replicated state (equal everywhere up to replication lag), or the leader only.\n\n\
         | name | kind | labels | where | meaning |\n|--|--|--|--|--|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        };
        let at = match metric.at {
            Each => "each",
            Replicated => "replicated",
            Leader => "leader only",
        };
        let labels = metric.labels.join(", ");
        page += &format!("| `{}` | {kind} | {labels} | {at} | {} |\n", metric.name, metric.help);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_our_prefix_their_unit_last_and_one_row_each() {
        for pair in METRICS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} is out of order", pair[1].name);
        }
        for metric in METRICS {
            assert!(metric.name.starts_with("quorate_"), "{}", metric.name);
            assert_eq!(metric.kind == Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.kind != Histogram || metric.name.ends_with("_seconds"));
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn the_reference_page_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(page, reference(), "run with UPDATE_REFERENCE=1 to write {path}");
    }
}
