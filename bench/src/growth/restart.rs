//! How long it takes to start again: until it serves, and until it certifies something new.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::operator::Operator;
use crate::deployment::{Deployment, WITHIN};
use crate::report::as_ms;

/// Milliseconds from `exec`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Restart {
    /// Until `/readyz` answers 200.
    pub ready_ms: f64,
    /// Until a leaf is certified that was added after the restart and needs its cosignature.
    pub certified_ms: f64,
}

impl Restart {
    fn of(ready: Duration, certified: Duration) -> Self {
        Self { ready_ms: as_ms(ready), certified_ms: as_ms(certified) }
    }
}

/// Starts all coordinators: until the last one is ready, and until they certify a new leaf.
pub(super) async fn all(deployment: &mut Deployment, operator: &Operator) -> Result<Restart> {
    for id in deployment.ids() {
        deployment.start(id)?;
    }
    let mut ready = Duration::ZERO;
    for id in deployment.ids() {
        ready = ready.max(deployment.ready(id, WITHIN).await?);
    }
    let size = operator.add_leaf().await?;
    let leader = operator.leader().await?;
    operator.certified(leader, size).await?;
    let certified = deployment.since_start(leader)?;
    for id in deployment.ids() {
        operator.certified(id, size).await?;
    }
    Ok(Restart::of(ready, certified))
}

/// kill -9 of a follower and its restart. Then the other follower goes, so that the next head needs
/// the restarted one.
pub(super) async fn one(deployment: &mut Deployment, operator: &Operator) -> Result<Restart> {
    let leader = operator.leader().await?;
    let mut followers = deployment.ids().filter(|id| *id != leader);
    let (restarted, other) = followers.next().zip(followers.next()).context("two followers")?;
    deployment.kill(restarted)?;
    deployment.start(restarted)?;
    let ready = deployment.ready(restarted, WITHIN).await?;
    deployment.kill(other)?;
    let size = operator.add_leaf().await?;
    operator.certified(restarted, size).await?;
    Ok(Restart::of(ready, deployment.since_start(restarted)?))
}
