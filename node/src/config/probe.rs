//! How members are probed: the tables `[probe]` and `[[peer]]`.

use std::time::Duration;

use quorate_attest::id::MemberId;
use serde::Deserialize;

use super::{ConfigError, named, span};
use crate::probe::Probe;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProbeTable {
    address: Option<String>,
    interval_ms: u64,
    timeout_ms: u64,
    failures: u32,
    freshness_ms: u64,
}

impl Default for ProbeTable {
    fn default() -> Self {
        Self {
            address: None,
            interval_ms: 1_000,
            timeout_ms: 5_000,
            failures: 3,
            freshness_ms: 15_000,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerTable {
    member: String,
    probe: String,
}

/// How members are probed and when silence becomes a suspicion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Between two probes of one member.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Failures in a row that make a suspicion.
    pub failures: u32,
    /// How old an observation may be and still count.
    pub freshness: Duration,
    /// This agent's own member, if it is probed.
    pub own: Option<Probe>,
    /// The other members.
    pub peers: Vec<(MemberId, Probe)>,
}

impl ProbeTable {
    /// Checks the numbers against each other and reads every address, the peers' too.
    pub(super) fn check(&self, peers: &[PeerTable]) -> Result<ProbeConfig, ConfigError> {
        let interval = span("probe.interval_ms", self.interval_ms, 50, 60_000)?;
        let timeout = span("probe.timeout_ms", self.timeout_ms, 50, 60_000)?;
        let freshness = span("probe.freshness_ms", self.freshness_ms, 500, 600_000)?;
        let run_ms = u64::from(self.failures).saturating_mul(self.interval_ms);
        if self.failures == 0 || self.failures > 100 {
            let value = self.failures.into();
            return Err(ConfigError::OutOfRange { key: "probe.failures", value, min: 1, max: 100 });
        }
        if self.freshness_ms < run_ms {
            return Err(ConfigError::Freshness { freshness_ms: self.freshness_ms, run_ms });
        }
        let parse = |key: String, address: &str| {
            address.parse::<Probe>().map_err(|source| ConfigError::Probe { key, source })
        };
        let own = self
            .address
            .as_deref()
            .map(|address| parse("probe.address".into(), address))
            .transpose()?;
        let peers = peers
            .iter()
            .map(|peer| {
                let key = format!("peer.probe of {}", peer.member);
                Ok((named("peer.member", &peer.member)?, parse(key, &peer.probe)?))
            })
            .collect::<Result<_, ConfigError>>()?;
        Ok(ProbeConfig { interval, timeout, failures: self.failures, freshness, own, peers })
    }
}
