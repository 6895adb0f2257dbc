//! Adapters as an agent has them: made from the table of a configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    self, Action, Adapter, Order, PrepareRefused, Prepared, ProcessConfig, Site,
};
use quorate_node::config::ProbeConfig;
use quorate_node::gate::Permits;
use quorate_node::plan::plan_of;
use quorate_node::probe::Probe;
use tokio_util::sync::CancellationToken;

use super::{action, proposal, token};

/// How long a measurement may take.
pub const SOON: Duration = Duration::from_secs(5);

/// The adapter of `toml` that carries out `kind`, for the member `n1` of `demo`.
pub fn configured(kind: Kind, toml: &str) -> Arc<dyn Adapter> {
    beside(kind, toml, None, None)
}

/// The same, beside a member that is probed and whose process this agent runs.
pub fn beside(
    kind: Kind,
    toml: &str,
    own: Option<Probe>,
    process: Option<&ProcessConfig>,
) -> Arc<dyn Adapter> {
    let file = config::File::from_str(toml, config::FileFormat::Toml);
    let tables = config::Config::builder().add_source(file).build().expect("TOML");
    let tables: BTreeMap<String, config::Value> = tables.get("adapter").expect("tables");
    let probe = ProbeConfig {
        interval: Duration::from_secs(1),
        timeout: SOON,
        failures: 3,
        freshness: Duration::from_secs(15),
        own,
        peers: Vec::new(),
    };
    let (cluster, member) = ("demo".parse().expect("id"), "n1".parse().expect("id"));
    let file = Path::new("/agent.toml");
    let permits = &Permits::default();
    let site = Site { cluster: &cluster, member: &member, file, probe: &probe, process, permits };
    let built = adapters::build(&site, &tables).expect("the table is good");
    built.of(kind).expect("it carries the kind out")
}

/// An order of decision 1 that no other test of this machine has: what an action leaves running is
/// found, and killed, by its proposal.
pub fn order(deadline: Duration) -> Order {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let proposal = proposal(&format!("{}-{count}", std::process::id()));
    Order { proposal, token: token(1), deadline, stop: CancellationToken::new() }
}

/// An action with parameters, each `key value`.
pub fn action_with(kind: Kind, target: &str, params: &[&str]) -> Action {
    let params = params.iter().map(|param| param.parse().expect("a parameter")).collect();
    Action { params, ..action(kind, target) }
}

pub async fn try_prepare(
    adapter: &dyn Adapter,
    action: &Action,
) -> Result<Prepared, PrepareRefused> {
    let plan = plan_of(&"process".parse().expect("an adapter"), action);
    adapter.prepare(action, &plan, SOON).await
}

pub async fn prepare(adapter: &dyn Adapter, kind: Kind, target: &str) -> Prepared {
    try_prepare(adapter, &action(kind, target)).await.expect("prepared")
}
