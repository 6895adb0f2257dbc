//! Metrics and the layer that times every call.

mod layer;
mod table;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::{
    layer::Timed,
    table::{METRICS, Metric, reference},
};

/// The process's recorder: installed once, whoever starts first, since `metrics` allows only one.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The recorder of this process, installed on first use.
///
/// A recorder somebody else installed keeps receiving what we record; our page then stays empty.
pub fn recorder() -> &'static PrometheusHandle {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &table::BUCKETS_SECONDS);
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics will be empty");
        }
        table::describe();
        handle
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every metric recorded anywhere in this crate or in the store has a row in the table, and
    /// every row is recorded somewhere.
    #[test]
    fn what_is_recorded_has_a_row_and_the_other_way_round() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let mut seen = std::collections::BTreeSet::new();
        for file in sources(root.as_ref()) {
            let text = std::fs::read_to_string(&file).unwrap();
            for kind in ["counter", "gauge", "histogram"] {
                for rest in text.split(&format!("{kind}!(")).skip(1) {
                    let Some(name) = rest.trim_start().strip_prefix('"') else { continue };
                    let name = name.split('"').next().unwrap();
                    assert!(
                        METRICS.iter().any(|metric| metric.name == name),
                        "{name} in {} has no row in telemetry/table.rs",
                        file.display()
                    );
                    seen.insert(name.to_owned());
                }
            }
        }
        for metric in METRICS {
            assert!(seen.contains(metric.name), "{} is never recorded", metric.name);
        }
    }

    fn sources(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(sources(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
        files
    }
}
