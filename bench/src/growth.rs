//! What a long log costs: restart, memory, proofs, disk, export, at several lengths.
//!
//! For each length a deployment of its own is made and filled, then its three coordinators run as
//! child processes of the real binary. The lengths are measured one after the other, so that the
//! columns of the table differ by the log alone.

mod operator;
pub mod proof;
mod restart;
mod serve;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use quorate_attest::log_time::{LogTime, Span};

use crate::deployment::Deployment;
use crate::fill::{Bytes, fill};
use crate::history::Pace;
use crate::report::{Point, Report};
use crate::world::World;
use operator::Operator;

pub use restart::Restart;
pub use serve::{MemoryPoints, Served};

/// Log time between two decisions: far more often than any real cluster is hurt.
const STEP: Span = Span::from_secs(2);
/// How long each proposal may be open.
const OPEN_FOR: Span = Span::from_secs(600);
/// The history ends this long before now: nothing in it lies ahead of anybody's clock.
const AGO: Span = Span::from_secs(60);
/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The lengths of the log, in decisions.
    pub decisions: Vec<u64>,
    /// The executable `quorate`.
    pub binary: PathBuf,
    /// Where the deployments are made; each in a directory of its own that must not exist.
    pub directory: PathBuf,
}

/// Measures every length.
///
/// # Errors
/// Something failed that the figures depend on.
pub async fn run(plan: &Plan) -> Result<Report> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut points = Vec::new();
    for decisions in &plan.decisions {
        let root = plan.directory.join(format!("growth-{decisions}"));
        let point = measure(&plan.binary, &root, *decisions).await;
        points.push(point.with_context(|| format!("with {decisions} decisions"))?);
    }
    Ok(Report { version: env!("CARGO_PKG_VERSION"), processors, load, points })
}

async fn measure(binary: &Path, root: &Path, decisions: u64) -> Result<Point> {
    let mut deployment = Deployment::init(binary, root).await?;
    let world = Arc::new(World::of_directory(root)?);
    let replicas = deployment.replicas()?;
    eprintln!("filling three stores with {decisions} decisions");
    let pace = Pace { start: start(decisions)?, step: STEP, open_for: OPEN_FOR };
    let filled = fill(Arc::clone(&world), &replicas, pace, decisions).await?;
    let disk = Bytes::of(&replicas[0])?;
    eprintln!("measuring with {decisions} decisions");
    let operator = Operator::open(&deployment, world)?;
    // The first start only shows that the files are good; the second one is measured.
    restart::all(&mut deployment, &operator).await?;
    deployment.stop_all().await?;
    let all = restart::all(&mut deployment, &operator).await?;
    let served = serve::measure(&deployment, &operator).await?;
    let one = restart::one(&mut deployment, &operator).await?;
    deployment.stop_all().await?;
    Ok(Point {
        decisions,
        leaf_bytes_per_decision: ratio(disk.leaves, decisions),
        disk,
        filled,
        restart_of_all: all,
        restart_of_one: one,
        served,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(bytes: u64, count: u64) -> f64 {
    bytes as f64 / count as f64
}

/// When a history of `decisions` has to begin to end [`AGO`] before now.
fn start(decisions: u64) -> Result<LogTime> {
    let length = STEP.get().checked_mul(decisions + 1).context("too many decisions")?;
    let start = now()?.get().checked_sub(length + AGO.get()).context("too many decisions")?;
    Ok(LogTime::new(start)?)
}

fn now() -> Result<LogTime> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(LogTime::new(u64::try_from(since.as_millis())?)?)
}
